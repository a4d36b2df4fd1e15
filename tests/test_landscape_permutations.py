"""Matching by a specification: planted permutations of a Flax CNN are found, and an MLP's agree with `match`."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import MLP, Recipe, Split, UserError, Variables, classification, from_linen, mean_loss
from mlpjax.landscape.matching import match, specification_of
from mlpjax.landscape.mode_connectivity import barrier, line
from mlpjax.landscape.permutations import match_permutations, permute
from mlpjax.landscape.symmetries import act

KEY = jax.random.key(0)


class CNN(nn.Module):
    """Two convolutions with batch normalisation, flattened into two dense layers."""

    @nn.compact
    def __call__(self, x, train):
        for channels in (6, 8):
            x = nn.Conv(channels, (3, 3), use_bias=channels == 6)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(10)(x.reshape(len(x), -1)))
        return nn.Dense(3)(x)


def norm(channels, *parts):
    return {part: (channels,) for part in parts}


SPECIFICATION = Variables(
    {
        "Conv_0": {"kernel": (None, None, None, "first"), "bias": ("first",)},
        "BatchNorm_0": norm("first", "scale", "bias"),
        "Conv_1": {"kernel": (None, None, "first", "second")},
        "BatchNorm_1": norm("second", "scale", "bias"),
        "Dense_0": {"kernel": ("second", "hidden"), "bias": ("hidden",)},
        "Dense_1": {"kernel": ("hidden", None), "bias": (None,)},
    },
    {"batch_stats": {"BatchNorm_0": norm("first", "mean", "var"), "BatchNorm_1": norm("second", "mean", "var")}},
)
UNITS = {"first": 6, "second": 8, "hidden": 10}


@pytest.fixture(scope="module")
def cnn():
    """A model, its examples, and a network of it in which no two numbers of a leaf are the same."""
    model = from_linen(CNN(), "train")
    x = jax.random.normal(KEY, (5, 8, 8, 1))
    leaves, treedef = jax.tree.flatten(jax.jit(model.init)(KEY, x))
    keys = jax.random.split(KEY, len(leaves))
    drawn = [leaf + 0.1 * jax.random.uniform(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return model, x, jax.tree.unflatten(treedef, drawn)


def draw(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.permutation(size) for name, size in UNITS.items()}


def test_permuted_channels_compute_the_same_function(cnn):
    model, x, network = cnn
    moved = permute(SPECIFICATION, draw(0), network)
    assert not np.allclose(moved.params["Dense_0"]["kernel"], network.params["Dense_0"]["kernel"])
    np.testing.assert_allclose(model.apply(moved, x)[0], model.apply(network, x)[0], rtol=1e-4, atol=1e-5)


def test_planted_permutations_of_a_cnn_are_found_exactly(cnn):
    _, _, network = cnn
    for seed in range(5):
        planted = draw(seed)
        moved = permute(SPECIFICATION, planted, network)
        found = match_permutations(SPECIFICATION.params, network.params, moved.params, KEY)
        for name, order in planted.items():
            np.testing.assert_array_equal(order[found[name]], np.arange(UNITS[name]))
        for one, other in zip(*map(jax.tree.leaves, (permute(SPECIFICATION, found, moved), network)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_barrier_is_left_between_a_network_and_its_permuted_copy(cnn):
    model, x, network = cnn
    loss = mean_loss(classification(model, Recipe()), network.stats)
    split = Split(np.asarray(x), np.array([0, 1, 2, 0, 1]))
    planted = draw(1)
    planted["first"] = np.arange(6)  # so that the statistics on the way, which are the first network's, fit
    planted["second"] = np.arange(8)
    moved = permute(SPECIFICATION, planted, network).params
    found = match_permutations(SPECIFICATION.params, network.params, moved, KEY)
    t = jnp.linspace(0, 1, 5)
    before, after = (
        line(lambda params: loss(params, split), network.params, end, t)
        for end in (moved, permute(SPECIFICATION.params, found, moved))
    )
    assert np.ptp(before) > 1e-3
    assert barrier(t, after) == pytest.approx(0, abs=1e-6)


def test_small_networks_are_matched_as_well_as_by_trying_everything():
    model = MLP((2, 3, 3, 1), "gelu", bias="same")
    specification = specification_of(model.init(KEY).params)
    for seed in range(2):
        a, b = (jax.jit(model.init)(jax.random.key(start + seed)).params for start in (0, 100))
        gaps = [
            gap(a, permute(specification, {"dense_0": np.array(first), "dense_1": np.array(second)}, b))
            for first, second in itertools.product(*map(itertools.permutations, [range(3)] * 2))
        ]
        found = match_permutations(specification, a, b, KEY, restarts=20)
        assert gap(a, permute(specification, found, b)) == pytest.approx(min(gaps), rel=1e-5)


def gap(a, b):
    return sum(
        np.sum((np.asarray(x) - np.asarray(y)) ** 2.0) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


@pytest.mark.parametrize("restarts", [0, 3])
def test_the_specification_of_an_mlp_gives_what_match_gives_where_units_have_neither_sign_nor_length(restarts):
    model = MLP((10, 16, 12, 8, 3), "gelu", bias="same")
    a, b = (jax.jit(model.init)(jax.random.key(seed)).params for seed in (0, 1))
    element = match(model, a, b, KEY, restarts).element
    specification = specification_of(a)
    found = match_permutations(specification, a, b, KEY, restarts)
    for units, order in zip(element, found.values(), strict=True):
        np.testing.assert_array_equal(units.order, order)
    for one, other in zip(*map(jax.tree.leaves, (permute(specification, found, b), act(element, b))), strict=True):
        np.testing.assert_array_equal(one, other)


def test_prelu_slopes_belong_to_no_unit():
    params = MLP((3, 4, 2), "prelu", bias="none").init(KEY).params
    assert specification_of(params) == {
        "alpha_0": (),
        "dense_0": {"kernel": (None, "dense_0")},
        "dense_1": {"kernel": ("dense_0", None)},
    }


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ({"w": ("units",)}, "specification of w: 1 names for its 2 axes"),
        ({"w": ("units", "units")}, "specification of w: units is there twice"),
        ({"w": "units"}, "specification of w: give a name or None for each of its 2 axes"),
        ({}, "specification of w: give a name or None for each of its 2 axes"),
        ({"w": (None, "units"), "v": ()}, "specification: has v, which the network has not"),
    ],
)
def test_a_specification_that_does_not_fit_is_refused(specification, message):
    network = {"w": jnp.ones((4, 4))}
    with pytest.raises(UserError, match=message):
        match_permutations(specification, network, network, KEY)


def test_what_is_not_made_of_blocks_has_no_permutation_or_cannot_be_matched_is_refused():
    specification = {"v": ("units",), "w": ("units", None)}
    network = {"v": jnp.ones(4), "w": jnp.ones((6, 1))}
    with pytest.raises(UserError, match="specification of w: an axis of 6 is not made of blocks of 4 units"):
        match_permutations(specification, network, network, KEY)
    with pytest.raises(UserError, match="permutations: units is missing; it has others"):
        permute(specification, {"others": np.arange(4)}, network)
    with pytest.raises(UserError, match="permutations of units: 4 units do not divide the axis of 6 of w"):
        permute(specification, {"units": np.arange(4)}, network)
    with pytest.raises(UserError, match="restarts -1"):
        match_permutations(specification, network, network, KEY, restarts=-1)
