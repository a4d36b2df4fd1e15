"""The training trajectory of one network, on the plane that shows most of it, and what the plane hides."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float, Int, Real
from matplotlib.figure import Figure

from mlpjax.data import Split
from mlpjax.findings.finding import LANDSCAPE, Finding
from mlpjax.findings.subject import BATCH, Subject, loss_on_plane
from mlpjax.landscape.directions import Components, pca
from mlpjax.landscape.running_statistics import recomputed_loss
from mlpjax.landscape.trajectory import Track, random_walk_shares, track
from mlpjax.lift import OnProgress, silent, tree_bytes
from mlpjax.report.explore import Drawing, Surface
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, contours
from mlpjax.report.page import Picture, Table
from mlpjax.report.words import number
from mlpjax.seeds import train_many
from mlpjax.task import mean_loss
from mlpjax.typing import Params

POINTS = 61
"""Of the trajectory at most, evenly spaced in time."""
MEMORY = 2**30
"""Bytes that they take at most: large networks have fewer."""
MARGIN = 0.2
"""Of the plane around the trajectory, as a share of its longer side."""


class Trajectory(NamedTuple):
    """A training on the plane of its two largest principal components, whose coordinates are 0 at its end."""

    seed: int
    epochs: Int[np.ndarray, " points"]
    track: Track
    """Where each point is drawn, how far it is from there, and the loss at both."""
    explained: Float[np.ndarray, " 2"]
    """Share of the trajectory's variance that each component has."""
    random_walk: Float[np.ndarray, " 2"]
    """The same for a random walk of as many points: the null."""
    steps: tuple[Float[np.ndarray, " grid"], Float[np.ndarray, " grid"]]
    """Along each component, in units of the parameters."""
    loss: Float[np.ndarray, "grid grid"]
    """`loss[i, j]` is at steps[0][i], steps[1][j]."""
    recomputed: bool
    """Whether the networks have running statistics, which are then taken anew wherever there is a loss."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Trajectory | None:
    """Train the median network (by final test loss) once more, and draw its trajectory.

    Returns:
        The trajectory; None where it has fewer than three points, or the network did not move.
    """
    model, task, recipe, grid = subject.model, subject.task, subject.recipe, subject.grid
    seed = int(subject.random.seeds[subject.median])
    points = min(POINTS, recipe.evaluations + 1, MEMORY // tree_bytes(subject.network(subject.median)))
    if points < 3:
        return None
    epochs = recipe.eval_every * np.linspace(0, recipe.evaluations, points).astype(int)
    again = train_many(
        model,
        recipe,
        subject.dataset,
        [seed],
        freeze=subject.freeze,
        task=subject.make_task,
        snapshots=epochs.tolist(),
        store=subject.store("trajectory-training"),
        on_progress=on_progress,
    )
    if not any(np.ptp(leaf[0], axis=0).any() for leaf in jax.tree.leaves(again.snapshots)):
        return None
    way: Params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), again.snapshots)

    stats = subject.network(subject.median).stats
    batch = subject.batch(BATCH) or BATCH
    loss, at_once = mean_loss(task), batch if not jax.tree.leaves(stats) else None
    if at_once is None:  # the statistics of the end mean nothing at the start
        loss = recomputed_loss(task, stats, batch)

    def project(way: Params, split: Split) -> tuple[Components, Track]:
        components = pca(way)
        centre = jax.tree.map(lambda leaf: leaf[-1], way)
        return components, track(loss, way, split, centre, components.directions, at_once)

    def look(plane: tuple[Params, Params, tuple[Array, Array]], split: Split) -> Array:
        centre, directions, steps = plane
        return loss_on_plane(model, task, loss, centre, split, directions, steps, at_once)

    (directions, explained), drawn = subject.look_at_one("trajectory-projection", project, way, subject.train)
    low, high = np.min(drawn.coordinates, axis=0), np.max(drawn.coordinates, axis=0)
    margin = MARGIN * np.max(high - low)
    first, second = (jnp.linspace(low[i] - margin, high[i] + margin, grid) for i in range(2))
    centre = jax.tree.map(lambda leaf: leaf[-1], way)
    plane = jax.tree.map(jnp.asarray, (centre, directions, (first, second)))
    losses = subject.look_at_one("trajectory-plane", look, plane, subject.train)
    steps = np.asarray(first), np.asarray(second)
    return Trajectory(seed, epochs, drawn, explained, random_walk_shares(points, 2), steps, losses, at_once is None)


def summarise(found: Trajectory) -> dict[str, Any]:
    """How much of the trajectory the plane shows."""
    return {
        "seed": found.seed,
        "variance_explained": found.explained.tolist(),
        "of_a_random_walk": found.random_walk.tolist(),
        "largest_difference_of_loss": float(np.abs(found.track.losses - found.track.projected_losses).max()),
    }


def show(found: Trajectory) -> list[Table | Picture]:
    """The trajectory on its plane, and how much the plane shows."""
    coordinates, distances, own, drawn = map(np.asarray, found.track)
    rows = [
        (f"component {place + 1}", f"{100 * found.explained[place]:.1f} %", f"{100 * found.random_walk[place]:.1f} %")
        for place in range(2)
    ]
    worst = int(np.argmax(np.abs(drawn - own)))
    return [
        Picture(
            "trajectory",
            f"Training trajectory of seed {found.seed}",
            draw_trajectory(found.epochs, coordinates, found.steps, found.loss, own, drawn),
            "The network trained once more from the same seed, on the plane of the two largest principal components of "
            "its trajectory, through its end. Right: the loss of the network itself, and that of the point of the "
            "plane where it is drawn. Where the two differ, the plane misleads: most at epoch "
            f"{found.epochs[worst]}, {number(float(drawn[worst]))} in place of {number(float(own[worst]))}, "
            f"{number(float(distances[worst]))} away from the plane."
            + " Running statistics are taken anew from the training examples wherever a loss is shown."
            * found.recomputed,
            "Contours of the training loss with the trajectory of a training",
            Drawing(
                [
                    Surface(
                        "principal component 1",
                        "principal component 2",
                        *found.steps,
                        found.loss,
                        np.column_stack([coordinates, drawn]),
                    )
                ]
            ),
        ),
        Table(
            "Variance of the trajectory that the plane explains",
            ("", "variance explained", "of a random walk"),
            rows,
            "Beside it that of a random walk of as many points, of which a plane explains as much without any learning "
            "(Antognini and Sohl-Dickstein 2018).",
        ),
    ]


@mpl.rc_context(STYLE)
def draw_trajectory(
    epochs: Real[np.ndarray, " points"],
    coordinates: Real[np.ndarray, "points 2"],
    steps: tuple[Real[np.ndarray, " first"], Real[np.ndarray, " second"]],
    loss: Real[np.ndarray, "first second"],
    own: Real[np.ndarray, " points"],
    drawn: Real[np.ndarray, " points"],
) -> Figure:
    """The trajectory of a training on a plane, and beside it what the plane hides.

    Args:
        epochs: of the points.
        coordinates: where they are drawn.
        steps: grids along both axes.
        loss: on the plane, `loss[i, j]` at steps[0][i], steps[1][j].
        own: the loss of each point.
        drawn: the loss where it is drawn.

    Returns:
        The plane with the trajectory, and both losses over the epochs.
    """
    figure = Figure(figsize=(13, 5.4))
    plane, beside = figure.subplots(1, 2, width_ratios=(1.25, 1))
    contours(plane, *steps, loss.T)
    plane.plot(*coordinates.T, "-o", color="black", mec="white", mew=0.6, ms=5, lw=1.4)
    for place, marker, size, name in ((0, "s", 10, "start"), (-1, "*", 18, "end")):
        plane.plot(*coordinates[place], marker, color=VERMILLION, mec="white", ms=size, label=name)
    plane.set(xlabel="principal component 1", ylabel="principal component 2")
    plane.legend(frameon=True, framealpha=0.85, loc="best")
    beside.plot(epochs, own, color=BLUE, label="of the network")
    beside.plot(epochs, drawn, "--", color=VERMILLION, label="where it is drawn")
    beside.set(xlabel="epoch", ylabel="train loss", yscale="log" if min(own.min(), drawn.min()) > 0 else "linear")
    beside.locator_params(axis="x", integer=True)
    beside.legend()
    return figure


FINDING = Finding(
    name="trajectory",
    title="Training trajectory",
    unit="periods",
    section=LANDSCAPE,
    order=20,
    find=find,
    summarise=summarise,
    show=show,
)
