"""Figures over seeds as the text of tables and tiles."""

from collections.abc import Mapping
from typing import Any

from mlpjax.history import error_metric
from mlpjax.report.page import Table, Tile
from mlpjax.report.words import METRICS, SPLITS, counted, interval, number
from mlpjax.stats import wilson_ci

SUMMARY_HEADER = ("", "mean", "95 % interval", "sd", "min", "median", "max")


def summary_row(label: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of text for what a figure was over seeds (`stats.summarise`), under `SUMMARY_HEADER`."""
    cells = [number(figure[key]) for key in ("mean", "sd", "min", "median", "max")]
    return label, cells[0], interval(figure["ci95"]), *cells[1:]


def summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row of text for every final figure of a group (`history.summarise_group`), under `SUMMARY_HEADER`."""
    rows = [
        summary_row(f"{split} {metric}", figure)
        for split_name, split in SPLITS.items()
        for metric_name, metric in METRICS.items()
        if (figure := summary.get(f"{split_name}_{metric_name}"))
    ]
    return rows or [("every network diverged", *[""] * 6)]


def mean_tile(label: str, figure: Mapping[str, Any], form: str, over: str) -> Tile:
    """A tile with the mean of a figure over seeds and its 95 % interval.

    Args:
        label: what it is.
        figure: what `stats.summarise` says.
        form: of a number, with its unit, such as "{:.2f} %".
        over: what it is the mean of, such as "64 seeds".
    """
    if figure["ci95"]:
        known = f"95 % interval {interval(figure['ci95'])}, "
    else:
        known = "" if figure["sd"] is None else "the same in all of "
    return Tile(label, form.format(figure["mean"]), known + over)


def share_tile(label: str, count: int, whole: int, of: str) -> Tile:
    """A tile with a count as a share, and Wilson's 95 % interval of it.

    Args:
        label: what is counted.
        count: how many there are.
        whole: among how many.
        of: what these are, such as "seeds".
    """
    low, high = wilson_ci(count, whole)
    return Tile(
        label,
        f"{100 * count / whole:.1f} %",
        f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, {count:,} of {whole:,} {of}",
    )


def error_tile(start: str, summary: Mapping[str, Any], split: str) -> list[Tile]:
    """A tile with a group's mean error on a split, in regression its RMSE; none where every network diverged.

    Args:
        start: of the label ("Test", to which " error" or " RMSE" is added).
        summary: of the group (`history.summarise_group`).
        split: "train", "valid" or "test".
    """
    over = counted(summary["seeds"] - len(summary["diverged"]), "seed")
    metric = error_metric(summary)
    label, form = {"error": ("error", "{:.2f} %"), "rmse": ("RMSE", "{:.4g}")}[metric]
    figure = summary[f"{split}_{metric}"]
    return [mean_tile(f"{start} {label}", figure, form, over)] if figure else []


def origin(
    settings: Mapping[str, Any], environment: Mapping[str, Any], command: str, summary: Mapping[str, Any]
) -> list[Table]:
    """How a run was made, and its configuration.

    Args:
        settings: the configuration.
        environment: versions and device.
        command: that repeats the run.
        summary: as in `summary.json`.
    """
    return [
        Table(
            "Run",
            (),
            [
                ("command", command),
                ("training", f"{summary['seconds']:.1f} s without compilation"),
                ("device", environment["device"]),
                ("versions", ", ".join(f"{k} {v}" for k, v in environment["versions"].items())),
                ("git revision", environment["git"] or "not a checkout"),
            ],
        ),
        Table("Configuration", (), _rows(settings)),
    ]


def _rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _rows(value)
        else:
            text = " ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
            rows.append((name.replace("_", " "), text))
    return rows
