"""Directions in the space of a network's parameters."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mlpjax.typing import Params


def filter_normalised(key: Key[Array, ""], params: Params) -> Params:
    """Draw a random direction, each filter scaled to the length of the network's own filter.

    d_j <- d_j ||w_j|| / ||d_j||, with d_j ~ N(0, I) and w_j the weights into unit j: a filter of a dense layer is a
    neuron, that is a column of its kernel. Biases and PReLU's slopes do not move (their part is 0).

    Args:
        key: random key.
        params: the network's parameters.

    Returns:
        A direction in the form of `params`.

    Source: Li et al., Visualizing the Loss Landscape of Neural Nets, arXiv:1712.09913, section 4.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)

    def draw(leaf_key: Key[Array, ""], path: tuple, leaf: Array) -> Array:
        if path[-1].key != "kernel":
            return jnp.zeros_like(leaf)
        noise = jax.random.normal(leaf_key, leaf.shape, leaf.dtype)
        length = jnp.linalg.norm(noise, axis=0, keepdims=True)
        return noise / length * jnp.linalg.norm(leaf, axis=0, keepdims=True)

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(treedef, [draw(k, path, leaf) for k, (path, leaf) in zip(keys, leaves, strict=True)])


def cosine(a: Params, b: Params) -> Float[Array, ""]:
    """Cosine of the angle between two directions: <a, b> / (||a|| ||b||)."""
    dot = sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    return dot / jnp.sqrt(_squared_length(a) * _squared_length(b))


def _squared_length(a: Params) -> Float[Array, ""]:
    return sum((jnp.vdot(x, x) for x in jax.tree.leaves(a)), jnp.float32(0))
