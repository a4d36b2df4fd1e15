"""Where a network ended: taken down to a stationary point by Newton's method, and certified by its curvature there.

Everything works on one small network (the Hessian is computed in full, at n^3 a step), for any tree of parameters, in
the floating-point type that these have. To certify, that type must be float64:

    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
"""

from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from mlpjax.errors import UserError
from mlpjax.landscape.curvature import dense, hessian_product
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
    """Nearly stationary, but with a flat direction along which the loss falls, and no end of it near: on its way to a
    minimum at infinity, as where activations saturate."""
    NOT_STATIONARY = 4
    """Not stationary: the budget of steps was too small. Also where the Hessian is not finite."""


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


def polish(
    loss: MeanLoss,
    params: PyTree,
    data: PyTree,
    *,
    steps: int | Int[Array, ""] = 100,
    gradient_norm: float = GRADIENT_NORM,
    radius: float = 0.1,
) -> Polished:
    """Go down to a stationary point by Newton's method, in a trust region, and off the saddles on the way.

    With H = sum_i lambda_i v_i v_i' and the gradient g, the step is p = -sum_i (v_i . g) / |lambda_i| v_i, shortened to
    the radius. Along the most negative curvature, if there is any, it goes as far as the radius lets it, also from the
    very top of a saddle, where g = 0. A step is taken where the loss falls (or, where rounding hides that, where the
    gradient does); the radius grows and shrinks with how well the quadratic model foretold the fall. At a minimum with
    positive curvature it doubles the digits with every step.

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

    def unfinished(state: tuple[_Point, Array, Array]) -> Array:
        point, tried, _ = state
        stationary = jnp.linalg.norm(point.gradient) <= gradient_norm
        return (tried < steps) & ~(stationary & (point.values[0] >= -_flat(point.values, gradient_norm)))

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

    first = at(start)
    require_finite_loss(first.loss)
    state = (first, jnp.int32(0), jnp.asarray(radius, start.dtype))
    end, tried, _ = jax.lax.while_loop(unfinished, step, state)
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


def classify(
    loss: MeanLoss, params: PyTree, data: PyTree, *, gradient_norm: float = GRADIENT_NORM, flat: float = FLAT
) -> Certificate:
    """Say what a point is: a minimum, a saddle, degenerate, on its way to infinity, or not stationary.

    Stationary is where ||g|| <= `gradient_norm`. An eigenvalue lambda of the Hessian H is told from 0 where

        |lambda| > max(flat * max_i |lambda_i|, gradient_norm, 4 ||H(theta + p) - H(theta)||_F)

    with the Newton step p = -H^+ g: the curvature must stay nearly the same all the way to the stationary point. That
    leaves out those that vanish there, as at the bottom of x^4, which a method can only approach. A point runs away
    where flat directions have a slope beyond rounding, |v_i . g| > 1e-3 `gradient_norm`, and the length of the Newton
    step along these, (sum_i (v_i . g / lambda_i)^2)^1/2, is above max(1, ||theta||) / 200: the end of the slope, if it
    has one, is not near. The step is 1 for e^-x wherever x is, x / 2 for 1 / x, but 1e-4 at the bottom of x^4.

    Args:
        loss: the mean loss, twice differentiable.
        params: theta, n numbers in all, some hundreds at most; better float64 and polished.
        data: examples are the rows of every leaf.
        gradient_norm: longest gradient of a stationary point, positive.
        flat: share of the largest eigenvalue that counts as 0, positive; at least 1e-14 in float64.

    Returns:
        The kind and the certificate's numbers.

    Raises:
        UserError: an argument is not positive, or the loss is not finite.

    Source: the test by p is in the manner of Newton and Kantorovich: Ortega and Rheinboldt (1970), theorem 12.6.1.
    """
    if gradient_norm <= 0 or flat <= 0:
        raise UserError(f"gradient_norm {gradient_norm}, flat {flat}: both must be positive")
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
    runs = drift > FAR * jnp.maximum(1, jnp.linalg.norm(theta))

    negative = jnp.sum(values < -uncertainty, dtype=jnp.int32)
    flats = jnp.sum(is_flat, dtype=jnp.int32)
    norm = jnp.linalg.norm(gradient)
    stationary = (norm <= gradient_norm) & jnp.isfinite(uncertainty)  # where something is no number, nothing is certain
    kind = jnp.select(
        [~stationary, negative > 0, runs, flats > 0],
        [jnp.int32(case) for case in (Kind.NOT_STATIONARY, Kind.SADDLE, Kind.RUNAWAY, Kind.DEGENERATE)],
        jnp.int32(Kind.MINIMUM),
    )
    return Certificate(kind, here, norm, values, uncertainty, negative, flats, jnp.linalg.norm(newton), drift)


def _flat(values: Float[Array, " n"], gradient_norm: float, share: float = FLAT) -> Float[Array, ""]:
    """Below which an eigenvalue counts as 0: what the largest's rounding, or so short a gradient, can hide."""
    return jnp.maximum(share * jnp.max(jnp.abs(values)), gradient_norm)


def _rounding(loss: Float[Array, ""]) -> Float[Array, ""]:
    """How much of a difference of losses may be rounding."""
    return ROUNDING * float(jnp.finfo(loss.dtype).eps) * jnp.maximum(1, jnp.abs(loss))
