"""The way that one network took while it trained, on the plane that shows most of it, and what the plane hides."""

from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlpjax.data import Dataset, Split
from mlpjax.findings.selection import BATCH, median_network, subset
from mlpjax.landscape.directions import pca
from mlpjax.landscape.loss import make_objective, make_stages
from mlpjax.landscape.loss_surface import slice_stages
from mlpjax.landscape.trajectory import Track, random_walk_shares, track
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import OnProgress, Trained, train_many
from mlpjax.typing import Params

POINTS = 61
"""Of the way at most, evenly spaced in time."""
MARGIN = 0.2
"""Of the plane around the way, as a share of the way's longer side."""


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


def find_trajectory(
    model: MLP,
    recipe: Recipe,
    dataset: Dataset,
    trained: Trained,
    freeze: Collection[str],
    grid: int,
    on_progress: OnProgress,
) -> Trajectory | None:
    """Train the median network (by final test loss) once more, and draw its way.

    Args:
        model: the network.
        recipe: how it was trained.
        dataset: what it was trained on.
        trained: many networks, at least one of which did not diverge.
        freeze: names of the keys that all networks shared.
        grid: points along each side of the plane.
        on_progress: told what is done and what there is to do, in periods of training.

    Returns:
        The way; None where it has fewer than three points, or the network did not move.
    """
    seed = int(trained.seeds[median_network(trained)])
    points = min(POINTS, recipe.evaluations + 1)
    if points < 3:
        return None
    epochs = recipe.eval_every * np.linspace(0, recipe.evaluations, points).astype(int)
    again = train_many(
        model, recipe, dataset, [seed], freeze=freeze, snapshots=epochs.tolist(), on_progress=on_progress
    )
    if not any(np.ptp(leaf[0], axis=0).any() for leaf in jax.tree.leaves(again.snapshots)):
        return None
    way: Params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), again.snapshots)
    split, centre = subset(dataset.train), jax.tree.map(lambda leaf: leaf[-1], way)
    directions, explained = jax.jit(pca)(way)

    @jax.jit
    def draw(way: Params, centre: Params, directions: Params, split: Split) -> Track:
        return track(make_objective(model, recipe.loss), way, split, centre, directions, BATCH)

    @jax.jit
    def look(centre: Params, directions: Params, steps: tuple[Array, Array], split: Split) -> Array:
        return slice_stages(make_stages(model, recipe.loss), centre, split, directions, steps, BATCH)

    drawn = draw(way, centre, directions, split)
    low, high = np.min(drawn.coordinates, axis=0), np.max(drawn.coordinates, axis=0)
    margin = MARGIN * np.max(high - low)
    first, second = (jnp.linspace(low[i] - margin, high[i] + margin, grid) for i in range(2))
    loss = look(centre, directions, (first, second), split)
    drawn, explained, steps, loss = jax.tree.map(np.asarray, (drawn, explained, (first, second), loss))
    return Trajectory(seed, epochs, drawn, explained, random_walk_shares(points, 2), steps, loss)
