"""Paths from one network to another."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlpjax.typing import Params


def line(
    loss: Callable[[Params], Float[Array, ""]], start: Params, end: Params, t: Float[Array, " points"]
) -> Float[Array, " points"]:
    """Loss on the straight line between two networks: L((1 - t) theta_0 + t theta_1).

    Args:
        loss: the loss of one network, as a function of its parameters alone.
        start: theta_0.
        end: theta_1.
        t: where on the line; 0 is the start and 1 the end.

    Returns:
        The loss at every t.
    """
    return jax.lax.map(lambda s: loss(jax.tree.map(lambda a, b: (1 - s) * a + s * b, start, end)), t)


def barrier(t: Float[Array, " points"], losses: Float[Array, " points"]) -> Float[Array, ""]:
    """How far a path rises above the chord of its ends: max_t L(t) - ((1 - t) L(0) + t L(1)).

    Args:
        t: where on the path, rising from 0 to 1.
        losses: the loss there.

    Returns:
        The barrier, at least 0; 0 where the path nowhere rises above the chord.

    Source: Entezari et al., arXiv:2110.06296, definition 1 (Frankle et al. take the mean of the ends instead).
    """
    return jnp.max(losses - ((1 - t) * losses[0] + t * losses[-1]))
