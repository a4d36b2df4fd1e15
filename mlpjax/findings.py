"""What a study finds in its trained networks: the landscape around them, and what they get wrong."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from mlpjax.data import Dataset, Split, scale
from mlpjax.landscape.directions import cosine, filter_normalised
from mlpjax.landscape.paths import barrier, line
from mlpjax.landscape.surfaces import surface
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.losses import LOSSES, correct, predict
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained, map_seeds
from mlpjax.train import evaluate
from mlpjax.typing import Params

LANDSCAPE_EXAMPLES = 5000
"""The landscape is looked at on at most so many training examples, evenly spaced through the split."""
LINE_POINTS = 51
"""Points on the line between two networks."""
SURFACE_KEY = 0
"""Seed of the surface's two directions."""


class Surface(NamedTuple):
    """Training loss on a plane through one network."""

    seed: int
    steps: Float[np.ndarray, " grid"]
    """Steps along either direction, in units of its filter-normalised length."""
    loss: Float[np.ndarray, "grid grid"]
    cosine: float
    """Of the angle between the two directions."""


class Line(NamedTuple):
    """Loss on the straight line between two networks."""

    seeds: tuple[int, int]
    t: Float[np.ndarray, " points"]
    train_loss: Float[np.ndarray, " points"]
    test_loss: Float[np.ndarray, " points"]
    barrier: float
    """Of the training loss."""


class Mistakes(NamedTuple):
    """Test examples, those that most networks get wrong first."""

    rows: Int[np.ndarray, " examples"]
    predicted: Int[np.ndarray, " examples"]
    """The class that most networks see in it wrongly."""
    share: Float[np.ndarray, " examples"]
    """Share of the networks that get it wrong."""


def converged(trained: Trained) -> Int[np.ndarray, " networks"]:
    """Indices of the networks that did not diverge, from the lowest final test loss to the highest."""
    indices = np.flatnonzero(~trained.diverged)
    return indices[np.argsort(trained.history["test_loss"][indices, -1], kind="stable")]


def _network(trained: Trained, index: int) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), trained.params)


def _subset(split: Split) -> Split:
    rows = np.linspace(0, len(split.y) - 1, min(len(split.y), LANDSCAPE_EXAMPLES)).astype(int)
    return Split(jnp.asarray(split.x[rows]), jnp.asarray(split.y[rows]))


def find_surface(model: MLP, recipe: Recipe, dataset: Dataset, trained: Trained, grid: int) -> Surface:
    """Training loss on a filter-normalised plane through the median network (by final test loss).

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what it was trained on.
        trained: many networks, at least one of which did not diverge.
        grid: points along each side, from -1 to 1.
    """
    order = converged(trained)
    index = int(order[len(order) // 2])

    def plane(params: Params, key: Key[Array, ""], split: Split) -> tuple[Array, Array]:
        first, second = (filter_normalised(k, params) for k in jax.random.split(key))
        loss = surface(lambda p: evaluate(model, recipe.loss, p, split)[0], params, (first, second), steps, steps)
        return loss, cosine(first, second)

    steps = jnp.linspace(-1.0, 1.0, grid)
    loss, angle = jax.jit(plane)(_network(trained, index), jax.random.key(SURFACE_KEY), _subset(dataset.train))
    return Surface(int(trained.seeds[index]), np.asarray(steps), np.asarray(loss), float(angle))


def find_line(model: MLP, recipe: Recipe, dataset: Dataset, trained: Trained) -> Line:
    """Loss between the median network and the first other one, straight through parameter space.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        trained: many networks, at least two of which did not diverge.
    """
    order = converged(trained)
    start = int(order[len(order) // 2])
    end = int(min(order[order != start]))
    t = jnp.linspace(0.0, 1.0, LINE_POINTS)

    @jax.jit
    def along(ends: tuple[Params, Params], split: Split) -> Float[Array, " points"]:
        return line(lambda p: evaluate(model, recipe.loss, p, split)[0], *ends, t)

    ends = _network(trained, start), _network(trained, end)
    train_loss, test_loss = along(ends, _subset(dataset.train)), along(ends, _subset(dataset.test))
    return Line(
        (int(trained.seeds[start]), int(trained.seeds[end])),
        np.asarray(t),
        np.asarray(train_loss),
        np.asarray(test_loss),
        float(barrier(t, train_loss)),
    )


def find_mistakes(model: MLP, recipe: Recipe, dataset: Dataset, trained: Trained) -> Mistakes:
    """The test examples that the networks get wrong, the hardest first.

    Hardest is what most networks get wrong, and among equals what costs the highest mean loss.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        trained: many networks, at least one of which did not diverge.
    """

    def judge(params: Params, split: Split) -> tuple[Array, Array, Array]:
        outputs = model.apply(params, scale(split.x))
        wrong = ~correct(outputs, jnp.asarray(split.y), recipe.loss)
        return predict(outputs, recipe.loss), wrong, LOSSES[recipe.loss](outputs, split.y)

    judged = map_seeds(judge, trained.params, dataset.test, chunk=8)
    predicted, wrong, losses = (values[converged(trained)] for values in judged)
    rows = np.lexsort((-losses.mean(axis=0), -wrong.sum(axis=0)))
    rows = rows[wrong[:, rows].any(axis=0)]
    usual = [np.bincount(predicted[wrong[:, row], row]).argmax() for row in rows]
    return Mistakes(rows, np.asarray(usual, dtype=int), wrong[:, rows].mean(axis=0))


def find_distinct_units(trained: Trained) -> Int[np.ndarray, "networks hidden_layers"]:
    """How many different hidden units every network has, layer by layer."""
    return map_seeds(distinct_units, trained.params, chunk=8)


class Findings(NamedTuple):
    """All of it; a part is None where too few networks are left that did not diverge."""

    surface: Surface | None
    line: Line | None
    mistakes: Mistakes | None
    distinct: dict[str, Int[np.ndarray, "networks hidden_layers"]]
    """For every group: how many different hidden units each network has, layer by layer; empty without a hidden one."""


def find(model: MLP, recipe: Recipe, dataset: Dataset, groups: Mapping[str, Trained], grid: int) -> Findings:
    """Look at every group's hidden units, and at the landscape and the mistakes of the group `random`.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        groups: many networks by the name of their group.
        grid: points along each side of the surface.
    """
    trained = groups["random"]
    left = len(converged(trained))
    hidden = model.hidden_layers > 0
    return Findings(
        surface=find_surface(model, recipe, dataset, trained, grid) if left else None,
        line=find_line(model, recipe, dataset, trained) if left > 1 else None,
        mistakes=find_mistakes(model, recipe, dataset, trained) if left else None,
        distinct={name: find_distinct_units(group) for name, group in groups.items()} if hidden else {},
    )
