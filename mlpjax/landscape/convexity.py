"""Is a loss convex? By definition: on chords, above its tangents, by the sign of its curvature.

Random chords can refute convexity, with two points that show it, and cannot prove it. Convexity is a matter of
differences between losses, so of rounding: here a chord violates a bound only where it falls short by more than
rounding can make. In float32 that hides shallow violations; use float64 (`jax.enable_x64`) to see them.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Key, PyTree

from mlpjax.errors import UserError
from mlpjax.landscape.curvature import dense, hessian_product
from mlpjax.landscape.linear_algebra import eigh
from mlpjax.landscape.loss import known, require_finite_loss, require_same_form
from mlpjax.task import MeanLoss

Draw: TypeAlias = Callable[[Key[Array, ""]], PyTree]
"""A random place in the landscape, such as `MLP.init`."""
ROUNDINGS = 64
"""How many relative rounding errors a mean loss may carry; 8,000 terms of a dot product carry about ten."""


class Place(NamedTuple):
    """Two points, and a place between them: (1 - t) start + t end."""

    start: PyTree
    end: PyTree
    t: Float[Array, ""]


class Chord(NamedTuple):
    """What one chord says about a loss, or many along a leading axis. Depths and gaps are in the loss's unit."""

    gap: Float[Array, "*chords"]
    """c = (1 - t) L(a) + t L(b) - L((1 - t) a + t b): at least 0 where the loss is convex, above 0 if strictly."""
    tangent_gap: Float[Array, "*chords"]
    """L(b) - L(a) - <grad L(a), b - a>, the first-order bound: at least 0 where the loss is convex."""
    strength: Float[Array, "*chords"]
    """2 c / (t (1 - t) ||a - b||^2): the largest mu of strong convexity that this chord allows."""
    violates: Bool[Array, "*chords"]
    """c is below 0 by more than rounding: the loss is not convex."""
    violates_tangent: Bool[Array, "*chords"]
    """The first-order gap is below 0 by more than rounding: the loss is not convex."""


class Curvatures(NamedTuple):
    """How a loss bends at one point, in every direction."""

    values: Float[Array, " n"]
    """Eigenvalues of the Hessian, in rising order."""
    lowest: PyTree
    """Eigenvector of the first, of length 1, in the form of the parameters."""
    rounding: Float[Array, ""]
    """n eps max |lambda|: eigenvalues within this distance of 0 cannot be told from 0."""


def measure_chord(loss: MeanLoss, place: Place, data: PyTree) -> Chord:
    """Put one chord to the definitions of convexity.

    L is convex iff c(a, b, t) = (1 - t) L(a) + t L(b) - L((1 - t) a + t b) >= 0 for all a, b and 0 < t < 1, strictly
    iff c > 0 for a != b, and strongly, with constant mu, iff c >= mu/2 t (1 - t) ||a - b||^2. (Texts that leave out the
    1/2 have half of this mu.) A differentiable L is convex iff L(b) >= L(a) + <grad L(a), b - a>.

    Args:
        loss: the mean loss, of parameters and data.
        place: a, b and t, with 0 < t < 1.
        data: examples are the rows of every leaf.

    Returns:
        What the chord says. Rounding is taken to be at most 64 relative roundings of each term of c, and of the
        first-order gap.

    Raises:
        UserError: a and b have different forms, or are equal; the loss is not finite; t is not between 0 and 1.

    Source: Nesterov, Lectures on Convex Optimization (2018), section 2.1; Boyd and Vandenberghe, Convex Optimization
    (2004), sections 3.1.1, 3.1.3 and 9.1.2.
    """
    start, end, t = place
    require_same_form(start, end)
    difference = jax.tree.map(jnp.subtract, end, start)
    squared_length = optax.tree.norm(difference, squared=True)
    if known(squared_length) and np.any(np.asarray(squared_length) == 0):
        raise UserError("start and end are the same parameters: a chord needs two different points")
    if known(t) and not np.all((np.asarray(t) > 0) & (np.asarray(t) < 1)):
        raise UserError(f"t {t}: must lie between 0 and 1")

    start_loss, gradient = jax.value_and_grad(loss)(start, data)
    end_loss = loss(end, data)
    between = loss(jax.tree.map(lambda a, b: (1 - t) * a + t * b, start, end), data)
    gap = (1 - t) * start_loss + t * end_loss - between
    steps = jax.tree.map(jnp.multiply, gradient, difference)
    tangent_gap = end_loss - start_loss - optax.tree.sum(steps)
    for value in (gap, tangent_gap):
        require_finite_loss(value)

    rounding = ROUNDINGS * jnp.finfo(gap.dtype).eps
    sizes = jnp.abs((1 - t) * start_loss) + jnp.abs(t * end_loss) + jnp.abs(between)
    tangent_sizes = jnp.abs(end_loss) + jnp.abs(start_loss) + optax.tree.sum(jax.tree.map(jnp.abs, steps))
    return Chord(
        gap=gap,
        tangent_gap=tangent_gap,
        strength=2 * gap / (t * (1 - t) * squared_length),
        violates=gap < -rounding * sizes,
        violates_tangent=tangent_gap < -rounding * tangent_sizes,
    )


def random_place(draw: Draw, key: Key[Array, ""]) -> Place:
    """Two random points and t ~ U(0.1, 0.9): nearer to the ends every gap vanishes, like t (1 - t), into rounding.

    Args:
        draw: a random point.
        key: random key; the same key gives the same place.

    Returns:
        The place.
    """
    start_key, end_key, t_key = jax.random.split(key, 3)
    start, end = draw(start_key), draw(end_key)
    return Place(start, end, jax.random.uniform(t_key, (), jax.tree.leaves(start)[0].dtype, 0.1, 0.9))


def random_chords(loss: MeanLoss, draw: Draw, data: PyTree, keys: Key[Array, " chords"]) -> tuple[Chord, Place]:
    """Put many random chords to the definitions of convexity.

    Args:
        loss: the mean loss, of parameters and data.
        draw: a random point.
        data: examples are the rows of every leaf.
        keys: one for each chord.

    Returns:
        What the chords say, along a leading axis; and the place of the lowest gap, where the loss bulges furthest
        above its chord if it ever does: two points and t, to draw the violation.

    Raises:
        UserError: the loss is not finite at some place, or `draw` gives the same point for every key.
    """
    chords = jax.lax.map(lambda key: measure_chord(loss, random_place(draw, key), data), keys)
    require_finite_loss(chords.gap)
    if known(chords.strength) and not np.isfinite(np.asarray(chords.strength)).all():
        raise UserError("draw gives the same parameters for different keys: a chord needs two different points")
    return chords, random_place(draw, keys[jnp.argmin(chords.gap)])


def curvatures(loss: MeanLoss, params: PyTree, data: PyTree) -> Curvatures:
    """All eigenvalues of the Hessian at one point, of its dense matrix.

    A loss that is twice differentiable is convex iff none of them is negative anywhere; an eigenvalue below 0, by more
    than rounding, proves that it is not. For small models: n^2 numbers, n^3 operations. In larger ones
    `curvature.eigenpairs` gives the lowest by Lanczos' method: negative, it proves the same; positive, it proves
    nothing, for it is never below the lowest eigenvalue and may not have come down to it.

    Args:
        loss: the mean loss, of parameters and data.
        params: the point, n numbers in all.
        data: examples are the rows of every leaf.

    Returns:
        The eigenvalues, and the direction of the lowest one.

    Source: Boyd and Vandenberghe, Convex Optimization (2004), section 3.1.4; on rounding, Anderson et al., LAPACK
    Users' Guide (1999), section 4.7.
    """
    _, unravel = ravel_pytree(params)
    values, vectors = eigh(dense(hessian_product(loss, params, data), params))
    rounding = len(values) * float(jnp.finfo(values.dtype).eps) * jnp.max(jnp.abs(values))
    return Curvatures(values, unravel(vectors[:, 0]), rounding)
