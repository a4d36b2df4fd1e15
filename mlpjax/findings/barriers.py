"""Linear mode connectivity: the loss between two trained networks, before and after their hidden units are matched."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float, Real
from matplotlib.figure import Figure

from mlpjax import stats
from mlpjax.data import Split
from mlpjax.findings.finding import Finding
from mlpjax.findings.subject import Subject
from mlpjax.landscape.matching import match
from mlpjax.landscape.mode_connectivity import barrier, line
from mlpjax.landscape.symmetries import act
from mlpjax.lift import OnProgress
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, png
from mlpjax.report.page import Picture, Table, Tile
from mlpjax.report.tables import SUMMARY_HEADER, mean_tile, summary_row
from mlpjax.task import mean_loss
from mlpjax.typing import Params

PAIRS = 32
"""Pairs of networks at most; no network is in two of them, so that the pairs are independent."""
POINTS = 25
"""Points on the line between two networks."""
KEY = 0
"""Seed of the matching."""


class Barriers(NamedTuple):
    """The loss on straight lines between pairs of networks, as they were trained and after matching."""

    seeds: list[tuple[int, int]]
    t: Float[np.ndarray, " points"]
    before: Float[np.ndarray, "pairs points"]
    """Training loss between the networks as they are."""
    after: Float[np.ndarray, "pairs points"]
    """The same with the second network's units in the order that suits the first."""
    barrier_before: Float[np.ndarray, " pairs"]
    """Above the chord of the ends."""
    barrier_after: Float[np.ndarray, " pairs"]


def find(subject: Subject, on_progress: OnProgress) -> Barriers:
    """The barriers between the first and the second network, the third and the fourth, and so on."""
    model, task = subject.model, subject.task
    t = jnp.linspace(0.0, 1.0, POINTS)
    kept = subject.finite
    pairs = kept[: 2 * min(PAIRS, len(kept) // 2)].reshape(-1, 2)
    networks = []
    for first, second in pairs:
        a, b = subject.network(int(first)), subject.network(int(second))
        matched = act(match(model, a, b, jax.random.key(KEY)).element, b) if model.hidden_layers else b
        networks.append((a, b, matched))

    def look(three: tuple[Params, Params, Params], t: Array, split: Split) -> tuple[Array, ...]:
        a, *others = three
        loss = mean_loss(task)
        lines = [line(lambda p: loss(p, split), a, b, t) for b in others]
        return *lines, *(barrier(t, losses) for losses in lines)

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
    found = subject.look("barriers", look, stacked, t, subject.train, chunk=1, on_progress=on_progress)
    seeds = [(int(subject.random.seeds[first]), int(subject.random.seeds[second])) for first, second in pairs]
    return Barriers(seeds, np.asarray(t), *found)


def summarise(found: Barriers) -> dict[str, Any]:
    """The heights of the barriers over pairs."""
    return {
        "pairs": len(found.seeds),
        "before": stats.summarise(found.barrier_before),
        "after": stats.summarise(found.barrier_after),
    }


def _pairs(found: Barriers) -> str:
    return f"{len(found.seeds):,} pair{'s' * (len(found.seeds) > 1)} of seeds"


def tiles(found: Barriers) -> list[Tile]:
    """The mean barrier, as trained and with the units matched."""
    of = f"train loss, {_pairs(found)}"
    return [
        mean_tile("Loss barrier", stats.summarise(found.barrier_before), "{:.3g}", of),
        mean_tile("Loss barrier, units matched", stats.summarise(found.barrier_after), "{:.3g}", of),
    ]


def show(found: Barriers) -> list[Table | Picture]:
    """The loss along the lines, and the barriers in numbers."""
    return [
        Picture(
            "barriers",
            "Linear mode connectivity: the loss on the line from one seed to another",
            png(draw_barriers(found.t, found.before, found.after)),
            f"Median and central 95 % of {_pairs(found)}, no seed in two of them: as trained, and with the second "
            "network's hidden units in the order that suits the first (weight matching, Ainsworth et al. 2023).",
            "Loss on the line between two networks, before and after matching",
        ),
        Table(
            "Loss barriers",
            SUMMARY_HEADER,
            [
                summary_row("as trained", stats.summarise(found.barrier_before)),
                summary_row("units matched", stats.summarise(found.barrier_after)),
            ],
            "The most by which the training loss rises above the chord between the two ends (Entezari et al. 2022); "
            f"the interval is over {_pairs(found)}.",
        ),
    ]


@mpl.rc_context(STYLE)
def draw_barriers(
    t: Real[np.ndarray, " points"],
    before: Real[np.ndarray, "pairs points"],
    after: Real[np.ndarray, "pairs points"],
) -> Figure:
    """The loss on the straight line between the networks of many pairs, before and after their units are matched.

    Args:
        t: share of the way from the first network to the second, from 0 to 1.
        before: the loss there, a row for each pair.
        after: the same with the second network's units in the order that suits the first.

    Returns:
        One panel, with the median over pairs and the band that holds the central 95 % of them.
    """
    figure = Figure(figsize=(10, 4.8))
    axes = figure.subplots()
    for losses, colour, name in ((before, VERMILLION, "as trained"), (after, BLUE, "units matched")):
        lower, median, upper = stats.quantile_band(losses)
        axes.plot(t, median, color=colour, label=name)
        axes.fill_between(t, lower, upper, color=colour, alpha=0.2, lw=0)
    axes.set(xlabel="share of the way from one network to the other", ylabel="train loss", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


FINDING = Finding(
    name="barriers",
    title="Linear mode connectivity",
    unit="pairs",
    section="Landscape",
    order=40,
    find=find,
    summarise=summarise,
    show=show,
    tiles=tiles,
    applies=lambda subject: len(subject.finite) > 1,
)
