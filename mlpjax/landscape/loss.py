"""The loss that a landscape is of: its whole value, in batches or in stages; what cannot be looked at is refused."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlpjax.activations import activation_of
from mlpjax.data import Split
from mlpjax.errors import UserError
from mlpjax.models import MLP
from mlpjax.task import MeanLoss, Task
from mlpjax.typing import Params, Variables


class Stages(NamedTuple):
    """A mean loss in two stages, the first linear in the parameters: L = rest(first(theta, data), theta, data)."""

    first: Callable[[PyTree, PyTree], Float[Array, "examples units"]]
    """(params, data) -> z, a row for each example."""
    rest: Callable[[Float[Array, "examples units"], PyTree, PyTree], Float[Array, ""]]
    """(z, params, data) -> the mean over the examples; without what `first` reads of the parameters."""


def make_stages(model: MLP, task: Task) -> Stages:
    """The loss that `mean_loss` makes of an MLP's task, cut behind the sums of the first layer: z = x W_0 + b_0.

    Args:
        model: the network.
        task: its task, with no wrapper that changes what it predicts.

    Returns:
        Both stages, each of (params, split), computed in the floating-point type of the parameters.
    """
    hidden, output = activation_of(model.activation), activation_of(model.output_activation)
    behind = dataclasses.replace(model, widths=model.widths[1:], dropout=(0.0,)) if model.hidden_layers else None

    def first(params: Params, split: Split) -> Float[Array, "examples units"]:
        layer = params["dense_0"]
        x = task.prepare(split.x).astype(layer["kernel"].dtype)
        z = x.reshape(len(x), -1) @ layer["kernel"]
        return z + layer["bias"][None] if "bias" in layer else z

    def rest(z: Float[Array, "examples units"], params: Params, split: Split) -> Float[Array, ""]:
        if behind is None:
            return jnp.mean(task.losses(output.function(z), jnp.asarray(split.y)))
        alpha = [params["alpha_0"]] if "alpha_0" in params else []
        layers = [name.rsplit("_", 1) for name in params if not name.endswith("_0")]
        later = {f"{kind}_{int(layer) - 1}": params[f"{kind}_{layer}"] for kind, layer in layers}
        outputs, _ = behind.apply(Variables(later), hidden.function(z, *alpha))
        return jnp.mean(task.losses(outputs, jnp.asarray(split.y)))

    return Stages(first, rest)


def known(tree: PyTree) -> bool:
    """Whether the values of all leaves are known now, and not only when a traced program runs."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def require_same_form(first: PyTree, second: PyTree) -> None:
    """Refuse two trees of parameters that are not of the same form.

    Raises:
        UserError: they have other names, or a leaf has another shape.
    """
    forms = [
        {jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf) for path, leaf in leaves}
        for leaves, _ in map(jax.tree_util.tree_flatten_with_path, (first, second))
    ]
    for name in sorted(forms[0].keys() | forms[1].keys()):
        one, other = (form.get(name, "missing") for form in forms)
        if one != other:
            raise UserError(f"parameters of two different networks: {name} is {one} in one and {other} in the other")


def require_finite_loss(value: Float[Array, "..."]) -> None:
    """Refuse a loss that is known and not a number.

    Raises:
        UserError: it is NaN or infinite.
    """
    if not known(value):
        return
    with jax.ensure_compile_time_eval():
        finite = bool(jnp.isfinite(value).all())
    if not finite:
        raise UserError("the loss is not a finite number there: leave out networks that diverged, and check the data")


def mean_over_batches(function: Callable[[PyTree], PyTree], data: PyTree, batch_size: int) -> PyTree:
    """Mean of a function over the examples, some at a time, one batch after the other.

    sum_b n_b function(data_b) / n, exact where `function` is itself a mean over its examples.

    Args:
        function: of a tree like `data`, with fewer rows.
        data: examples are the rows of every leaf.
        batch_size: examples at a time, at least 1; the last batch may be smaller.

    Returns:
        A tree like the function's result.

    Raises:
        UserError: the batch size is not positive.
    """
    if batch_size < 1:
        raise UserError(f"batch_size {batch_size}: must be at least 1")
    examples = len(jax.tree.leaves(data)[0])
    batches, rest = divmod(examples, batch_size)
    parts = []
    if batches:
        stacked = jax.tree.map(
            lambda leaf: jnp.asarray(leaf[: batches * batch_size]).reshape(batches, batch_size, *leaf.shape[1:]), data
        )
        zeros = jax.tree.map(
            lambda form: jnp.zeros(form.shape, form.dtype),
            jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], stacked)),
        )
        total, _ = jax.lax.scan(
            lambda total, batch: (jax.tree.map(jnp.add, total, function(batch)), None), zeros, stacked
        )
        parts.append(jax.tree.map(lambda leaf: leaf * (batch_size / examples), total))
    if rest:
        last = function(jax.tree.map(lambda leaf: jnp.asarray(leaf[-rest:]), data))
        parts.append(jax.tree.map(lambda leaf: leaf * (rest / examples), last))
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *parts)


def whole_loss(loss: MeanLoss, params: PyTree, data: PyTree, batch_size: int | None = None) -> Float[Array, ""]:
    """The loss over the whole data, all at once or in batches, with matrix products of the highest precision.

    Args:
        loss: the mean loss, of parameters and data.
        params: theta.
        data: examples are the rows of every leaf.
        batch_size: examples at a time, at least 1; None: all at once.

    Returns:
        L(theta), the same up to rounding either way.

    Raises:
        UserError: the batch size is not positive.
    """
    with jax.default_matmul_precision("highest"):
        if batch_size is None:
            return loss(params, data)
        return mean_over_batches(lambda rows: loss(params, rows), data, batch_size)
