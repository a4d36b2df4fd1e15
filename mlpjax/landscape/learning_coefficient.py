"""The local learning coefficient: how the volume of networks that are nearly as good shrinks around one of them.

Near theta*, vol{theta: L(theta) - L(theta*) < e} ~ e^lambda (-log e)^(m - 1) as e -> 0, with the learning coefficient
lambda and its multiplicity m. A minimum with a Hessian of full rank has lambda = d / 2 and m = 1; the more degenerate
it is, the smaller is lambda, and directions that are flat add nothing.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from mlpjax.errors import UserError
from mlpjax.landscape.loss import mean_over_batches, require_finite_loss
from mlpjax.task import MeanLoss

ACCEPTANCE = 0.8
"""Share of accepted steps at which burn-in aims.

Where the curvature is the same everywhere 0.574 goes furthest (Roberts and Rosenthal, Journal of the Royal Statistical
Society B 60, 1998). Around a singular minimum it is not, and that aim leaves hardly any for the narrow places.
"""
SPREAD = 5.0
"""Each step has its own size, between exp(-5) and 1 of the largest: narrow places take the small, wide ones the large.

With one size for all, chains stand still in the narrow places for thousands of steps.
"""
FORGETTING = 0.6
"""Step t of burn-in moves the logarithm of the size by t^-0.6 of what the share is off; powers in (1/2, 1] settle."""


class LearningCoefficient(NamedTuple):
    """An estimate from independent chains, one number of each; many networks along leading axes."""

    chains: Float[Array, "*networks chains"]
    """Each chain's own estimate. Their mean is the estimate, and `stats.mean_ci` of them its interval."""
    drift: Float[Array, "*networks chains"]
    """Mean of a chain's second half less that of its first: where `stats.mean_ci` leaves out 0, burn in for longer."""
    acceptance: Float[Array, "*networks chains"]
    """Share of the draws that were accepted: 0.8 over all chains, or burn in for longer; near 0, a chain was stuck."""


class _Point(NamedTuple):
    theta: Float[Array, " n"]
    excess: Float[Array, ""]
    """n beta (L(theta) - L(theta*))."""
    potential: Float[Array, ""]
    """Minus the logarithm of the density."""
    slope: Float[Array, " n"]
    """Of the potential."""


def learning_coefficient(
    loss: MeanLoss,
    params: PyTree,
    data: PyTree,
    key: Key[Array, ""],
    *,
    chains: int = 10,
    draws: int = 2000,
    burn_in: int = 2000,
    localisation: float = 1.0,
    batch_size: int | None = None,
) -> LearningCoefficient:
    """The local learning coefficient of one network, by Langevin steps that are accepted or rejected.

    lambda_n = n beta (E[L(theta)] - L(theta*)), beta = 1 / log n, theta distributed as
    exp(-n beta L(theta) - gamma / 2 |theta - theta*|^2). Chains start at theta* and step as in SGLD of full batches,
    theta' = theta - eps / 2 (n beta grad L(theta) + gamma (theta - theta*)) + sqrt(eps) xi, xi ~ N(0, I). A step is
    accepted or not as Metropolis and Hastings say, which takes away the bias of eps, so that no rate is to be chosen;
    that of minibatches' noise could not be taken away. Burn-in finds the largest eps, one for all chains, and each step
    draws its share of it.

    What bias is left: the interval over chains is of lambda_n, not of lambda, and more draws do not mend what is
    between them. A direction of curvature h counts n beta h / (n beta h + gamma) / 2, and not 1 / 2; where m > 1,
    lambda_n is about lambda - (m - 1) / log n: of w_1^2 w_2^2 with n = 1,000 and gamma = 1 it is 0.36, and lambda 0.5.
    A burn-in that is too short shows as drift. Where theta* is no minimum of its neighbourhood, lambda_n is too small,
    and may be negative.

    Args:
        loss: the mean loss, of parameters and data: minus a log-likelihood, up to what the parameters do not change.
        params: theta*.
        data: the n examples are the rows of every leaf, at least 2.
        key: draws the chains.
        chains: how many, at least 2.
        draws: steps of each that count, at least 2.
        burn_in: steps of each before these, at least 1.
        localisation: gamma, above 0, in 1 / (unit of the parameters)^2: theta stays near theta* even where L is flat.
        batch_size: examples at a time, at least 1; None: all at once. The result is the same up to rounding.

    Returns:
        Estimates of lambda_n, which are without unit, and how the chains fared.

    Raises:
        UserError: a number out of its range, or a loss that is not finite at theta*.

    Source: Lau, Furman, Wang, Murfet and Wei, The Local Learning Coefficient: A Singularity-Aware Complexity Measure,
    arXiv:2308.12108; Watanabe, A widely applicable Bayesian information criterion, JMLR 14 (2013); accepted steps:
    Roberts and Tweedie, Exponential convergence of Langevin distributions, Bernoulli 2 (1996).
    """
    for name, number, lowest in (("chains", chains, 2), ("draws", draws, 2), ("burn_in", burn_in, 1)):
        if number < lowest:
            raise UserError(f"{name} {number}: at least {lowest}")
    if not localisation > 0:
        raise UserError(f"localisation {localisation}: must be above 0")
    examples = len(jax.tree.leaves(data)[0])
    if examples < 2:
        raise UserError(f"examples {examples}: at least 2, as the temperature is their logarithm")
    centre, unravel = ravel_pytree(params)
    kind = centre.dtype
    n_beta = examples / math.log(examples)

    def loss_and_gradient(theta: Float[Array, " n"]) -> tuple[Array, Array]:
        of_rows = jax.value_and_grad(lambda theta, rows: loss(unravel(theta), rows))
        with jax.default_matmul_precision("highest"):
            if batch_size is None:
                return of_rows(theta, data)
            return mean_over_batches(lambda rows: of_rows(theta, rows), data, batch_size)

    least, _ = loss_and_gradient(centre)
    require_finite_loss(least)

    def point_at(theta: Float[Array, " n"]) -> _Point:
        value, gradient = loss_and_gradient(theta)
        excess, offset = n_beta * (value - least), theta - centre
        potential = excess + localisation / 2 * jnp.vdot(offset, offset)
        return _Point(theta, excess, potential, n_beta * gradient + localisation * offset)

    def move(point: _Point, size: Array, move_key: Key[Array, ""]) -> tuple[_Point, Array, Array]:
        size_key, noise_key, accept_key = jax.random.split(move_key, 3)
        size = size * jnp.exp(-SPREAD * jax.random.uniform(size_key, dtype=kind))
        noise = jax.random.normal(noise_key, centre.shape, kind)
        there = point_at(point.theta - size / 2 * point.slope + jnp.sqrt(size) * noise)
        # The noise that would lead back: densities of the two steps differ by the halves of the squared lengths.
        back = jnp.sqrt(size) / 2 * (point.slope + there.slope) - noise
        log_ratio = point.potential - there.potential + jnp.vdot(noise - back, noise + back) / 2
        probability = jnp.where(jnp.isnan(log_ratio), 0, jnp.exp(jnp.minimum(log_ratio, 0)))
        accepted = jax.random.uniform(accept_key, dtype=kind) < probability
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), there, point), probability, accepted

    def step(state: tuple[_Point, Array], now: tuple[Array, Array]) -> tuple[tuple[_Point, Array], tuple[Array, Array]]:
        (points, log_size), (t, step_key) = state, now
        points, probabilities, accepted = jax.vmap(move, (0, None, 0))(
            points, jnp.exp(log_size), jax.random.split(step_key, chains)
        )
        # A size that went on changing would bias the draws.
        gain = jnp.where(t <= burn_in, t**-FORGETTING, 0)
        return (points, log_size + gain * (jnp.mean(probabilities) - ACCEPTANCE)), (points.excess, accepted)

    starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (chains, *leaf.shape)), point_at(centre))
    steps = jnp.arange(1, burn_in + draws + 1, dtype=kind), jax.random.split(key, burn_in + draws)
    _, trace = jax.lax.scan(step, (starts, jnp.asarray(-math.log(n_beta + localisation), kind)), steps)
    excess, accepted = (values[burn_in:].astype(kind) for values in trace)
    drift = jnp.mean(excess[draws // 2 :], axis=0) - jnp.mean(excess[: draws // 2], axis=0)
    return LearningCoefficient(jnp.mean(excess, axis=0), drift, jnp.mean(accepted, axis=0))


def deep_linear_coefficient(widths: Sequence[int], rank: int) -> float:
    """The learning coefficient of a deep linear network, exactly, for squared errors and inputs of full rank.

    lambda = (r (H_in + H_out) - r^2) / 2 + a (l - a) / (4 l) - (l - 1) S^2 / (4 l) + 1/2 sum_{i < j} M_i M_j, with the
    excesses M = H - r of l + 1 layers, S their sum and a = S - (ceil(S / l) - 1) l. These layers have the smallest
    excesses: as many that l max M_i <= S, and S < l M for each of the others.

    Args:
        widths: H of every layer, from the inputs to the outputs, at least two and each at least 1.
        rank: r of the matrix that is learned, from 0 to the least width.

    Returns:
        lambda of the whole set of best networks: the least of any point of it. A multiple of 1/4.

    Raises:
        UserError: fewer than two layers, or a rank that no network of these widths has.

    Source: Aoyagi, Consideration on the learning efficiency of multiple-layered neural networks with linear units,
    Neural Networks 172 (2024); two layers of weights: Aoyagi and Watanabe, Stochastic complexities of reduced rank
    regression in Bayesian estimation, Neural Networks 18 (2005).
    """
    if len(widths) < 2 or min(widths) < 1:
        raise UserError(f"widths {list(widths)}: at least two, each at least 1")
    if not 0 <= rank <= min(widths):
        raise UserError(f"rank {rank}: between 0 and {min(widths)}, the least width")
    excesses = sorted(width - rank for width in widths)
    layers = 1
    # A layer that may join leaves room for every other of the same excess, so this finds the one set there is.
    while layers + 1 < len(excesses) and layers * excesses[layers + 1] <= sum(excesses[: layers + 1]):
        layers += 1
    chosen = excesses[: layers + 1]
    total = sum(chosen)
    a = total - (math.ceil(total / layers) - 1) * layers
    # The sum over pairs is (S^2 - sum_i M_i^2) / 2, which leaves S^2 / (4 l) of both.
    singular = (total**2 + a * (layers - a)) / layers - sum(excess**2 for excess in chosen)
    return rank * (widths[0] + widths[-1] - rank) / 2 + singular / 4
