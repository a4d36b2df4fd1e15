"""Intervals and differences over seeds. A seed is the unit: never an example, an epoch or a grid point."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy  # loads scipy.stats, which is slow, when it is first used
from jaxtyping import Float, Real

Number: TypeAlias = float | int
Interval: TypeAlias = tuple[float, float]

LEVEL = 0.95
MANY = 500
"""From so many seeds on, skewness of an exponential's size widens an interval by less than one per cent."""
LEAST_FOR_MEDIAN = 6
"""Of five seeds, all lie on one side of the median in 6 % of all cases: no interval holds it in 95 %."""


def _finite(values: Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    if values.size == 0:
        raise ValueError("no values: an interval needs at least one seed")
    if not_finite := np.sum(~np.isfinite(values)):
        raise ValueError(f"{not_finite} of {values.size} values are not finite: leave diverged seeds out")
    return values.astype(np.float64)


@cache
def mean_quantile(seeds: int) -> float:
    """How many standard errors about a mean hold the true mean in 95 % of all samples, normal or skewed.

    c_n = max(t_n, e_n): Student's 97.5 % quantile with n - 1 degrees of freedom, and the 95 % quantile of
    |mean - 1| / (s / sqrt(n)) of n draws from the exponential distribution, whose skewness is 2.
    Student's alone covers 95 % of normal samples, but 88 % of five and 92 % of thirty-two exponential ones.
    Nothing that estimates the skewness mends that: a small sample misses the mean just when it has not met the tail.
    Price: 1.9 times Student's at 3 seeds, 1.5 at 8, 1.25 at 16, 1.12 at 32.

    Args:
        seeds: n, at least 2.

    Returns:
        c_n; e_n is taken from 20,000 samples or more by a fixed generator, and left out above `MANY` seeds.

    Source: Student, The probable error of a mean, Biometrika 6 (1908); on skewness: Hall, Theoretical comparison of
        bootstrap confidence intervals, Annals of Statistics 16 (1988).
    """
    student = float(scipy.stats.t.ppf((1 + LEVEL) / 2, seeds - 1))
    if seeds > MANY:
        return student
    drawn = np.random.default_rng(0).exponential(size=(max(2 * 10**6 // seeds, 20_000), seeds))
    off = np.abs(drawn.mean(axis=1) - 1) / (drawn.std(axis=1, ddof=1) / math.sqrt(seeds))
    return max(student, float(np.quantile(off, LEVEL)))


def mean_ci(values: Real[np.ndarray, " seeds"]) -> Interval | None:
    """95 % interval of the mean over seeds.

    mean -+ c_n s / sqrt(n), with c_n of `mean_quantile`: it covers the true mean in 95 % of all samples or more,
    from two seeds on, of any distribution no more skewed than the exponential.

    Args:
        values: one finite number per seed, in any unit.

    Returns:
        Lower and upper end, in the unit of `values`; None for one seed, and where all values are equal: then no
        spread is seen, and what can be said is said by the count (`wilson_ci`).

    Raises:
        ValueError: no values, or some that are not finite.
    """
    values = _finite(values)
    # Not by the standard deviation, which rounding lifts above 0.
    if (values == values[0]).all():
        return None
    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(len(values))
    reach = mean_quantile(len(values)) * error
    return float(mean - reach), float(mean + reach)


def mean_band(
    values: Real[np.ndarray, "seeds columns"],
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
    """The mean over seeds at each column, with its 95 % interval, for a figure.

    Args:
        values: one finite number per seed and column, in any unit.

    Returns:
        Lower end, mean and upper end (`mean_ci`); all three the mean where there is no interval.

    Raises:
        ValueError: no values, or some that are not finite.
    """
    means = _finite(values).mean(axis=0)
    ends = [mean_ci(column) or (mean, mean) for column, mean in zip(values.T, means, strict=True)]
    low, high = np.array(ends).reshape(-1, 2).T
    return low, means, high


def median_ci(values: Real[np.ndarray, " seeds"]) -> Interval | None:
    """95 % interval of the median over seeds, exact for any distribution.

    From the k-th smallest to the k-th largest value, with the largest k at which P(Binomial(n, 1/2) < k) <= 2.5 %.

    Args:
        values: one finite number per seed, in any unit.

    Returns:
        Lower and upper end, in the unit of `values`; None for fewer than six seeds, whose range holds the median
        less often.

    Raises:
        ValueError: no values, or some that are not finite.

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    ordered = np.sort(_finite(values))
    if len(ordered) < LEAST_FOR_MEDIAN:
        return None
    # The quantile is the least count whose probability reaches 2.5 %: one less stays under it.
    rank = int(scipy.stats.binom.ppf((1 - LEVEL) / 2, len(ordered), 0.5))
    return float(ordered[rank - 1]), float(ordered[len(ordered) - rank])


def wilson_ci(successes: Number, trials: int) -> Interval:
    """Wilson's 95 % score interval of a rate.

    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), p = successes/n and z the normal quantile.

    Args:
        successes: number of seeds that succeeded, in [0, trials]; a tie may count half.
        trials: number of seeds, at least 1.

    Returns:
        Lower and upper end, as fractions in [0, 1].

    Raises:
        ValueError: fewer than one trial, or successes outside of [0, trials].

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} of {trials} successes: give at least one trial and no more successes than trials"
        )
    z = float(scipy.stats.norm.ppf((1 + LEVEL) / 2))
    rate = successes / trials
    centre = rate + z**2 / (2 * trials)
    reach = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    low, high = ((centre + side) / (1 + z**2 / trials) for side in (-reach, reach))
    # Rounding must not part the interval from a rate of 0 or 1.
    return float(min(max(low, 0.0), rate)), float(max(min(high, 1.0), rate))


def jackknife(
    statistic: Callable[[Real[np.ndarray, "*rows some"]], Number], values: Real[np.ndarray, "*rows seeds"]
) -> Float[np.ndarray, " seeds"]:
    """What each seed adds to a figure that only many seeds have, such as a share of a variance.

    n T - (n - 1) T_j, with T the figure of all n seeds and T_j that without seed j: of a mean these are the values
    themselves. Their mean is the figure with its bias of order 1 / n taken away, and `mean_ci` of them its interval.

    Args:
        statistic: of values with any number of seeds as their last axis; smooth in them (no median, no maximum).
        values: the seeds along the last axis.

    Returns:
        One number for each seed, in the unit of the statistic; a share may lie outside of 0 and 1.

    Raises:
        ValueError: fewer than three seeds, of which one cannot be left out.

    Source: Tukey, Bias and confidence in not-quite large samples, Annals of Mathematical Statistics 29 (1958); Efron
        and Tibshirani, An Introduction to the Bootstrap (1993), chapter 11.
    """
    seeds = values.shape[-1]
    if seeds < 3:
        raise ValueError(f"{seeds} seeds: the jackknife leaves one out, and needs at least 3")
    without = [statistic(np.delete(values, seed, axis=-1)) for seed in range(seeds)]
    return seeds * np.float64(statistic(values)) - (seeds - 1) * np.array(without, np.float64)


class Difference(NamedTuple):
    """How far one setting is above another, over seeds.

    Attributes:
        mean: of `one` less that of `other`, in their unit.
        ci95: its 95 % interval; None where the values show no spread, or there is one seed.
        p: the chance of a difference in means as far from 0 where the two settings are alike, in (0, 1].
        chance: that `one` is above `other` on a new seed, in [0, 1]; a tie counts half.
        chance_ci95: Wilson's interval of that; where the seeds differ, from the smaller number of seeds.
    """

    mean: float
    ci95: Interval | None
    p: float
    chance: float
    chance_ci95: Interval


def difference(
    one: Real[np.ndarray, " seeds"], other: Real[np.ndarray, " others"], *, paired: bool = True
) -> Difference:
    """How far `one` is above `other`: the difference of means, its p-value, and the chance on a new seed.

    Paired: the interval is `mean_ci` of the differences, p turns their signs (all 2^n ways, or 9,999 random ones).
    Unpaired: mean -+ c_(v + 1) sqrt(s_1^2/n_1 + s_2^2/n_2), v the degrees of freedom of Welch and Satterthwaite; p
    shares the values out anew; the chance is Mann and Whitney's U / (n_1 n_2).

    Args:
        one, other: one finite number per seed, in the same unit; of the same seeds in the same order where paired.
        paired: whether they are of the same seeds.

    Returns:
        The difference.

    Raises:
        ValueError: no values, some that are not finite, or paired ones of unequal number.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 15 (permutation tests); Welch,
        Biometrika 34 (1947); Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
    """
    one, other = _finite(one), _finite(other)
    if paired and len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} values: paired ones are of the same seeds")
    mean = float(one.mean() - other.mean())
    if paired:
        gaps = one - other
        above = float(np.sum(gaps > 0) + np.sum(gaps == 0) / 2)
        chance = above / len(gaps)
        return Difference(mean, mean_ci(gaps), _p(one, other, paired), chance, wilson_ci(above, len(gaps)))
    ranks = scipy.stats.rankdata(np.concatenate([one, other]))[: len(one)]
    above = float((ranks.sum() - len(one) * (len(one) + 1) / 2) / (len(one) * len(other)))
    fewer = min(len(one), len(other))
    return Difference(mean, _welch(one, other), _p(one, other, paired), above, wilson_ci(above * fewer, fewer))


def _welch(one: Float[np.ndarray, " seeds"], other: Float[np.ndarray, " others"]) -> Interval | None:
    if min(len(one), len(other)) < 2 or (np.ptp(one) == 0 and np.ptp(other) == 0):
        return None
    parts = np.array([values.var(ddof=1) / len(values) for values in (one, other)])
    freedom = parts.sum() ** 2 / (parts**2 / [len(one) - 1, len(other) - 1]).sum()
    reach = mean_quantile(int(freedom) + 1) * math.sqrt(parts.sum())
    mean = one.mean() - other.mean()
    return float(mean - reach), float(mean + reach)


def _p(one: Float[np.ndarray, " seeds"], other: Float[np.ndarray, " others"], paired: bool) -> float:
    if np.array_equal(one, other):
        return 1.0
    size = len(one) + len(other)
    return float(
        scipy.stats.permutation_test(
            (one, other),
            lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
            permutation_type="samples" if paired else "independent",
            vectorized=True,
            # 10^8 values bound the time; with so many seeds fewer resamples tell as much.
            n_resamples=int(np.clip(10**8 // size, 999, 9999)),
            batch=max(1, 10**6 // size),
            rng=np.random.default_rng(0),
        ).pvalue
    )


class Lowest(NamedTuple):
    """The setting whose mean over seeds is lowest.

    Attributes:
        place: of the setting.
        doubt: the chance, in [0, 1], that the true mean of another one is lower; None where there is one seed.
    """

    place: int
    doubt: float | None


def lowest(values: Real[np.ndarray, "settings seeds"]) -> Lowest:
    """Which setting has the lowest mean over seeds, and the chance that it is not truly the lowest.

    Given the values, and nothing else known before, the true means are m + Z / sqrt(n (n - 1)) D' / sqrt(C / (n - 1)):
    m the means over the n seeds, D the values less m, Z standard normal, C of a chi-squared distribution with n - 1
    degrees of freedom. So every difference of two settings has Student's distribution, as in the paired t-test, and of
    two settings the doubt is that test's one-sided p-value.

    Args:
        values: one finite number for each setting and seed, the seeds the same at every setting.

    Returns:
        The setting, the first of several equal ones, and its doubt from 20,000 draws by a fixed generator.

    Raises:
        ValueError: no values, or some that are not finite.

    Source: Gelman et al., Bayesian Data Analysis (3rd edition, 2013), section 3.2.
    """
    y = _finite(values)
    means, seeds = y.mean(axis=1), y.shape[1]
    place = int(means.argmin())
    if seeds < 2:
        return Lowest(place, None)
    rng, draws = np.random.default_rng(0), 20_000
    spread = rng.standard_normal((draws, seeds)) @ (y - means[:, None]).T / math.sqrt(seeds * (seeds - 1))
    drawn = means[None] + spread / np.sqrt(rng.chisquare(seeds - 1, (draws, 1)) / (seeds - 1))
    return Lowest(place, float(np.mean(drawn.min(axis=1) < drawn[:, place])))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several comparisons, corrected so that any false one among them has the stated chance.

    The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_j).

    Args:
        p_values: of each comparison, in [0, 1].

    Returns:
        The corrected ones, in the same order.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected.tolist()


def power(size: Number, sd: Number, seeds: int, *, paired: bool = True) -> float:
    """The chance that a difference of a given size shows (p <= 5 %, two-sided) in so many seeds.

    Of the t-test: P(|T| > t), T noncentral with n - 1 (paired) or 2n - 2 degrees of freedom and the noncentrality
    size / (sd sqrt(k/n)), k = 1 (paired) or 2.

    Args:
        size: of the true difference, in any unit.
        sd: standard deviation over seeds of the differences (paired) or of either setting, in the same unit, above 0.
        seeds: n of each setting, at least 2.
        paired: whether both settings have the same seeds.

    Returns:
        The power, in [0.05, 1]; for distributions near normal.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.
    """
    freedom, k = (seeds - 1, 1) if paired else (2 * seeds - 2, 2)
    shift = abs(size) / (sd * math.sqrt(k / seeds))
    limit = scipy.stats.t.ppf((1 + LEVEL) / 2, freedom)
    beyond = scipy.stats.nct.cdf(-limit, freedom, shift) if shift < 7 else 0.0  # below 1e-12, and SciPy's is NaN there
    return float(scipy.stats.nct.sf(limit, freedom, shift) + beyond)


def seeds_to_show(size: Number, sd: Number, *, wanted: float = 0.8, paired: bool = True) -> int:
    """How many seeds of each setting show a difference of a given size.

    So many have the wanted `power`, and can have a p of 5 % in `difference`: of n pairs it is at least 2 / 2^n, and
    unpaired 2 / binomial(2n, n).

    Args:
        size, sd, paired: as for `power`; size is not 0.
        wanted: the least `power`, in (0.05, 1).

    Returns:
        The least number of seeds, at least 6; unpaired 4.

    Raises:
        ValueError: a difference of 0, which no number shows.
    """
    if size == 0:
        raise ValueError("a difference of 0: no number of seeds shows it")
    enough = least = 6 if paired else 4
    while power(size, sd, enough, paired=paired) < wanted:
        enough *= 2
    known = range(enough)  # power grows with seeds
    return bisect_left(
        known, wanted, lo=max(least, enough // 2), key=lambda seeds: power(size, sd, seeds, paired=paired)
    )


def summarise(values: Real[np.ndarray, " seeds"]) -> dict[str, Any]:
    """What a figure was over seeds, ready for JSON.

    Args:
        values: one finite number per seed, in any unit.

    Returns:
        `mean`, `sd` (with n - 1), `min`, `median`, `max` and `ci95`, the interval [low, high] of the mean
        (`mean_ci`); all in the unit of `values`. `sd` is None for one seed, which cannot tell; `ci95` as well, and
        where all values are equal.

    Raises:
        ValueError: no values, or some that are not finite.
    """
    values = _finite(values)
    ci95 = mean_ci(values)
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
        "ci95": None if ci95 is None else list(ci95),
    }


def quantile_band(
    values: Real[np.ndarray, "seeds epochs"], level: float = LEVEL
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
