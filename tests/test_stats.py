"""Intervals against closed forms, SciPy, an exhaustive count, and their own coverage in simulations."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mlpjax.stats import (
    difference,
    holm,
    jackknife,
    lowest,
    mean_band,
    mean_ci,
    mean_quantile,
    median_ci,
    power,
    quantile_band,
    seeds_to_show,
    summarise,
    wilson_ci,
)

DRAWS = 2000
BINOMIAL = 3 * math.sqrt(0.95 * 0.05 / DRAWS)
"""Three standard deviations of a share of 95 % in so many draws: 1.5 %."""
NORMAL = np.random.default_rng(1).normal(3.0, 2.0, size=(2, 40))


def covered(interval: Callable[[np.ndarray], tuple[float, float] | None], samples: np.ndarray, true: float) -> float:
    ends = [interval(sample) for sample in samples]
    return float(np.mean([end is not None and end[0] <= true <= end[1] for end in ends]))


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 8, 16, 32, 100])
@pytest.mark.parametrize(
    ("distribution", "true"),
    [(scipy.stats.norm(), 0.0), (scipy.stats.expon(), 1.0), (scipy.stats.gamma(2), 2.0), (scipy.stats.uniform(), 0.5)],
    ids=["normal", "exponential", "gamma", "uniform"],
)
def test_the_interval_of_a_mean_covers_it(distribution: Any, true: float, seeds: int) -> None:
    samples = distribution.rvs((DRAWS, seeds), random_state=np.random.default_rng(seeds))
    assert covered(mean_ci, samples, true) >= 0.95 - BINOMIAL


@pytest.mark.parametrize("seeds", [6, 9, 32])
def test_the_interval_of_a_median_covers_it(seeds: int) -> None:
    samples = np.random.default_rng(0).exponential(size=(DRAWS, seeds))
    assert covered(median_ci, samples, math.log(2)) >= 0.95 - BINOMIAL


def test_the_interval_of_a_mean_is_wider_than_student_s_where_seeds_are_few_and_his_where_they_are_many() -> None:
    for seeds, ratio in ((3, 1.88), (8, 1.47), (16, 1.25), (32, 1.12)):
        assert mean_quantile(seeds) / scipy.stats.t.ppf(0.975, seeds - 1) == pytest.approx(ratio, rel=0.02)
    many = np.random.default_rng(2).normal(size=2000)
    error = many.std(ddof=1) / np.sqrt(2000)
    student = scipy.stats.t(1999, many.mean(), error).interval(0.95)
    assert mean_ci(many) == pytest.approx(student, rel=1e-9)


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1, 0.1], [0, 0]])
def test_values_without_spread_have_no_interval(values: list[float]) -> None:
    assert mean_ci(np.array(values)) is None


def test_the_median_s_interval_is_of_order_statistics() -> None:
    values = np.random.default_rng(3).permutation(20)
    expected = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    assert median_ci(values) == (expected.low, expected.high) == (5, 14)
    assert median_ci(np.arange(6)) == (0, 5)
    assert median_ci(np.arange(5)) is None


@pytest.mark.parametrize("function", [mean_ci, median_ci, summarise])
@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf, 1.0]])
def test_values_that_are_missing_or_not_finite_are_refused(function: object, values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least one seed|not finite"):
        function(np.array(values))  # type: ignore[operator]


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, 2 * n), st.just(n))))
def test_wilson_solves_its_quadratic(rate: tuple[int, int]) -> None:
    # Wilson's ends are the rates p at which (successes/n - p)^2 = z^2 p (1 - p) / n.
    successes, n = rate[0] / 2, rate[1]
    z = scipy.stats.norm.ppf(0.975)
    for p in wilson_ci(successes, n):
        assert (successes / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, rel=1e-6, abs=1e-12)


def test_wilson_of_known_rates() -> None:
    assert wilson_ci(25, 30) == pytest.approx((0.6644, 0.9266), abs=1e-4)
    assert wilson_ci(0, 32) == pytest.approx((0.0, 0.1072), abs=1e-4)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 3), (4, 3)])
def test_rates_that_cannot_be_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_ci(successes, trials)


def test_a_paired_difference_is_the_mean_of_the_differences() -> None:
    one, other = NORMAL
    found = difference(one, other)
    assert found.ci95 == mean_ci(one - other)
    assert found.mean == pytest.approx((one - other).mean())
    assert found.chance == np.mean(one > other)
    assert found.chance_ci95 == wilson_ci(int(np.sum(one > other)), 40)


def test_the_p_value_of_paired_seeds_counts_all_signs() -> None:
    gaps = np.array([0.3, 0.1, 0.4, -0.15, 0.9, 0.26, 0.5])
    sums = np.array([np.dot(signs, gaps) for signs in itertools.product((-1, 1), repeat=len(gaps))])
    exact = np.mean(np.abs(sums) >= abs(gaps.sum()) - 1e-12)
    assert difference(gaps, np.zeros(7)).p == pytest.approx(exact)


def test_an_unpaired_difference_against_scipy() -> None:
    one, other = NORMAL[0], 2 * NORMAL[1, :25] + 1
    found = difference(one, other, paired=False)
    welch = scipy.stats.ttest_ind(one, other, equal_var=False)
    # Values shared out anew are of one pool, as in the t-test of equal variances.
    assert found.p == pytest.approx(scipy.stats.ttest_ind(one, other).pvalue, abs=0.015)
    low, high = welch.confidence_interval()
    assert found.ci95 is not None
    assert found.ci95[0] + found.ci95[1] == pytest.approx(low + high)
    wider = mean_quantile(int(welch.df) + 1) / scipy.stats.t.ppf(0.975, welch.df)
    assert (found.ci95[1] - found.ci95[0]) / (high - low) == pytest.approx(wider)
    assert found.chance == pytest.approx(scipy.stats.mannwhitneyu(one, other).statistic / (40 * 25))
    assert found.chance_ci95 == wilson_ci(found.chance * 25, 25)


def test_settings_that_are_alike_do_not_differ() -> None:
    same = np.ones(8)
    assert difference(same, same) == (0.0, None, 1.0, 0.5, wilson_ci(4, 8))
    assert difference(same, same[:5], paired=False).ci95 is None


def test_pairs_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="40 and 39"):
        difference(NORMAL[0], NORMAL[1, 1:])


def test_holm_by_hand() -> None:
    # Smallest first: 0.01 x 4, 0.02 x 3, 0.03 x 2 and no less, 0.6 x 1.
    assert holm([0.03, 0.01, 0.6, 0.02]) == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_jackknife_gives_back_what_adds_up_and_takes_the_bias_of_a_variance_away() -> None:
    values = NORMAL[0]
    np.testing.assert_allclose(jackknife(np.mean, values), values)
    np.testing.assert_allclose(jackknife(np.var, values).mean(), values.var(ddof=1))


def test_the_jackknife_s_error_is_the_textbook_s() -> None:
    """Of a ratio of means, whose error is also known by linearisation; seeds are the last axis."""
    x, y = values = np.random.default_rng(5).normal([[3.0], [5.0]], 0.1, size=(2, 2000))
    found = jackknife(lambda some: some[0].mean() / some[1].mean(), values)
    linear = (x - x.mean() / y.mean() * y) / y.mean()
    np.testing.assert_allclose(found - found.mean(), linear, atol=1e-3 * linear.std())
    np.testing.assert_allclose(found.mean(), x.mean() / y.mean(), rtol=1e-4)


def test_the_jackknife_of_two_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 seeds: the jackknife"):
        jackknife(np.mean, NORMAL[:, :2])


@pytest.mark.parametrize("paired", [True, False])
def test_power_is_how_often_a_difference_shows(paired: bool) -> None:
    one, other = np.random.default_rng(5).normal([[[1.0]], [[0.0]]], size=(2, DRAWS, 12))
    tests = scipy.stats.ttest_1samp(one, 0, axis=1) if paired else scipy.stats.ttest_ind(one, other, axis=1)
    shown = np.mean(tests.pvalue <= 0.05)
    assert power(1.0, 1.0, 12, paired=paired) == pytest.approx(shown, abs=3 * math.sqrt(0.25 / DRAWS))


def test_power_of_the_textbook() -> None:
    """Cohen (1988), table 2.4.1: a medium effect, d = 0.5, at a power of 0.8 takes 64 of each; a large one 26."""
    assert seeds_to_show(0.5, 1.0, paired=False) == 64
    assert seeds_to_show(-0.8, 1.0, paired=False) == 26
    for paired, least in ((True, 6), (False, 4)):  # the first of which a permutation tells the largest difference
        assert seeds_to_show(100.0, 1.0, paired=paired) == least
        p = [difference(np.arange(n) + 9.0, np.arange(n) / 9, paired=paired).p for n in (least - 1, least)]
        assert p[1] < 0.05 < p[0]
    assert power(0.0, 1.0, 10) == pytest.approx(0.05)


def test_no_number_of_seeds_shows_nothing() -> None:
    with pytest.raises(ValueError, match="no number"):
        seeds_to_show(0, 1.0)


def test_summary_of_known_numbers() -> None:
    summary = summarise(np.array([4, 1, 2, 3]))
    assert summary.pop("ci95") == list(mean_ci(np.array([4.0, 1.0, 2.0, 3.0])) or ())
    assert summary == {"mean": 2.5, "sd": pytest.approx((5 / 3) ** 0.5), "min": 1, "median": 2.5, "max": 4}


def test_summary_of_one_seed_does_not_pretend_to_know_the_spread() -> None:
    summary = summarise(np.array([0.25], np.float32))
    assert summary == {"mean": 0.25, "sd": None, "min": 0.25, "median": 0.25, "max": 0.25, "ci95": None}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_bands_of_a_figure() -> None:
    values = np.random.default_rng(4).normal([0.0, 10.0, 20.0], size=(1000, 3))
    lower, median, upper = quantile_band(values, level=0.9)
    inside = ((lower <= values) & (values <= upper)).mean(axis=0)
    assert np.allclose(inside, 0.9, atol=0.002)
    assert np.allclose(median, np.median(values, axis=0))
    values[:, 2] = 7.0
    low, mean, high = mean_band(values)
    assert (low[0], high[0]) == mean_ci(values[:, 0])
    assert (low[2], mean[2], high[2]) == (7.0, 7.0, 7.0)


def test_of_two_settings_the_doubt_is_the_paired_t_tests():
    rng = np.random.default_rng(0)
    for seeds in (3, 8, 30):
        pair = rng.normal(size=(2, seeds)) + rng.normal(size=seeds)[None] * 5
        place, doubt = lowest(pair)
        assert place == pair.mean(axis=1).argmin()
        wanted = scipy.stats.ttest_rel(pair[place], pair[1 - place], alternative="greater").pvalue
        np.testing.assert_allclose(doubt, 1 - wanted if wanted > 0.5 else wanted, atol=0.01)


def test_the_doubt_of_many_settings_is_as_large_as_its_meaning():
    """Of normal settings with means drawn at random, the one that looks lowest is not so as often as the doubt says."""
    rng = np.random.default_rng(1)
    doubts, wrong = [], []
    for _ in range(400):
        truth = rng.normal(size=6)
        found = lowest(truth[:, None] + rng.normal(scale=1.5, size=(6, 12)))
        doubts.append(found.doubt)
        wrong.append(found.place != truth.argmin())
    assert abs(np.mean(doubts) - np.mean(wrong)) < 0.08


def test_one_setting_is_lowest_and_one_seed_leaves_the_doubt_open():
    assert lowest(np.arange(4.0)[None]) == (0, 0.0)
    assert lowest(np.array([[2.0], [1.0]])) == (1, None)
    with pytest.raises(ValueError, match="not finite"):
        lowest(np.array([[1.0, np.nan]]))


def test_the_power_of_a_large_difference_is_nearly_one():
    """SciPy's noncentral t has no lower tail there."""
    curve = [power(50.0, 1.0, seeds) for seeds in range(2, 40)]
    assert np.isfinite(curve).all()
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1.0
