"""Factorisations of one matrix, safe to be lifted over many networks."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

P = ParamSpec("P")
R = TypeVar("R")


def one_by_one(function: Callable[P, R]) -> Callable[P, R]:
    """Let `vmap` factorise one matrix after the other where a CPU does it, and all at once on an accelerator.

    JAX's CPU kernels for a batch of matrices share it out to the threads in which they run themselves, and wait: as
    many of them at once as there are threads, on several devices or in one program, wait for ever (JAX 0.10.2,
    jaxlib/cpu/lapack_kernels.cc; newer ones do not share it out). A single matrix is never waited for.

    Args:
        function: of arrays, pure; it is not differentiated.

    Returns:
        The function.
    """
    sequential = jax.custom_batching.sequential_vmap(function)

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        chosen = sequential if jax.default_backend() == "cpu" else function
        return chosen(*args, **kwargs)

    return wrapped


@one_by_one
def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """All eigenvalues of a symmetric matrix, in rising order, and its eigenvectors.

    LAPACK's divide and conquer gives up on some matrices with many equal eigenvalues, and returns NaN. Then the rows
    and columns in the opposite order, other numbers to it, have the answer.

    Args:
        matrix: A, symmetric.

    Returns:
        lambda and the columns V with A = V diag(lambda) V'; lambda is NaN where the matrix is not finite.
    """
    finite = jnp.isfinite(matrix).all()
    matrix = jnp.where(finite, matrix, 0)  # what is no number can keep LAPACK busy for ever

    def reversed_order() -> tuple[Array, Array]:
        values, vectors = jnp.linalg.eigh(matrix[::-1, ::-1])
        return values, vectors[::-1]

    values, vectors = jnp.linalg.eigh(matrix)
    values, vectors = jax.lax.cond(jnp.isnan(values[0]), reversed_order, lambda: (values, vectors))
    return jnp.where(finite, values, jnp.nan), vectors
