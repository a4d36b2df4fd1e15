"""The page of a study: what was trained, what came out, and what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mlpjax.data import Dataset
from mlpjax.report import figures
from mlpjax.report.explore import Drawing, Histogram
from mlpjax.report.page import Picture, Section, Table, Tile, picture_files, render
from mlpjax.report.tables import SUMMARY_HEADER, error_tile, origin, share_tile, summary_rows
from mlpjax.report.words import counted
from mlpjax.stats import summarise


def study_page(
    *,
    settings: Mapping[str, Any],
    network: str,
    environment: Mapping[str, Any],
    command: str,
    dataset: Dataset,
    facts: Sequence[tuple[str, str]],
    samples: Picture | None,
    metrics: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    opening: Sequence[Section],
    sections: Sequence[Section],
    tiles: Sequence[Tile],
) -> tuple[str, dict[str, bytes]]:
    """Draw the figures of the training, and write the page.

    Args:
        settings: the study's configuration.
        network: what the network is called.
        environment: versions and device.
        command: that repeats the study.
        dataset: what was learnt.
        facts: the data's check, as labels and texts.
        samples: the sheet of samples; None in regression.
        metrics: the tidy history of every group, `random` and perhaps `zero`.
        summary: as in `summary.json`.
        opening: what stands before the results.
        sections: what was found.
        tiles: its key figures.

    Returns:
        The HTML page, and the files of its pictures.
    """
    sections = [
        *opening,
        Section("Results", "", _results(settings, metrics, summary)),
        *sections,
        Section("Data", "", [Table("What was checked before training", (), facts), *([samples] if samples else [])]),
        Section("How it was made", "", origin(settings, environment, command, summary)),
    ]
    page = render(
        f"{counted(summary['seeds'], 'network')} {network} on {dataset.name}",
        f"Each from a seed of its own, {settings['recipe']['optimizer']} for "
        f"{counted(settings['recipe']['epochs'], 'epoch')} on {counted(len(dataset.train.y), 'example')}, "
        f"tested on {len(dataset.test.y):,}.",
        [*_tiles(summary), *tiles],
        [section for section in sections if section.items or section.text.strip()],
    )
    return page, picture_files(item for section in sections for item in section.items)


def _results(
    settings: Mapping[str, Any], metrics: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]
) -> list[Table | Picture]:
    lost = summary["diverged"]
    seeds = counted(summary["seeds"] - len(lost), "seed")
    table = Table(
        f"After {counted(settings['recipe']['epochs'], 'epoch')}",
        SUMMARY_HEADER,
        summary_rows(summary),
        "The interval is that of the mean, over seeds; sd, min, median and max describe the seeds."
        + (f" Diverged and left out: seeds {', '.join(map(str, lost))}." if lost else ""),
    )
    if summary["seeds"] == len(lost):
        return [table]
    random = metrics["random"]
    last = random[(random["epoch"] == random["epoch"].max()) & (random["metric"] == "loss")]
    kept = last[~last["seed"].isin(lost)].pivot(index="seed", columns="split", values="value")
    finals = {f"final {split} loss": kept[split].to_numpy(float) for split in ("train", "test")}
    curves = figures.curve_panels(random, metrics.get("zero"))
    histograms = [
        _histogram(label, colour, values, kept.index.tolist())
        for (label, values), colour in zip(finals.items(), (figures.BLUE, figures.VERMILLION), strict=True)
    ]
    return [
        table,
        Picture(
            "learning_curves",
            "Learning curves",
            figures.learning_curves(curves),
            f"Median over {seeds}, and the band that holds the central 95 % of them. Dashed: the networks that "
            "started with all parameters zero.",
            "Loss and error against epochs, with a band over seeds",
            Drawing(curves, whole=True),
        ),
        Picture(
            "final_loss",
            "Final loss over seeds",
            figures.final_distribution(finals),
            f"The final loss of {seeds}; the line is the mean and the grey band its 95 % interval.",
            "Histograms of the final losses over seeds",
            Drawing(histograms, whole=True),
        ),
    ]


def _histogram(label: str, colour: str, values: Float[np.ndarray, " seeds"], seeds: Sequence[int]) -> Histogram:
    edges, of_all = figures.bars(values), summarise(values)
    counts = np.histogram(values, edges)[0]
    return Histogram(label, colour, edges, counts, of_all["mean"], of_all["ci95"], values, seeds)


def _tiles(summary: Mapping[str, Any]) -> list[Tile]:
    tiles = [*error_tile("Test", summary, "test"), *error_tile("Train", summary, "train")]
    if summary["diverged"]:
        tiles.append(share_tile("Diverged", len(summary["diverged"]), summary["seeds"], "seeds"))
    return tiles
