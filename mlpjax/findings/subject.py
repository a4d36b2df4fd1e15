"""What findings look at, and what they share."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from mlpjax.data import Dataset, Split
from mlpjax.landscape.loss import make_stages
from mlpjax.landscape.loss_surface import points_at_once, slice_loss, slice_stages
from mlpjax.lift import OnProgress, map_seeds, silent
from mlpjax.models import MLP
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recipe import Recipe
from mlpjax.seeds import Forward, MakeTask, Trained, forward_cost
from mlpjax.task import MeanLoss, Task, make_task
from mlpjax.typing import Variables
from mlpjax.vgg import VGG

EXAMPLES, FEWEST_EXAMPLES = 5000, 500
"""The landscape is looked at on at most so many examples of a split, evenly spaced through it."""
LOOK_FLOPS = 1e11
"""Of one evaluation of the loss: where an example costs more than a share of `EXAMPLES` of it, fewer are looked at."""
BATCH = 500
"""Examples at a time: their activations stay in the cache."""
MEMORY = 2**29
"""Bytes of activations of the examples that are looked at together; products with the Hessian take several times it."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Trained networks, and how they came to be."""

    model: MLP | VGG
    recipe: Recipe
    dataset: Dataset
    random: Trained
    """The networks that started at random, with their curves."""
    zero: Trained | None = None
    """Others, that started with all parameters zero."""
    freeze: Collection[str] = ()
    """Names of the keys that all networks shared."""
    make_task: MakeTask = make_task
    """Made the task that they were trained on."""
    grid: int = 25
    """Points along each side of a loss surface, an odd number."""
    folder: Path | None = None
    """Where looks at the landscape are kept, so that none is done twice."""

    @cached_property
    def task(self) -> Task:
        """What one of the networks learnt."""
        return self.make_task(self.model, self.recipe, self.dataset.train)

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
        return self._evenly(self.dataset.train)

    @cached_property
    def test(self) -> Split:
        """The test examples that are looked at, on the device."""
        return self._evenly(self.dataset.test)

    def _evenly(self, split: Split) -> Split:
        most = min(EXAMPLES, max(FEWEST_EXAMPLES, int(LOOK_FLOPS // self._example.flops)))
        rows = np.linspace(0, len(split.y) - 1, min(len(split.y), most)).astype(int)
        return Split(jnp.asarray(split.x[rows]), jnp.asarray(split.y[rows]))

    @cached_property
    def _example(self) -> Forward:
        """What it takes to evaluate a network on one example."""
        x = self.dataset.train.x[:1]
        return forward_cost(self.task, jax.ShapeDtypeStruct(x.shape, x.dtype))

    def batch(self, examples: int) -> int | None:
        """How many of so many examples are looked at together; None where all of them fit into `MEMORY`."""
        fit = max(2, MEMORY // self._example.activations)
        return None if examples <= fit else fit

    def network(self, place: int) -> Variables:
        """One of the networks with a random start, on the device."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), self.random.variables)

    def store(self, name: str) -> Checkpoints | None:
        """Where the results of one function are kept, if anywhere."""
        return None if self.folder is None else Checkpoints(self.folder / name)

    def look(
        self,
        name: str,
        function: Callable[..., Any],
        own: PyTree,
        *shared: Any,
        chunk: int,
        on_progress: OnProgress = silent,
    ) -> PyTree:
        """`map_seeds`, with the results kept under `name`.

        What the function closes over decides whether they can be used again: the model and the task, no more.
        """
        one = jax.tree.map(lambda leaf: leaf[0], self.random.params)
        chunk = chunk if points_at_once(one) else 1
        return map_seeds(function, own, *shared, chunk=chunk, store=self.store(name), on_progress=on_progress)

    def look_at_one(
        self,
        name: str,
        function: Callable[..., Any],
        own: PyTree,
        *shared: Any,
        on_progress: OnProgress = silent,
    ) -> PyTree:
        """The same for one network, without the axis of networks."""
        alone = jax.tree.map(lambda leaf: leaf[None], own)
        found = self.look(name, function, alone, *shared, chunk=1, on_progress=on_progress)
        return jax.tree.map(lambda leaf: np.asarray(leaf[0]), found)


def loss_on_plane(
    model: MLP | VGG,
    task: Task,
    loss: MeanLoss,
    params: PyTree,
    split: Split,
    directions: PyTree,
    steps: tuple[Array, Array],
    batch_size: int | None,
) -> Float[Array, "first second"]:
    """What `slice_loss` finds; of an MLP in stages, with a seventh of the work."""
    if isinstance(model, MLP):
        return slice_stages(make_stages(model, task), params, split, directions, steps, batch_size)
    return slice_loss(loss, params, split, directions, steps, batch_size)


def in_batches(function: Callable[[Split], PyTree], split: Split, batch_size: int | None) -> PyTree:
    """A function that has a row for each example, of some examples at a time; None: of all at once."""
    if batch_size is None:
        return function(split)
    examples = len(split.y)
    rows = np.arange(-(-examples // batch_size) * batch_size).reshape(-1, batch_size) % examples  # some twice

    def of_rows(rows: Array) -> PyTree:
        return function(Split(jnp.asarray(split.x)[rows], jnp.asarray(split.y)[rows]))

    found = jax.lax.map(of_rows, jnp.asarray(rows))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:examples], found)
