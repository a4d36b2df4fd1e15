"""A claim: one measured figure beside the published one, and the verdict that follows from the two."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import numpy as np
import scipy  # loads scipy.stats, which is slow, when it is first used
from jaxtyping import Bool, Real

from mlpjax.stats import bootstrap_ci, wilson_ci

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


class Published(TypedDict, total=False):
    """What a measured figure stands beside; see `Claim`."""

    published: Number | None
    relation: Relation | None
    tolerance: Number | None
    source: str


@dataclass(frozen=True)
class Claim:
    """One measured figure, beside the published one where there is one.

    `mean`, `median`, `share`, `reproduces` and `of` make it from one value per seed.

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
    _: KW_ONLY
    unit: str = ""
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
    def of(
        cls,
        name: str,
        values: Real[np.ndarray, " seeds"],
        statistic: Callable[..., Any],
        *,
        unit: str = "",
        **published: Unpack[Published],
    ) -> "Claim":
        """A statistic over seeds, with its bootstrap interval.

        Args:
            name, unit, published: as for `Claim`.
            values: one finite number per seed, in the claim's unit.
            statistic: of an array of values, as `stats.bootstrap_ci` takes it.

        Returns:
            The claim; its `seeds` are as many as there are values.

        Raises:
            ValueError: no values, some that are not finite, or numbers that do not go together.
        """
        ci95 = bootstrap_ci(values, statistic)
        # In the precision of its interval, outside of which it might be rounded.
        measured = float(statistic(values.astype(np.float64)))
        return cls(name, unit=unit, measured=measured, ci95=ci95, seeds=len(values), **published)

    @classmethod
    def mean(
        cls, name: str, values: Real[np.ndarray, " seeds"], *, unit: str = "", **published: Unpack[Published]
    ) -> "Claim":
        """The mean over seeds; otherwise as `of`."""
        return cls.of(name, values, np.mean, unit=unit, **published)

    @classmethod
    def median(
        cls, name: str, values: Real[np.ndarray, " seeds"], *, unit: str = "", **published: Unpack[Published]
    ) -> "Claim":
        """The median over seeds; otherwise as `of`."""
        return cls.of(name, values, np.median, unit=unit, **published)

    @classmethod
    def share(cls, name: str, hits: Bool[np.ndarray, " seeds"], **published: Unpack[Published]) -> "Claim":
        """The share of the seeds of which something is true, in %, with Wilson's interval.

        Args:
            name, published: as for `Claim`, in %.
            hits: of which seeds it is true.

        Returns:
            The claim.

        Raises:
            ValueError: no seeds, or numbers that do not go together.
        """
        low, high = wilson_ci(int(hits.sum()), len(hits))
        measured, ci95 = 100 * float(hits.mean()), (100 * low, 100 * high)
        return cls(name, unit="%", measured=measured, ci95=ci95, seeds=len(hits), **published)

    @classmethod
    def reproduces(
        cls,
        name: str,
        values: Real[np.ndarray, " seeds"],
        *,
        unit: str = "",
        published: Number,
        last_digit: Number,
        source: str,
    ) -> "Claim":
        """The mean over seeds, beside the figure of a single published run.

        One run says no more than where runs lie. So the tolerance is half the 95 % prediction interval of one more
        run after n of ours, and half of the last digit that was printed: t sd sqrt(1 + 1/n) + last_digit / 2.

        Args:
            name, unit, source: as for `Claim`.
            values: one finite number per seed, in the claim's unit; at least two, not far from normal.
            published: the figure of the one run, in the claim's unit.
            last_digit: the worth of its last printed digit, above 0 (0.01 for 91.34).

        Returns:
            The claim, that the mean is about the published figure.

        Raises:
            ValueError: fewer than two values, or some that are not finite.

        Source: Hahn and Meeker, Statistical Intervals (1991), chapter 4.
        """
        n = len(values)
        if n < 2:
            raise ValueError(f"{name}: {n} seeds; at least 2 are needed to tell how far runs lie apart")
        reach = scipy.stats.t.ppf(0.975, n - 1) * values.astype(np.float64).std(ddof=1) * math.sqrt(1 + 1 / n)
        tolerance = float(reach + last_digit / 2)
        return cls.mean(
            name, values, unit=unit, published=published, relation="about", tolerance=tolerance, source=source
        )

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
