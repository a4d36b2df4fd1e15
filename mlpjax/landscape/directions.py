"""Directions in the space of a network's parameters.

A direction is a tree in the form of the parameters. Several of them are one tree with a leading axis, as the
eigenvectors of `curvature.eigenpairs` are, and the snapshots of a training.
"""

from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from mlpjax.errors import UserError, require_choice
from mlpjax.landscape.linear_algebra import one_by_one
from mlpjax.landscape.loss import known, require_same_form

Biases: TypeAlias = Literal["zero", "joint"]
"""What a filter-normalised direction does to biases: leaves them where they are, or counts them into the filters."""


# Directions are often drawn outside of any program: as one, this compiles several times as fast as op by op.
@jax.jit
def random_normal(key: Key[Array, ""], params: PyTree) -> PyTree:
    """Draw a direction, d ~ N(0, I).

    Args:
        key: random key; the same key gives the same direction.
        params: any tree of arrays.

    Returns:
        A direction in the form and the floating-point type of `params`.
    """
    return optax.tree.random_like(key, params)


def filter_normalised(key: Key[Array, ""], params: PyTree, biases: Biases = "zero") -> PyTree:
    """Draw a random direction, each filter scaled to the length of the network's own filter.

    d_j <- d_j ||w_j|| / ||d_j||, with d_j ~ N(0, I) and w_j the weights into unit j. A filter of a dense layer is a
    neuron, that is a column of its kernel; of any leaf with two axes or more it is what shares the last index. Where
    the network's own filter is 0, so is the direction's.

    Leaves with fewer axes are biases (and PReLU's slopes). `zero`: they do not move, as in the figures of Li et al.
    `joint`: a bias is one more weight into its neuron, and normalised with it, where it lies beside one kernel of as
    many units, as in `{"kernel": [inputs, units], "bias": [units]}`; any other such leaf is one filter as a whole.

    Two such directions are nearly orthogonal and not quite: report their `cosine`, or take `orthogonal` afterwards,
    since scaling an orthogonal pair would undo it.

    Args:
        key: random key; the same key gives the same direction.
        params: the network's parameters, any tree of arrays.
        biases: zero or joint.

    Returns:
        A direction in the form of `params`.

    Raises:
        UserError: an unknown policy, or nothing would move.

    Source: Li et al., Visualizing the Loss Landscape of Neural Nets, arXiv:1712.09913, section 4.
    """
    require_choice("biases", biases, get_args(Biases))
    direction = _filter_normalised(key, params, biases)
    require_direction(direction)
    return direction


@partial(jax.jit, static_argnums=2)
def _filter_normalised(key: Key[Array, ""], params: PyTree, biases: Biases) -> PyTree:
    paths, leaves = zip(*jax.tree_util.tree_flatten_with_path(params)[0], strict=True)
    noise, treedef = jax.tree.flatten(random_normal(key, params))

    def owner(i: int) -> int:
        """Which leaf's filters the entries of leaf i belong to."""
        beside = [
            k
            for k, leaf in enumerate(leaves)
            if leaf.ndim > 1 and leaf.shape[-1:] == leaves[i].shape and paths[k][:-1] == paths[i][:-1]
        ]
        return beside[0] if len(beside) == 1 else i

    owners = [owner(i) for i in range(len(leaves))]
    moving = [i for i, leaf in enumerate(leaves) if leaf.ndim > 1 or biases == "joint"]

    def lengths(arrays: tuple[Array, ...] | list[Array]) -> dict[int, Float[Array, "..."]]:
        """Of the filters, by the leaf that owns them."""
        squares: dict[int, Array] = {}
        for i in moving:
            whole = arrays[i].ndim < 2 and owners[i] == i
            axes = None if whole else tuple(range(arrays[i].ndim - 1))
            squares[owners[i]] = squares.get(owners[i], 0) + jnp.sum(arrays[i] ** 2, axis=axes)
        return {i: jnp.sqrt(square) for i, square in squares.items()}

    own, drawn = lengths(leaves), lengths(noise)

    def scaled(i: int) -> Array:
        if i not in moving:
            return jnp.zeros_like(noise[i])
        factor = own[owners[i]] / jnp.where(drawn[owners[i]] > 0, drawn[owners[i]], 1)
        return noise[i] * factor.reshape((1,) * (noise[i].ndim - 1) + factor.shape)

    return jax.tree.unflatten(treedef, [scaled(i) for i in range(len(leaves))])


def cosine(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Cosine of the angle between two directions: <a, b> / (||a|| ||b||).

    Args:
        a: a direction.
        b: another, of the same form.

    Returns:
        The cosine, in [-1, 1] up to rounding.

    Raises:
        UserError: the directions are not of the same form, or one is known to have no length.
    """
    require_same_form(a, b)
    require_direction(a)
    require_direction(b)
    return _cosine(a, b)


@jax.jit
def _cosine(a: PyTree, b: PyTree) -> Float[Array, ""]:
    return optax.tree.vdot(a, b) / (optax.tree.norm(a) * optax.tree.norm(b))


def orthogonal(direction: PyTree, to: PyTree) -> PyTree:
    """What of a direction is orthogonal to another: d - t <t, d> / <t, t>.

    Args:
        direction: d.
        to: t.

    Returns:
        The rest of d, not scaled again.

    Raises:
        UserError: they are not of the same form, or known to be parallel, up to rounding, or without length.
    """
    require_same_form(direction, to)
    require_direction(direction)
    require_direction(to)
    rest, left, whole = _orthogonal(direction, to)
    if known((left, whole)) and not left > 10 * np.finfo(whole.dtype).eps * whole:
        raise UserError("two directions are parallel: they span a line and no plane; draw or choose another")
    return rest


@jax.jit
def _orthogonal(direction: PyTree, to: PyTree) -> tuple[PyTree, Float[Array, ""], Float[Array, ""]]:
    """What is left, its length, and that of the direction."""
    rest = direction
    for _ in range(2):  # the second time takes what rounding left
        rest = optax.tree.add_scale(rest, -optax.tree.vdot(to, rest) / optax.tree.vdot(to, to), to)
    return rest, optax.tree.norm(rest), optax.tree.norm(direction)


class Plane(NamedTuple):
    """A plane in the space of parameters, with orthonormal axes."""

    centre: PyTree
    """Where the coordinates are 0."""
    axes: PyTree
    """Two directions of length 1, along a leading axis."""
    coordinates: Float[Array, "3 2"]
    """Of the three points it was laid through."""


def through(a: PyTree, b: PyTree, c: PyTree) -> Plane:
    """The plane through three networks: u = b - a and v = (c - a) - u <u, c - a> / <u, u>, each then scaled to 1.

    Args:
        a: the origin of the coordinates.
        b: on the first axis, at ||b - a||.
        c: anywhere off the line through a and b.

    Returns:
        The plane, with the coordinates of a, b and c.

    Raises:
        UserError: the networks differ in form, or are known to lie on one line.

    Source: Garipov et al., Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs, arXiv:1802.10026.
    """
    require_same_form(a, b)
    require_same_form(a, c)
    u, to_c = optax.tree.sub(b, a), optax.tree.sub(c, a)
    return Plane(a, *_span(u, to_c, orthogonal(to_c, u)))


@jax.jit
def _span(u: PyTree, to_c: PyTree, v: PyTree) -> tuple[PyTree, Float[Array, "3 2"]]:
    """The axes of a plane, and the coordinates in it."""
    lengths = optax.tree.norm(u), optax.tree.norm(v)
    axes = stack(optax.tree.scale(1 / lengths[0], u), optax.tree.scale(1 / lengths[1], v))
    zero = jnp.zeros_like(lengths[0])
    along = optax.tree.vdot(u, to_c) / lengths[0]
    return axes, jnp.stack([zero, zero, lengths[0], zero, along, lengths[1]]).reshape(3, 2)


class Components(NamedTuple):
    """Principal components of a trajectory."""

    directions: PyTree
    """Orthonormal, along a leading axis of k, the component of the largest variance first."""
    explained: Float[Array, " k"]
    """Share of the variance over time that each has, in [0, 1]; beside it belongs `random_walk_shares`."""


def pca(trajectory: PyTree, k: int = 2) -> Components:
    """Principal components of a trajectory: the right singular vectors of its points less their mean over time.

    Differences to the last point, theta_t - theta_T, which Li et al. take, have the same components: the mean takes
    any common shift out. A component's sign is such that the trajectory starts on its positive side.

    Args:
        trajectory: points in parameter space, along a leading axis of time.
        k: how many components, fewer than there are points.

    Returns:
        Directions and shares of the variance.

    Raises:
        UserError: fewer than k + 1 points or k parameters, or a trajectory that is known not to move.

    Source: Li et al., arXiv:1712.09913, section 7.2.
    """
    points = jax.vmap(lambda point: ravel_pytree(point)[0])(trajectory)
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], trajectory))[1]
    most = min(len(points) - 1, points.shape[1])
    if not 1 <= k <= most:
        raise UserError(f"k {k}: at least 1, and at most {most} for {len(points)} points of {points.shape[1]} numbers")
    points -= points[-1:]  # digits that all points share would drown in the mean
    centred = points - jnp.mean(points, axis=0, keepdims=True)
    require_direction(centred)
    _, singular, rows = one_by_one(partial(jnp.linalg.svd, full_matrices=False))(centred)
    starts = jnp.matmul(rows[:k], centred[0], precision="highest")
    directions = jnp.where(starts < 0, -1, 1).astype(rows.dtype)[:, None] * rows[:k]
    variances = singular**2
    return Components(jax.vmap(unravel)(directions), variances[:k] / jnp.sum(variances))


def stack(*directions: PyTree) -> PyTree:
    """Several directions as one tree with a leading axis.

    Args:
        directions: at least one.

    Returns:
        Their leaves, stacked.

    Raises:
        UserError: they are not all of the same form.
    """
    for other in directions[1:]:
        require_same_form(directions[0], other)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *directions)


def displaced(params: PyTree, directions: PyTree, steps: Float[Array, " k"]) -> PyTree:
    """The point theta + sum_i s_i d_i.

    Args:
        params: theta.
        directions: d, along a leading axis.
        steps: s.

    Returns:
        The point, in the form and the floating-point type of `params`.
    """

    def move(p: Array, d: Array) -> Array:
        moves = [step.astype(p.dtype) * d[i] for i, step in enumerate(steps)]
        return p + sum(moves[1:], moves[0])

    return jax.tree.map(move, params, directions)


def require_direction(direction: PyTree) -> None:
    """Refuse a direction that is known to lead nowhere.

    Raises:
        UserError: its length is 0, or not a finite number.
    """
    if not known(direction):
        return
    length = float(np.linalg.norm([np.linalg.norm(np.ravel(leaf)) for leaf in jax.tree.leaves(direction)]))
    if not 0 < length < float("inf"):
        raise UserError(f"a direction of length {length:g}: it must be positive and finite to lead anywhere")
