"""The convolution, against SciPy's and the compiler's own gradients, inside loops and out of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from mlpjax.convolution import _convolve, _correlate, convolve

RNG = np.random.default_rng(0)


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("size", [(3, 3), (1, 1), (5, 3)])
def test_it_is_scipy_s_correlation_with_zeros_around_the_image(size):
    x, w = draw(2, 6, 7, 3), draw(*size, 3, 4)
    expected = [
        [sum(scipy.signal.correlate2d(image[..., i], w[..., i, o], "same") for i in range(3)) for o in range(4)]
        for image in np.asarray(x, float)
    ]
    np.testing.assert_allclose(convolve(x, w), np.moveaxis(expected, 1, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 3), (1, 1), (5, 3)])
def test_gradients_are_those_of_the_compiler(size):
    x, w, d = draw(2, 6, 7, 3), draw(*size, 3, 4), draw(2, 6, 7, 4)

    def gradients(function):
        return jax.jit(lambda x, w, d: jax.vjp(function, x, w)[1](d))(x, w, d)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *map(gradients, (_convolve, _correlate))
    )


def test_gradients_can_be_differentiated_forwards():
    x, w, v = draw(2, 6, 6, 2), draw(3, 3, 2, 3), draw(3, 3, 2, 3)

    def hessian_product(function):
        gradient = jax.grad(lambda w: jnp.sum(jnp.tanh(function(x, w)) ** 2))
        return jax.jit(lambda v: jax.jvp(gradient, (w,), (v,))[1])(v)

    np.testing.assert_allclose(hessian_product(_convolve), hessian_product(_correlate), rtol=1e-3, atol=1e-3)


def test_in_a_loop_every_convolution_is_one_that_the_library_computes():
    """XLA leaves a convolution whose axes lie otherwise to a plain loop over its pixels."""
    x, w = draw(3, 2, 6, 6, 4), draw(3, 3, 4, 4)

    def loss(w):
        return jax.lax.scan(lambda total, x: (total + jnp.sum(convolve(convolve(x, w), w) ** 2), None), 0.0, x)[0]

    program = jax.jit(jax.grad(loss)).lower(w).compile().as_text()
    found = [line for line in program.splitlines() if " convolution(" in line]
    assert len(found) >= 4
    assert all("dim_labels=b01f_01io->b01f" in line for line in found)
