"""Decision regions: which class the networks see where, and where they agree, in the plane of two features."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float, Int, Real
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from mlpjax.data import Split
from mlpjax.findings.finding import Finding, any_finite
from mlpjax.findings.subject import Subject
from mlpjax.lift import OnProgress, silent
from mlpjax.losses import classes_of
from mlpjax.report.figures import BLUE, GREEN, MARKERS, ORANGE, PURPLE, SKY, STYLE, VERMILLION
from mlpjax.report.page import Picture, Table
from mlpjax.report.words import counted
from mlpjax.typing import Variables

POINTS = 101
"""Along each side of the plane."""
MARGIN = 0.1
"""How far the plane reaches beyond the examples, as a share of their range."""
SHOWN = 300
"""Test examples in the figure."""
COLOURS = BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY


class Regions(NamedTuple):
    """What networks answer at every point of a plane."""

    sides: Real[np.ndarray, "2 points"]
    """Values of the first and of the second feature."""
    median: Int[np.ndarray, "second first"]
    """The classes that the network in the middle sees."""
    common: Int[np.ndarray, "second first"]
    """The class that most networks see."""
    share: Float[np.ndarray, "second first"]
    """Share of the networks that see it."""
    networks: int
    seed: int
    """Of the network in the middle."""
    test: Split
    """Some test examples."""
    names: list[str]
    """What the classes are called."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Regions:
    """The class that every network sees at each point of a grid around all examples."""
    task, loss, dataset = subject.task, subject.recipe.loss, subject.dataset
    x = np.concatenate([dataset.train.x, dataset.test.x]).astype(float)
    reach = MARGIN * np.ptp(x, axis=0)
    sides = np.linspace(x.min(axis=0) - reach, x.max(axis=0) + reach, POINTS).T
    plane = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)

    def answer(network: Variables, plane: Array) -> Array:
        return classes_of(task.predict(network, task.prepare(plane)), loss)

    own = subject.random.select(subject.finite).variables
    seen = subject.look(
        "regions", answer, own, jnp.asarray(plane, dataset.train.x.dtype), chunk=8, on_progress=on_progress
    )
    votes = np.stack([(seen == label).mean(axis=0) for label in range(dataset.classes or 0)])
    form = (POINTS, POINTS)
    return Regions(
        sides=sides,
        median=seen[int(np.flatnonzero(subject.finite == subject.median)[0])].reshape(form),
        common=votes.argmax(axis=0).reshape(form),
        share=votes.max(axis=0).reshape(form),
        networks=len(seen),
        seed=int(subject.random.seeds[subject.median]),
        test=Split(np.asarray(dataset.test.x[:SHOWN], float), np.asarray(dataset.test.y[:SHOWN])),
        names=[dataset.class_name(label) for label in range(dataset.classes or 0)],
    )


def summarise(found: Regions) -> dict[str, Any]:
    """Share of the plane on which all networks see the same class."""
    return {"unanimous": float((found.share == 1).mean())}


def show(found: Regions) -> list[Table | Picture]:
    """The regions of the network in the middle, and how many networks agree where."""
    among = f" Left: the network in the middle, by final test loss, seed {found.seed}." * (found.networks > 1)
    agreement = (
        f" Right: how many of {counted(found.networks, 'network')} see the class that most of them see; all do on "
        f"{100 * summarise(found)['unanimous']:.0f} % of the plane."
    ) * (found.networks > 1)
    return [
        Picture(
            "regions",
            "Decision regions",
            draw_regions(found),
            f"Colours are the classes that a network sees, points are test examples.{among}{agreement}",
            "Decision regions in the plane of both features",
        )
    ]


@mpl.rc_context(STYLE)
def draw_regions(found: Regions) -> Figure:
    """The regions of one network with test examples, and the agreement of all of them.

    Args:
        found: the answers.

    Returns:
        Two panels; of one network the first alone.
    """
    many = found.networks > 1
    figure = Figure(figsize=(13 if many else 7, 5.6))
    panels = figure.subplots(1, 1 + many, squeeze=False, sharex=True, sharey=True)[0]
    colours = [COLOURS[label % len(COLOURS)] for label in range(len(found.names))]
    limits = {"cmap": ListedColormap(colours), "vmin": -0.5, "vmax": len(colours) - 0.5, "rasterized": True}
    panels[0].pcolormesh(*found.sides, found.median, alpha=0.35, shading="nearest", **limits)
    for label, (name, colour) in enumerate(zip(found.names, colours, strict=True)):
        points, marker = found.test.x[found.test.y == label], MARKERS[label % len(MARKERS)]
        panels[0].plot(*points.T, marker, color=colour, mec="black", mew=0.5, ms=5, label=f"class {name}")
    panels[0].set(title=f"seed {found.seed}", xlabel="feature 1", ylabel="feature 2")
    panels[0].grid(visible=False)
    if many:
        share = panels[1].pcolormesh(*found.sides, 100 * found.share, cmap="cividis", vmax=100, shading="nearest")
        panels[1].contour(*found.sides, found.common, levels=np.arange(len(colours) - 1) + 0.5, colors="white")
        panels[1].set(title="all seeds; white: the border that most draw", xlabel="feature 1")
        panels[1].grid(visible=False)
        figure.colorbar(share, ax=panels[1], label="seeds that agree (%)")
    figure.legend(loc="outside upper center", ncols=min(6, len(colours)))
    return figure


FINDING = Finding(
    name="regions",
    title="Decision regions",
    unit="networks",
    section="Decision regions",
    order=55,
    find=find,
    summarise=summarise,
    show=show,
    text=lambda found: "Which class the networks see where: at the borders seeds differ, and far from all examples.",
    applies=lambda subject: (
        subject.dataset.features == 2
        and subject.dataset.image_shape is None
        and subject.dataset.classes is not None
        and any_finite(subject)
    ),
)
