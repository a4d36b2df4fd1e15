"""Verdicts follow from the numbers, and numbers that do not go together are refused."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlpjax.claims import Claim
from mlpjax.claims.verdict import verdict
from mlpjax.stats import bootstrap_ci, wilson_ci

BELOW, ACROSS, ABOVE = (1.0, 2.0), (1.0, 4.0), (4.0, 5.0)


@pytest.mark.parametrize(
    ("ci95", "relation", "tolerance", "expected"),
    [
        (BELOW, "at most", None, "holds"),
        (ACROSS, "at most", None, "undecided"),
        (ABOVE, "at most", None, "fails"),
        (BELOW, "at least", None, "fails"),
        (ACROSS, "at least", None, "undecided"),
        (ABOVE, "at least", None, "holds"),
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
        {"seeds": 0},
        {"relation": None},
        {"published": None},
        {"relation": "about"},
        {"tolerance": 0.1},
        {"relation": "about", "tolerance": -0.1},
    ],
)
def test_numbers_that_do_not_go_together_are_refused(wrong: dict[str, Any]) -> None:
    right = {"measured": 1.7, "ci95": (1.66, 1.74), "seeds": 64, "published": 1.8, "relation": "at most"}
    Claim("dropout test error", unit="%", **right)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dropout test error"):
        Claim("dropout test error", unit="%", **right | wrong)  # type: ignore[arg-type]


RUNS = np.array([97.6, 97.7, 97.8, 97.65, 97.75])


@pytest.mark.parametrize(
    ("make", "statistic"),
    [(Claim.mean, np.mean), (Claim.median, np.median), (partial(Claim.of, statistic=np.max), np.max)],
)
def test_a_statistic_stands_with_its_bootstrap_interval(make: Any, statistic: Any) -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    expected = Claim("loss", measured=float(statistic(values)), ci95=bootstrap_ci(values, statistic), seeds=4)
    assert make("loss", values) == expected
    stated = {"unit": "nats", "published": 3, "relation": "about", "tolerance": 0.5, "source": "[1]"}
    claim = make("loss", values, **stated)
    assert {field: getattr(claim, field) for field in stated} == stated


def test_a_share_is_in_per_cent_with_wilson_s_interval() -> None:
    claim = Claim.share("solved", np.array([True, True, False, True]), published=50, relation="at least", source="[1]")
    low, high = wilson_ci(3, 4)
    expected = Claim(
        "solved",
        unit="%",
        measured=75.0,
        ci95=(100 * low, 100 * high),
        seeds=4,
        published=50,
        relation="at least",
        source="[1]",
    )
    assert claim == expected


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-1000, 1000, width=32)))
def test_a_figure_of_single_precision_lies_in_its_own_interval(values: np.ndarray) -> None:
    alike = np.full_like(values, values[0])
    assert Claim.mean("loss", alike).measured == float(values[0])


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
