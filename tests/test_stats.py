"""Intervals against closed forms, SciPy and their own coverage."""

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mlpjax.stats import bootstrap_ci, quantile_band, summarise, wilson_ci

SAMPLE = np.random.default_rng(1).lognormal(size=400)


def test_bootstrap_of_the_mean_is_the_normal_interval_when_seeds_are_many() -> None:
    error = SAMPLE.std(ddof=1) / np.sqrt(len(SAMPLE))
    normal = SAMPLE.mean() - 1.96 * error, SAMPLE.mean() + 1.96 * error
    assert np.allclose(bootstrap_ci(SAMPLE), normal, atol=0.25 * error)


def test_bootstrap_of_the_median_holds_the_order_statistics_interval() -> None:
    # Exact: the number of values below the median is binomial(n, 1/2).
    low, high = scipy.stats.binom(len(SAMPLE), 0.5).ppf([0.025, 0.975]).astype(int)
    ordered = np.sort(SAMPLE)
    assert np.allclose(bootstrap_ci(SAMPLE, np.median), (ordered[low], ordered[high]), rtol=0.05)


def test_bootstrap_covers_the_true_mean() -> None:
    rng = np.random.default_rng(2)
    intervals = [bootstrap_ci(rng.exponential(size=40)) for _ in range(200)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.88 <= covered <= 0.98


@pytest.mark.parametrize("level", [0.5, 0.99])
def test_bootstrap_widens_with_the_level(level: float) -> None:
    low, high = bootstrap_ci(SAMPLE, level=level)
    z = scipy.stats.norm.ppf((1 + level) / 2)
    assert high - low == pytest.approx(2 * z * SAMPLE.std() / np.sqrt(len(SAMPLE)), rel=0.1)


def test_bootstrap_is_repeatable() -> None:
    assert bootstrap_ci(SAMPLE) == bootstrap_ci(SAMPLE)


def test_bootstrap_of_a_hundred_thousand_seeds_stays_small_in_memory() -> None:
    values = np.random.default_rng(3).normal(size=100_000)
    low, high = bootstrap_ci(values)
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(100_000), rel=0.1)


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_bootstrap_of_equal_values_has_no_width(values: list[float]) -> None:
    mean = float(np.mean(values))
    assert bootstrap_ci(np.array(values)) == (mean, mean)


@pytest.mark.parametrize("function", [bootstrap_ci, summarise])
@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf, 1.0]])
def test_values_that_are_missing_or_not_finite_are_refused(function: object, values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least one seed|not finite"):
        function(np.array(values))  # type: ignore[operator]


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_quadratic(rate: tuple[int, int]) -> None:
    # Wilson's ends are the rates p at which (successes/n - p)^2 = z^2 p (1 - p) / n.
    successes, n = rate
    z = scipy.stats.norm.ppf(0.975)
    for p in wilson_ci(successes, n):
        assert (successes / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, rel=1e-6, abs=1e-12)


def test_wilson_of_25_runs_in_30() -> None:
    assert wilson_ci(25, 30) == pytest.approx((0.6644, 0.9266), abs=1e-4)


def test_summary_of_known_numbers() -> None:
    summary = summarise(np.array([4, 1, 2, 3]))
    assert summary.pop("ci95") == list(bootstrap_ci(np.array([4.0, 1.0, 2.0, 3.0])))
    assert summary == {"mean": 2.5, "sd": pytest.approx((5 / 3) ** 0.5), "min": 1, "median": 2.5, "max": 4}


def test_summary_of_one_seed_does_not_pretend_to_know_the_spread() -> None:
    summary = summarise(np.array([0.25], np.float32))
    assert summary == {"mean": 0.25, "sd": None, "min": 0.25, "median": 0.25, "max": 0.25, "ci95": None}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_band_holds_its_share_of_the_seeds_at_each_epoch() -> None:
    values = np.random.default_rng(4).normal([0.0, 10.0, 20.0], size=(1000, 3))
    lower, median, upper = quantile_band(values, level=0.9)
    inside = ((lower <= values) & (values <= upper)).mean(axis=0)
    assert np.allclose(inside, 0.9, atol=0.002)
    assert np.allclose(median, np.median(values, axis=0))
