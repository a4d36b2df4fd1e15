"""The page of a comparison: how far runs are apart, over seeds, and how many seeds would show it."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax.recorded import Recorded
from mlpjax.report.figures import BLUE, SPLIT_COLOURS, STYLE
from mlpjax.report.page import Picture, Section, Table, Tile, render
from mlpjax.report.words import METRICS, SPLITS, interval, number
from mlpjax.stats import mean_ci

HEADER = (
    "run",
    "metric",
    "its mean",
    "baseline",
    "difference",
    "95 %\ninterval",
    "p",
    "above on\na new seed",
    "seeds",
)


def comparison_page(found: Mapping[str, Any], runs: Sequence[Recorded], command: str) -> str:
    """Draw the figures of a comparison, and write the page.

    Args:
        found: as `compare` returns it.
        runs: what was compared, the baseline first.
        command: that repeats it.

    Returns:
        The HTML page.
    """
    metric = found["metric"]
    main = [row for row in found["comparisons"] if row["metric"] == metric]
    told = metric_name(metric)
    note = (
        "The difference is that of the means, the run less the baseline. p: the chance of one as far from 0 where both "
        "are alike, by permutation, corrected for the number of runs (Holm)."
    )
    seeds = Picture(
        "runs",
        f"{told} of every seed",
        runs_figure(found, runs),
        "Left: every seed, and the mean with its 95 % interval. Right: how far each run is above the baseline, with "
        "its 95 % interval.",
        f"{told} over seeds for each run, and differences with intervals",
    )
    sections = [
        Section("Result", "\n\n".join(map(sentence, main)), [seeds]),
        Section("Every metric", "", [Table(f"Less {found['baseline']}", HEADER, _rows(found), note)]),
    ]
    if any(row["power"] for row in main):
        power = Picture(
            "power",
            "Power",
            power_figure(found),
            "The chance that a true difference of the size in the legend shows (p at most 5 %, two-sided) against the "
            "number of seeds of each run, with the spread that was measured. Point: as many seeds as there are.",
            "Power against the number of seeds",
        )
        sections.append(Section("Statistical power", "", [power]))
    sections.append(Section("How it was made", "", [Table("Comparison", (), [("command", command)])]))
    return render(
        f"{told}: {' and '.join(run.name for run in runs) if len(runs) == 2 else f'{len(runs)} runs compared'}",
        f"Each less {found['baseline']}, over seeds.",
        [tile for row in main[:3] for tile in _tiles(row)],
        sections,
    )


def metric_name(metric: str) -> str:
    """What a metric is called: "test error (%)", or its own name with spaces."""
    split, _, rest = metric.partition("_")
    return f"{SPLITS[split]} {METRICS[rest]}" if split in SPLITS and rest in METRICS else metric.replace("_", " ")


def _rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Rows of text under `HEADER`."""
    return [
        [
            row["run"],
            metric_name(row["metric"]),
            number(row["other"]["mean"]),
            number(row["baseline"]["mean"]),
            f"{row['mean']:+.3g}",
            interval(row["ci95"]),
            f"{row['p_holm']:.2g}",
            f"{100 * row['chance']:.0f} %",
            pairing(row),
        ]
        for row in found["comparisons"]
    ]


def pairing(row: Mapping[str, Any]) -> str:
    """How many seeds were compared, and whether in pairs."""
    other, own = row["seeds"][1], row["seeds"][0]
    said = f"{own} pairs" if row["paired"] else f"{other} and {own}, unpaired"
    return said + (f", {row['left_out']} left out" if row["left_out"] else "")


def sentence(row: Mapping[str, Any]) -> str:
    """What the comparison of two runs says, in words."""
    way = "above" if row["mean"] > 0 else "below"
    known = f" (95 % interval {interval(row['ci95'])})" if row["ci95"] else ""
    because = (
        "paired by seed, as both have the same seeds and data"
        if row["paired"]
        else "unpaired, as their seeds or their data differ"
    )
    said = f"{row['run']}: {metric_name(row['metric'])} {abs(row['mean']):.3g} {way} the baseline{known}, "
    said += f"p = {row['p_holm']:.2g}; {because}: {pairing(row)}."
    if row["seeds_to_show"]:
        said += (
            f" {row['seeds_to_show']:,} seeds of each would show a true difference of {row['size']:.3g} with a chance "
            "of 80 %."
        )
    return said


def _tiles(row: Mapping[str, Any]) -> list[Tile]:
    known = f"95 % interval {interval(row['ci95'])}, " if row["ci95"] else ""
    return [Tile(f"{row['run']} less the baseline", f"{row['mean']:+.3g}", f"{known}{pairing(row)}")]


@mpl.rc_context(STYLE)
def runs_figure(found: Mapping[str, Any], runs: Sequence[Recorded]) -> Figure:
    """Every seed of every run, and how far each run is above the baseline.

    Args:
        found: as `compare` returns it.
        runs: the baseline first.
    """
    metric = found["metric"]
    rows = [row for row in found["comparisons"] if row["metric"] == metric]
    figure = Figure(figsize=(12, 2.2 + 0.55 * len(runs)))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rng = np.random.default_rng(0)
    for place, run in enumerate(runs):
        values = run.values[metric][np.isfinite(run.values[metric])]
        left.plot(values, place + rng.uniform(-0.2, 0.2, len(values)), ".", color=BLUE, alpha=0.35)
        ends = mean_ci(values)
        error = None if ends is None else np.abs(np.array([ends]).T - values.mean())
        left.errorbar(values.mean(), place, xerr=error, fmt="D", color="black", capsize=4, ms=6)
    for place, row in enumerate(rows, start=1):
        error = None if row["ci95"] is None else np.abs(np.array([row["ci95"]]).T - row["mean"])
        right.errorbar(row["mean"], place, xerr=error, fmt="o", color=SPLIT_COLOURS["test"], capsize=4, ms=7)
    right.axvline(0, color="#777777", lw=1.4)
    for axes in (left, right):
        axes.set_yticks(range(len(runs)), labels=[run.name for run in runs] if axes is left else [""] * len(runs))
        axes.set_ylim(len(runs) - 0.5, -0.5)
    left.set(xlabel=metric_name(metric), ylabel="run")
    right.set(xlabel=f"difference from {found['baseline']}", ylabel="run")
    right.locator_params(axis="x", nbins=5)
    return figure


@mpl.rc_context(STYLE)
def power_figure(found: Mapping[str, Any]) -> Figure:
    """Power against the number of seeds, a curve for each run.

    Args:
        found: as `compare` returns it.
    """
    figure = Figure(figsize=(8, 4.6))
    axes = figure.subplots()
    for row in found["comparisons"]:
        if row["metric"] != found["metric"] or not row["power"]:
            continue
        seeds, powers = np.array(row["power"]).T
        (line,) = axes.plot(seeds, 100 * powers, label=f"{row['run']}: {row['size']:.3g}")
        here = min(row["seeds"])
        axes.plot(here, np.interp(here, seeds, 100 * powers), "o", color=line.get_color(), ms=8)
    axes.axhline(80, color="#777777", lw=1.4, ls="--")
    axes.set(xlabel="seeds of each run", ylabel="power (%)", xscale="log", ylim=(0, 103))
    ticks = [2, 5, 10, 20, 50, 100, 200, 500, 1000]
    axes.set_xticks(ticks, labels=map(str, ticks))
    axes.minorticks_off()
    axes.legend(title="true difference", loc="lower right")
    return figure
