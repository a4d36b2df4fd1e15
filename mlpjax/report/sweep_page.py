"""The page of a sweep: what every setting reached, which is best, and what matters."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlpjax.data import Dataset
from mlpjax.history import error_metric
from mlpjax.report import figures
from mlpjax.report.page import Picture, Section, Table, Tile, picture_files, render
from mlpjax.report.tables import origin
from mlpjax.report.words import METRICS, SPLITS, counted, interval, number, typed


def sweep_page(
    *,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    command: str,
    dataset: Dataset,
    facts: Sequence[tuple[str, str]],
    summary: Mapping[str, Any],
) -> tuple[str, dict[str, bytes]]:
    """Draw the figures of a sweep, and write the page.

    Args:
        settings: the sweep's configuration.
        environment: versions and device.
        command: that repeats it.
        dataset: what was learnt, without what is swept of it.
        facts: the data's check, as labels and texts.
        summary: as in `summary.json`.

    Returns:
        The HTML page, and the files of its pictures.
    """
    groups, seeds = summary["settings"], summary["seeds"]
    *others, last = (field.replace("_", " ") for field in summary["over"])
    fields = f"{', '.join(others)} and {last}" if others else last
    header, rows = setting_rows(summary, ("test", "valid", "train"))
    note = "Means over seeds of what networks reached in the end, with the 95 % interval of the mean."
    if any(group["diverged"] for group in groups):
        note += " Networks that diverged are left out of the figures."
    results: list[Table | Picture] = [Table("Every setting", header, rows, note)]
    if any(group["test_loss"] for group in groups):
        figure = figures.sweep_curves(summary["over"], groups)
        ends = "half the length" if others else "the ends"
        over = f"the mean over {counted(seeds, 'seed')}, and {ends} of its 95 % interval"
        caption = f"What networks reached in the end: {over}."
        results.insert(0, Picture("sweep", f"Test {_metric(summary)} against {fields}", figure, caption, caption))
    sections = [
        Section("Results", _best_text(summary), results),
        Section("Analysis of variance", "", _variation(summary)),
        Section("Data", "", [Table("What was checked before training", (), facts)]),
        Section("How it was made", "", origin(settings, environment, command, summary)),
    ]
    page = render(
        f"{counted(len(groups), 'setting')} of {fields} on {dataset.name}",
        f"{counted(seeds, 'network')} at every setting, from the same seeds: {len(groups) * seeds:,} in all.",
        _tiles(summary),
        [section for section in sections if section.items or section.text.strip()],
    )
    return page, picture_files(results)


def setting_rows(summary: Mapping[str, Any], splits: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of all settings; columns that would say nothing are left out.

    Args:
        summary: as in `summary.json`.
        splits: those whose final figures are shown, the first with its interval.
    """
    groups = summary["settings"]
    metric = error_metric(groups[0])
    columns = [
        (field.replace("_", "\n"), [typed(group["setting"][field]) for group in groups]) for field in summary["over"]
    ]
    if len({group["parameters"] for group in groups}) > 1:
        columns.append(("parameters", [f"{group['parameters']:,}" for group in groups]))
    for split in splits:
        for name in (metric, "loss"):
            found = [group[f"{split}_{name}"] for group in groups]
            if any(found):
                columns.append((f"{SPLITS[split]}\n{METRICS[name]}", [number(f and f["mean"]) for f in found]))
            if split == splits[0] and name == metric:
                columns.append(("95 %\ninterval", [interval(f and f["ci95"]) for f in found]))
    if any(group["diverged"] for group in groups):
        columns.append(("diverged", [str(len(group["diverged"]) or "") for group in groups]))
    header, cells = zip(*columns, strict=True)
    return list(header), [list(row) for row in zip(*cells, strict=True)]


def _named(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{field.replace('_', ' ')} {typed(value)}" for field, value in setting.items())


def _chance(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-4 else "below 0.01 %"


def _metric(summary: Mapping[str, Any]) -> str:
    return {"error": "error", "rmse": "RMSE"}[error_metric(summary["settings"][0])]


def _best_text(summary: Mapping[str, Any]) -> str:
    best = summary["best"]
    if best is None:
        return "At every setting some networks diverged: none can be called the best. Lower the learning rate."
    group = summary["settings"][best["place"]]
    judged = f"{SPLITS[best['split']]} {_metric(summary)}"
    said = f"The lowest mean {judged} is that of {_named(group['setting'])}."
    if best["among"] > 1 and best["doubt"] is not None:
        said += f" The chance that another setting is truly lower is {_chance(best['doubt'])}."
    if best["among"] < len(summary["settings"]):
        said += f" Chosen among the {best['among']} settings at which no network diverged."
    return said


def _variation(summary: Mapping[str, Any]) -> list[Table | Picture]:
    parts = summary["variation"]
    if parts is None:
        return []
    rows = [
        [
            part["name"].replace("_", " "),
            "" if part["share"] is None else f"{100 * part['share']:.3g} %",
            "" if part["p"] is None else f"{part['p']:.2g}",
        ]
        for part in parts
    ]
    note = (
        "Shares of its variation over all networks, by analysis of variance with seeds as blocks; p: the chance of so "
        "large a share where it is all chance. Rest: what a seed does at one setting and not at another."
    )
    return [Table(f"Variation of the final test {_metric(summary)}", ["part", "share", "p"], rows, note)]


def _tiles(summary: Mapping[str, Any]) -> list[Tile]:
    best, over = summary["best"], counted(summary["seeds"], "seed")
    if best is None:
        return []
    group = summary["settings"][best["place"]]
    metric = error_metric(group)
    figure = group[f"test_{metric}"]
    known = f"95 % interval {interval(figure['ci95'])}, {over}" if figure["ci95"] else over
    unit = " %" if metric == "error" else ""
    tiles = [
        Tile("best setting", _named(group["setting"])),
        Tile(f"its test {_metric(summary)}", f"{figure['mean']:.4g}{unit}", known),
    ]
    if best["doubt"] is not None and best["among"] > 1:
        tiles.append(Tile("chance that another is better", _chance(best["doubt"])))
    return tiles
