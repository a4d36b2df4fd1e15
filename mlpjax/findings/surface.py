"""The loss on a plane through one trained network, and whether to believe the picture."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float, Key, Real
from matplotlib.figure import Figure

from mlpjax.data import Split
from mlpjax.findings.finding import LANDSCAPE, Finding
from mlpjax.findings.subject import BATCH, Subject, loss_on_plane
from mlpjax.landscape.directions import filter_normalised, stack
from mlpjax.landscape.loss_surface import Health, health
from mlpjax.lift import OnProgress, silent
from mlpjax.report import explore
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, contours, relief
from mlpjax.report.page import Picture, Table
from mlpjax.report.words import number
from mlpjax.stats import quantile_band
from mlpjax.task import mean_loss
from mlpjax.typing import Variables

DIRECTIONS_KEY = 0
"""Seed of the directions."""
OTHERS = 16
"""Other random directions, for the band of the health check."""


OBLIQUE = 0.1
"""Cosine between the plane's directions: six degrees off a right angle can be seen."""
COARSE = 0.5
"""Error of the curvature that the plane shows, as a share of the exact one: a bowl of half the curvature looks 1.4
times as wide, one of 1.5 times it 0.8 times."""
SEEN = 0.01
"""Of the plane's range of loss: a parabola that differs by less at its rim looks the same, however flat it is."""


class Surface(NamedTuple):
    """Training loss on a plane through one network."""

    seed: int
    steps: Float[np.ndarray, " grid"]
    """Steps along either direction, in units of its filter-normalised length."""
    loss: Float[np.ndarray, "grid grid"]
    """`loss[i, j]` is at steps[i] along the first direction and steps[j] along the second."""
    health: Health
    has_stats: bool
    """Whether the network has running statistics, which are its own wherever the loss is shown."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Surface:
    """Training loss on a filter-normalised plane through the median network (by final test loss), from -1 to 1."""
    model, task, batch = subject.model, subject.task, subject.batch(BATCH) or BATCH

    def look(network: Variables, key: Key[Array, ""], steps: Array, split: Split) -> tuple[Array, Health]:
        first, second, others = jax.random.split(key, 3)
        params, loss, grid = network.params, mean_loss(task, network.stats), (steps, steps)
        directions = stack(filter_normalised(first, params), filter_normalised(second, params))
        losses = loss_on_plane(model, task, loss, params, split, directions, grid, batch)
        checked = health(loss, params, split, directions, grid, losses, others, others=OTHERS, batch_size=batch)
        return losses, checked

    steps = jnp.linspace(-1.0, 1.0, subject.grid)
    shared = jax.random.key(DIRECTIONS_KEY), steps, subject.train
    network = subject.network(subject.median)
    loss, checked = subject.look_at_one("surface", look, network, *shared, on_progress=on_progress)
    has_stats = bool(jax.tree.leaves(network.stats))
    return Surface(int(subject.random.seeds[subject.median]), np.asarray(steps), loss, checked, has_stats)


def summarise(found: Surface) -> dict[str, Any]:
    """The health of the plane."""
    return {
        "seed": found.seed,
        "cosine_of_directions": float(found.health.cosines[0, 1]),
        "curvature": found.health.curvature.tolist(),
        "curvature_read_off": found.health.read_off.tolist(),
    }


def verdict(found: Surface) -> str:
    """Whether the plane is a fair picture of the loss, and what to do where it is not."""
    checked, middle = found.health, len(found.steps) // 2
    wrong = []
    if abs(cosine := float(checked.cosines[0, 1])) > OBLIQUE:
        angle = np.degrees(np.arccos(cosine))
        wrong.append(f"its directions stand at {angle:.0f} degrees, not at 90: trust its cuts, not its shape")
    curvature, read_off = np.asarray(checked.curvature), np.asarray(checked.read_off)
    seen = np.abs(read_off - curvature) / 2 > SEEN * np.ptp(found.loss[np.isfinite(found.loss)])
    if (worst := float(np.max(np.asarray(checked.error), where=seen, initial=0.0))) > COARSE:
        finer = 2 * int(np.ceil(middle * np.sqrt(worst / COARSE))) + 1
        wrong.append(
            f"in its middle it shows a curvature that is {100 * worst:.0f} % off: read the exact one in the table "
            f"below, or give a finer --grid, such as {finer}"
        )
    own, others = (
        rows[:, [0, -1]].mean(axis=1)
        for rows in (np.stack([found.loss[:, middle], found.loss[middle]]), np.asarray(checked.profiles))
    )
    for beyond, more in ((own > others.max(), "more"), (own < others.min(), "less")):
        if beyond.all():  # by chance in one of 150 planes
            rises = f"the loss rises {more} along both of its directions than along {len(others)} others"
            wrong.append(f"{rises}: trust the band below")
    if wrong:
        return f"No: {'; '.join(wrong)}."
    return f"Yes: it bends as the loss does in its middle, and rises as along {len(others)} other directions."


def show(found: Surface) -> list[Table | Picture]:
    """The plane, the profiles along its directions among others, and its health."""
    middle = len(found.steps) // 2
    checked = found.health
    rows = [
        (
            f"direction {place + 1}",
            number(float(checked.curvature[place])),
            number(float(checked.read_off[place])),
            f"{100 * checked.error[place]:.1f} %",
        )
        for place in range(2)
    ]
    own = np.stack([found.loss[:, middle], found.loss[middle, :]])
    return [
        Picture(
            "surface_3d",
            f"Loss surface around seed {found.seed}, the median seed",
            draw_surface_3d(found.steps, found.steps, found.loss.T),
            "Height and colour are the training loss"
            + ", on a log scale" * bool((found.loss[np.isfinite(found.loss)] > 0).all())
            + "; the network is in the middle.",
            "The training loss around a trained network as a surface",
            explore.Drawing(
                [
                    explore.Surface(
                        "filter-normalised direction 1",
                        "filter-normalised direction 2",
                        found.steps,
                        found.steps,
                        found.loss,
                        np.array([[0, 0, found.loss[middle, middle]]]),
                    )
                ],
                whole=True,
            ),
        ),
        Picture(
            "surface",
            "The same from above",
            draw_surface(found.steps, found.steps, found.loss.T),
            "Training loss on a plane through the network, along two random directions in which every neuron's "
            "weights are scaled to the length they have in the network (Li et al. 2018); biases stay"
            + ", and so do batch norm's factors, shifts and statistics" * found.has_stats
            + f". The cosine between the two directions is {checked.cosines[0, 1]:.3f}.",
            "Contours of the training loss around a trained network",
        ),
        Picture(
            "profiles",
            f"Is that plane a fair picture? {verdict(found)}",
            draw_profiles(found.steps, own, np.asarray(checked.profiles), np.asarray(checked.curvature)),
            f"Cuts through the middle of the plane, beside those along {len(checked.profiles)} other random "
            "directions. Dotted: what the curvature in the middle foretells.",
            "Loss along random directions with a band",
        ),
        Table(
            "Curvature along the plane's directions",
            ("", "curvature d'Hd", "read off the plane", "difference"),
            rows,
            "A health check: the exact second derivative of the loss along each direction, and what the three points "
            "in the middle of the plane show. A large difference means that the grid is too coarse to see how sharp "
            "the minimum is.",
        ),
    ]


@mpl.rc_context(STYLE)
def draw_surface(
    alphas: Real[np.ndarray, " alphas"],
    betas: Real[np.ndarray, " betas"],
    loss: Real[np.ndarray, "betas alphas"],
) -> Figure:
    """The loss on a plane through a trained network, as contours at levels evenly spaced in log loss.

    Args:
        alphas: steps along the first direction, increasing.
        betas: steps along the second direction, increasing.
        loss: at each pair of steps; where it is not finite the plane stays blank.

    Returns:
        One panel, the network itself marked at the origin.

    Source: Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the loss landscape of neural nets.
    """
    figure = Figure(figsize=(8.4, 6.2))
    axes = figure.subplots()
    contours(axes, alphas, betas, loss)
    axes.plot(0, 0, "*", color=VERMILLION, mec="white", ms=18, label="the trained network")
    axes.set(xlabel="filter-normalised direction 1", ylabel="filter-normalised direction 2")
    axes.legend(frameon=True, framealpha=0.85, loc="upper right")
    return figure


@mpl.rc_context(STYLE)
def draw_surface_3d(
    alphas: Real[np.ndarray, " alphas"],
    betas: Real[np.ndarray, " betas"],
    loss: Real[np.ndarray, "betas alphas"],
) -> Figure:
    """The same in three dimensions, as `draw_surface` shows it from above.

    Args:
        alphas: steps along the first direction, increasing.
        betas: steps along the second direction, increasing.
        loss: at each pair of steps; where it is not finite there is a hole.

    Returns:
        One panel.
    """
    figure = Figure(figsize=(8.4, 6.8))
    axes = figure.add_subplot(projection="3d")
    relief(axes, alphas, betas, loss)
    axes.set(xlabel="filter-normalised direction 1", ylabel="filter-normalised direction 2")
    return figure


@mpl.rc_context(STYLE)
def draw_profiles(
    steps: Real[np.ndarray, " points"],
    own: Real[np.ndarray, "directions points"],
    others: Real[np.ndarray, "others points"],
    curvature: Real[np.ndarray, " directions"],
) -> Figure:
    """A surface's own two cuts through its middle, among those along other random directions.

    Args:
        steps: along a direction, with 0 among them.
        own: the loss along each of the surface's two directions.
        others: the loss along other directions.
        curvature: d' H d along each of the surface's directions.

    Returns:
        One panel; dotted is the parabola that the curvature in the middle foretells.
    """
    figure = Figure(figsize=(10, 4.8))
    axes = figure.subplots()
    lower, median, upper = quantile_band(others)
    axes.fill_between(steps, lower, upper, color="#999999", alpha=0.3, lw=0, label="other directions, central 95 %")
    axes.plot(steps, median, color="#777777", lw=1.6, label="their median")
    middle = np.argmin(np.abs(steps))
    for place, (losses, bend, colour) in enumerate(zip(own, curvature, (BLUE, VERMILLION), strict=True), 1):
        axes.plot(steps, losses, color=colour, label=f"direction {place}")
        parabola = losses[middle] + bend * steps**2 / 2
        axes.plot(steps, parabola, ":", color=colour, lw=1.6, label=f"curvature {bend:.3g}")
    top = float(max(own.max(), upper.max()))
    axes.set(xlabel="steps of the direction's length", ylabel="train loss", ylim=(0, 1.1 * top))
    figure.legend(loc="outside right center")
    return figure


def text(found: Surface) -> str:
    """What the part of the page is about, of which this finding is the first."""
    del found
    return (
        "The training loss as a function of the parameters, around the networks that training ended in: cuts through "
        "it, the way that training took, its curvature (the eigenvalues of the Hessian), whether the ends are minima, "
        "and whether a straight line from one network to another crosses a loss barrier, that is a rise of the loss "
        "above what it is at both ends."
    )


FINDING = Finding(
    name="surface",
    title="Loss surface",
    unit="slices",
    section=LANDSCAPE,
    order=10,
    find=find,
    summarise=summarise,
    show=show,
    text=text,
)
