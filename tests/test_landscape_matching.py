"""Weight matching: planted symmetries are found, and the distance never grows."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import UserError
from mlpjax.landscape.matching import match
from mlpjax.landscape.symmetries import act, invariance_of, make_layer_element, random_element
from mlpjax.models import MLP

KEY = jax.random.key(0)
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("tanh", "sinc", "prelu")]
"""Each of a kind of which there is another."""
move = jax.jit(act)


@functools.cache
def make_draw(widths, bias):
    """key -> parameters, compiled."""
    model = MLP(widths, bias=bias)
    return jax.jit(lambda key: model.init(key).params)


@functools.cache
def make_forward(model):
    """(parameters, inputs) -> outputs, compiled."""
    return jax.jit(lambda params, x: model.activations(params, x)[-1])


def distance(a, b):
    return np.sqrt(
        sum(np.sum((np.asarray(x) - np.asarray(y)) ** 2.0) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))
    )


@pytest.mark.parametrize("activation", ["gelu", "sigmoid", "relu", "identity", *SLOW])
def test_a_planted_element_is_recovered_in_100_of_100_trials(activation):
    model = MLP((10, 16, 12, 8, 3), activation, bias="same")

    @jax.jit
    def plant(key):
        params = model.init(key).params
        return params, act(random_element(jax.random.fold_in(key, 1), model), params)

    recovered = 0
    for trial in range(100):
        a, b = plant(jax.random.key(trial))
        found = match(model, a, b, jax.random.key(trial), restarts=2)
        recovered += distance(a, move(found.element, b)) < 1e-4 * distance(a, jax.tree.map(jnp.zeros_like, a))
    assert recovered == 100


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31 - 1),
    activation=st.sampled_from(["gelu", "tanh", "sigmoid", "sinc", "relu", "identity"]),
    widths=st.sampled_from([(2, 3, 1), (4, 6, 5, 3), (3, 1, 4, 2), (3, 2)]),
    bias=st.sampled_from(["same", "none"]),
)
def test_matching_never_increases_the_distance_and_keeps_the_function(seed, activation, widths, bias):
    model = MLP(widths, activation, bias=bias)
    keys = jax.random.split(jax.random.key(seed), 4)
    a, b = map(make_draw(widths, bias), keys[:2])
    found = match(model, a, b, keys[2], restarts=1)
    moved = move(found.element, b)
    assert found.distance <= distance(a, b) * (1 + 1e-6)
    np.testing.assert_allclose(found.distance, distance(a, moved), rtol=1e-5)
    x = jax.random.normal(keys[3], (10, widths[0]))
    forward = make_forward(model)
    np.testing.assert_allclose(forward(moved, x), forward(b, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "sinc"])
@pytest.mark.parametrize("widths", [(3, 4, 2), (2, 3, 2, 1)])
def test_small_networks_are_matched_as_well_as_by_trying_everything(widths, activation):
    model = MLP(widths, activation, bias="same", initializer="normal", scale=2.0)
    invariance = invariance_of(model)
    layers = [
        [
            make_layer_element(invariance, jnp.array(order), jnp.array(factor))
            for order in itertools.permutations(range(width))
            for factor in itertools.product([1.0, -1.0] if invariance.flip else [1.0], repeat=width)
        ]
        for width in widths[1:-1]
    ]
    elements = jax.tree.map(lambda *leaves: jnp.stack(leaves), *itertools.product(*layers))
    everywhere, draw = jax.jit(jax.vmap(act, in_axes=(0, None))), jax.jit(lambda key: model.init(key).params)
    for seed in range(5):
        a, b = draw(jax.random.key(seed)), draw(jax.random.key(100 + seed))
        moved = everywhere(elements, b)
        gaps = [
            np.sum((x - y[None]) ** 2, axis=tuple(range(1, x.ndim)))
            for x, y in zip(*map(jax.tree.leaves, (moved, a)), strict=True)
        ]
        found = match(model, a, b, KEY, restarts=20).distance
        np.testing.assert_allclose(found, np.sqrt(np.sum(gaps, axis=0).min()), rtol=1e-5)


def test_flipped_sigmoids_are_found_where_they_have_moved_the_next_bias_far():
    model = MLP((5, 30, 4, 2), "sigmoid", bias="same")

    @jax.jit
    def plant(key):
        a = model.init(key).params
        a["dense_1"]["kernel"] = jnp.abs(a["dense_1"]["kernel"]) + 1
        return a, act(random_element(key, model), a)

    for seed in range(10):
        a, b = plant(jax.random.key(seed))
        assert np.abs(b["dense_1"]["bias"]).max() > 10
        assert match(model, a, b, jax.random.key(seed)).distance < 1e-3


def test_the_element_that_is_found_is_the_one_that_was_planted():
    model = MLP((20, 15, 10, 4), "relu", bias="same")
    params = jax.jit(lambda key: model.init(key).params)(KEY)
    planted = jax.jit(lambda key: random_element(key, model))(jax.random.key(1))
    for units, back in zip(planted, match(model, params, move(planted, params), KEY).element, strict=True):
        assert (units.order[back.order] == jnp.arange(len(back.order))).all()
        np.testing.assert_allclose(back.factor * units.factor[back.order], 1.0, rtol=1e-4)


def test_one_hidden_layer_is_found_in_the_first_pass_and_the_second_finds_nothing_more():
    model = MLP((10, 8, 3), "gelu", bias="same")
    params = jax.jit(lambda key: model.init(key).params)(KEY)
    assert match(model, params, move(random_element(jax.random.key(1), model), params), KEY).passes == 2


def test_restarts_help_and_the_same_key_gives_the_same_match():
    model = MLP((2, 12, 12, 12, 2), "tanh", bias="same")
    a, b = model.init(KEY).params, model.init(jax.random.key(1)).params
    once, again, more = (match(model, a, b, KEY, restarts).distance for restarts in (0, 0, 20))
    assert once == again
    assert more < once < distance(a, b)


def test_a_network_is_nearest_to_itself_as_it_is():
    model = MLP((5, 7, 6, 2), "gelu")
    params = model.init(KEY).params
    found = match(model, params, params, KEY)
    assert (found.distance, found.passes) == (0, 0)


def test_two_shapes_nan_and_negative_restarts_are_refused():
    model = MLP((3, 4, 2))
    with pytest.raises(UserError, match="not a finite number"):
        match(model, model.init(KEY).params, jax.tree.map(lambda leaf: leaf * jnp.nan, model.init(KEY).params), KEY)
    with pytest.raises(UserError, match="dense_0/bias"):
        match(model, model.init(KEY).params, MLP((3, 5, 2)).init(KEY).params, KEY)
    with pytest.raises(UserError, match="restarts -1: must be at least 0"):
        match(model, model.init(KEY).params, model.init(KEY).params, KEY, restarts=-1)
