"""The loss on a plane through one trained network, and whether to believe the picture."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mlpjax.data import Dataset, Split
from mlpjax.findings.selection import BATCH, median_network, network, subset
from mlpjax.landscape.directions import filter_normalised, stack
from mlpjax.landscape.loss import make_objective, make_stages
from mlpjax.landscape.loss_surface import Health, health, slice_stages
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained
from mlpjax.typing import Params

DIRECTIONS_KEY = 0
"""Seed of the directions."""
OTHERS = 16
"""Other random directions, for the band of the health check."""


class Surface(NamedTuple):
    """Training loss on a plane through one network."""

    seed: int
    steps: Float[np.ndarray, " grid"]
    """Steps along either direction, in units of its filter-normalised length."""
    loss: Float[np.ndarray, "grid grid"]
    """`loss[i, j]` is at steps[i] along the first direction and steps[j] along the second."""
    health: Health


def find_surface(model: MLP, recipe: Recipe, dataset: Dataset, trained: Trained, grid: int) -> Surface:
    """Training loss on a filter-normalised plane through the median network (by final test loss).

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what it was trained on.
        trained: many networks, at least one of which did not diverge.
        grid: points along each side, from -1 to 1, an odd number.
    """
    objective = make_objective(model, recipe.loss)
    stages = make_stages(model, recipe.loss)
    index = median_network(trained)
    steps = jnp.linspace(-1.0, 1.0, grid)

    @jax.jit
    def look(params: Params, key: Key[Array, ""], split: Split) -> tuple[Array, Health]:
        first, second, others = jax.random.split(key, 3)
        directions = stack(filter_normalised(first, params), filter_normalised(second, params))
        loss = slice_stages(stages, params, split, directions, (steps, steps), BATCH)
        return loss, health(
            objective, params, split, directions, (steps, steps), loss, others, others=OTHERS, batch_size=BATCH
        )

    found = look(network(trained, index), jax.random.key(DIRECTIONS_KEY), subset(dataset.train))
    loss, checked = jax.tree.map(np.asarray, found)
    return Surface(int(trained.seeds[index]), np.asarray(steps), loss, checked)
