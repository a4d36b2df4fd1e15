"""What became of the hidden units, after a random start and after an all-zero one."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from mlpjax.data import Dataset, Split, scale
from mlpjax.findings.selection import subset
from mlpjax.landscape.loss import make_objective
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.landscape.symmetry_breaking import Ranks, ranks, zero_gradients
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained, map_seeds
from mlpjax.typing import Params


class Units(NamedTuple):
    """The hidden units of many networks, layer by layer."""

    distinct: Int[np.ndarray, "networks hidden_layers"]
    """How many different ones each network has."""
    kernel_rank: Int[np.ndarray, "networks hidden_layers"]
    """Of the weights into them."""
    activation_rank: Int[np.ndarray, "networks hidden_layers"]
    """Of what they give on the training examples."""


def find_units(model: MLP, dataset: Dataset, trained: Trained) -> Units:
    """Count the different hidden units of every network, and the ranks of its hidden layers.

    Args:
        model: the network, with a hidden layer.
        dataset: what they were trained on.
        trained: many networks.
    """

    def look(params: Params, split: Split) -> tuple[jax.Array, Ranks]:
        return distinct_units(params), ranks(model, params, scale(split.x))

    distinct, found = map_seeds(look, trained.params, subset(dataset.train), chunk=1)
    return Units(distinct, found.kernel, found.activations)


def find_zero_gradients(model: MLP, recipe: Recipe, dataset: Dataset) -> dict[str, float]:
    """Which gradients are exactly zero where all parameters are: by leaf, such as dense_0/kernel, a share in [0, 1].

    Args:
        model: the network.
        recipe: names the loss.
        dataset: whose training examples give the gradient.
    """
    zero = jax.tree.map(np.zeros_like, model.init(jax.random.key(0)))
    count = jax.jit(lambda params, split: zero_gradients(make_objective(model, recipe.loss), params, split))
    counts = count(zero, subset(dataset.train))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(found) / leaf.size
        for (path, leaf), found in zip(
            jax.tree_util.tree_flatten_with_path(zero)[0], jax.tree.leaves(counts), strict=True
        )
    }
