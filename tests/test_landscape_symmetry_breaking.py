import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import MLP, Dataset, Observe, Recipe, Split, make_keys, map_seeds, train_many
from mlpjax.landscape.symmetry_breaking import (
    as_equal_units,
    growth,
    linear_spread,
    ranks,
    saddle_at_zero,
    spread,
    steps_to_part,
    zero_gradients,
)
from mlpjax.models import dense_layers
from mlpjax.task import classification, mean_loss
from mlpjax.train import Batch, init_state, make_train_step

KEY = jax.random.key(0)
# Not the same number of each class: then the mean of p - y at zero is not zero.
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2], np.int32)
INPUTS = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
SPLIT = Split(INPUTS, LABELS)


def network(activation: str, initializer: str = "zeros", widths=(4, 6, 3)) -> MLP:
    return MLP(widths, activation, initializer=initializer)


def stepped(model: MLP, steps: int):
    """The parameters after some steps of gradient descent on the whole split."""
    recipe = Recipe(optimizer="sgd", learning_rate=0.5, batch_size=None)
    task = classification(model, recipe)
    state, train_step = init_state(task, recipe, KEY, INPUTS), make_train_step(task, recipe, 10)
    for _ in range(steps):
        batch = Batch(jnp.asarray(INPUTS), jnp.asarray(LABELS), jnp.ones(len(LABELS)))
        state, _ = train_step(state, batch, make_keys(0))
    return state.params


@pytest.mark.parametrize(
    ("activation", "steps", "kernel_1", "bias_1", "kernel_0", "bias_0"),
    [
        ("sigmoid", 0, 0, 0, 1, 1),
        ("sigmoid", 1, 0, 0, 0, 0),
        ("softplus", 0, 0, 0, 1, 1),
        ("tanh", 0, 1, 0, 1, 1),
        ("tanh", 5, 1, 0, 1, 1),
        ("relu", 0, 1, 0, 1, 1),
        ("relu", 5, 1, 0, 1, 1),
    ],
)
def test_what_a_zero_start_leaves_without_a_gradient(activation, steps, kernel_1, bias_1, kernel_0, bias_0):
    model = network(activation)
    params = stepped(model, steps)
    found = zero_gradients(mean_loss(classification(model, Recipe(loss="cross_entropy"))), params, SPLIT)
    expected = {
        "dense_0": {"kernel": kernel_0, "bias": bias_0},
        "dense_1": {"kernel": kernel_1, "bias": bias_1},
    }
    assert jax.tree.map(lambda zeros, leaf: int(zeros) / leaf.size, found, params) == expected


def test_the_first_gradients_of_a_zero_sigmoid_network_are_their_formula():
    """delta = 1/3 - share of the class; dL/db_2 = delta, dL/dW_2 = delta / 2 for every unit, and the rest is zero."""
    model = network("sigmoid")
    loss = mean_loss(classification(model, Recipe(loss="cross_entropy")))
    found = jax.grad(loss)(model.init(KEY).params, SPLIT)
    delta = 1 / 3 - np.bincount(LABELS) / len(LABELS)
    np.testing.assert_allclose(found["dense_1"]["bias"], delta, atol=1e-7)
    np.testing.assert_allclose(found["dense_1"]["kernel"], np.tile(delta / 2, (6, 1)), atol=1e-7)
    assert not np.any(found["dense_0"]["kernel"])


def test_a_second_hidden_layer_of_sigmoids_waits_one_step_longer():
    model = network("sigmoid", widths=(4, 6, 5, 3))
    loss = mean_loss(classification(model, Recipe(loss="cross_entropy")))
    found = [zero_gradients(loss, stepped(model, steps), SPLIT) for steps in range(3)]
    kernels = [[int(layer["kernel"]) for layer in dense_layers(zeros)] for zeros in found]
    assert kernels == [[24, 30, 0], [24, 0, 0], [0, 0, 0]]


def test_zero_gradients_take_any_tree():
    loss = lambda params, data: jnp.sum(params["a"] * data) + params["b"][0] ** 2  # noqa: E731
    params = {"a": jnp.ones(4), "b": (jnp.float32(0),)}
    found = zero_gradients(loss, params, jnp.array([0.0, 1.0, 0.0, 0.0]))
    assert jax.tree.map(int, found) == {"a": 3, "b": (1,)}


@pytest.mark.parametrize("activation", ["tanh", "prelu", "relu"])
def test_activations_are_those_of_numpy(activation):
    model = MLP((4, 6, 5, 3), activation, initializer="normal", bias="same", dropout=(0.5, 0.2))
    params = model.init(KEY).params
    function = {
        "tanh": np.tanh,
        "prelu": lambda z: np.where(z > 0, z, 0.25 * z),
        "relu": lambda z: np.maximum(z, 0),
    }[activation]
    a, expected = INPUTS, []
    for layer in dense_layers(params)[:-1]:
        a = function(a @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]))
        expected.append(a)
    found = model.activations(params, jnp.asarray(INPUTS))[:-1]
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_ranks_of_zero_equal_and_random_starts():
    wide = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)

    def found(activation, initializer):
        model = MLP((4, 6, 3, 2), activation, initializer=initializer, bias="same")
        return [values.tolist() for values in ranks(model, model.init(KEY).params, jnp.asarray(wide))]

    assert found("tanh", "zeros") == [[0, 0], [0, 0]]
    assert found("sigmoid", "zeros") == [[0, 0], [1, 1]]
    assert found("tanh", "constant") == [[1, 1], [1, 1]]
    assert found("tanh", "normal") == [[4, 3], [6, 3]]  # a kernel of 4 inputs has rank 4, its six units give more
    assert found("identity", "normal") == [[4, 3], [5, 3]]  # four inputs and a constant


def test_spread_is_the_distance_to_the_mean_unit_and_scales_with_the_noise():
    equal = MLP((4, 6, 3), initializer="constant", bias="same").init(KEY).params
    np.testing.assert_allclose(spread(equal), 0.0, atol=1e-7)
    noise = MLP((4, 6, 3), initializer="normal", bias="same").init(KEY).params
    units = np.concatenate([noise["dense_0"]["kernel"], noise["dense_0"]["bias"][None]]).T
    expected = np.sqrt(np.mean(np.sum((units - units.mean(axis=0)) ** 2, axis=1)))
    np.testing.assert_allclose(spread(noise), [expected], rtol=1e-5)
    with jax.enable_x64(True):
        for epsilon in (1e-3, 1e-9):
            both = jax.tree.map(lambda e, n, size=epsilon: e.astype(float) + size * n.astype(float), equal, noise)
            np.testing.assert_allclose(spread(both), [epsilon * expected], rtol=1e-5)


def test_they_run_for_many_networks_at_once():
    model = network("tanh", "he")
    keys = jax.random.split(KEY, 3)
    params = jax.vmap(model.init)(keys).params

    def look(params, x):
        return ranks(model, params, x), spread(params)

    found = map_seeds(look, params, jnp.asarray(INPUTS), chunk=2)
    for row in range(3):
        one = look(jax.tree.map(lambda leaf, row=row: leaf[row], params), jnp.asarray(INPUTS))
        jax.tree.map(lambda a, b, row=row: np.testing.assert_allclose(a[row], b, rtol=1e-6), found, one)


def test_ranks_count_singular_values_above_the_tolerance():
    model = MLP((3, 3, 2), "identity")
    kernels = [jnp.diag(jnp.array([1.0, 0.1, 1e-4])), jnp.zeros((3, 2))]
    params = {f"dense_{i}": {"kernel": kernel, "bias": jnp.zeros(kernel.shape[1])} for i, kernel in enumerate(kernels)}
    for tolerance, rank in ((0.5, 1), (1e-3, 2), (1e-5, 3)):
        found = ranks(model, params, jnp.eye(3), tolerance)
        assert (found.kernel.tolist(), found.activations.tolist()) == ([rank], [rank])


DATA = Dataset("ten", SPLIT, Split(INPUTS[:0], LABELS[:0]), SPLIT, 3, repeats_expected=True)


def test_one_unit_of_their_rates_learns_as_equal_units_do():
    """Three equal units of weights 0.5 and 0.2, and one of 0.5 and 0.6, after 30 steps."""

    def trained(units: int, output: float, count: int):
        shapes = {"dense_0": {"kernel": (1, 4, units), "bias": (1, units)}, "dense_1": {"kernel": (1, units, 3)}}
        start = jax.tree.map(lambda shape: np.full(shape, 0.5, np.float32), shapes, is_leaf=lambda x: type(x) is tuple)
        start["dense_0"]["bias"][:] = 0
        start["dense_1"] = {
            "kernel": start["dense_1"]["kernel"] * 0 + np.float32(output),
            "bias": np.zeros((1, 3), "f4"),
        }
        recipe = Recipe(optimizer=as_equal_units(count, 0.9), learning_rate=0.1, batch_size=None, epochs=30)
        return train_many(network("tanh", widths=(4, units, 3)), recipe, DATA, [0], start=start)

    three, one = trained(3, 0.2, 1), trained(1, 0.6, 3)
    assert three.history["train_loss"][0, -1] < three.history["train_loss"][0, 0] - 0.1
    np.testing.assert_allclose(three.history["train_loss"], one.history["train_loss"], rtol=1e-5)


def test_the_linear_theory_foretells_training_near_zero():
    """From noise of 1e-6 in whole batches, step by step; and in the end by the fastest direction's growth."""
    model = MLP((4, 6, 3), "tanh", initializer="he", scale=1e-6)
    recipe = Recipe(optimizer="momentum", learning_rate=0.1, momentum=0.9, batch_size=None, epochs=60)
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2], np.int32)  # as many of each: then 1/3 is right from the start
    split = Split(INPUTS[:9], labels)
    dataset = Dataset("nine", split, Split(INPUTS[:0], labels[:0]), split, 3, repeats_expected=True)
    look = Observe(lambda moment: spread(moment.state.params)[0], steps=range(61))
    found = train_many(model, recipe, dataset, [4], observe={"spread": look}).observed["spread"][0]
    saddle = saddle_at_zero(INPUTS[:9].astype(float), np.eye(3)[labels])
    layers = [np.asarray(layer["kernel"], float) for layer in dense_layers(model.init(make_keys(4).init).params)]
    rates = {"learning_rate": 0.1, "momentum": 0.9}
    np.testing.assert_allclose(found, linear_spread(saddle, *layers, steps=60, **rates), rtol=1e-4)
    late = linear_spread(saddle, *layers, steps=600, **rates)
    assert late[-1] / late[-2] == pytest.approx(growth(saddle.rates[0], **rates), rel=1e-6)


def test_units_part_at_the_first_step_above():
    spreads = np.array([[0.0, 0.1, 0.3, 0.2, 0.4], [0.5, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.2]])
    assert steps_to_part(spreads, 0.2).tolist() == [2, 0, -1]
