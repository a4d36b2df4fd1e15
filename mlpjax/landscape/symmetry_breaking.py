"""How equal hidden units part: what their start leaves without a gradient, and how far apart they have come."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from mlpjax.landscape.linear_algebra import one_by_one
from mlpjax.models import MLP, dense_layers
from mlpjax.task import MeanLoss
from mlpjax.typing import Params


def zero_gradients(loss: MeanLoss, params: PyTree, data: PyTree) -> PyTree[Int[Array, ""]]:
    """How many entries of every leaf have a gradient that is exactly zero.

    From an all-zero start of x -> W_1 -> g -> W_2 with error delta, dL/dW_2 = g(0) delta and dL/dW_1 = x g'(0) (W_2
    delta)'. W_2 = 0 makes the second exactly zero whatever the activation, and g(0) = 0 (tanh, ReLU) the first as well,
    so that the output bias alone can move, for ever. With a sigmoid g(0) = 1/2: the output kernel moves first, the
    hidden layer from the second step on.

    Args:
        loss: the mean loss, of parameters and data.
        params: theta, of any form.
        data: examples are the rows of every leaf.

    Returns:
        For every leaf the number of its entries whose gradient is 0 to the last bit.
    """
    return jax.tree.map(lambda leaf: jnp.sum(leaf == 0, dtype=jnp.int32), jax.grad(loss)(params, data))


class Ranks(NamedTuple):
    """Numerical ranks of every hidden layer, from the first."""

    kernel: Int[Array, " hidden_layers"]
    """Of its weights [inputs, units]: 1 where all units look for the same, 0 where all weights are zero."""
    activations: Int[Array, " hidden_layers"]
    """Of what its units give [examples, units]: 1 where all units give the same, 0 where none gives anything."""


def ranks(model: MLP, params: Params, x: Float[Array, "batch inputs"], tolerance: float = 1e-3) -> Ranks:
    """How many directions the hidden layers really have: singular values above `tolerance` times the largest one.

    Args:
        model: the network.
        params: its parameters.
        x: inputs, at least as many as the widest hidden layer has units.
        tolerance: relative size below which a singular value counts as zero; rounding leaves equal units a relative
            difference of about 1e-6.

    Returns:
        The ranks, at most the smaller side of each matrix.
    """

    @one_by_one
    def rank(matrix: Float[Array, "rows columns"]) -> Int[Array, ""]:
        return jnp.linalg.matrix_rank(matrix, rtol=tolerance).astype(jnp.int32)

    kernels = [layer["kernel"] for layer in dense_layers(params)[:-1]]
    return Ranks(*(jnp.stack([*map(rank, of)]) for of in (kernels, model.activations(params, x)[:-1])))


def spread(params: Params) -> Float[Array, " hidden_layers"]:
    """How far apart the units of every hidden layer are: the root mean square distance to their mean.

    sqrt(mean_j ||w_j - mean_k w_k||^2), with w_j the weights into unit j and its bias: 0 where all units are equal, and
    epsilon times that of the noise where a start of equal units has noise of scale epsilon added.

    Args:
        params: the network's parameters.

    Returns:
        The spread of every hidden layer, in the unit of the weights.
    """

    def of_layer(layer: Params) -> Float[Array, ""]:
        rows = jnp.concatenate([layer["kernel"], *([layer["bias"][None]] if "bias" in layer else [])])
        squares = jnp.sum((rows - jnp.mean(rows, axis=1, keepdims=True)) ** 2, axis=0)
        return jnp.sqrt(jnp.mean(squares))

    return jnp.stack([of_layer(layer) for layer in dense_layers(params)[:-1]])
