"""Where a network ended: taken down to a stationary point by Newton's method, and certified by its curvature there.

Everything works on one small network (the Hessian is computed in full, at n^3 a step), for any tree of parameters, in
the floating-point type that these have. To certify, that type must be float64:

    with jax.enable_x64(True):
        params = in_float64(params)
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
from mlpjax.landscape.loss import known, require_finite_loss
from mlpjax.task import MeanLoss

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
BESIDE = 1e-5
"""Length of the step that looks for a kink beside a point: more than rounding, too short for higher derivatives."""
KINK = 1e-8
"""Change of the gradient on that step, beyond what the curvature explains, that is no rounding."""
PROBES = 64
"""Random lines on which a way down from a stationary point with flat directions is looked for."""
RUNGS = (1, 2, 5, 10)
"""Where the loss is looked at on these lines, in radii."""
ROUNDING = 1000
"""Rounding of a loss, in units of its type's precision: losses are sums that partly cancel."""


class Kind(IntEnum):
    """What a point in the space of parameters is."""

    MINIMUM = 0
    """A certified strict minimum: stationary, with every eigenvalue surely positive."""
    DEGENERATE = 1
    """Stationary, with eigenvalues that cannot be told from 0, and none that is surely negative. A valley of minima,
    such as a symmetry makes; a point that only higher derivatives could tell from a saddle, as all zeros are for XOR;
    or one beside which the curvature jumps by more than there is of it, as that of relu(x)^2."""
    SADDLE = 2
    """Stationary, with an eigenvalue that is surely negative."""
    RUNAWAY = 3
    """A flat direction along which the loss falls, and no end of it near: on its way to a minimum at infinity, as where
    activations saturate. Nearly stationary, or its parameters are long already and the way on is downhill: then more
    steps only lead further."""
    NOT_STATIONARY = 4
    """The gradient is longer than a stationary point's, or a number of the Hessian is not finite. More steps may help
    where there is a minimum to go to."""
    KINK = 5
    """The gradient jumps here, as that of a ReLU at 0: gradient and Hessian, which see one side, certify nothing. Where
    the certificate's slope is below 0 by more than rounding, the loss falls that way, and this is no minimum. Else it
    falls along none of the directions that were tried: a minimum such as that of |x|, perhaps."""


def in_float64(tree: PyTree) -> PyTree[np.ndarray]:
    """The same numbers on the host, floating-point ones in float64; all others stay.

    Args:
        tree: of arrays, such as parameters, or examples.

    Returns:
        The tree, of NumPy arrays.
    """
    arrays = jax.tree.map(np.asarray, tree)
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float64) if np.issubdtype(leaf.dtype, np.floating) else leaf, arrays
    )


def count_kinds(kinds: Int[np.ndarray, " networks"]) -> dict[str, int]:
    """How many networks ended at each `Kind`, by its name; those that none did are there too."""
    return {kind.name: int(np.sum(kinds == kind)) for kind in Kind}


class Polished(NamedTuple):
    """What `polish` made of a network."""

    params: PyTree
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    steps: Int[Array, ""]
    """Steps that were tried."""
    travel: Float[Array, ""]
    """Distance from where it began, in the space of parameters."""
    flat: Int[Array, ""]
    """Directions whose curvature at the end cannot be told from 0, as `classify` counts them. Where there are any, a
    stationary point may still be a saddle, though no line showed a way down."""


class _Point(NamedTuple):
    theta: Float[Array, " n"]
    loss: Float[Array, ""]
    gradient: Float[Array, " n"]
    values: Float[Array, " n"]
    """The Hessian's eigenvalues, in rising order."""
    vectors: Float[Array, "n n"]


class _Descent(NamedTuple):
    theta: Float[Array, " n"]
    """Where it ended, or where to go on."""
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    flat: Int[Array, ""]
    tried: Int[Array, ""]
    leaves: Bool[Array, ""]
    """Whether it goes on."""


def polish(
    loss: MeanLoss,
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
    From there it looks along 64 random lines in the flat directions, the same for every network, at 1, 2, 5 and 10
    radii on either side. It goes on from the lowest point to which the loss falls from one to the next, and in all by
    more than a convex loss with that gradient could: ||g|| times the distance. Where no line shows such a way it stays,
    and `flat` says that it may still be on a saddle.

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

    def hessian(theta: Float[Array, " n"]) -> Float[Array, "n n"]:
        return dense(hessian_product(loss, unravel(theta), data), params)

    def at(theta: Float[Array, " n"]) -> _Point:
        value, gradient = jax.value_and_grad(loss)(unravel(theta), data)
        return _Point(theta, value, ravel_pytree(gradient)[0], *eigh(hessian(theta)))

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

    def way_down(point: _Point, flat: Bool[Array, " n"]) -> tuple[Float[Array, " n"], Array]:
        """The lowest point down random lines in the flat directions, and whether there is one."""
        lines = point.vectors @ jnp.where(flat[:, None], point.vectors.T @ random_lines, 0)
        lines = lines / jnp.where(flat.any(), jnp.linalg.norm(lines, axis=0), 1)[None]
        lines = jnp.concatenate([lines, -lines], axis=1).T
        trials = point.theta[None, None] + rungs[:, None, None] * lines[None]
        losses = jax.lax.map(
            lambda theta: loss(unravel(theta), data), trials.reshape(-1, start.size), batch_size=DENSE_ROWS
        ).reshape(len(RUNGS), -1)
        rises = jnp.diff(jnp.concatenate([jnp.full_like(losses[:1], point.loss), losses]), axis=0)
        downhill = jnp.cumprod(rises <= _rounding(point.loss), axis=0) > 0
        convex = rungs[:, None] * jnp.linalg.norm(point.gradient) + _rounding(point.loss)
        falls = jnp.where(downhill, point.loss - losses - convex, -jnp.inf)
        place = jnp.unravel_index(jnp.argmax(falls), falls.shape)
        return trials[place], flat.any() & (falls[place] > 0)

    def descend(state: _Descent) -> _Descent:
        end, tried, _ = jax.lax.while_loop(unfinished, step, (at(state.theta), state.tried, first_radius))
        flat = jnp.abs(end.values) <= _newton(hessian, end, gradient_norm).uncertainty
        below, falls = way_down(end, flat)
        leaves = falls & stationary(end) & (tried < steps)
        return _Descent(
            jnp.where(leaves, below, end.theta),
            end.loss,
            jnp.linalg.norm(end.gradient),
            jnp.sum(flat, dtype=jnp.int32),
            jnp.where(leaves, tried + 1, tried),
            leaves,
        )

    before = loss(unravel(start), data)
    require_finite_loss(before)
    first_radius = jnp.asarray(radius, start.dtype)
    rungs = first_radius * jnp.array(RUNGS, start.dtype)
    random_lines = _random_lines(start, PROBES)
    begin = _Descent(start, before, jnp.full_like(before, jnp.inf), jnp.int32(0), jnp.int32(0), jnp.bool_(True))
    end = jax.lax.while_loop(lambda state: state.leaves, descend, begin)
    travel = jnp.linalg.norm(end.theta - start)
    return Polished(unravel(end.theta), end.loss, end.gradient_norm, end.tried, travel, end.flat)


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
    """The lowest of the loss's slopes in the directions that were tried, each on its own side."""


def classify(
    loss: MeanLoss, params: PyTree, data: PyTree, *, gradient_norm: float = GRADIENT_NORM, flat: float = FLAT
) -> Certificate:
    """Say what a point is: a minimum, a saddle, degenerate, on its way to infinity, not stationary, or at a kink.

    Stationary is where ||g|| <= `gradient_norm`. An eigenvalue lambda of the Hessian H is told from 0 where

        |lambda| > max(flat * max_i |lambda_i|, gradient_norm, 4 ||H(theta + p) - H(theta)||_F)

    with the Newton step p = -H^+ g: the curvature must stay nearly the same all the way to the stationary point. That
    leaves out those that vanish there, as at the bottom of x^4, which a method can only approach. A point runs away
    where flat directions have a slope beyond rounding, |v_i . g| > max(1e-3 `gradient_norm`, eps max_i |lambda_i|
    max(1, ||theta||)) with eps of the numbers' kind, and the length of the Newton step along these,
    (sum_i (v_i . g / lambda_i)^2)^1/2, is above max(1, ||theta||) / 200: the end of the slope, if it has one, is not
    near. The step is 1 for e^-x wherever x is, x / 2 for 1 / x, but 1e-4 at the bottom of x^4. A point
    that is not stationary runs away where besides ||theta|| > 100, the Newton step along all other directions is below
    ||theta|| / 200, and the loss falls all the way (at 1/4, 1/2 and 1 of it) as far again as ||theta|| downhill in the
    flat directions.

    Beside the point, at s = 1e-5 along d, with d the eigenvectors v_i and n random lines, either way, the
    gradient's limit g_d = grad L(theta + s d) - s H(theta + s d) d is that of this side. The point is at a kink where

        max_d ||g_d - g|| > max(s max_i |lambda_i|, 1e-8),

    and the lowest slope is min_d g_d . d. Where only the curvature jumps, as of relu(x)^2, it counts as uncertain by as
    much, (sum_d ||2 H(theta + s d / 2) d - H(theta + s d) d - H d||^2)^1/2: a minimum must have more of it. Not seen is
    what all these directions miss, as in a narrow cone.

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
                "mlpjax.landscape.minima.in_float64(params)"
            )
    theta, unravel = ravel_pytree(params)

    def value(theta: Float[Array, " n"]) -> Float[Array, ""]:
        return loss(unravel(theta), data)

    def hessian(theta: Float[Array, " n"]) -> Float[Array, "n n"]:
        return dense(hessian_product(loss, unravel(theta), data), params)

    here, gradient = jax.value_and_grad(value)(theta)
    require_finite_loss(here)
    point = _Point(theta, here, gradient, *eigh(hessian(theta)))
    values, vectors = point.values, point.vectors
    slopes = vectors.T @ gradient
    newton = _newton(hessian, point, gradient_norm, flat)
    sides = _look_beside(jax.grad(value), point)
    uncertainty = jnp.maximum(newton.uncertainty, sides.jump)
    kink = sides.kink > jnp.maximum(BESIDE * jnp.max(jnp.abs(values)), KINK)

    is_flat = jnp.abs(values) <= uncertainty
    length, distance = jnp.linalg.norm(theta), jnp.linalg.norm(newton.step)
    rounding = float(jnp.finfo(theta.dtype).eps) * jnp.max(jnp.abs(values)) * jnp.maximum(1, length)
    sloping = is_flat & (jnp.abs(slopes) > jnp.maximum(RESOLVED * gradient_norm, rounding))
    drift = jnp.linalg.norm(jnp.where(sloping, slopes / jnp.where(sloping, values, 1), 0))
    runs = drift > FAR * jnp.maximum(1, length)
    downhill = vectors @ jnp.where(newton.curved, 0, -slopes)
    downhill = downhill * (length / jnp.maximum(jnp.linalg.norm(downhill), float(jnp.finfo(theta.dtype).tiny)))
    ahead = jnp.stack([here, *(value(theta + share * downhill) for share in (0.25, 0.5, 1))])
    falls = jnp.all(ahead[:-1] - ahead[1:] > 0) & (here - ahead[-1] > _rounding(here))
    ran = (length > LONG) & (distance <= FAR * length) & runs & falls

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
    return Certificate(kind, here, norm, values, uncertainty, negative, flats, distance, drift, sides.slope)


class _Newton(NamedTuple):
    curved: Bool[Array, " n"]
    """Which directions have a curvature to speak of."""
    step: Float[Array, " n"]
    """To the stationary point, along these."""
    uncertainty: Float[Array, ""]
    """Within which an eigenvalue cannot be told from 0, as the Hessian is not the same at the end of the step."""


def _newton(
    hessian: Callable[[Float[Array, " n"]], Float[Array, "n n"]],
    point: _Point,
    gradient_norm: float,
    share: float = FLAT,
) -> _Newton:
    flat = _flat(point.values, gradient_norm, share)
    curved = jnp.abs(point.values) > flat
    slopes = point.vectors.T @ point.gradient
    step = point.vectors @ jnp.where(curved, -slopes / jnp.where(curved, point.values, 1), 0)
    here = (point.vectors * point.values[None]) @ point.vectors.T
    bend = 4 * jnp.linalg.norm(hessian(point.theta + step) - here)
    return _Newton(curved, step, jnp.maximum(flat, bend))


class _Sides(NamedTuple):
    slope: Float[Array, ""]
    """The lowest slope, each on its own side."""
    kink: Float[Array, ""]
    """How far a side's gradient is from that of the point, at most."""
    jump: Float[Array, ""]
    """How far the sides' curvatures are from that of the point, all together."""


def _look_beside(gradient_at: Callable[[Float[Array, " n"]], Float[Array, " n"]], point: _Point) -> _Sides:
    """What gradient and curvature are on the sides of a point, in the limit."""
    theta = point.theta
    lines = _random_lines(theta, theta.size)
    lines = jnp.concatenate([point.vectors, lines / jnp.linalg.norm(lines, axis=0)[None]], axis=1).T
    lines = jnp.concatenate([lines, -lines])
    gradients, bends = jax.lax.map(
        lambda pair: jax.jvp(gradient_at, (theta + pair[0],), (pair[1],)),
        (jnp.concatenate([BESIDE * lines, BESIDE / 2 * lines]), jnp.concatenate([lines, lines])),
        batch_size=DENSE_ROWS,
    )
    far, _ = jnp.split(gradients, 2)
    bend, near_bend = jnp.split(bends, 2)
    limits = far - BESIDE * bend
    jumps = 2 * near_bend - bend - (lines @ point.vectors * point.values[None]) @ point.vectors.T
    return _Sides(
        slope=jnp.min(jnp.sum(limits * lines, axis=1)),
        kink=jnp.max(jnp.linalg.norm(limits - point.gradient[None], axis=1)),
        jump=jnp.linalg.norm(jumps),
    )


def _random_lines(theta: Float[Array, " n"], lines: int) -> Float[Array, "n lines"]:
    """Normal numbers; from NumPy: the same in float32 and float64."""
    return jnp.asarray(np.random.default_rng(0).standard_normal((theta.size, lines)), theta.dtype)


def _flat(values: Float[Array, " n"], gradient_norm: float, share: float = FLAT) -> Float[Array, ""]:
    """Below which an eigenvalue counts as 0: what the largest's rounding, or so short a gradient, can hide."""
    return jnp.maximum(share * jnp.max(jnp.abs(values)), gradient_norm)


def _rounding(loss: Float[Array, ""]) -> Float[Array, ""]:
    """How much of a difference of losses may be rounding."""
    return ROUNDING * float(jnp.finfo(loss.dtype).eps) * jnp.maximum(1, jnp.abs(loss))
