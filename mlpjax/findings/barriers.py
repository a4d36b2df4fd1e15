"""Linear mode connectivity: the loss between two trained networks; matched, or with their statistics recomputed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlpjax import stats
from mlpjax.data import Split
from mlpjax.findings.finding import LANDSCAPE, Finding
from mlpjax.findings.subject import BATCH, Subject
from mlpjax.landscape.loss import whole_loss
from mlpjax.landscape.matching import match
from mlpjax.landscape.mode_connectivity import barrier, line
from mlpjax.landscape.running_statistics import recomputed_loss
from mlpjax.landscape.symmetries import act
from mlpjax.lift import OnProgress, silent
from mlpjax.models import MLP
from mlpjax.report.explore import Drawing, Panel, Series
from mlpjax.report.figures import BLUE, STYLE, VERMILLION
from mlpjax.report.page import Picture, Table, Tile
from mlpjax.report.tables import SUMMARY_HEADER, mean_tile, summary_row
from mlpjax.report.words import counted
from mlpjax.task import mean_loss
from mlpjax.typing import Variables

PAIRS = 32
"""Pairs of networks at most; no network is in two of them, so that the pairs are independent."""
POINTS = 25
"""Points on the line between two networks."""
KEY = 0
"""Seed of the matching."""


class Kind(NamedTuple):
    """A kind of line, in words."""

    name: str
    meaning: str


KINDS = {
    "before": Kind("as trained", "as trained"),
    "after": Kind(
        "units matched",
        "with the second network's hidden units in the order that suits the first (weight matching, Ainsworth et al. "
        "2023)",
    ),
    "recomputed": Kind(
        "statistics recomputed",
        "with the running statistics of each network on the line taken anew from the training examples (Jordan et al. "
        "2023)",
    ),
}


class Line(NamedTuple):
    """The loss on one kind of line between the networks of every pair."""

    losses: Float[np.ndarray, "pairs points"]
    """On the training examples."""
    barrier: Float[np.ndarray, " pairs"]
    """Above the chord of the ends."""


class Barriers(NamedTuple):
    """The loss on straight lines between pairs of networks."""

    seeds: list[tuple[int, int]]
    t: Float[np.ndarray, " points"]
    lines: dict[str, Line]
    """Of every kind in `KINDS` that there is."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Barriers:
    """The barriers between the first and the second network, the third and the fourth, and so on."""
    model, task, batch = subject.model, subject.task, subject.batch(len(subject.train.y))
    t = jnp.linspace(0.0, 1.0, POINTS)
    kept = subject.finite
    pairs = kept[: 2 * min(PAIRS, len(kept) // 2)].reshape(-1, 2)
    networks = []
    for first, second in pairs:
        a, b = ends = [subject.network(int(place)) for place in (first, second)]
        if isinstance(model, MLP):
            key = jax.random.key(KEY)
            matched = act(match(model, a.params, b.params, key).element, b.params) if model.hidden_layers else b.params
            ends.append(Variables(matched))
        networks.append(ends)

    def look(networks: list[Variables], t: Array, split: Split) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        a, *others = networks

        def loss(network: Variables) -> Array:
            return whole_loss(mean_loss(task, network.stats), network.params, split, batch)

        losses = [line(loss, a, b, t) for b in others]
        if jax.tree.leaves(a.stats):
            recomputed = recomputed_loss(task, a.stats, batch or BATCH)
            losses.append(line(lambda params: recomputed(params, split), a.params, others[0].params, t))
        return tuple(losses), tuple(barrier(t, of_line) for of_line in losses)

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
    found = subject.look("barriers", look, stacked, t, subject.train, chunk=1, on_progress=on_progress)
    seeds = [(int(subject.random.seeds[first]), int(subject.random.seeds[second])) for first, second in pairs]
    names = ["before", *(["after"] if isinstance(model, MLP) else []), "recomputed"]
    return Barriers(seeds, np.asarray(t), {name: Line(*of) for name, *of in zip(names, *found, strict=False)})


def summarise(found: Barriers) -> dict[str, Any]:
    """The heights of the barriers over pairs."""
    return {"pairs": len(found.seeds)} | {name: stats.summarise(of.barrier) for name, of in found.lines.items()}


def _pairs(found: Barriers) -> str:
    return f"{counted(len(found.seeds), 'pair')} of seeds"


def tiles(found: Barriers) -> list[Tile]:
    """The mean barrier on every kind of line."""
    of = f"rise of the train loss between two networks, {_pairs(found)}"
    return [
        mean_tile(
            "Loss barrier" + f", {KINDS[name].name}" * (name != "before"), stats.summarise(line.barrier), "{:.3g}", of
        )
        for name, line in found.lines.items()
    ]


def show(found: Barriers) -> list[Table | Picture]:
    """The loss along the lines, and the barriers in numbers."""
    meanings = ", and ".join(KINDS[name].meaning for name in found.lines)
    if "recomputed" in found.lines:
        meanings += ". As trained, these statistics lie on the line as the parameters do"
    series = [
        Series(KINDS[name].name, colour, found.t, line.losses, found.seeds)
        for (name, line), colour in zip(found.lines.items(), (VERMILLION, BLUE), strict=False)
    ]
    panel = Panel("share of the way from one network to the other", "train loss", series)
    return [
        Picture(
            "barriers",
            "Linear mode connectivity: the loss on the line from one seed to another",
            draw_barriers(panel),
            f"Median and central 95 % of {_pairs(found)}, no seed in two of them: {meanings}.",
            "Loss on the line between two networks" + ", before and after matching" * ("after" in found.lines),
            Drawing([panel], whole=True),
        ),
        Table(
            "Loss barriers",
            SUMMARY_HEADER,
            [summary_row(KINDS[name].name, stats.summarise(line.barrier)) for name, line in found.lines.items()],
            "The most by which the training loss rises above the chord between the two ends (Entezari et al. 2022); "
            f"the interval is over {_pairs(found)}.",
        ),
    ]


@mpl.rc_context(STYLE)
def draw_barriers(panel: Panel) -> Figure:
    """The loss on straight lines between the networks of many pairs.

    Args:
        panel: a series for each kind of line.

    Returns:
        One panel, with the median over pairs and the band that holds the central 95 % of them.
    """
    figure = Figure(figsize=(10, 4.8))
    axes = figure.subplots()
    for series in panel.series:
        lower, median, upper = stats.quantile_band(series.y)
        axes.plot(series.x, median, color=series.colour, label=series.name)
        axes.fill_between(series.x, lower, upper, color=series.colour, alpha=0.2, lw=0)
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


FINDING = Finding(
    name="barriers",
    title="Linear mode connectivity",
    unit="pairs",
    section=LANDSCAPE,
    order=40,
    find=find,
    summarise=summarise,
    show=show,
    tiles=tiles,
    applies=lambda subject: len(subject.finite) > 1,
)
