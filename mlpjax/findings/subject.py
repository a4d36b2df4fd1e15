"""What findings look at, and what they share."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from mlpjax.data import Dataset, Split
from mlpjax.lift import OnProgress, map_seeds
from mlpjax.models import MLP
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained
from mlpjax.task import Task, make_task
from mlpjax.typing import Params

EXAMPLES = 5000
"""The landscape is looked at on at most so many examples of a split, evenly spaced through it."""
BATCH = 500
"""Examples at a time: their activations stay in the cache."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A study's trained networks, and how they came to be."""

    model: MLP
    recipe: Recipe
    dataset: Dataset
    groups: Mapping[str, Trained]
    """The networks that started at `random`, and perhaps those that started at `zero`."""
    freeze: Collection[str]
    """Names of the keys that all networks shared."""
    grid: int
    """Points along each side of a loss surface, an odd number."""
    folder: Path
    """Where looks at the landscape are kept, so that none is done twice."""

    @cached_property
    def task(self) -> Task:
        """What one of the networks learnt."""
        return make_task(self.model, self.recipe, self.dataset.train)

    @property
    def random(self) -> Trained:
        """The networks that started at random."""
        return self.groups["random"]

    @cached_property
    def finite(self) -> Int[np.ndarray, " networks"]:
        """Places of the networks with a random start that did not diverge."""
        return np.flatnonzero(~self.random.diverged)

    @cached_property
    def median(self) -> int:
        """Place of the network in the middle of these, by final test loss."""
        order = np.argsort(self.random.history["test_loss"][self.finite, -1], kind="stable")
        return int(self.finite[order[len(order) // 2]])

    @cached_property
    def train(self) -> Split:
        """The training examples that are looked at, on the device."""
        return _evenly(self.dataset.train)

    @cached_property
    def test(self) -> Split:
        """The test examples that are looked at, on the device."""
        return _evenly(self.dataset.test)

    def network(self, place: int) -> Params:
        """The parameters of one of the networks with a random start, on the device."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), self.random.params)

    def store(self, name: str) -> Checkpoints:
        """Where the results of one function are kept."""
        return Checkpoints(self.folder / name)

    def look(
        self,
        name: str,
        function: Callable[..., Any],
        own: PyTree,
        *shared: Any,
        chunk: int,
        on_progress: OnProgress = lambda done, total: None,
    ) -> PyTree:
        """`map_seeds`, with the results kept under `name`.

        What the function closes over decides whether they can be used again: the model and the task, no more.
        """
        return map_seeds(function, own, *shared, chunk=chunk, store=self.store(name), on_progress=on_progress)

    def look_at_one(
        self,
        name: str,
        function: Callable[..., Any],
        own: PyTree,
        *shared: Any,
        on_progress: OnProgress = lambda done, total: None,
    ) -> PyTree:
        """The same for one network, without the axis of networks."""
        alone = jax.tree.map(lambda leaf: leaf[None], own)
        found = self.look(name, function, alone, *shared, chunk=1, on_progress=on_progress)
        return jax.tree.map(lambda leaf: np.asarray(leaf[0]), found)


def _evenly(split: Split) -> Split:
    rows = np.linspace(0, len(split.y) - 1, min(len(split.y), EXAMPLES)).astype(int)
    return Split(jnp.asarray(split.x[rows]), jnp.asarray(split.y[rows]))
