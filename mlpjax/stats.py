"""Intervals over seeds. A seed is the unit: never an example, an epoch or a grid point."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # loads scipy.stats, which is slow, when it is first used
from jaxtyping import Float, Real


def _finite(values: Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    if values.size == 0:
        raise ValueError("no values: an interval needs at least one seed")
    if not_finite := np.sum(~np.isfinite(values)):
        raise ValueError(f"{not_finite} of {values.size} values are not finite: leave diverged seeds out")
    return values.astype(np.float64)


def bootstrap_ci(
    values: Real[np.ndarray, " seeds"], statistic: Callable[..., Any] = np.mean, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over seeds.

    [q((1 - level)/2), q((1 + level)/2)], with q the quantiles of the statistic over resamples of the seeds.
    The resamples are drawn with replacement by a fixed generator: the same values give the same interval.
    With fewer than about ten seeds it is too narrow, as every bootstrap is. Percentiles and not BCa, whose
    jackknife costs n^2 and is inconsistent for medians.

    Args:
        values: one finite number per seed, in any unit.
        statistic: of an array over its last axis, if it takes an `axis`; else of one sample at a time.
        level: coverage, in (0, 1).

    Returns:
        Lower and upper end, in the unit of `values`; both are the statistic itself where all values are
        equal, or where there is one, which says nothing about other seeds.

    Raises:
        ValueError: no values, or some that are not finite.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    values = _finite(values)
    if (values == values[0]).all():
        return (point := float(statistic(values))), point
    interval = scipy.stats.bootstrap(
        (values,),
        statistic,
        confidence_level=level,
        method="percentile",
        # 10^8 draws bound the time; with so many seeds fewer resamples fix the ends as well.
        n_resamples=int(np.clip(10**8 // values.size, 999, 9999)),
        batch=max(1, 10**6 // values.size),
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def wilson_ci(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate.

    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), p = successes/n and z the normal quantile.

    Args:
        successes: number of seeds that succeeded, in [0, trials].
        trials: number of seeds, at least 1.
        level: coverage, in (0, 1).

    Returns:
        Lower and upper end, as fractions in [0, 1].

    Raises:
        ValueError: fewer than one trial, or successes outside of [0, trials].

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    interval = scipy.stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def summarise(values: Real[np.ndarray, " seeds"]) -> dict[str, Any]:
    """What a figure was over seeds, ready for JSON.

    Args:
        values: one finite number per seed, in any unit.

    Returns:
        `mean`, `sd` (with n - 1), `min`, `median`, `max` and `ci95`, the bootstrap interval [low, high] of
        the mean; all in the unit of `values`. `sd` and `ci95` are None for one seed, which cannot tell.

    Raises:
        ValueError: no values, or some that are not finite.
    """
    values = _finite(values)
    several = len(values) > 1
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if several else None,
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
        "ci95": list(bootstrap_ci(values)) if several else None,
    }


def quantile_band(
    values: Real[np.ndarray, "seeds epochs"], level: float = 0.95
) -> tuple[Float[np.ndarray, " epochs"], Float[np.ndarray, " epochs"], Float[np.ndarray, " epochs"]]:
    """The central share of the seeds at each epoch: where seeds lie, not how well their mean is known.

    Args:
        values: one finite number per seed and epoch, in any unit.
        level: share of the seeds inside the band, in (0, 1).

    Returns:
        The (1 - level)/2 quantile, the median and the (1 + level)/2 quantile over seeds.

    Raises:
        ValueError: no values, or some that are not finite.
    """
    lower, median, upper = np.quantile(_finite(values), [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)
    return lower, median, upper
