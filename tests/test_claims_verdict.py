"""Verdicts follow from the numbers, and numbers that do not go together are refused."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpjax.claims import Claim
from mlpjax.claims.verdict import verdict

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
    Claim("dropout test error", "%", **right)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dropout test error"):
        Claim("dropout test error", "%", **right | wrong)  # type: ignore[arg-type]
