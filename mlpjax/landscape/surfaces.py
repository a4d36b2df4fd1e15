"""Slices through the loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlpjax.typing import Params

POINTS_AT_ONCE = 4
"""Grid points that are evaluated side by side."""


def surface(
    loss: Callable[[Params], Float[Array, ""]],
    params: Params,
    directions: tuple[Params, Params],
    alphas: Float[Array, " columns"],
    betas: Float[Array, " rows"],
) -> Float[Array, "rows columns"]:
    """Loss on a plane through a network: f(alpha, beta) = L(theta + alpha d_1 + beta d_2).

    Args:
        loss: the loss of one network, as a function of its parameters alone.
        params: theta, the plane's centre.
        directions: d_1 and d_2, in the form of `params`.
        alphas: steps along d_1.
        betas: steps along d_2.

    Returns:
        f, a row for each beta and a column for each alpha.
    """
    first, second = directions

    def at(step: Float[Array, "2"]) -> Float[Array, ""]:
        return loss(jax.tree.map(lambda p, a, b: p + step[0] * a + step[1] * b, params, first, second))

    columns, rows = jnp.meshgrid(alphas, betas)
    steps = jnp.stack([columns.ravel(), rows.ravel()], axis=1)
    return jax.lax.map(at, steps, batch_size=POINTS_AT_ONCE).reshape(columns.shape)
