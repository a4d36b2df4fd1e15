"""How equal hidden units part: what their start leaves without a gradient, and how far apart they have come."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree, Real

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


def ranks(model: MLP, params: Params, x: Float[Array, "batch *features"], tolerance: float = 1e-3) -> Ranks:
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


def as_equal_units(count: int, momentum: float) -> Callable[[Any], optax.GradientTransformation]:
    """Gradient descent that makes one hidden unit learn as so many equal ones do together.

    Equal units of weights w and v give count * g(w . x) v. As one unit they have the output weights V = count * v,
    which move count times as fast, while w, driven by v = V / count, moves 1 / count as fast.

    Args:
        count: units, at least 1; 1 changes nothing.
        momentum: in [0, 1).

    Returns:
        The optimizer, as a function of the learning rate, for an MLP with one hidden layer and biases.
    """
    rates = {"hidden": optax.scale(1 / count), "output": optax.scale(count), "bias": optax.identity()}
    labels = {"dense_0": "hidden", "dense_1": {"kernel": "output", "bias": "bias"}}
    return lambda rate: optax.chain(optax.partition(rates, labels), optax.sgd(rate, momentum=momentum))


def steps_to_part(spreads: Real[np.ndarray, "*networks steps"], apart: float) -> Int[np.ndarray, "*networks"]:
    """The first step after which the units have parted.

    Args:
        spreads: at the start and after every step (`spread`).
        apart: above which they count as parted, in the same unit.

    Returns:
        The step, 0 where they start apart; -1 where they never part.
    """
    parted = spreads > apart
    return np.where(parted.any(axis=-1), parted.argmax(axis=-1), -1)


class Saddle(NamedTuple):
    """What the saddle at zero pulls apart: C = mean_i x_i (y_i - mean y)' = sum_k sigma_k u_k v_k'."""

    inputs: Float[np.ndarray, "inputs modes"]
    """The u_k."""
    rates: Float[np.ndarray, " modes"]
    """The sigma_k, in falling order."""
    outputs: Float[np.ndarray, "modes classes"]
    """The v_k."""


def saddle_at_zero(x: Real[np.ndarray, "examples inputs"], targets: Real[np.ndarray, "examples classes"]) -> Saddle:
    """The linear theory of a network with one hidden layer whose weights are all near zero.

    With an activation g(z) = z + O(z^2) the outputs are W_2' W_1' x + const. Where that constant gives every class its
    share of the examples, as it does at once, the gradients are -C W_2' of W_1 and -W_1' C of W_2: in every singular
    direction of C, input and output weights drive each other.

    Args:
        x: inputs, as the network sees them.
        targets: one-hot for cross-entropy with softmax; for half the squared error, what is to be given.

    Returns:
        The directions and their rates.

    Source: Saxe, McClelland and Ganguli, arXiv:1312.6120, section 1, of linear networks.
    """
    centred = targets - targets.mean(axis=0, keepdims=True)
    return Saddle(*np.linalg.svd(x.T @ centred / len(x), full_matrices=False))


def growth(rate: float, learning_rate: float, momentum: float) -> float:
    """Factor by which gradient descent makes a direction of the saddle grow per step, in the end.

    The larger root r of (r - 1) (r - m) = eta sigma r, with momentum m and learning rate eta.

    Args:
        rate: sigma, at least 0.
        learning_rate: eta, positive.
        momentum: m, in [0, 1).
    """
    trace = 1 + momentum + learning_rate * rate
    return float((trace + np.sqrt(trace**2 - 4 * momentum)) / 2)


def linear_spread(
    saddle: Saddle,
    hidden: Real[np.ndarray, "inputs units"],
    output: Real[np.ndarray, "units classes"],
    *,
    steps: int,
    learning_rate: float,
    momentum: float,
) -> Float[np.ndarray, " times"]:
    """How far apart the units are step by step, by the linear theory of the saddle, from where a network starts.

    Unlike `growth` it follows all directions: a random start has some of each, and the slower ones count at first. With
    a_k = u_k' W_1 and b_k = W_2 v_k, both grow by eta times a velocity, of a_k <- m (its last) + sigma_k b_k, and of
    b_k the other way round. What W_1 has beside the u_k stays. Whole batches, no biases.

    Args:
        saddle: `saddle_at_zero`.
        hidden, output: W_1 and W_2 at the start, of any size, as the theory is linear in both together.
        steps: how many.
        learning_rate, momentum: eta and m.

    Returns:
        The `spread` at the start and after every step.
    """
    a, b = saddle.inputs.T @ hidden, saddle.outputs @ output.T
    rest = hidden - saddle.inputs @ a
    pull, velocity = saddle.rates[:, None], (np.zeros_like(a), np.zeros_like(b))

    def square(weights: Float[np.ndarray, "rows units"]) -> float:
        return float(np.sum((weights - weights.mean(axis=1, keepdims=True)) ** 2)) / weights.shape[1]

    squares = [square(rest) + square(a)]
    for _ in range(steps):
        velocity = (momentum * velocity[0] + pull * b, momentum * velocity[1] + pull * a)
        a, b = a + learning_rate * velocity[0], b + learning_rate * velocity[1]
        squares.append(square(rest) + square(a))
    return np.sqrt(squares)
