"""The backpropagated signal, against backpropagation by hand and against linear networks, where all is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import MLP, Recipe, Split, UserError, make_task, mean_loss
from mlpjax.landscape.signals import delta_norms, factor_per_layer
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
