"""Symmetries: what the group does to functions, canonical forms and equality; repeated units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import UserError
from mlpjax.activations import ACTIVATIONS
from mlpjax.landscape.symmetries import (
    act,
    balanced,
    balancing_factors,
    canonical,
    distinct_units,
    equal_up_to_symmetry,
    invariance_of,
    random_element,
)
from mlpjax.models import MLP, dense_layers

KEY = jax.random.key(0)
KINDS, OTHERS = ("gelu", "sigmoid", "relu", "identity"), ("tanh", "sinc", "prelu")
"""One of each kind; and others, one of which has parameters of its own."""
TOLERANCES = {"float32": 2e-5, "float64": 1e-12}


def assert_close(found, expected, rtol):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * max(1.0, np.abs(other).max()))


@pytest.mark.parametrize(("name", "flips"), [("tanh", True), ("sigmoid", False)])
def test_without_biases_only_a_flip_that_moves_none_is_left(name, flips):
    assert invariance_of(MLP((2, 3, 1), name, bias="same")).flip is not None
    assert (invariance_of(MLP((2, 3, 1), name, bias="none")).flip is not None) == flips


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "step"])
def test_the_table_of_invariances_says_what_the_activations_do(name):
    """Also of those that have none: no flip f(-z) = g f(z) + o, and no scale."""
    with jax.enable_x64(True):
        z = np.linspace(-3, 3, 61)
        alpha = () if ACTIVATIONS[name].alpha is None else (jnp.asarray(0.3),)
        plus, minus, twice = (np.asarray(ACTIVATIONS[name].function(jnp.asarray(x), *alpha)) for x in (z, -z, 2.5 * z))
    fit, residual, *_ = np.linalg.lstsq(np.stack([plus, np.ones_like(plus)], axis=1), minus)
    found = ACTIVATIONS[name].invariance
    if found.flip:
        np.testing.assert_allclose(fit, found.flip, atol=1e-12)
    assert (residual.sum() < 1e-20) == bool(found.flip)
    assert np.allclose(twice, 2.5 * plus) == found.homogeneous


@functools.cache
def make_check(activation, bias):
    """Compiled functions: draw eight random networks of keys, and say what random elements change in them."""
    model = MLP((4, 6, 5, 3), activation, bias=bias)

    def check(key, params):
        element_key, data_key = jax.random.split(key)
        dtype = params["dense_0"]["kernel"].dtype
        x = jax.random.normal(data_key, (20, 4), dtype)
        moved = act(random_element(element_key, model), params)
        form = canonical(model, params)
        outputs = model.activations(params, x)[-1]
        return {
            "weights": furthest(params, moved),
            "function": jnp.max(jnp.abs(model.activations(moved, x)[-1] - outputs)),
            "canonical function": jnp.max(jnp.abs(model.activations(form, x)[-1] - outputs)),
            "canonical form": furthest(form, canonical(model, moved)),
            "equal": equal_up_to_symmetry(model, params, moved, 10 * TOLERANCES[dtype.name]),
        }

    return jax.jit(jax.vmap(model.init)), jax.jit(jax.vmap(check))


def furthest(a, b):
    assert {leaf.dtype for leaf in jax.tree.leaves(a)} == {leaf.dtype for leaf in jax.tree.leaves(b)}
    return jnp.max(jnp.stack([jnp.max(jnp.abs(x - y)) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)]))


@pytest.mark.parametrize(
    ("activation", "bias", "dtype"),
    [
        *((activation, "same", "float64") for activation in KINDS),
        *(pytest.param(name, "same", "float64", marks=pytest.mark.slow) for name in OTHERS),
        ("sigmoid", "same", "float32"),
        pytest.param("relu", "same", "float32", marks=pytest.mark.slow),
        ("sigmoid", "none", "float64"),
    ],
)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_group_element_changes_weights_but_neither_function_nor_canonical_form(activation, bias, dtype, seed):
    draw, check = make_check(activation, bias)
    keys = jax.random.split(jax.random.key(seed), 8)
    params = jax.tree.map(np.asarray, draw(keys).params)
    with jax.enable_x64(dtype == "float64"):
        found = jax.tree.map(np.asarray, check(keys, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)))
    tolerance = TOLERANCES[dtype]
    assert (found["weights"] > 0.01).all()
    assert (found["function"] < tolerance).all()
    assert (found["canonical function"] < tolerance).all()
    assert (found["canonical form"] < 10 * tolerance).all()
    assert found["equal"].all()


def test_what_an_element_does_by_hand():
    model = MLP((1, 2, 1), "sigmoid")
    params = {
        "dense_0": {"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([3.0, 4.0])},
        "dense_1": {"kernel": jnp.array([[5.0], [6.0]]), "bias": jnp.array([7.0])},
    }
    element = next(
        element
        for seed in range(100)
        if (element := random_element(jax.random.key(seed), model))[0].order.tolist() == [1, 0]
        and element[0].factor.tolist() == [-1, 1]
    )
    moved = act(element, params)
    # 6 sigmoid(2x + 4) = 6 - 6 sigmoid(-2x - 4): the next bias takes the 6.
    assert moved["dense_0"]["kernel"].tolist() == [[-2, 1]]
    assert moved["dense_0"]["bias"].tolist() == [-4, 3]
    assert moved["dense_1"]["kernel"].tolist() == [[-6], [5]]
    assert moved["dense_1"]["bias"].tolist() == [13]


def test_random_elements_permute_flip_and_scale_and_go_under_vmap():
    model = MLP((3, 40, 30, 2), "identity")
    elements = jax.jit(jax.vmap(lambda key: random_element(key, model)))(jax.random.split(KEY, 50))
    for units, width in zip(elements, (40, 30), strict=True):
        assert (np.sort(units.order, axis=1) == np.arange(width)).all()
        assert abs((np.asarray(units.order) == np.arange(width)).mean() - 1 / width) < 0.02
        assert abs((np.asarray(units.factor) < 0).mean() - 0.5) < 0.1
        assert abs(np.log(np.abs(units.factor)).std() - 0.5) < 0.05
    params = jax.jit(jax.vmap(model.init))(jax.random.split(jax.random.key(1), 50)).params
    forms = [
        jax.jit(jax.vmap(lambda p: canonical(model, p)))(p) for p in (params, jax.jit(jax.vmap(act))(elements, params))
    ]
    same = np.isclose(forms[0]["dense_2"]["kernel"], forms[1]["dense_2"]["kernel"], rtol=1e-3, atol=1e-4)
    assert same.all(axis=(1, 2)).mean() > 0.9  # rounding can tip the order of forty units, as the docstring says


def test_balancing_finds_the_shortest_network():
    model = MLP((4, 6, 5, 3), "relu", bias="same")
    moved = jax.jit(lambda key, params: act(random_element(key, model), params))
    params = moved(jax.random.key(1), jax.jit(model.init)(KEY).params)
    found = jax.jit(functools.partial(balanced, model))(params)
    for layer, after in zip(dense_layers(found)[:-1], dense_layers(found)[1:], strict=True):
        incoming = np.sum(np.asarray(layer["kernel"]) ** 2, axis=0) + np.asarray(layer["bias"]) ** 2
        np.testing.assert_allclose(incoming, np.sum(np.asarray(after["kernel"]) ** 2, axis=1), rtol=1e-5)

    def length(params):  # the last bias stays
        leaves = [*params["dense_0"].values(), *params["dense_1"].values(), params["dense_2"]["kernel"]]
        return sum(float(np.sum(np.asarray(leaf) ** 2)) for leaf in leaves)

    for seed in range(20):
        assert length(moved(jax.random.key(seed), found)) > length(found)


def test_units_without_weights_on_one_side_keep_their_scale():
    params = MLP((2, 3, 2), "relu").init(KEY).params
    params["dense_0"]["kernel"] = params["dense_0"]["kernel"].at[:, 0].set(0)
    params["dense_1"]["kernel"] = params["dense_1"]["kernel"].at[1].set(0)
    (factors,) = balancing_factors(params)
    assert factors[:2].tolist() == [1, 1] and factors[2] != 1


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_other_networks_are_not_equal(activation):
    model = MLP((3, 6, 5, 2), activation, bias="same")
    draw, equal = (
        jax.jit(model.init),
        jax.jit(functools.partial(equal_up_to_symmetry, model), static_argnames="tolerance"),
    )
    a, b = draw(KEY).params, draw(jax.random.key(1)).params
    assert not equal(a, b)
    nudged = jax.tree.map(lambda leaf: leaf, a)
    nudged["dense_1"]["bias"] = nudged["dense_1"]["bias"].at[2].add(1e-2)
    assert not equal(a, nudged)
    assert equal(a, nudged, tolerance=0.1)


def test_a_unit_is_no_partner_twice():
    """With both units of a nearest to the first of b, and its outgoing weights, the networks would look equal."""
    model = MLP((1, 2, 1), "gelu", bias="none")
    a = {"dense_0": {"kernel": jnp.array([[1.0, 1.0]])}, "dense_1": {"kernel": jnp.array([[2.0], [2.0]])}}
    b = {"dense_0": {"kernel": jnp.array([[1.0, 5.0]])}, "dense_1": {"kernel": jnp.array([[2.0], [3.0]])}}
    assert not equal_up_to_symmetry(model, a, b)
    assert equal_up_to_symmetry(model, a, a)


def test_wide_networks_are_equal_though_their_sorting_may_tip():
    model = MLP((20, 300, 200, 5), "relu", bias="same")
    params = model.init(KEY).params
    equal = jax.jit(lambda a, b: equal_up_to_symmetry(model, a, b))
    moved = jax.jit(lambda key: act(random_element(key, model), params))
    for seed in range(5):
        assert equal(params, moved(jax.random.key(seed)))
    assert not equal(params, model.init(jax.random.key(9)).params)


def test_two_shapes_are_refused_by_name():
    model = MLP((3, 4, 2))
    with pytest.raises(UserError, match=r"dense_0/bias is \(4,\) in one and \(5,\) in the other"):
        equal_up_to_symmetry(model, model.init(KEY).params, MLP((3, 5, 2)).init(KEY).params)


def test_a_network_without_hidden_layers_has_no_symmetries():
    model = MLP((3, 2), "relu")
    params = model.init(KEY).params
    assert random_element(KEY, model) == ()
    assert_close(canonical(model, params), params, 0)
    assert equal_up_to_symmetry(model, params, params)


def network_of(columns):
    columns = jnp.asarray(columns, jnp.float32).T
    return {"dense_0": {"kernel": columns}, "dense_1": {"kernel": jnp.ones((columns.shape[1], 1))}}


@pytest.mark.parametrize(
    ("columns", "distinct"),
    [
        ([[1, 2], [1, 2], [1, 2]], 1),
        ([[1, 2], [2, 1], [1, 2]], 2),
        ([[1, 2], [1.0001, 2]], 1),
        ([[1, 2], [1.1, 2]], 2),
        ([[0, 0], [0, 0]], 1),
        ([[0, 0], [1e-30, 0]], 2),
        ([[1e-20, 0], [1e-20, 0]], 1),
        ([[1, 2], [-1, -2]], 2),
    ],
)
def test_distinct_units_are_counted(columns, distinct):
    assert distinct_units(network_of(columns)).tolist() == [distinct]


def test_biases_tell_units_apart_and_random_units_differ():
    params = network_of([[1, 2], [1, 2]])
    params["dense_0"]["bias"] = jnp.array([0.0, 1.0])
    assert distinct_units(params).tolist() == [2]
    assert distinct_units(MLP((5, 8, 6, 2)).init(KEY).params).tolist() == [8, 6]
    assert distinct_units(MLP((5, 8, 6, 2), initializer="constant").init(KEY).params).tolist() == [1, 1]
