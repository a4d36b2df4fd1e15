"""Runs compared: how far one is above another over seeds, whether that is chance, and how many seeds would show it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mlpjax.errors import UserError, require_choice
from mlpjax.plumbing.files import write_output
from mlpjax.recorded import Recorded, read_runs
from mlpjax.report.comparison_page import comparison_page, sentence
from mlpjax.report.words import counted
from mlpjax.stats import difference, holm, power, seeds_to_show, summarise

POWER_AT = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Numbers of seeds at which the power is given."""


def compare(runs: Sequence[Recorded], metric: str | None = None, size: float | None = None) -> dict[str, Any]:
    """How far each run is above the first.

    Runs are paired by seed where they have the same seeds and the same data; then what counts is the difference of each
    seed. Networks that diverged are left out, in pairs with their partner.

    Args:
        runs: two or more.
        metric: the figure that power is about; None: the test error, or the first that all have.
        size: the true difference whose power is asked for, in the metric's unit; None: the one that was measured.

    Returns:
        `baseline`, `metric`, and `comparisons`, a list with for each run and metric: `metric`, `run`, `paired`, `seeds`
        (of the baseline and the run), `left_out`, `baseline` and `other` (what `summarise` says), `mean`, `ci95`, `p`,
        `p_holm` (corrected for all runs of the metric), `chance` and `chance_ci95` of the run less the baseline, as in
        `stats.Difference`; for `metric` also `size`, `sd`, `seeds_to_show` and `power`, pairs (seeds, power).

    Raises:
        UserError: one run, no metric in common, or a run with fewer than two seeds.
    """
    if len(runs) < 2:
        raise UserError(f"{runs[0].name}: one run is no comparison; give another")
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}: two runs have this name; rename a folder, or a run in the table")
    first, *others = runs
    common = [name for name in first.values if all(name in run.values for run in others)]
    if not common:
        told = "; ".join(f"{run.name} has {', '.join(run.values)}" for run in runs)
        raise UserError(f"no metric in common: {told}")
    usual = [name for name in ("test_error", "test_rmse", "test_loss") if name in common]
    if metric is not None:
        require_choice("metric", metric, common)
    metric = metric or [*usual, *common][0]
    found = []
    for name in common:
        rows = [_compare(first, run, name) for run in others]
        for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p_holm"] = corrected
            if name == metric:
                row |= _power(row, size)
        found += rows
    return {"baseline": first.name, "metric": metric, "comparisons": found}


def _compare(first: Recorded, other: Recorded, metric: str) -> dict[str, Any]:
    paired = first.data == other.data and set(first.seeds) == set(other.seeds)
    one, two = other.values[metric], first.values[metric]
    if paired:
        place = {seed: index for index, seed in enumerate(first.seeds)}
        two = two[[place[seed] for seed in other.seeds]]
        kept = np.isfinite(one) & np.isfinite(two)
        left_out = int(np.sum(~kept))
        one, two = one[kept], two[kept]
    else:
        left_out = int(np.sum(~np.isfinite(one)) + np.sum(~np.isfinite(two)))
        one, two = one[np.isfinite(one)], two[np.isfinite(two)]
    for run, values in ((first, two), (other, one)):
        if len(values) < 2:
            lost = f" that did not diverge in {metric}" if len(run.seeds) > 1 else ""
            raise UserError(f"{run.name}: has {counted(len(values), 'seed')}{lost}; give at least two")
    told = difference(one, two, paired=paired)
    sd = float(np.std(one - two, ddof=1)) if paired else math.sqrt((one.var(ddof=1) + two.var(ddof=1)) / 2)
    return {
        "metric": metric,
        "run": other.name,
        "paired": paired,
        "seeds": [len(two), len(one)],
        "left_out": left_out,
        "baseline": summarise(two),
        "other": summarise(one),
        **told._asdict(),
        "sd": sd,
    }


def _power(row: Mapping[str, Any], size: float | None) -> dict[str, Any]:
    size = abs(row["mean"]) if size is None else size
    if not size or not row["sd"]:
        return {"size": size, "seeds_to_show": None, "power": []}
    curve = [(seeds, power(size, row["sd"], seeds, paired=row["paired"])) for seeds in POWER_AT]
    return {
        "size": size,
        "seeds_to_show": seeds_to_show(size, row["sd"], paired=row["paired"]),
        "power": curve,
    }


def run_compare(
    paths: Sequence[Path],
    *,
    metric: str | None,
    size: float | None,
    run_column: str | None,
    seed_column: str | None,
    as_json: bool,
    out: Path,
    command: str,
    console: Console,
) -> dict[str, Any]:
    """Read runs, compare them, print and write the page.

    Args:
        paths: of run folders and tables.
        metric, size: as for `compare`.
        run_column, seed_column: as for `read_runs`.
        as_json: whether to print the result as JSON and nothing else.
        out: the page's file.
        command: that repeats it.
        console: where to say what came out.

    Returns:
        What `compare` returns.

    Raises:
        UserError: the runs cannot be read or compared, or the page cannot be written.
    """
    runs = [run for path in paths for run in read_runs(path, run_column, seed_column)]
    if len(paths) == 1:  # whose name tells none of its runs apart
        runs = [run._replace(name=run.name.removeprefix(f"{paths[0].resolve().name}: ")) for run in runs]
    found = compare(runs, metric, size)
    write_output(out, comparison_page(found, runs, command).encode())
    if as_json:
        console.print_json(json.dumps(found, allow_nan=False))
        return found
    for row in found["comparisons"]:
        if row["metric"] == found["metric"]:
            console.print(sentence(row) + "\n", highlight=False)
    console.print(f"The page, with every metric: {out}", soft_wrap=True)
    return found
