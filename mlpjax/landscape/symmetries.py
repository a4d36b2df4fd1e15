"""Symmetries of a network: hidden units that do the same."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlpjax.models import dense_layers
from mlpjax.typing import Params


def distinct_units(params: Params, tolerance: float = 1e-3) -> Int[Array, " hidden_layers"]:
    """How many different hidden units every hidden layer has.

    Two units of a layer are the same where their weights v and w (the kernel's column with the bias) have
    ||v - w|| <= tolerance max(||v||, ||w||), with ||.|| the largest absolute component: whatever the input, they then
    give the same output. Equal weights may differ by rounding, since a matrix product adds up different columns in
    different orders; the tolerance allows that.

    Args:
        params: the network's parameters.
        tolerance: relative distance below which two units are the same.

    Returns:
        For every hidden layer the number of units that repeat no unit before them, at least 1.
    """
    return jnp.stack([_distinct_columns(layer, tolerance) for layer in dense_layers(params)[:-1]])


def _distinct_columns(layer: Params, tolerance: float) -> Int[Array, ""]:
    columns = layer["kernel"].T
    if "bias" in layer:
        columns = jnp.concatenate([columns, layer["bias"][:, None]], axis=1)
    lengths = jnp.max(jnp.abs(columns), axis=1)  # no squares, which underflow where weights are tiny

    def repeats(unit: Int[Array, ""]) -> Array:
        distance: Float[Array, " units"] = jnp.max(jnp.abs(columns - columns[unit][None]), axis=1)
        same = distance <= tolerance * jnp.maximum(lengths, lengths[unit])
        return jnp.any(same & (jnp.arange(len(lengths)) < unit))

    return jnp.sum(~jax.lax.map(repeats, jnp.arange(len(lengths))), dtype=jnp.int32)
