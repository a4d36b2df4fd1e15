"""The training product: the same numbers as the plain one, and the same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax.models import MLP
from mlpjax.products import exact, make_product

SHAPES = [(4, 2, 2), (4, 2, 1), (20, 2, 3), (3, 20, 2), (100, 2, 3), (7, 30, 20), (1, 5, 40)]
# batch, inputs, outputs; term by term or not


def draw(batch, inputs, outputs, networks=()):
    keys = jax.random.split(jax.random.key(batch), 3)
    shapes = (batch, inputs), (inputs, outputs), (batch, outputs)
    return [jax.random.normal(key, (*networks, *shape)) for key, shape in zip(keys, shapes, strict=True)]


def gradients(product, x, w, d):
    return jax.jit(jax.grad(lambda x, w: jnp.sum(product(x, w) * d), argnums=(0, 1)))(x, w)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("networks", [(), (3,)])
def test_the_product_and_its_gradients_are_the_textbooks(shape, networks):
    x, w, d = draw(*shape, networks)
    product = make_product("float32")
    lift = jax.vmap if networks else lambda function: function
    np.testing.assert_allclose(lift(product)(x, w), np.asarray(x) @ np.asarray(w), rtol=1e-5, atol=1e-5)
    dx, dw = lift(lambda x, w, d: gradients(product, x, w, d))(x, w, d)
    np.testing.assert_allclose(dx, np.asarray(d) @ np.asarray(w).swapaxes(-1, -2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dw, np.asarray(x).swapaxes(-1, -2) @ np.asarray(d), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_hessian_vector_products_go_through(shape):
    x, w, v = (draw(*shape)[i] for i in (0, 1, 1))

    def loss(product):
        return lambda w: jnp.sum(jnp.tanh(product(x, w)) ** 2)

    def hvp(product):
        return jax.jit(lambda w, v: jax.jvp(jax.grad(loss(product)), (w,), (v,))[1])(w, v)

    np.testing.assert_allclose(hvp(make_product("float32")), hvp(exact), rtol=1e-4, atol=1e-4)


def test_mixed_rounds_the_factors_and_sums_in_float32():
    x, w, d = draw(16, 300, 40)
    product = make_product("mixed")

    def rounded(array):
        return np.asarray(array.astype(jnp.bfloat16).astype(jnp.float32), np.float64)

    assert product(x, w).dtype == jnp.float32
    np.testing.assert_allclose(product(x, w), rounded(x) @ rounded(w), rtol=1e-4, atol=1e-4)
    dx, dw = gradients(product, x, w, d)
    np.testing.assert_allclose(dx, rounded(d) @ rounded(w).T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw, rounded(x).T @ rounded(d), rtol=1e-4, atol=1e-4)
    assert np.abs(product(x, w) - np.asarray(x) @ np.asarray(w)).max() > 1e-3


@pytest.mark.parametrize("widths", [(784, 37, 11, 10), (65, 64, 63, 2)])
@pytest.mark.parametrize("batch", [1, 7, 128])
def test_mixed_training_runs_compiled_whatever_the_shapes(widths, batch):
    """Some forms of a bfloat16 product compile, and are then refused by the CPU's library when they run."""
    model = MLP(widths, activation="tanh", precision="mixed")  # a ReLU at 0 would jump
    x = jax.random.normal(jax.random.key(0), (3, batch, widths[0]))

    def loss(params, x, key):
        return jnp.mean(model.activations(params, x, key)[-1] ** 2)

    params = jax.vmap(model.init)(jax.random.split(jax.random.key(1), 3)).params
    mixed, plain = (
        jax.jit(jax.vmap(jax.grad(lambda params, x, key=key: loss(params, x, key))))(params, x)
        for key in (jax.random.key(2), None)
    )
    for found, expected in zip(jax.tree.leaves(mixed), jax.tree.leaves(plain), strict=True):
        assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)
