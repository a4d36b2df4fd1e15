"""What stands between two trained networks, before and after their hidden units are matched."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlpjax.data import Dataset, Split
from mlpjax.findings.selection import converged, network, subset
from mlpjax.landscape.loss import make_objective
from mlpjax.landscape.matching import match
from mlpjax.landscape.mode_connectivity import barrier, line
from mlpjax.landscape.symmetries import act
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import OnProgress, Trained, map_seeds
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


def find_barriers(model: MLP, recipe: Recipe, dataset: Dataset, trained: Trained, on_progress: OnProgress) -> Barriers:
    """The barriers between the first and the second network, the third and the fourth, and so on.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        trained: many networks, at least two of which did not diverge.
        on_progress: told what is done and what there is to do, in pairs.
    """
    objective = make_objective(model, recipe.loss)
    t = jnp.linspace(0.0, 1.0, POINTS)
    kept = np.sort(converged(trained))
    pairs = kept[: 2 * min(PAIRS, len(kept) // 2)].reshape(-1, 2)
    networks = []
    for first, second in pairs:
        a, b = network(trained, int(first)), network(trained, int(second))
        matched = act(match(model, a, b, jax.random.key(KEY)).element, b) if model.hidden_layers else b
        networks.append((a, b, matched))

    def between(three: tuple[Params, Params, Params], split: Split) -> tuple[Array, ...]:
        a, *others = three
        lines = [line(lambda p: objective(p, split), a, b, t) for b in others]
        return *lines, *(barrier(t, losses) for losses in lines)

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
    before, after, barrier_before, barrier_after = map_seeds(
        between, stacked, subset(dataset.train), chunk=1, on_progress=on_progress
    )
    seeds = [(int(trained.seeds[first]), int(trained.seeds[second])) for first, second in pairs]
    return Barriers(seeds, np.asarray(t), before, after, barrier_before, barrier_after)
