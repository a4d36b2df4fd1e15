"""A claim: one measured figure beside the published one, and the verdict that follows from the two."""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Relation: TypeAlias = Literal["at most", "at least", "about"]
Verdict: TypeAlias = Literal["holds", "fails", "undecided", "new"]
Number: TypeAlias = float | int
Interval: TypeAlias = tuple[Number, Number]

SYMBOLS = {"at most": "≤", "at least": "≥", "about": "≈"}


def verdict(
    ci95: Interval | None, published: Number | None, relation: Relation | None, tolerance: Number | None
) -> Verdict:
    """What an interval says about a published figure.

    The published figure allows (-inf, published] for `at most`, [published, inf) for `at least` and
    [published - tolerance, published + tolerance] for `about`. The claim holds where the whole interval is
    allowed, fails where none of it is, and is undecided where the interval straddles a border.

    Args:
        ci95: the measured 95 % interval, in the claim's unit; None where the seeds cannot give one.
        published: the published figure, in the same unit; None where there is none.
        relation: how the measured figure is claimed to stand to the published one.
        tolerance: half the width of what counts as `about`, in the same unit, at least 0.

    Returns:
        `holds`, `fails`, `undecided`, or `new` where nothing was published.
    """
    if published is None:
        return "new"
    if ci95 is None:
        return "undecided"
    slack = tolerance or 0.0
    least = -math.inf if relation == "at most" else published - slack
    most = math.inf if relation == "at least" else published + slack
    low, high = ci95
    if least <= low and high <= most:
        return "holds"
    return "fails" if high < least or low > most else "undecided"


@dataclass(frozen=True)
class Claim:
    """One measured figure, beside the published one where there is one.

    Args:
        name: what was measured ("dropout test error").
        unit: of every number here ("%", "nats", "epochs"); empty for a count or a ratio.
        measured: the figure over all seeds.
        ci95: its 95 % interval over seeds (`stats.bootstrap_ci`, or `stats.wilson_ci` for a rate); None where
            the seeds cannot give one.
        seeds: number of seeds, at least 1.
        published: the published figure; None where there is none.
        relation: `at most`, `at least` or `about`; goes with `published`.
        tolerance: goes with `about`, at least 0.
        source: who published it.

    Raises:
        ValueError: the numbers do not go together, such as a figure outside of its own interval.
    """

    name: str
    unit: str
    measured: Number
    ci95: Interval | None
    seeds: int
    published: Number | None = None
    relation: Relation | None = None
    tolerance: Number | None = None
    source: str = ""

    def __post_init__(self) -> None:
        numbers = [self.measured, *(self.ci95 or ()), self.published or 0.0, self.tolerance or 0.0]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{self.name}: {numbers} are not all finite")
        if self.seeds < 1:
            raise ValueError(f"{self.name}: {self.seeds} seeds; at least 1 is needed")
        if (self.published is None) != (self.relation is None):
            raise ValueError(f"{self.name}: a published figure and a relation go together")
        if (self.relation == "about") != (self.tolerance is not None) or (self.tolerance or 0.0) < 0:
            raise ValueError(f"{self.name}: 'about' needs a tolerance of at least 0, and only 'about' has one")
        if self.ci95 is not None:
            low, high = self.ci95
            rounding = 1e-9 * max(abs(low), abs(high))
            if not low - rounding <= self.measured <= high + rounding:
                raise ValueError(f"{self.name}: {self.measured} is not in its own interval [{low}, {high}]")

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the published figure; see the function `verdict`."""
        return verdict(self.ci95, self.published, self.relation, self.tolerance)

    @classmethod
    def from_json(cls, stated: dict[str, Any]) -> "Claim":
        """The claim as `results.json` states it; its verdict is left to be computed anew.

        Args:
            stated: one of the file's `claims`.

        Returns:
            The claim.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
            ValueError: the numbers do not go together.
        """
        ci95 = None if stated["ci95"] is None else tuple(stated["ci95"])
        return cls(**{key: value for key, value in stated.items() if key != "verdict"} | {"ci95": ci95})

    def cells(self) -> tuple[str, str, str, str]:
        """Name, published figure, measured figure with its interval, and seeds, as tables show them."""
        unit = f" {self.unit}" if self.unit else ""
        published = ""
        if self.published is not None and self.relation is not None:
            tolerance = "" if self.tolerance is None else f" ± {_digits(self.tolerance)}"
            published = f"{SYMBOLS[self.relation]} {_digits(self.published)}{tolerance}{unit}"
        measured = _digits(self.measured)
        if self.ci95 is not None:
            measured += f" [{_digits(self.ci95[0])}, {_digits(self.ci95[1])}]"
        return self.name, published, measured + unit, f"{self.seeds:,}"


def _digits(value: Number) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:.4g}"
