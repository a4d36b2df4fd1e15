"""What one network is to everything else: how it starts, what it sees and predicts, what is minimised and reported.

Training, evaluation and the landscape take a `Task` and never ask what is inside. Another kind of work is a function
that makes a task of a task: `augmented`, `adversarial`, `masked`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int, Key, PyTree, UInt8

from mlpjax.data import Split
from mlpjax.data.streamed import Streamed, block
from mlpjax.errors import UserError
from mlpjax.keys import Keys
from mlpjax.losses import Loss, correct, lasso, loss_of, ridge
from mlpjax.models import Model
from mlpjax.recipe import Normalisation, Recipe
from mlpjax.typing import Variables, is_zero

EVALUATION_BATCH, EVALUATION_FEATURES = 1000, 2**20
"""Examples that are evaluated at a time, and features of all of them, at most: their activations stay in the cache."""

MOMENT_NUMBERS = 2**27
"""Numbers of which a copy is made in 64 bits, at a time."""
Examples: TypeAlias = UInt8[np.ndarray | Array, "n *features"] | Float[np.ndarray | Array, "n *features"]
"""Examples as stored, along a leading axis."""
MeanLoss: TypeAlias = Callable[[PyTree, PyTree], Float[Array, ""]]
"""loss(params, data): the mean over the examples, which are the rows of every leaf of `data`."""


class Batch(NamedTuple):
    """One minibatch as the network sees it; rows of weight 0 only fill it up."""

    x: Float[Array, "batch *features"]
    y: Int[Array, " batch"] | Float[Array, "batch outputs"]
    weight: Float[Array, " batch"]


class Metric(NamedTuple):
    """A figure of many examples: a function of means over them."""

    values: Callable[[Array, Array], PyTree]
    """(outputs, targets) -> arrays with a value for each example."""
    of_means: Callable[[PyTree], Float[Array, ""]] = lambda means: means
    """The same tree of means over the examples -> the figure."""


Metrics: TypeAlias = Mapping[str, Metric | Callable[[Array, Array], Array]]
"""By name: a metric, or a function (outputs, targets) -> one number for each example, whose mean is the figure."""


class Task(NamedTuple):
    """All that training, evaluation and the landscape need to know of one network, as pure functions."""

    init: Callable[[Key[Array, ""], Examples], Variables]
    """(key, examples as stored) -> the network at its start; of the examples only shape and type count."""
    prepare: Callable[[Examples], Array]
    """Examples as stored -> as the network sees them."""
    predict: Callable[[Variables, Array], Array]
    """(network, prepared examples) -> outputs, in evaluation: nothing dropped."""
    losses: Callable[[Array, Array], Float[Array, " batch"]]
    """(outputs, targets) -> the loss of each example."""
    metrics: Mapping[str, Metric]
    """What else is reported of outputs and targets, by name."""
    objective: Callable[[Variables, Batch, Keys | None], tuple[Float[Array, ""], PyTree]]
    """(network, minibatch, a step's keys) -> what training minimises, and the statistics after the step. Without keys
    nothing is dropped, deformed or attacked, and the statistics stay."""


def make_task(model: Model, recipe: Recipe, train: Split | None = None, metrics: Metrics | None = None) -> Task:
    """The task of a model and a recipe: classification, or regression where the targets are floats.

    Args:
        model: what gives outputs for inputs.
        recipe: names loss, penalties and normalisation.
        train: the training split, whose targets decide; None: classification of examples that need no statistics.
        metrics: figures to report besides those of `classification` and `regression`.

    Returns:
        The task.

    Raises:
        UserError: a loss that does not fit the targets, or a normalisation without a training split.
    """
    floats = train is not None and jnp.issubdtype(train.y.dtype, jnp.floating)
    return (regression if floats else classification)(model, recipe, train, metrics)


def classification(model: Model, recipe: Recipe, train: Split | None = None, metrics: Metrics | None = None) -> Task:
    """Tell classes apart; reported are the loss and the accuracy, a share in [0, 1].

    Args and errors as of `make_task`.
    """
    loss = loss_of(recipe.loss)
    accuracy = Metric(lambda outputs, labels: correct(outputs, labels, loss))
    return _make(model, recipe, loss, train, {"accuracy": accuracy, **(metrics or {})})


def regression(model: Model, recipe: Recipe, train: Split | None = None, metrics: Metrics | None = None) -> Task:
    """Predict numbers; reported are the loss, the root mean squared error and the coefficient of determination.

    RMSE = sqrt(mean_ik (f_ik - y_ik)^2),  R^2 = mean_k [1 - sum_i (f_ik - y_ik)^2 / sum_i (y_ik - mean_i y_ik)^2].

    Args and errors as of `make_task`.
    """
    if recipe.loss in ("cross_entropy", "binary_cross_entropy"):
        raise UserError(f"loss {recipe.loss}: is for classes, and the targets are numbers; choose squared_error")
    centre = 0.0 if train is None else np.asarray(train.y).mean(axis=0, keepdims=True)  # against rounding

    def deviations(outputs: Array, targets: Array) -> dict[str, Array]:
        y = targets - jnp.asarray(centre, targets.dtype)
        return {"error": (outputs - targets) ** 2, "y": y, "square": y**2}

    def determination(means: dict[str, Array]) -> Float[Array, ""]:
        return jnp.mean(1 - means["error"] / (means["square"] - means["y"] ** 2))

    own = {
        "rmse": Metric(lambda outputs, targets: jnp.mean((outputs - targets) ** 2, axis=1), jnp.sqrt),
        "r2": Metric(deviations, determination),
    }
    return _make(model, recipe, loss_of(recipe.loss), train, {**own, **(metrics or {})})


def _make(model: Model, recipe: Recipe, loss: Loss, train: Split | None, metrics: Metrics) -> Task:
    prepare = make_prepare(recipe.normalisation, None if train is None else np.asarray(train.x))

    def objective(variables: Variables, batch: Batch, keys: Keys | None) -> tuple[Float[Array, ""], PyTree]:
        outputs, stats = model.apply(variables, batch.x, None if keys is None else keys.dropout)
        losses = loss.function(outputs, batch.y, *[recipe.label_smoothing] * loss.smooths)
        total = jnp.sum(batch.weight * losses) / jnp.sum(batch.weight)
        if not is_zero(recipe.ridge):
            total += recipe.ridge * ridge(variables.params)
        if not is_zero(recipe.lasso):
            total += recipe.lasso * lasso(variables.params)
        return total, stats

    return Task(
        init=lambda key, x: model.init(key, prepare(x[:1])),
        prepare=prepare,
        predict=lambda variables, x: model.apply(variables, x)[0],
        losses=loss.function,
        metrics={name: m if isinstance(m, Metric) else Metric(m) for name, m in metrics.items()},
        objective=objective,
    )


def make_prepare(
    normalisation: Normalisation, train: UInt8[np.ndarray, "n *features"] | Float32[np.ndarray, "n *features"] | None
) -> Callable[[Examples], Array]:
    """Make the function that turns stored examples into those that a network sees.

    range: x / 255 for uint8 pixels, x for float32 features. feature: (x - mean) / sd of each feature over the training
    examples; channel: of each colour channel over all pixels of all training examples (of a vector or a grey image, one
    for all). What never varies is only centred.

    Args:
        normalisation: which of these.
        train: the training examples, for the last two.

    Returns:
        A function of arrays of examples of any type, meant for the inside of the compiled loop, so that pixels stay one
        byte each on the device.

    Raises:
        UserError: there are no training examples to take mean and deviation of.
    """

    def in_range(x: Examples) -> Float[Array, "n *features"]:
        x = jnp.asarray(x)
        return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x

    if normalisation == "range":
        return in_range
    if train is None:
        raise UserError(f"normalisation {normalisation}: needs the training split, for its mean and deviation")
    axes = (0,) if normalisation == "feature" else tuple(range(train.ndim - (train.ndim == 4)))
    unit = 255.0 if train.dtype == np.uint8 else 1.0
    mean, deviation = ((moment / unit).astype(np.float32) for moment in _moments(train, axes))
    deviation[deviation == 0] = 1
    return lambda x: (in_range(x) - mean) / deviation


def _moments(
    x: UInt8[np.ndarray, "n *features"] | Float32[np.ndarray, "n *features"], axes: tuple[int, ...]
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Mean and standard deviation along some axes, the first among them, some rows at a time."""
    rows = max(1, MOMENT_NUMBERS // max(1, math.prod(x.shape[1:])))
    blocks = [x[start : start + rows] for start in range(0, len(x), rows)]
    count = math.prod(x.shape[axis] for axis in axes)
    mean = sum(block.sum(axis=axes, keepdims=True, dtype=np.float64) for block in blocks) / count
    squares = (np.square(block - mean).sum(axis=axes, keepdims=True) for block in blocks)
    return mean, np.sqrt(sum(squares) / count)


def augmented(task: Task, augment: Callable[[Key[Array, ""], Array], Array]) -> Task:
    """The task with every minibatch deformed before a step; what is evaluated stays as it is.

    Args:
        task: what to train.
        augment: (key, prepared examples) -> as many examples of the same shape.

    Returns:
        The task.
    """

    def objective(variables: Variables, batch: Batch, keys: Keys | None) -> tuple[Float[Array, ""], PyTree]:
        if keys is not None:
            batch = batch._replace(x=augment(keys.augment, batch.x))
        return task.objective(variables, batch, keys)

    return task._replace(objective=objective)


def adversarial(
    task: Task, attack: Callable[[Key[Array, ""], Callable[[Array], Float[Array, ""]], Array], Array]
) -> Task:
    """The task with every minibatch attacked before a step (Madry et al., arXiv:1706.06083).

    Args:
        task: what to train.
        attack: (key, objective as a function of the prepared examples, these) -> examples of the same shape, on which
            the network as it is now does worse.

    Returns:
        The task; no gradient goes through the attack.
    """

    def objective(variables: Variables, batch: Batch, keys: Keys | None) -> tuple[Float[Array, ""], PyTree]:
        if keys is not None:
            fixed = jax.lax.stop_gradient(variables)
            x = attack(keys.attack, lambda x: task.objective(fixed, batch._replace(x=x), keys)[0], batch.x)
            batch = batch._replace(x=jax.lax.stop_gradient(x))
        return task.objective(variables, batch, keys)

    return task._replace(objective=objective)


def masked(task: Task, mask: PyTree) -> Task:
    """The task with some parameters held at zero: theta * mask, in training and in evaluation.

    Args:
        task: what to train.
        mask: 1 (or True) where a parameter is kept and 0 where not, in the form of the parameters.

    Returns:
        The task; masked parameters have no gradient.
    """

    def keep(variables: Variables) -> Variables:
        params = jax.tree.map(lambda leaf, kept: leaf * jnp.asarray(kept, leaf.dtype), variables.params, mask)
        return variables._replace(params=params)

    return task._replace(
        init=lambda key, x: keep(task.init(key, x)),
        predict=lambda variables, x: task.predict(keep(variables), x),
        objective=lambda variables, batch, keys: task.objective(keep(variables), batch, keys),
    )


def evaluation_batch(x: Examples | Streamed) -> int:
    """How many of these examples are evaluated at a time."""
    return max(1, min(EVALUATION_BATCH, EVALUATION_FEATURES // max(1, math.prod(x.shape[1:]))))


def evaluate(task: Task, variables: Variables, split: Split) -> dict[str, Float[Array, ""]]:
    """Loss and metrics of one network on a whole split: nothing dropped, no penalties.

    Args:
        task: the network's.
        variables: the network.
        split: at least one example, as stored.

    Returns:
        `loss`, the mean over the examples, and the task's metrics by name; these are NaN where the loss is not finite.
    """

    def totals(rows: Split) -> dict[str, Any]:
        outputs, y = task.predict(variables, task.prepare(rows.x)), jnp.asarray(rows.y)
        values = {"loss": task.losses(outputs, y)}
        values |= {name: metric.values(outputs, y) for name, metric in task.metrics.items()}
        return jax.tree.map(lambda leaf: jnp.sum(leaf.astype(jnp.float32), axis=0), values)

    examples, size = split.y.shape[0], evaluation_batch(split.x)

    def totals_from(start: Int[Array, ""] | int, count: int) -> dict[str, Any]:
        return totals(Split(block(split.x, start, count), block(split.y, start, count)))

    whole = examples - examples % size
    parts = []
    if whole:
        sums = jax.lax.map(lambda start: totals_from(start, size), jnp.arange(0, whole, size))
        parts.append(jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), sums))
    if whole < examples:
        parts.append(totals_from(whole, examples - whole))
    means = jax.tree.map(lambda *sums: sum(sums[1:], sums[0]) / examples, *parts)
    figures = {name: metric.of_means(means[name]) for name, metric in task.metrics.items()}
    lost = ~jnp.isfinite(means["loss"])
    return {"loss": means["loss"]} | {name: jnp.where(lost, jnp.nan, figure) for name, figure in figures.items()}


def mean_loss(task: Task, stats: PyTree | None = None) -> MeanLoss:
    """The loss of one network as a function of its parameters, which is what a landscape is of.

    L(theta) = mean_i loss(f(x_i; theta), y_i), nothing dropped and no penalties.

    Args:
        task: the network's.
        stats: its statistics, which stay; None: it has none.

    Returns:
        `loss(params, split)`, computed in the floating-point type of the parameters.
    """

    def loss(params: PyTree, split: Split) -> Float[Array, ""]:
        kind = jax.tree.leaves(params)[0].dtype
        x, y = task.prepare(split.x).astype(kind), jnp.asarray(split.y)
        y = y.astype(kind) if jnp.issubdtype(y.dtype, jnp.floating) else y
        return jnp.mean(task.losses(task.predict(Variables(params, stats or {}), x), y))

    return loss
