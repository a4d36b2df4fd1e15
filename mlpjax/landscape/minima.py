"""Where a network ended: taken down to a stationary point by Newton's method, and certified by its curvature there.

Everything works on one small network (the Hessian is computed in full, at n^3 a step), for any tree of parameters, in
the floating-point type that these have. To certify, that type must be float64:

    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from mlpjax.errors import UserError
from mlpjax.landscape.curvature import DENSE_ROWS, dense, hessian_product
from mlpjax.landscape.linear_algebra import eigh
from mlpjax.landscape.objective import Objective, known, require_finite_loss

GRADIENT_NORM = 1e-10
"""Where the gradient is no longer than this, a network counts as stationary."""
FLAT = 1e-8
"""Eigenvalues below this share of the largest count as 0."""
LEAST = 1e-12
"""Share of the largest curvature, or of the slope, below which a step takes a direction for straight."""
RESOLVED = 1e-3
"""Share of the longest gradient that counts as 0 above which a slope is no rounding."""
FAR = 1 / 200
"""Share of the parameters' length that is no longer near."""
LONG = 100
"""Length of parameters that have run far, where inputs and targets are of the order of 1."""
KINK_STEP = 1e-6
"""Length of the step that looks for a kink: more than rounding, too short for a third derivative."""
KINK_SLOPE = 1e-8
"""Change of a slope within that step that is no rounding."""
PROBES = 64
"""Random lines on which a way down from a stationary point with flat directions is looked for."""
ROUNDING = 1000
"""Rounding of a loss, in units of its type's precision: losses are sums that partly cancel."""


class Kind(IntEnum):
    """What a point in the space of parameters is."""

    MINIMUM = 0
    """A certified strict minimum: stationary, with every eigenvalue surely positive."""
    DEGENERATE = 1
    """Stationary, with eigenvalues that cannot be told from 0, and none that is surely negative. A valley of minima,
    such as a symmetry makes, or a point that only higher derivatives could tell from a saddle."""
    SADDLE = 2
    """Stationary, with an eigenvalue that is surely negative."""
    RUNAWAY = 3
    """A flat direction along which the loss falls, and no end of it near: on its way to a minimum at infinity, as where
    activations saturate. Nearly stationary, or its parameters are long already and the way on is downhill."""
    NOT_STATIONARY = 4
    """The gradient is longer than a stationary point's, or a number of the Hessian is not finite. Where the point came
    from says whether more steps would help."""
    KINK = 5
    """Not differentiable here, as a ReLU at 0: the gradient and the Hessian, which see one side, certify nothing. Where
    the certificate's slope is negative, the loss falls, and this is no minimum; where it is positive, this may be one,
    or not: only some directions were tried."""


class Polished(NamedTuple):
    """What `polish` made of a network."""

    params: PyTree
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    steps: Int[Array, ""]
    """Steps that were tried."""
    travel: Float[Array, ""]
    """Distance from where it began, in the space of parameters."""


class _Point(NamedTuple):
    theta: Float[Array, " n"]
    loss: Float[Array, ""]
    gradient: Float[Array, " n"]
    values: Float[Array, " n"]
    """The Hessian's eigenvalues, in rising order."""
    vectors: Float[Array, "n n"]


class _Descent(NamedTuple):
    theta: Float[Array, " n"]
    """Where to go on."""
    end: _Point
    tried: Int[Array, ""]
    leaves: Bool[Array, ""]
    """Whether there is a way down from the end."""


def polish(
    loss: Objective,
    params: PyTree,
    data: PyTree,
    *,
    steps: int | Int[Array, ""] = 100,
    gradient_norm: float = GRADIENT_NORM,
    radius: float = 0.1,
) -> Polished:
    """Go down to a stationary point by Newton's method, in a trust region, and off the saddles that are found.

    With H = sum_i lambda_i v_i v_i' and the gradient g, the step is p = -sum_i (v_i . g) / |lambda_i| v_i, shortened to
    the radius. Along the most negative curvature, if there is any, it goes as far as the radius lets it, also from the
    very top of a saddle, where g = 0. A step is taken where the loss falls (or, where rounding hides that, where the
    gradient does); the radius grows and shrinks with how well the quadratic model foretold the fall. At a minimum with
    positive curvature it doubles the digits with every step.

    A stationary point with flat directions may be a saddle by its higher derivatives only, as all zeros are for XOR.
    From there it looks along random lines in the flat directions, one and ten radii away on either side, and goes on
    from the lowest point whose loss fell by more than a convex loss with that gradient could: ||g|| times the distance.
    Where no line shows a fall it stays: such a point may still be a saddle.

    Args:
        loss: the mean loss, twice differentiable.
        params: n numbers in all, some hundreds at most; better float64.
        data: examples are the rows of every leaf.
        steps: to try at most, at least 1.
        gradient_norm: ends where the gradient is no longer than this (and no curvature is negative), positive.
        radius: length of the longest first step, positive; a small one stays near the start.

    Returns:
        The end, whose loss is no larger than the start's but for rounding.

    Raises:
        UserError: an argument is not positive, or the loss is not finite at the start.

    Source: Nocedal and Wright, Numerical Optimization (2006), algorithm 4.1; the absolute eigenvalues are of Dauphin et
    al., arXiv:1406.2572.
    """
    if (known(steps) and steps < 1) or gradient_norm <= 0 or radius <= 0:
        raise UserError(f"steps {steps}, gradient_norm {gradient_norm}, radius {radius}: all must be positive")
    start, unravel = ravel_pytree(params)

    def at(theta: Float[Array, " n"]) -> _Point:
        value, gradient = jax.value_and_grad(loss)(unravel(theta), data)
        hessian = dense(hessian_product(loss, unravel(theta), data), unravel(theta))
        return _Point(theta, value, ravel_pytree(gradient)[0], *eigh(hessian))

    def stationary(point: _Point) -> Array:
        return jnp.linalg.norm(point.gradient) <= gradient_norm

    def unfinished(state: tuple[_Point, Array, Array]) -> Array:
        point, tried, _ = state
        return (tried < steps) & ~(stationary(point) & (point.values[0] >= -_flat(point.values, gradient_norm)))

    def step(state: tuple[_Point, Array, Array]) -> tuple[_Point, Array, Array]:
        point, tried, radius = state
        flat = _flat(point.values, gradient_norm)
        slopes = point.vectors.T @ point.gradient
        curvature = jnp.abs(point.values)
        straight = LEAST * jnp.maximum(jnp.max(curvature), jnp.linalg.norm(slopes))
        move = -slopes / jnp.maximum(curvature, straight)
        downhill = jnp.where(slopes[0] > 0, -1, 1).astype(move.dtype)
        escape = downhill * jnp.maximum(jnp.abs(move[0]), radius)
        move = move.at[0].set(jnp.where(point.values[0] < -flat, escape, move[0]))
        move = move * jnp.minimum(1, radius / jnp.linalg.norm(move))
        foretold = -(slopes @ move + point.values @ move**2 / 2)

        trial = at(point.theta + point.vectors @ move)
        ratio = (point.loss - trial.loss) / foretold
        hidden = jnp.maximum(foretold, jnp.abs(trial.loss - point.loss)) <= _rounding(point.loss)
        shorter = jnp.linalg.norm(trial.gradient) < jnp.linalg.norm(point.gradient)
        accepted = (trial.loss < point.loss) | (hidden & shorter)
        length = jnp.linalg.norm(move)
        radius = jnp.where(accepted & (hidden | (ratio > 0.25)), radius, length / 4)
        radius = jnp.where(accepted & (ratio > 0.75), jnp.maximum(radius, 2 * length), radius)
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), trial, point), tried + 1, radius

    def way_down(point: _Point) -> tuple[Float[Array, " n"], Array]:
        """The lowest point on random lines in the flat directions, and whether the loss falls to it."""
        flat = jnp.abs(point.values) <= _flat(point.values, gradient_norm)
        lines = point.vectors @ jnp.where(flat[:, None], point.vectors.T @ random_lines, 0)
        lines = lines / jnp.where(flat.any(), jnp.linalg.norm(lines, axis=0), 1)[None]
        trials = point.theta[:, None] + jnp.concatenate([far * lines for far in distances], axis=1)
        bounds = jnp.repeat(jnp.abs(distances), PROBES) * jnp.linalg.norm(point.gradient) + _rounding(point.loss)
        falls = point.loss - jax.vmap(lambda theta: loss(unravel(theta), data), in_axes=1)(trials) - bounds
        falls = jnp.where(jnp.isfinite(falls), falls, -jnp.inf)
        return trials[:, jnp.argmax(falls)], flat.any() & (jnp.max(falls) > 0)

    def descend(state: _Descent) -> _Descent:
        end, tried, _ = jax.lax.while_loop(unfinished, step, (at(state.theta), state.tried, first_radius))
        below, falls = way_down(end)
        leaves = falls & stationary(end) & (tried < steps)
        return _Descent(jnp.where(leaves, below, end.theta), end, tried + leaves, leaves)

    require_finite_loss(loss(unravel(start), data))
    first_radius = jnp.asarray(radius, start.dtype)
    distances = first_radius * jnp.array([1, -1, 10, -10], start.dtype)
    # From NumPy: the same lines in float32 and float64.
    random_lines = jnp.asarray(np.random.default_rng(0).standard_normal((start.size, PROBES)), start.dtype)
    nowhere = jax.tree.map(lambda form: jnp.zeros(form.shape, form.dtype), jax.eval_shape(at, start))
    begin = _Descent(start, nowhere, jnp.int32(0), jnp.bool_(True))
    _, end, tried, _ = jax.lax.while_loop(lambda state: state.leaves, descend, begin)
    travel = jnp.linalg.norm(end.theta - start)
    return Polished(unravel(end.theta), end.loss, jnp.linalg.norm(end.gradient), tried, travel)


class Certificate(NamedTuple):
    """What a point is, and the numbers that say so."""

    kind: Int[Array, ""]
    """A `Kind`."""
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    eigenvalues: Float[Array, " n"]
    """Of the Hessian, in rising order; the first one decides between minimum and saddle."""
    uncertainty: Float[Array, ""]
    """Eigenvalues within this distance of 0 cannot be told from 0."""
    negative: Int[Array, ""]
    """How many eigenvalues are surely negative."""
    flat: Int[Array, ""]
    """How many cannot be told from 0."""
    distance: Float[Array, ""]
    """Length of the Newton step: about how far the stationary point is, the flat directions left out."""
    drift: Float[Array, ""]
    """Length of the Newton step along those flat directions that have a slope."""
    slope: Float[Array, ""]
    """The lowest slope just beside the point, along the Hessian's eigenvectors, the axes, and their opposites."""


def classify(
    loss: Objective, params: PyTree, data: PyTree, *, gradient_norm: float = GRADIENT_NORM, flat: float = FLAT
) -> Certificate:
    """Say what a point is: a minimum, a saddle, degenerate, on its way to infinity, not stationary, or at a kink.

    Stationary is where ||g|| <= `gradient_norm`. An eigenvalue lambda of the Hessian H is told from 0 where

        |lambda| > max(flat * max_i |lambda_i|, gradient_norm, 4 ||H(theta + p) - H(theta)||_F)

    with the Newton step p = -H^+ g: the curvature must stay nearly the same all the way to the stationary point. That
    leaves out those that vanish there, as at the bottom of x^4, which a method can only approach. A point runs away
    where flat directions have a slope beyond rounding, |v_i . g| > 1e-3 `gradient_norm`, and the length of the Newton
    step along these, (sum_i (v_i . g / lambda_i)^2)^1/2, is above max(1, ||theta||) / 200: the end of the slope, if it
    has one, is not near. The step is 1 for e^-x wherever x is, x / 2 for 1 / x, but 1e-4 at the bottom of x^4. A point
    that is not stationary runs away where besides ||theta|| > 100, the Newton step along all other directions is below
    ||theta|| / 200, and the loss falls all the way (at 1/4, 1/2 and 1 of it) as far again as ||theta|| downhill in the
    flat directions.

    The point is at a kink where a gradient beside it is not what gradient and Hessian foretell. With s = 1e-6, for a
    direction d, of either sign, among the eigenvectors and the axes,

        ||grad L(theta + s d) - g - s H d|| > max(s max_i |lambda_i| / 2, 1e-8).

    Args:
        loss: the mean loss, twice differentiable but for kinks.
        params: theta, n numbers in all, some hundreds at most; float64, better polished.
        data: examples are the rows of every leaf.
        gradient_norm: longest gradient of a stationary point, positive.
        flat: share of the largest eigenvalue that counts as 0, positive; at least 1e-14 in float64.

    Returns:
        The kind and the certificate's numbers.

    Raises:
        UserError: an argument is not positive, the parameters are not float64, or the loss is not finite.

    Source: the test by p is in the manner of Newton and Kantorovich: Ortega and Rheinboldt (1970), theorem 12.6.1.
    """
    if gradient_norm <= 0 or flat <= 0:
        raise UserError(f"gradient_norm {gradient_norm}, flat {flat}: both must be positive")
    for leaf in jax.tree.leaves(params):
        if jnp.result_type(leaf) != jnp.float64:
            raise UserError(
                f"parameters of {jnp.result_type(leaf)} cannot be certified: with jax.enable_x64(True), convert by "
                "jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)"
            )
    theta, unravel = ravel_pytree(params)

    def value(theta: Float[Array, " n"]) -> Float[Array, ""]:
        return loss(unravel(theta), data)

    def hessian(theta: Float[Array, " n"]) -> Float[Array, "n n"]:
        return dense(hessian_product(loss, unravel(theta), data), params)

    here, gradient = jax.value_and_grad(value)(theta)
    require_finite_loss(here)
    curvature = hessian(theta)
    values, vectors = eigh(curvature)
    slopes = vectors.T @ gradient
    curved = jnp.abs(values) > _flat(values, gradient_norm, flat)
    newton = vectors @ jnp.where(curved, -slopes / jnp.where(curved, values, 1), 0)
    bend = 4 * jnp.linalg.norm(hessian(theta + newton) - curvature)
    uncertainty = jnp.maximum(_flat(values, gradient_norm, flat), bend)

    is_flat = jnp.abs(values) <= uncertainty
    sloping = is_flat & (jnp.abs(slopes) > RESOLVED * gradient_norm)
    drift = jnp.linalg.norm(jnp.where(sloping, slopes / jnp.where(sloping, values, 1), 0))
    length, distance = jnp.linalg.norm(theta), jnp.linalg.norm(newton)
    runs = drift > FAR * jnp.maximum(1, length)
    downhill = vectors @ jnp.where(curved, 0, -slopes)
    downhill = downhill * (length / jnp.maximum(jnp.linalg.norm(downhill), float(jnp.finfo(theta.dtype).tiny)))
    ahead = jnp.stack([here, *(value(theta + share * downhill) for share in (0.25, 0.5, 1))])
    falls = jnp.all(ahead[:-1] - ahead[1:] > 0) & (here - ahead[-1] > _rounding(here))
    ran = (length > LONG) & (distance <= FAR * length) & runs & falls

    slope, off = _beside(jax.grad(value), theta, gradient, curvature, vectors)
    kink = off > jnp.maximum(KINK_STEP * jnp.max(jnp.abs(values)) / 2, KINK_SLOPE)

    negative = jnp.sum(values < -uncertainty, dtype=jnp.int32)
    flats = jnp.sum(is_flat, dtype=jnp.int32)
    norm = jnp.linalg.norm(gradient)
    certain = jnp.isfinite(uncertainty)  # where something is no number, nothing is certain
    stationary = (norm <= gradient_norm) & certain
    cases = {
        Kind.KINK: kink & certain,
        Kind.RUNAWAY: ~stationary & ran & certain,
        Kind.NOT_STATIONARY: ~stationary,
        Kind.SADDLE: negative > 0,
    }
    kind = jnp.select(
        [*cases.values(), runs, flats > 0],
        [jnp.int32(case) for case in (*cases, Kind.RUNAWAY, Kind.DEGENERATE)],
        jnp.int32(Kind.MINIMUM),
    )
    return Certificate(kind, here, norm, values, uncertainty, negative, flats, distance, drift, slope)


def _beside(
    gradient_at: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    theta: Float[Array, " n"],
    gradient: Float[Array, " n"],
    curvature: Float[Array, "n n"],
    vectors: Float[Array, "n n"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The lowest slope a tiny step away, and the most by which a gradient there is not what was foretold."""

    def look(direction: Float[Array, " n"]) -> tuple[Array, Array]:
        there = theta + KINK_STEP * direction
        found = gradient_at(there)
        foretold = gradient + curvature @ (there - theta)  # not KINK_STEP * direction, which rounding may have changed
        return found @ direction, jnp.linalg.norm(found - foretold)

    directions = jnp.concatenate([vectors.T, -vectors.T, jnp.eye(theta.size), -jnp.eye(theta.size)])
    slopes, off = jax.lax.map(look, directions, batch_size=DENSE_ROWS)
    return jnp.min(slopes), jnp.max(off)


def _flat(values: Float[Array, " n"], gradient_norm: float, share: float = FLAT) -> Float[Array, ""]:
    """Below which an eigenvalue counts as 0: what the largest's rounding, or so short a gradient, can hide."""
    return jnp.maximum(share * jnp.max(jnp.abs(values)), gradient_norm)


def _rounding(loss: Float[Array, ""]) -> Float[Array, ""]:
    """How much of a difference of losses may be rounding."""
    return ROUNDING * float(jnp.finfo(loss.dtype).eps) * jnp.maximum(1, jnp.abs(loss))
