"""Verdicts follow from the numbers, and numbers that do not go together are refused."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlpjax.claims import Claim
from mlpjax.stats import difference, mean_ci, median_ci, wilson_ci

BELOW, ACROSS, ABOVE = (1.0, 2.0), (1.0, 4.0), (4.0, 5.0)
NONE = np.empty((1, 0))


def verdict(ci95: Any, published: float | None, relation: Any, tolerance: float | None) -> str:
    """Of a mean with this interval."""
    middle = 0.0 if ci95 is None else min(max(sum(ci95) / 2, ci95[0]), ci95[1])
    source = "" if tolerance is None else "ours"
    return Claim(
        "",
        statistic="mean",
        measured=middle,
        ci95=ci95,
        seeds=3,
        published=published,
        relation=relation,
        tolerance=tolerance,
        tolerance_source=source,
        values=NONE,
    ).verdict


@pytest.mark.parametrize(
    ("ci95", "relation", "tolerance", "expected"),
    [
        (BELOW, "at most", None, "holds"),
        (ACROSS, "at most", None, "undecided"),
        (ABOVE, "at most", None, "fails"),
        (BELOW, "at least", None, "fails"),
        (ACROSS, "at least", None, "undecided"),
        (ABOVE, "at least", None, "holds"),
        (BELOW, "below", None, "holds"),
        (ACROSS, "below", None, "undecided"),
        (ABOVE, "below", None, "fails"),
        (BELOW, "above", None, "fails"),
        (ACROSS, "above", None, "undecided"),
        (ABOVE, "above", None, "holds"),
        ((3.0, 3.0), "above", None, "fails"),
        ((3.0, 3.0), "below", None, "fails"),
        ((3.0, 4.0), "above", None, "undecided"),
        ((2.0, 3.0), "below", None, "undecided"),
        (BELOW, "about", 0.5, "fails"),
        (BELOW, "about", 1.5, "undecided"),
        (BELOW, "about", 2.0, "holds"),
        (ACROSS, "about", 0.5, "undecided"),
        (ABOVE, "about", 0.5, "fails"),
        (ABOVE, "about", 1.5, "undecided"),
        (ABOVE, "about", 2.0, "holds"),
        ((3.0, 3.0), "at most", None, "holds"),
        ((3.0, 3.0), "at least", None, "holds"),
        ((3.0, 3.0), "about", 0.0, "holds"),
        ((3.0, 4.0), "at most", None, "undecided"),
        ((2.0, 3.0), "at least", None, "undecided"),
        (None, "at most", None, "undecided"),
    ],
)
def test_verdict_about_a_published_three(ci95: Any, relation: Any, tolerance: Any, expected: str) -> None:
    assert verdict(ci95, 3.0, relation, tolerance) == expected


def test_what_nobody_published_is_new() -> None:
    assert verdict(BELOW, None, None, None) == "new"
    assert verdict(None, None, None, None) == "new"


reals = st.floats(-1e6, 1e6)
widths = st.floats(0.01, 1e6)


@given(widths, reals)
def test_moving_the_interval_past_the_line_flips_the_verdict(width: float, published: float) -> None:
    below = (published - width - 1, published - 1)
    above = (published + 1, published + width + 1)
    across = (published - width, published + width)
    for ci95, at_most, at_least in (
        (below, "holds", "fails"),
        (across, "undecided", "undecided"),
        (above, "fails", "holds"),
    ):
        assert verdict(ci95, published, "at most", None) == at_most
        assert verdict(ci95, published, "at least", None) == at_least


@given(reals, widths, reals)
def test_at_least_is_at_most_in_the_mirror(low: float, width: float, published: float) -> None:
    mirrored = verdict((-low - width, -low), -published, "at least", None)
    assert verdict((low, low + width), published, "at most", None) == mirrored


@given(reals, widths, reals, widths)
def test_about_is_at_most_and_at_least(low: float, width: float, published: float, tolerance: float) -> None:
    ci95 = (low, low + width)
    sides = {
        verdict(ci95, published + tolerance, "at most", None),
        verdict(ci95, published - tolerance, "at least", None),
    }
    expected = "holds" if sides == {"holds"} else "fails" if "fails" in sides else "undecided"
    assert verdict(ci95, published, "about", tolerance) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"measured": 3.0},
        {"measured": math.nan},
        {"ci95": (2.0, 1.0)},
        {"ci95": (0.0, math.inf)},
        {"relation": None},
        {"published": None},
        {"relation": "about"},
        {"relation": "about", "tolerance": 0.1},
        {"tolerance": 0.1},
        {"tolerance_source": "ours"},
        {"relation": "about", "tolerance": -0.1, "tolerance_source": "ours"},
    ],
)
def test_numbers_that_do_not_go_together_are_refused(wrong: dict[str, Any]) -> None:
    right = {"measured": 1.7, "ci95": (1.66, 1.74), "seeds": 64, "published": 1.8, "relation": "at most"}
    right |= {"statistic": "mean", "values": NONE}
    Claim("dropout test error", unit="%", **right)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dropout test error"):
        Claim("dropout test error", unit="%", **right | wrong)  # type: ignore[arg-type]


RUNS = np.array([97.6, 97.7, 97.8, 97.65, 97.75])


@pytest.mark.parametrize(
    ("make", "statistic", "interval"), [(Claim.mean, np.mean, mean_ci), (Claim.median, np.median, median_ci)]
)
def test_a_statistic_stands_with_its_interval(make: Any, statistic: Any, interval: Any) -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0, 3.0, 7.0, 5.0])
    stated = {"unit": "nats", "published": 3, "relation": "about", "tolerance": 0.5, "source": "[1]"}
    claim = make("loss", values, **stated, tolerance_source="ours")
    assert (claim.measured, claim.ci95, claim.seeds, claim.left_out) == (statistic(values), interval(values), 7, 0)
    assert {field: getattr(claim, field) for field in stated} == stated
    assert np.array_equal(claim.values, values[None])


def test_a_share_is_in_per_cent_with_wilson_s_interval() -> None:
    claim = Claim.share("solved", np.array([True, True, False, True]), published=50, relation="at least", source="[1]")
    low, high = wilson_ci(3, 4)
    assert (claim.measured, claim.ci95, claim.unit, claim.seeds) == (75.0, (100 * low, 100 * high), "%", 4)


@pytest.mark.parametrize(
    ("missed", "seeds", "expected"), [(0, 15, "undecided"), (0, 16, "holds"), (1, 16, "fails"), (1, 1000, "fails")]
)
def test_a_claim_of_every_seed_fails_by_one_that_misses(missed: int, seeds: int, expected: str) -> None:
    claim = Claim.every("convex", np.arange(seeds) >= missed, source="[1]")
    assert claim.verdict == expected
    assert claim.cells()[1] == "every seed"


def test_a_difference_says_all_that_stats_say_of_it() -> None:
    one, other = np.random.default_rng(0).normal([[1.0], [0.0]], size=(2, 9))
    for paired in (True, False):
        claim = Claim.difference("gap", one, other, paired=paired, published=0, relation="above", source="[1]")
        found = difference(one, other, paired=paired)
        assert (claim.measured, claim.ci95, claim.p, claim.chance, claim.chance_ci95) == found
        assert f"p = {found.p:.2g}; above 0 in {100 * found.chance:.4g} [" in claim.cells()[2]


def test_a_null_does_not_hold_by_touching_the_border() -> None:
    nothing = np.zeros(32)
    claim = Claim.difference("gap", nothing, nothing, published=0, relation="above", source="[1]")
    assert claim.verdict == "undecided"
    assert Claim.exact("gap", 0, published=0, relation="above", source="[1]").verdict == "fails"


def test_values_all_alike_are_judged_by_their_count_alone() -> None:
    claim = Claim.mean("units", np.ones(32), published=1, relation="at most", source="[1]")
    assert (claim.ci95, claim.verdict) == (None, "undecided")
    assert claim.cells()[2] == "1 in all; elsewhere at most 10.72 % of seeds"


def test_one_seed_decides_nothing() -> None:
    assert Claim.mean("loss", np.array([1.0]), published=2, relation="at most", source="[1]").verdict == "undecided"


def test_what_is_not_random_is_compared_as_it_stands() -> None:
    stated: Any = {"published": 0.5, "relation": "about", "tolerance": 0.1, "tolerance_source": "ours"}
    claim = Claim.exact("border", 0.59, **stated)
    assert (claim.verdict, claim.ci95, claim.cells()[3]) == ("holds", None, "")
    assert Claim.exact("border", 0.61, **stated).verdict == "fails"


def test_seeds_that_do_not_count_are_printed_and_not_used() -> None:
    values, among = np.array([1.0, np.nan, 3.0, np.inf, 2.0]), np.array([True, False, True, False, True])
    claim = Claim.mean("loss", values, among=among)
    assert (claim.measured, claim.ci95, claim.cells()[3]) == (2.0, mean_ci(values[among]), "3 of 5")
    assert Claim.share("solved", values > 1, among=among).measured == pytest.approx(200 / 3)
    assert Claim.difference("gap", values, values, among=among).seeds == 3
    with pytest.raises(ValueError, match="not finite"):
        Claim.mean("loss", values)


def test_where_no_seed_is_left_the_row_stays() -> None:
    none = np.zeros(4, bool)
    for claim in (
        Claim.mean("loss", np.full(4, np.nan), among=none, published=1, relation="below", source=""),
        Claim.every("solved", none, among=none, source=""),
    ):
        assert (claim.measured, claim.verdict) == (None, "undecided")
        assert claim.cells()[2:] == ("no seed is left", "0 of 4")
    with pytest.raises(ValueError, match="loss: no values"):
        Claim.mean("loss", np.empty(0))


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-1000, 1000, width=32)))
def test_a_figure_of_single_precision_lies_in_its_own_interval(values: np.ndarray) -> None:
    claim = Claim.mean("loss", values)
    assert claim.ci95 is None or claim.ci95[0] <= claim.measured <= claim.ci95[1]  # type: ignore[operator]


def test_a_published_run_holds_where_runs_lie_and_fails_far_from_it() -> None:
    claim = Claim.reproduces("accuracy", RUNS, unit="%", published=97.7, last_digit=0.01, source="[1]")
    # By hand: sd = 0.0790569, t(0.975, 4) = 2.7764451, sqrt(1 + 1/5) = 1.0954451.
    assert claim.tolerance == pytest.approx(2.7764451 * 0.0790569 * 1.0954451 + 0.005, rel=1e-6)
    assert (claim.measured, claim.relation, claim.unit, claim.source) == (RUNS.mean(), "about", "%", "[1]")
    assert claim.verdict == "holds"
    assert Claim.reproduces("accuracy", RUNS, published=98.4, last_digit=0.01, source="").verdict == "fails"


def test_one_more_run_of_the_same_kind_is_within_the_tolerance_19_times_out_of_20() -> None:
    runs = np.random.default_rng(0).standard_normal((400, 6))
    near = [
        abs(run[0] - run[1:].mean()) <= Claim.reproduces("", run[1:], published=0, last_digit=0, source="").tolerance
        for run in runs
    ]
    assert np.mean(near) == pytest.approx(0.95, abs=0.035)  # 3.2 standard deviations


def test_one_run_does_not_tell_where_runs_lie() -> None:
    with pytest.raises(ValueError, match="accuracy: 1 seeds; at least 2"):
        Claim.reproduces("accuracy", RUNS[:1], published=97.7, last_digit=0.01, source="")
