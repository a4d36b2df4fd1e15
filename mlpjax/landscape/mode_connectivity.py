"""Paths from one network to another: straight, with a bend, and how high the loss rises on them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from mlpjax.errors import UserError, require_choice
from mlpjax.landscape.loss import known, require_finite_loss, require_same_form
from mlpjax.task import MeanLoss

CURVES: dict[str, Callable[[Float[Array, ""]], Float[Array, "3"]]] = {
    "polygon": lambda t: jnp.stack([jnp.maximum(0, 1 - 2 * t), 1 - jnp.abs(2 * t - 1), jnp.maximum(0, 2 * t - 1)]),
    "bezier": lambda t: jnp.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2]),
}
"""Name to the weights of start, bend and end at t in [0, 1]; they add up to 1.

Source: Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, arXiv:1802.10026, section 3.2.
"""


def line(loss: Callable[[PyTree], PyTree], start: PyTree, end: PyTree, t: Float[Array, " points"]) -> PyTree:
    """Loss on the straight line between two networks: L((1 - t) theta_0 + t theta_1).

    Args:
        loss: the loss of one network, as a function of its parameters alone; or any tree of arrays, such as the loss
            and the error.
        start: theta_0.
        end: theta_1.
        t: where on the line; 0 is the start and 1 the end.

    Returns:
        The loss at every t; of a tree of arrays each.

    Raises:
        UserError: start and end are not of the same form.
    """
    require_same_form(start, end)
    return jax.lax.map(lambda s: loss(_mix(jnp.stack([1 - s, s]), start, end)), t)


def _mix(weights: Float[Array, " trees"], *trees: PyTree) -> PyTree:
    def mixed(*leaves: Any) -> Array:
        parts = [weight.astype(leaf.dtype) * leaf for weight, leaf in zip(weights, leaves, strict=True)]
        return sum(parts[1:], parts[0])

    return jax.tree.map(mixed, *trees)


def on_curve(curve: str, start: PyTree, bend: PyTree, end: PyTree, t: Float[Array, ""]) -> PyTree:
    """The network at t on a curve from one network to another.

    polygon: (1 - 2t) theta_0 + 2t theta for t <= 1/2, then (2 - 2t) theta + (2t - 1) theta_1;
    bezier: (1 - t)^2 theta_0 + 2 t (1 - t) theta + t^2 theta_1.

    Args:
        curve: polygon, which passes through the bend at t = 1/2, or bezier, which does not.
        start: theta_0, at t = 0.
        bend: theta.
        end: theta_1, at t = 1.
        t: where on the curve, in [0, 1].

    Source: Garipov et al., arXiv:1802.10026, section 3.2.
    """
    return _mix(CURVES[curve](t), start, bend, end)


def fit_curve(
    loss: MeanLoss,
    start: PyTree,
    end: PyTree,
    data: PyTree,
    key: Key[Array, ""],
    curve: str = "bezier",
    *,
    steps: int,
    learning_rate: float,
    batch_size: int | None = None,
    bend: PyTree = None,
) -> PyTree:
    """Bend a curve between two networks so that the loss along it is low.

    argmin over the bend of E_t L(on_curve(t)), t ~ U[0, 1]: steps of Adam, each on one t and one minibatch (drawn with
    replacement); the learning rate falls to 0 as a cosine.

    Args:
        loss: mean loss of a network on data.
        start: one network, which stays.
        end: the other, which stays.
        data: what the loss takes; the rows of every leaf are examples.
        key: random key.
        curve: polygon or bezier.
        steps: how many (>= 1).
        learning_rate: the first step's (> 0).
        batch_size: examples of a step; None: all.
        bend: where it starts; None: in the middle of the straight line.

    Returns:
        The bend, in the form of `start`.

    Raises:
        UserError: start, end and bend are not of the same form, an unknown curve, fewer than one step, a learning rate
            of 0 or less, a batch larger than the data, or a loss that is not finite at an end.

    Source: Garipov et al., arXiv:1802.10026, sections 3.1 and 3.2 (they take SGD with momentum).
    """
    require_same_form(start, end)
    if bend is None:
        bend = _mix(jnp.array([0.5, 0.5]), start, end)
    require_same_form(start, bend)
    require_choice("curve", curve, CURVES)
    data = jax.tree.map(jnp.asarray, data)
    examples = jax.tree.leaves(data)[0].shape[0]
    if steps < 1:
        raise UserError(f"steps {steps}: must be at least 1")
    if not learning_rate > 0:
        raise UserError(f"learning_rate {learning_rate}: must be above 0")
    if batch_size is not None and not 1 <= batch_size <= examples:
        raise UserError(f"batch_size {batch_size}: must be at least 1 and at most the data's {examples} examples")
    if known((start, end, data)):
        for network in (start, end):
            require_finite_loss(loss(network, data))
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimizer = optax.adam(lambda count: schedule(count.astype(jnp.float32)))

    def step(state: tuple[PyTree, PyTree], step_key: Key[Array, ""]) -> tuple[tuple[PyTree, PyTree], None]:
        bend, optimizer_state = state
        t_key, rows_key = jax.random.split(step_key)
        t = jax.random.uniform(t_key)
        rows = jnp.arange(examples) if batch_size is None else jax.random.randint(rows_key, (batch_size,), 0, examples)
        batch = jax.tree.map(lambda leaf: leaf[rows], data)
        grads = jax.grad(lambda bend: loss(on_curve(curve, start, bend, end, t), batch))(bend)
        updates, optimizer_state = optimizer.update(grads, optimizer_state, bend)
        return (optax.apply_updates(bend, updates), optimizer_state), None

    (bend, _), _ = jax.lax.scan(step, (bend, optimizer.init(bend)), jax.random.split(key, steps))
    return bend


def barrier(t: Float[Array, " points"], losses: Float[Array, " points"], above: str = "chord") -> Float[Array, ""]:
    """How far the loss rises on a path from one network to another.

    chord: max_t L(t) - ((1 - t) L(0) + t L(1)), at least 0;
    mean: max_t L(t) - (L(0) + L(1)) / 2, at least half the difference of the ends, hump or not.

    The two agree where both ends have the same loss; otherwise either can be the larger.

    Args:
        t: where on the path, rising from 0 to 1.
        losses: the loss there, or the error.
        above: chord or mean.

    Returns:
        The barrier, in the unit of the loss.

    Raises:
        UserError: another name, or a loss that is not finite.

    Source: chord: Entezari et al., arXiv:2110.06296, definition 2.1; mean: the error barrier height of Frankle et al.,
    arXiv:1912.05671, section 2, which Ainsworth et al., arXiv:2209.04836, take over.
    """
    require_choice("above", above, ("chord", "mean"))
    require_finite_loss(losses)
    if above == "mean":
        return jnp.max(losses) - (losses[0] + losses[-1]) / 2
    return jnp.max(losses - ((1 - t) * losses[0] + t * losses[-1]))
