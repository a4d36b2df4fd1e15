"""A claim: one measured figure beside the published one, and the verdict that follows from the two."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, Unpack

import numpy as np
import scipy  # loads scipy.stats, which is slow, when it is first used
from jaxtyping import Bool, Float, Real

from mlpjax.stats import Interval, difference, mean_ci, median_ci, wilson_ci

Relation: TypeAlias = Literal["at most", "below", "at least", "above", "about", "every"]
Verdict: TypeAlias = Literal["holds", "fails", "undecided", "new"]
Statistic: TypeAlias = Literal["mean", "median", "share", "difference", "paired difference", "exact"]
Number: TypeAlias = float | int

SYMBOLS = {"at most": "≤", "below": "<", "at least": "≥", "above": ">", "about": "≈"}
ENOUGH = 80
"""In %: what is claimed of every seed holds if the seeds tell that it is true of so many; 16 do, if none misses."""


class Measured(NamedTuple):
    """What the values of the seeds give: see `Claim`."""

    measured: Number
    ci95: Interval | None
    p: float | None = None
    chance: float | None = None
    chance_ci95: Interval | None = None


def _share(hits: Float[np.ndarray, " seeds"]) -> Measured:
    low, high = wilson_ci(float(hits.sum()), len(hits))
    return Measured(100 * float(hits.mean()), (100 * low, 100 * high))


STATISTICS: dict[Statistic, Callable[..., Measured]] = {
    "mean": lambda values: Measured(float(values.mean()), mean_ci(values)),
    "median": lambda values: Measured(float(np.median(values)), median_ci(values)),
    "share": _share,
    "difference": lambda one, other: Measured(*difference(one, other, paired=False)),
    "paired difference": lambda one, other: Measured(*difference(one, other)),
    "exact": lambda values: Measured(float(values[0]), None),
}
"""The measured figure from one array of values, or two that are compared."""


class Published(TypedDict, total=False):
    """What a measured figure stands beside; see `Claim`."""

    published: Number | None
    relation: Relation | None
    tolerance: Number | None
    tolerance_source: str
    source: str
    theorem: bool
    settles: str


class Stated(Published, total=False):
    """What else is said of a measured figure; see `Claim.of`."""

    unit: str
    among: Bool[np.ndarray, " seeds"] | None


def published_rate(count: int, runs: int) -> Published:
    """What a share of our seeds stands beside where so many of other runs were published.

    Args:
        count: in how many runs it was so.
        runs: how many there were, at least 1.

    Returns:
        That the share, in %, is about theirs. Wilson's interval of their rate is lopsided: its shorter arm is the
        stricter tolerance.
    """
    rate = count / runs
    return {
        "published": 100 * rate,
        "relation": "about",
        "tolerance": 100 * min(abs(rate - end) for end in wilson_ci(count, runs)),
        "tolerance_source": f"the shorter arm of Wilson's interval of {count} in {runs}",
    }


@dataclass(frozen=True)
class Claim:
    """One measured figure, beside the published one where there is one.

    Made by `mean`, `median`, `share`, `every`, `difference`, `reproduces` and `exact`, from the values of the seeds,
    which it keeps: every figure here can be computed from them anew.

    Args:
        name: what was measured ("dropout test error").
        unit: of every number here ("%", "nats", "epochs"); empty for a count or a ratio.
        statistic: what `measured` is of the values.
        measured: the figure over all seeds; None where no seed is left.
        ci95: its 95 % interval over seeds; None where the seeds cannot give one, and where nothing is random.
        p: of a difference: the chance of one as far from 0 where there is none.
        chance: of a difference: that the one is above the other on a new seed; `chance_ci95` is its interval.
        seeds: number of seeds that count.
        left_out: number of seeds that do not (diverged, not trained).
        published: the published figure; None where there is none.
        relation: how the measured figure is claimed to stand to the published one; `below` and `above` are strict;
            `every` is of a share: no seed misses.
        tolerance: goes with `about`, at least 0.
        tolerance_source: where the tolerance comes from.
        source: who published it.
        theorem: whether it must be so, and the check is of the code.
        settles: of a headline, the claim in plain words.
        values: one row, or two that are compared, of one value per seed; NaN where a seed does not count.

    Raises:
        ValueError: the numbers do not go together, such as a figure outside of its own interval.
    """

    name: str
    _: KW_ONLY
    unit: str = ""
    statistic: Statistic
    measured: Number | None
    ci95: Interval | None
    p: float | None = None
    chance: float | None = None
    chance_ci95: Interval | None = None
    seeds: int
    left_out: int = 0
    published: Number | None = None
    relation: Relation | None = None
    tolerance: Number | None = None
    tolerance_source: str = ""
    source: str = ""
    theorem: bool = False
    settles: str = ""
    values: Float[np.ndarray, "rows seeds"] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = [self.measured or 0.0, *(self.ci95 or ()), self.published or 0.0, self.tolerance or 0.0]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{self.name}: {numbers} are not all finite")
        if (self.published is None) != (self.relation is None):
            raise ValueError(f"{self.name}: a published figure and a relation go together")
        if (self.relation == "about") != (self.tolerance is not None) or (self.tolerance or 0.0) < 0:
            raise ValueError(f"{self.name}: 'about' needs a tolerance of at least 0, and only 'about' has one")
        if (self.tolerance is None) != (not self.tolerance_source):
            raise ValueError(f"{self.name}: a tolerance and its source go together")
        if self.ci95 is not None and self.measured is not None:
            low, high = self.ci95
            rounding = 1e-9 * max(abs(low), abs(high))
            if not low - rounding <= self.measured <= high + rounding:
                raise ValueError(f"{self.name}: {self.measured} is not in its own interval [{low}, {high}]")

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the published figure.

        The published figure allows (-inf, published] for `at most`, (-inf, published) for `below`, [published, inf)
        for `at least`, (published, inf) for `above` and [published - tolerance, published + tolerance] for `about`.
        The claim holds where the whole interval is allowed, fails where none of it is, and is undecided where the
        interval straddles a border, or where there is none. What is claimed of `every` seed fails by one that
        misses, and holds where none does and the interval of the share lies above `ENOUGH`. Where nothing is
        random the figure is its interval.

        Returns:
            `holds`, `fails`, `undecided`, or `new` where nothing was published.
        """
        if self.published is None or self.relation is None:
            return "new"
        if self.measured is None:
            return "undecided"
        ci95 = (self.measured, self.measured) if self.statistic == "exact" else self.ci95
        if ci95 is None:
            return "undecided"
        low, high = ci95
        match self.relation:
            case "every":
                any_allowed = self.measured == self.published
                all_allowed = any_allowed and low >= ENOUGH
            case "at most":
                all_allowed, any_allowed = high <= self.published, low <= self.published
            case "below":
                all_allowed, any_allowed = high < self.published, low < self.published
            case "at least":
                all_allowed, any_allowed = low >= self.published, high >= self.published
            case "above":
                all_allowed, any_allowed = low > self.published, high > self.published
            case "about":
                least, most = self.published - (self.tolerance or 0.0), self.published + (self.tolerance or 0.0)
                all_allowed, any_allowed = least <= low and high <= most, high >= least and low <= most
        return "holds" if all_allowed else "undecided" if any_allowed else "fails"

    @classmethod
    def of(
        cls,
        statistic: Statistic,
        name: str,
        *rows: Real[np.ndarray, " _"] | Bool[np.ndarray, " _"],
        unit: str = "",
        among: Bool[np.ndarray, " _"] | None = None,
        **published: Unpack[Published],
    ) -> "Claim":
        """A statistic of the values of the seeds, as the constructors below make it.

        Args:
            statistic: one of `STATISTICS`.
            name, unit, published: as for `Claim`.
            rows: one value per seed, in the claim's unit; for a difference, of either setting.
            among: which seeds count; all, if None. The values of the others may be anything.

        Returns:
            The claim.

        Raises:
            ValueError: no values, some that count and are not finite, or numbers that do not go together.
        """
        counted = [row.astype(np.float64)[... if among is None else among] for row in rows]
        kept = np.full((len(rows), max(map(len, rows))), np.nan)
        for place, row in enumerate(rows):
            kept[place, np.arange(len(row)) if among is None else np.flatnonzero(among)] = counted[place]
        # A difference of other seeds may have fewer of one setting.
        seeds = min(map(len, counted))
        if seeds == 0 and among is None:
            raise ValueError(f"{name}: no values")
        measured = STATISTICS[statistic](*counted) if seeds else Measured(None, None)  # type: ignore[arg-type]
        return cls(
            name,
            unit=unit,
            statistic=statistic,
            **measured._asdict(),
            seeds=seeds,
            left_out=0 if among is None else int((~among).sum()),
            values=kept,
            **published,
        )

    @classmethod
    def mean(cls, name: str, values: Real[np.ndarray, " seeds"], **stated: Unpack[Stated]) -> "Claim":
        """The mean over seeds, with `stats.mean_ci`; arguments as for `of`."""
        return cls.of("mean", name, values, **stated)

    @classmethod
    def median(cls, name: str, values: Real[np.ndarray, " seeds"], **stated: Unpack[Stated]) -> "Claim":
        """The median over seeds, with `stats.median_ci`; arguments as for `of`."""
        return cls.of("median", name, values, **stated)

    @classmethod
    def share(cls, name: str, hits: Bool[np.ndarray, " seeds"], **stated: Unpack[Stated]) -> "Claim":
        """The share of the seeds of which something is true, in %, with Wilson's interval; arguments as for `of`."""
        return cls.of("share", name, hits, **stated | {"unit": "%"})

    @classmethod
    def every(
        cls,
        name: str,
        hits: Bool[np.ndarray, " seeds"],
        *,
        among: Bool[np.ndarray, " seeds"] | None = None,
        source: str,
        theorem: bool = False,
        settles: str = "",
    ) -> "Claim":
        """That something is true of every seed: one that misses refutes it.

        Args:
            name, source, theorem, settles: as for `Claim`.
            hits: of which seeds it is true.
            among: as for `of`.

        Returns:
            The claim, with the share of the seeds, in %, and Wilson's interval.
        """
        return cls.share(
            name, hits, among=among, published=100, relation="every", source=source, theorem=theorem, settles=settles
        )

    @classmethod
    def difference(
        cls,
        name: str,
        one: Real[np.ndarray, " seeds"],
        other: Real[np.ndarray, " others"],
        *,
        paired: bool = True,
        **stated: Unpack[Stated],
    ) -> "Claim":
        """How far `one` is above `other`, with what `stats.difference` says of it; arguments as for `of`.

        Args:
            paired: whether both are of the same seeds, in the same order; `among` is for those.
        """
        statistic: Statistic = "paired difference" if paired else "difference"
        return cls.of(statistic, name, one, other, **stated)

    @classmethod
    def exact(cls, name: str, value: Number, *, unit: str = "", **published: Unpack[Published]) -> "Claim":
        """A figure in which nothing is random: it stands for itself; arguments as for `Claim`."""
        return cls.of("exact", name, np.array([value]), unit=unit, **published)

    @classmethod
    def reproduces(
        cls,
        name: str,
        values: Real[np.ndarray, " seeds"],
        *,
        unit: str = "",
        among: Bool[np.ndarray, " seeds"] | None = None,
        published: Number,
        last_digit: Number,
        source: str,
        settles: str = "",
    ) -> "Claim":
        """The mean over seeds, beside the figure of a single published run.

        One run says no more than where runs lie. So the tolerance is half the 95 % prediction interval of one more
        run after n of ours, and half of the last digit that was printed: t sd sqrt(1 + 1/n) + last_digit / 2.

        Args:
            name, unit, source, settles: as for `Claim`.
            values: one finite number per seed, in the claim's unit; at least two, not far from normal.
            among: as for `of`.
            published: the figure of the one run, in the claim's unit.
            last_digit: the worth of its last printed digit, above 0 (0.01 for 91.34).

        Returns:
            The claim, that the mean is about the published figure.

        Raises:
            ValueError: fewer than two values, or some that are not finite.

        Source: Hahn and Meeker, Statistical Intervals (1991), chapter 4.
        """
        runs = values.astype(np.float64)[... if among is None else among]
        n = len(runs)
        if n < 2:
            raise ValueError(f"{name}: {n} seeds; at least 2 are needed to tell how far runs lie apart")
        reach = scipy.stats.t.ppf(0.975, n - 1) * runs.std(ddof=1) * math.sqrt(1 + 1 / n)
        return cls.mean(
            name,
            values,
            unit=unit,
            among=among,
            published=published,
            relation="about",
            tolerance=float(reach + last_digit / 2),
            tolerance_source="95 % prediction interval of one run, and half of its last digit",
            source=source,
            settles=settles,
        )

    def to_json(self) -> dict[str, Any]:
        """All but the values, and the verdict, as `results.json` states it."""
        stated = asdict(self)
        del stated["values"]
        return stated | {"verdict": self.verdict}

    @classmethod
    def from_json(cls, stated: dict[str, Any], values: Float[np.ndarray, "rows seeds"]) -> "Claim":
        """The claim with its figures computed anew from the values.

        Args:
            stated: one of the `claims` of `results.json`.
            values: as for `Claim`; seeds that do not count may lack at the end.

        Returns:
            The claim.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
            ValueError: the numbers do not go together.
        """
        published = {key: stated[key] for key in Published.__annotations__}
        if stated["statistic"] == "difference":
            rows, among = [row[np.isfinite(row)] for row in values], None
        else:
            width = stated["seeds"] + stated["left_out"]
            rows = list(np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=np.nan))
            among = np.isfinite(rows[0]) if stated["left_out"] else None
        return cls.of(stated["statistic"], stated["name"], *rows, unit=stated["unit"], among=among, **published)

    def cells(self) -> tuple[str, str, str, str]:
        """Name, published figure, measured figure with its interval, and seeds, as tables show them."""
        unit = f" {self.unit}" if self.unit else ""
        published = ""
        if self.relation == "every":
            published = "every seed"
        elif self.published is not None and self.relation is not None:
            tolerance = "" if self.tolerance is None else f" ± {_digits(self.tolerance)}"
            published = f"{SYMBOLS[self.relation]} {_digits(self.published)}{tolerance}{unit}"
        seeds = f"{self.seeds:,}" + (f" of {self.seeds + self.left_out:,}" if self.left_out else "")
        return self.name, published, self._measured_cell(unit), "" if self.statistic == "exact" else seeds

    def _measured_cell(self, unit: str) -> str:
        if self.measured is None:
            return "no seed is left"
        cell = _digits(self.measured)
        if self.ci95 is not None:
            cell += f" [{_digits(self.ci95[0])}, {_digits(self.ci95[1])}]"
        cell += unit
        if self.statistic == "mean" and self.ci95 is None and self.seeds > 1:
            # No spread is seen, so only the count can tell how many seeds would differ.
            cell += f" in all; elsewhere at most {_digits(100 * wilson_ci(0, self.seeds)[1])} % of seeds"
        if self.p is not None and self.chance is not None and self.chance_ci95 is not None:
            low, high = (_digits(100 * end) for end in self.chance_ci95)
            cell += f"; p = {self.p:.2g}; above 0 in {_digits(100 * self.chance)} [{low}, {high}] % of seeds"
        return cell


def _digits(value: Number) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:.4g}"
