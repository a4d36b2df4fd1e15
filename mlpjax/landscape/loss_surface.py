"""Slices through the loss, of any dimension, and whether to believe the picture."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from mlpjax.errors import UserError
from mlpjax.landscape.curvature import hessian_product
from mlpjax.landscape.directions import cosine, displaced, filter_normalised, require_direction, stack
from mlpjax.landscape.loss import Stages, known, require_finite_loss, require_same_form, whole_loss
from mlpjax.task import MeanLoss

POINTS_AT_ONCE = 4
"""Grid points that are evaluated side by side."""


def points_at_once(params: PyTree) -> int | None:
    """Points in the space of these parameters to evaluate side by side; None: one after the other, where there are
    convolutions, since with a kernel for each point they are three times as slow."""
    return None if any(jnp.ndim(leaf) > 2 for leaf in jax.tree.leaves(params)) else POINTS_AT_ONCE


def slice_loss(
    loss: MeanLoss,
    params: PyTree,
    data: PyTree,
    directions: PyTree,
    steps: Sequence[Float[Array, " _"]],
    batch_size: int | None = None,
) -> Float[Array, "..."]:
    """Loss on a grid through a network: f(s_1, ..., s_k) = L(theta + s_1 d_1 + ... + s_k d_k).

    Args:
        loss: the mean loss, of parameters and data.
        params: theta, where all steps are 0.
        data: examples are the rows of every leaf.
        directions: d, along a leading axis of k; in the form of `params` otherwise.
        steps: where along each direction, in units of its length: k grids, of any points.
        batch_size: examples at a time, at least 1; None: all at once. Few enough that their activations stay in the
            cache are fastest.

    Returns:
        f, with one axis for each direction, in their order: `f[i, j]` is at `steps[0][i]`, `steps[1][j]`. (Figures
        that count rows along the vertical axis want the transpose.)

    Raises:
        UserError: the directions are not of the form of the parameters, not as many as there are grids, or known to
            have no length; or the loss of the network itself is known and not a finite number.
    """
    require_directions(params, directions, len(steps))

    def at(point: Float[Array, " k"]) -> Float[Array, ""]:
        return whole_loss(loss, displaced(params, directions, point), data, batch_size)

    grid = jnp.stack([axis.ravel() for axis in jnp.meshgrid(*steps, indexing="ij")], axis=1)
    require_finite_loss(at(jnp.zeros_like(grid[0])))
    return jax.lax.map(at, grid, batch_size=points_at_once(params)).reshape([len(axis) for axis in steps])


def slice_stages(
    stages: Stages,
    params: PyTree,
    data: PyTree,
    directions: PyTree,
    steps: Sequence[Float[Array, " _"]],
    batch_size: int | None = None,
) -> Float[Array, "..."]:
    """What `slice_loss` finds, of a loss whose first stage is linear in the parameters and so in the steps.

        first(theta + sum_k s_k d_k) = first(theta) + sum_k s_k first(d_k)

    The first stage is worked out 1 + k times, and no more at every point of the grid: a seventh of the work on a plane
    through 784-256-128-10. The images take (1 + k) numbers for each example and unit.

    Args:
        stages: the mean loss.
        params: theta, where all steps are 0.
        data: examples are the rows of every leaf.
        directions: d, along a leading axis of k; in the form of `params` otherwise.
        steps: where along each direction: k grids, of any points.
        batch_size: examples at a time, at least 1; None: all at once.

    Returns:
        f, the same as `slice_loss` up to rounding.

    Raises:
        UserError: as `slice_loss` does.
    """
    require_directions(params, directions, len(steps))
    with jax.default_matmul_precision("highest"):
        images = jnp.stack([stages.first(params, data), *jax.lax.map(lambda d: stages.first(d, data), directions)])
    units = jnp.eye(1 + len(steps), dtype=images.dtype)

    def loss(whole: PyTree, rows: PyTree) -> Float[Array, ""]:
        weights, params = whole
        images, data = rows
        # Term by term, and not as a product with the weights: it is done where the rest takes it up.
        terms = [weights[k] * images[:, k] for k in range(len(weights))]
        return stages.rest(sum(terms[1:], terms[0]), params, data)

    return slice_loss(
        loss, (units[0], params), (jnp.swapaxes(images, 0, 1), data), (units[1:], directions), steps, batch_size
    )


class Health(NamedTuple):
    """What a slice is worth: numbers to print beside the picture."""

    curvature: Float[Array, " k"]
    """d' H d along each direction, exact."""
    read_off: Float[Array, " k"]
    """The same, read off the slice by the three points in its middle."""
    error: Float[Array, " k"]
    """|read_off - curvature| / |curvature|: large where the grid is too coarse to see the curvature, or where there is
    none beyond rounding."""
    cosines: Float[Array, "k k"]
    """Of the angles between the directions; what the picture draws as a right angle."""
    profiles: Float[Array, "others points"]
    """Loss along other random directions, at the steps of the first: the band in which any such picture lies."""


def health(
    loss: MeanLoss,
    params: PyTree,
    data: PyTree,
    directions: PyTree,
    steps: Sequence[Float[Array, " _"]],
    losses: Float[Array, "..."],
    key: Key[Array, ""],
    *,
    draw: Callable[[Key[Array, ""], PyTree], PyTree] = filter_normalised,
    others: int = 16,
    batch_size: int | None = None,
) -> Health:
    """Check a slice against the curvature at its middle, and against slices along other random directions.

    The curvature along d is the second derivative of f(s) = L(theta + s d) at 0. Off the slice it is read as
    2 f[s_-, 0, s_+], the divided difference of the points beside the middle, as the eye does: at the resolution of the
    picture. With ReLU the two differ also because the exact one does not see the kinks between the points.

    Args:
        loss: the mean loss, of parameters and data.
        params: theta, the middle of the slice.
        data: examples are the rows of every leaf.
        directions: those of the slice, along a leading axis of k.
        steps: those of the slice; 0 is among them, with a step on either side.
        losses: what `slice_loss` found.
        key: draws the other directions.
        draw: how to draw one, of a key and theta: in the way the slice's own were drawn.
        others: how many of them, at least 1.
        batch_size: examples at a time, at least 1; None: all at once.

    Returns:
        The numbers; `stats.quantile_band` makes a band of the profiles.

    Raises:
        UserError: directions that `slice_loss` refuses, no 0 within the steps, no others, or a loss in the middle that
            is known and not a finite number.
    """
    require_directions(params, directions, len(steps))
    if others < 1:
        raise UserError(f"others {others}: at least 1, or there is no band")
    middles = [middle(axis) for axis in steps]
    product = hessian_product(loss, params, data, batch_size)
    curvature = jax.lax.map(lambda d: optax.tree.vdot(d, product(d)), directions)

    def read_off(axis: int) -> Float[Array, ""]:
        line = losses
        for other in reversed(range(len(steps))):
            if other != axis:
                line = jnp.take(line, middles[other], axis=other)
        three = middles[axis] + jnp.arange(-1, 2)
        s, f = steps[axis][three], line[three]
        require_finite_loss(f)
        slopes = jnp.diff(f) / jnp.diff(s).astype(f.dtype)
        return 2 * (slopes[1] - slopes[0]) / (s[2] - s[0]).astype(f.dtype)

    read = jnp.stack([read_off(axis) for axis in range(len(steps))])

    def profile(own: Key[Array, ""]) -> Float[Array, " points"]:
        return slice_loss(loss, params, data, stack(draw(own, params)), [steps[0]], batch_size)

    return Health(
        curvature,
        read,
        jnp.abs(read - curvature) / jnp.abs(curvature),
        jax.vmap(jax.vmap(cosine, (None, 0)), (0, None))(directions, directions),
        jax.lax.map(profile, jax.random.split(key, others)),
    )


def middle(steps: Float[Array, " _"]) -> Array:
    """The place of 0 in a grid of steps.

    Args:
        steps: rising, with 0 among them and a step on either side.

    Returns:
        Its index.

    Raises:
        UserError: 0 is known not to be within them.
    """
    if len(steps) < 3:
        raise UserError(f"a grid of {len(steps)} steps: curvature needs at least 3, with 0 between two others")
    if known(steps):
        with jax.ensure_compile_time_eval():
            spacing = jnp.min(jnp.diff(steps))
            if not bool(jnp.min(jnp.abs(steps[1:-1])) <= 1e-3 * spacing):
                raise UserError("steps: must rise and hold 0 with a step on either side, as linspace(-1, 1, 51) does")
    return 1 + jnp.argmin(jnp.abs(steps[1:-1]))


def require_directions(params: PyTree, directions: PyTree, count: int) -> None:
    """Refuse directions that span no slice of a network.

    Args:
        params: the network.
        directions: along a leading axis.
        count: how many there must be.

    Raises:
        UserError: there are more or fewer, they have another form than the network, or one is known to have no length.
    """
    if any(jnp.shape(leaf)[:1] != (count,) for leaf in jax.tree.leaves(directions)):
        raise UserError(f"directions: give {count} along a leading axis, one for each grid of steps, as `stack` does")
    for i in range(count):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], directions)
        require_same_form(params, one)
        require_direction(one)
