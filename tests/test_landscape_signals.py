"""The backpropagated signal, against backpropagation by hand and against linear networks, where all is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import MLP, Recipe, Split, UserError, make_task, mean_loss
from mlpjax.landscape.signals import FLAT, delta_norms, factor_per_layer, hidden_units
from mlpjax.models import dense_layers

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)


def test_the_signal_is_that_of_backpropagation_by_hand() -> None:
    model = MLP((3, 4, 5, 2), "tanh")
    params = model.init(jax.random.key(0)).params
    loss = mean_loss(make_task(model, Recipe("squared_error"), Split(X, Y)))
    first, second, outputs = map(np.asarray, model.activations(params, jnp.asarray(X)))
    weights = [np.asarray(layer["kernel"]) for layer in dense_layers(params)]
    delta = outputs - Y  # of one example's mean over two outputs
    deltas = [delta]
    for activations, kernel in ((second, weights[2]), (first, weights[1])):
        deltas.append(deltas[-1] @ kernel.T * (1 - activations**2))
    expected = [np.sqrt(np.mean(np.sum(delta**2, axis=1))) for delta in reversed(deltas)]
    np.testing.assert_allclose(delta_norms(loss, params, Split(X, Y)), expected, rtol=1e-5)


def test_rotations_leave_the_signal_and_doubled_ones_double_it() -> None:
    model = MLP((3, 3, 3, 3, 2), "identity")
    loss = mean_loss(make_task(model, Recipe("squared_error"), Split(X, Y)))
    params = model.init(jax.random.key(0)).params
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0], jnp.float32)
    for scale in (1.0, 2.0):
        for layer in dense_layers(params)[1:3]:
            layer["kernel"] = scale * rotation
        norms = delta_norms(loss, params, Split(X, Y))
        np.testing.assert_allclose(norms[0] / norms[2], scale**2, rtol=1e-5)
        assert float(factor_per_layer(norms)) == pytest.approx(scale, rel=1e-5)


def test_a_network_without_biases_is_refused() -> None:
    model = MLP((3, 4, 2), bias="none")
    loss = mean_loss(make_task(model, Recipe("squared_error"), Split(X, Y)))
    with pytest.raises(UserError, match="bias: the signal of a layer"):
        delta_norms(loss, model.init(jax.random.key(0)).params, Split(X, Y))


@pytest.mark.parametrize("bias", ["same", "none"])
def test_hidden_units_are_those_of_a_network_by_hand(bias: str) -> None:
    """Of tanh, whose slope is 1 - a^2; drawn so large that a third of all pairs is flat, and one unit on every row."""
    model = MLP((3, 4, 5, 2), "tanh", bias=bias, scale=1.5)
    params = model.init(jax.random.key(0)).params
    params["dense_0"]["kernel"] = params["dense_0"]["kernel"].at[:, 0].set(0.0)
    if bias == "same":
        params["dense_0"]["bias"] = params["dense_0"]["bias"].at[0].set(5.0)
    found = hidden_units(model, params, jnp.asarray(X))
    a = X.astype(float)
    for layer, kernel in enumerate(np.asarray(dense_layers(params)[place]["kernel"], float) for place in range(2)):
        z = a @ kernel + (np.asarray(params[f"dense_{layer}"]["bias"], float) if bias == "same" else 0)
        a = np.tanh(z)
        flat = 1 - a**2 <= FLAT
        expected = a.mean(), flat.mean(), flat.all(axis=0).mean()
        np.testing.assert_allclose([field[layer] for field in found], expected, rtol=1e-5, atol=1e-6)
    assert (found.flat > 0).all() and (found.stuck[0] == 0.25) == (bias == "same")


def test_dead_and_saturated_units_are_told_of_every_activation() -> None:
    """Two units, of which one has z = -5 on every row and the other z = 0.5."""
    x = jnp.ones((4, 1))
    expected = {
        "relu": 0.5,
        "leaky_relu": 0.5,
        "hard_tanh": 0.5,
        "tanh": 0.5,
        "prelu": 0.0,
        "identity": 0.0,
        "step": 1.0,
    }
    for name, share in expected.items():
        model = MLP((1, 2, 1), name)
        params = model.init(jax.random.key(0)).params
        params["dense_0"] = {"kernel": jnp.array([[-6.0, 1.5]]), "bias": jnp.array([1.0, -1.0])}
        units = hidden_units(model, params, x)
        assert (float(units.flat[0]), float(units.stuck[0])) == (share, share), name
    trained = MLP((1, 2, 1), "prelu").init(jax.random.key(0)).params | {"dense_0": params["dense_0"]}
    assert hidden_units(MLP((1, 2, 1), "prelu"), trained | {"alpha_0": jnp.float32(0.01)}, x).stuck[0] == 0.5
