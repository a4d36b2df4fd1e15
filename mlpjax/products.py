"""How a layer multiplies while it trains: the matrix product with the gradient that is fastest for its shapes."""

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LayerProduct: TypeAlias = Callable[[Array, Array], Array]
"""(x [batch inputs], w [inputs outputs]) -> x w [batch outputs]."""
PrecisionName = Literal["float32", "mixed"]
PRECISIONS = get_args(PrecisionName)
TINY = 64
"""Weights of a layer that is multiplied out term by term: a call to a matrix product would take longer."""
TERMS = 16
"""Terms of such a product that are written out. More are the sum of an axis: as fast, and compiled sooner."""


def exact(x: Float[Array, "batch inputs"], w: Float[Array, "inputs outputs"]) -> Float[Array, "batch outputs"]:
    """The plain product, for evaluation and the landscape; every JAX transformation goes through it."""
    return x @ w


def make_product(precision: PrecisionName) -> LayerProduct:
    """Make the product for training: x w, with gradients dL/dx = d w^T and dL/dw = x^T d.

    JAX's own gradient of a product computes (d^T x)^T, whose transposition costs as much as a fifth of a step on a
    CPU; here dL/dw comes out as w lies. Like every `custom_vjp` it can be differentiated backwards, and forwards
    over backwards (Hessian-vector products), but not forwards alone.

    Args:
        precision: "float32", or "mixed": factors rounded to bfloat16 (8 significant bits), summed in float32. Weights,
            activations, gradients and the optimizer's state stay float32 either way.

    Returns:
        the product.

    Source: mixed precision, Micikevicius et al., arXiv:1710.03740; with bfloat16, Kalamkar et al., arXiv:1905.12322.
    """

    def contract(a: Array, b: Array, axes: tuple[int, int]) -> Array:
        """Sum over one axis of each; the transpositions are left to the library that multiplies."""
        if precision == "mixed":
            a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        kind = jnp.float32 if precision == "mixed" else None
        return jax.lax.dot_general(a, b, (((axes[0],), (axes[1],)), ((), ())), preferred_element_type=kind)

    def term_by_term(a: Array, b: Array) -> Array:
        if b.shape[0] > TERMS:
            return (a[:, :, None] * b[None]).sum(axis=1)
        terms = [a[:, k, None] * b[None, k] for k in range(b.shape[0])]
        return sum(terms[1:], terms[0])

    def times(x: Array, w: Array) -> Array:
        return term_by_term(x, w) if w.size <= TINY else contract(x, w, (1, 0))

    def input_gradient(d: Array, w: Array) -> Array:
        return term_by_term(d, w.T) if w.size <= TINY else contract(d, w, (1, 1))

    def weight_gradient(x: Array, d: Array) -> Array:
        if x.shape[1] * d.shape[1] <= TINY and x.shape[0] <= TINY:
            return term_by_term(x.T, d)
        if precision == "mixed":
            # A CPU's bfloat16 units want the contracted axis last in x. A plain transposition would be folded back into
            # the product, which then falls back to float32; one that also swaps the halves of the batch is kept, and
            # the sum over the batch does not mind.
            half = x.shape[0] // 2
            x, d = x.astype(jnp.bfloat16).T, d.astype(jnp.bfloat16)
            x = jnp.concatenate([x[:, half:], x[:, :half]], axis=1)
            return contract(x, jnp.concatenate([d[half:], d[:half]]), (1, 0))
        return contract(x, d, (0, 0))

    @jax.custom_vjp
    def product(x: Array, w: Array) -> Array:
        return times(x, w)

    def forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
        return times(x, w), (x, w)

    def backward(saved: tuple[Array, Array], d: Array) -> tuple[Array, Array]:
        x, w = saved
        return input_gradient(d, w), weight_gradient(x, d)

    product.defvjp(forward, backward)
    return product
