"""Losses of each example, what counts as a correct answer, and penalties on the weights.

To add a loss, write it here under `@_loss(...)`: recipes and the command line have it then.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Integer, PyTree

from mlpjax.errors import UserError, require_choice
from mlpjax.typing import Number, is_zero

Labels = Integer[Array, "batch"] | Float[Array, "batch outputs"]
"""The class of each example, or its target; a single output takes labels 0 and 1."""


class Loss(NamedTuple):
    """A loss, and what is known of it."""

    function: Callable[..., Array]
    """(outputs, labels) -> the loss of each example; where it smooths, of (outputs, labels, label_smoothing)."""
    threshold: float | None = None
    """A single output above it answers class 1; None where a single output cannot tell two classes apart."""
    smooths: bool = False
    """Whether the function takes a third argument, the label smoothing."""
    logits: bool = False
    """Whether the outputs are logits, of which the function itself makes probabilities."""


LOSSES: dict[str, Loss] = {}
"""By name."""


def _loss(
    threshold: float | None = None, smooths: bool = False, logits: bool = False
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Put a function into the table, under its own name."""

    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        LOSSES[function.__name__] = Loss(function, threshold, smooths, logits)
        return function

    return register


def to_targets(outputs: Float[Array, "batch outputs"], labels: Labels) -> Float[Array, "batch outputs"]:
    """Labels as targets shaped like the outputs.

    Integer labels become rows of the identity matrix; with a single output the label itself, 0 or 1, is the
    target. Targets already one-hot or soft come back unchanged.

    Args:
        outputs: the network's outputs; only shape and dtype are used.
        labels: integers in [0, outputs) (0 and 1 with a single output), or targets. Unchecked: an integer
            outside the range becomes a row of zeros.

    Returns:
        the targets.
    """
    if labels.ndim == 2:
        return labels
    if outputs.shape[1] == 1:
        return labels[:, None].astype(outputs.dtype)
    return jax.nn.one_hot(labels, outputs.shape[1], dtype=outputs.dtype)


def smooth(targets: Float[Array, "batch outputs"], alpha: Number, classes: int) -> Float[Array, "batch outputs"]:
    """Label smoothing: mix the targets with the uniform distribution.

    (1 - alpha) y + alpha / classes

    Args:
        targets: one-hot or soft targets.
        alpha: share of the uniform distribution, in [0, 1]; may be traced; the Python number 0 adds no work.
        classes: how many classes the targets choose from: 2 where an output stands alone for "yes".

    Returns:
        the smoothed targets.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna (2016), arXiv:1512.00567, section 7.
    """
    if is_zero(alpha):
        return targets
    return (1 - alpha) * targets + alpha / classes


@_loss(threshold=0.5, smooths=True)
def squared_error(
    outputs: Float[Array, "batch outputs"], labels: Labels, label_smoothing: Number = 0.0
) -> Float[Array, "batch"]:
    """Squared error of each example, the mean over the outputs.

    mean_k (f_k - y_k)^2, with gradient 2 (f_k - y_k) / outputs.

    Args:
        outputs: the network's outputs f, after whatever output activation it has.
        labels: integer classes or targets y; with a single output, 0 and 1.
        label_smoothing: alpha in [0, 1], see `smooth`.

    Returns:
        the loss of each example; its mean over the batch is the "MSE" over batch and classes.

    Source: Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors",
    equation 3, there summed over outputs and halved.
    """
    targets = smooth(to_targets(outputs, labels), label_smoothing, max(2, outputs.shape[1]))
    return optax.squared_error(outputs, targets).mean(axis=1)


@_loss(smooths=True, logits=True)
def cross_entropy(
    outputs: Float[Array, "batch outputs"], labels: Labels, label_smoothing: Number = 0.0
) -> Float[Array, "batch"]:
    """Softmax cross-entropy of each example, on logits.

    -sum_k y_k log softmax(f)_k, with gradient softmax(f) - y where y sums to 1.

    Args:
        outputs: logits f, at least two.
        labels: integer classes or targets y.
        label_smoothing: alpha in [0, 1], see `smooth`.

    Returns:
        the loss of each example, in nats.

    Raises:
        UserError: there is a single output, whose softmax is always 1.

    Source: Bridle (1990), "Probabilistic interpretation of feedforward classification network outputs".
    """
    classes = outputs.shape[1]
    if classes == 1:
        raise UserError("loss 'cross_entropy' needs two outputs or more, not 1: choose binary_cross_entropy")
    # Targets even for integer labels: picking a logit by index has a scatter for its gradient, slow on a CPU.
    return optax.softmax_cross_entropy(outputs, smooth(to_targets(outputs, labels), label_smoothing, classes))


@_loss(threshold=0.0, logits=True)
def binary_cross_entropy(outputs: Float[Array, "batch outputs"], labels: Labels) -> Float[Array, "batch"]:
    """Binary cross-entropy of each example, on one logit or the mean over several independent ones.

    mean_k [-y_k log sigmoid(f_k) - (1 - y_k) log sigmoid(-f_k)],
    with gradient (sigmoid(f_k) - y_k) / outputs.

    Args:
        outputs: logits f; each answers its own yes-or-no question.
        labels: 0 and 1 for one logit; for several, a matrix of targets y in [0, 1], or integer classes (one
            against the rest).

    Returns:
        the loss of each example, in nats.

    Source: Bishop (2006), "Pattern Recognition and Machine Learning", equation 4.90.
    """
    return optax.sigmoid_binary_cross_entropy(outputs, to_targets(outputs, labels)).mean(axis=1)


if TYPE_CHECKING:
    LossName: TypeAlias = str
else:
    LossName = Literal[tuple(LOSSES)]


def loss_of(choice: str | Callable[..., Array] | Loss) -> Loss:
    """The loss that a name, a function or a whole record stands for.

    Args:
        choice: a key of `LOSSES`; a function (outputs, labels) -> the loss of each example; or a record.

    Returns:
        The record.

    Raises:
        UserError: an unknown name.
    """
    if isinstance(choice, Loss):
        return choice
    if callable(choice):
        return Loss(choice)
    require_choice("loss", choice, LOSSES)
    return LOSSES[choice]


def classes_of(
    outputs: Float[Array, "batch outputs"], loss: str | Callable[..., Array] | Loss
) -> Integer[Array, "batch"]:
    """The class that each row of outputs stands for.

    Several outputs answer with the largest (of equal ones, the first); a single one answers 1 above the
    threshold of its loss: 0 for a logit (binary_cross_entropy), 1/2 for squared_error.

    Args:
        outputs: the network's outputs.
        loss: what the outputs were trained with.

    Returns:
        the class of each row.

    Raises:
        UserError: there is a single output and the loss has no threshold for it.
    """
    if outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    threshold = loss_of(loss).threshold
    if threshold is None:
        singles = ", ".join(sorted(name for name, known in LOSSES.items() if known.threshold is not None))
        raise UserError(
            f"loss {loss if isinstance(loss, str) else 'function'}: has no threshold for a single output; "
            f"choose from {singles}, or give a Loss with a threshold"
        )
    return (outputs[:, 0] > threshold).astype(jnp.int32)


def correct(
    outputs: Float[Array, "batch outputs"], labels: Labels, loss: str | Callable[..., Array] | Loss
) -> Bool[Array, "batch"]:
    """Whether each example is classified correctly, as `classes_of` does it; a row with NaN is wrong.

    Args:
        outputs: the network's outputs.
        labels: integer classes or targets.
        loss: what the outputs were trained with.

    Returns:
        True where the answer is right.

    Raises:
        UserError: there is a single output and the loss has no threshold for it.
    """
    if labels.ndim == 1:
        classes = labels
    elif labels.shape[1] > 1:
        classes = labels.argmax(axis=1)
    else:
        classes = (labels[:, 0] > 0.5).astype(jnp.int32)
    return (classes_of(outputs, loss) == classes) & ~jnp.isnan(outputs).any(axis=1)


def kernel_mask(params: PyTree) -> PyTree[bool]:
    """Which parameters are weights: True for leaves named "kernel", False for biases and PReLU's alpha.

    Args:
        params: nested dicts of parameters, as `init` returns them.

    Returns:
        the same tree with booleans for leaves, as optax's masks want it.
    """
    return jax.tree.map_with_path(lambda path, _: jax.tree_util.keystr(path[-1:], simple=True) == "kernel", params)


def kernels(params: PyTree[Array]) -> list[Array]:
    """The weights alone, in the order of the tree's leaves: what `ridge` and `lasso` penalise.

    Args:
        params: nested dicts of parameters, as `init` returns them.

    Returns:
        the kernels.
    """
    selected = zip(jax.tree.leaves(params), jax.tree.leaves(kernel_mask(params)), strict=True)
    return [leaf for leaf, is_kernel in selected if is_kernel]


def ridge(params: PyTree[Array]) -> Float[Array, ""]:
    """Ridge penalty: the sum of the squared weights, without biases and PReLU's alpha.

    sum w^2, without the 1/2 of some texts: lambda * ridge has gradient 2 lambda w.

    Args:
        params: nested dicts of parameters, as `init` returns them.

    Returns:
        the penalty, to be multiplied by lambda.

    Source: Hoerl and Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems".
    """
    return optax.tree.norm(kernels(params), squared=True)


def lasso(params: PyTree[Array]) -> Float[Array, ""]:
    """Lasso penalty: the sum of the weights' absolute values, without biases and PReLU's alpha.

    sum |w|: lambda * lasso has gradient lambda sign(w), and 0 at w = 0.

    Args:
        params: nested dicts of parameters, as `init` returns them.

    Returns:
        the penalty, to be multiplied by lambda.

    Source: Tibshirani (1996), "Regression shrinkage and selection via the lasso".
    """
    # Not jnp.abs, whose derivative at 0 is 1 in JAX.
    return optax.tree.sum([kernel * jnp.sign(kernel) for kernel in kernels(params)])
