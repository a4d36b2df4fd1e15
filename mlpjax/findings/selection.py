"""Which of the trained networks, and which of the examples, are looked at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from mlpjax.data import Split
from mlpjax.seeds import Trained
from mlpjax.typing import Params

EXAMPLES = 5000
"""The landscape is looked at on at most so many examples of a split, evenly spaced through it."""
BATCH = 500
"""Examples at a time: their activations stay in the cache."""


def converged(trained: Trained) -> Int[np.ndarray, " networks"]:
    """Indices of the networks that did not diverge, from the lowest final test loss to the highest."""
    indices = np.flatnonzero(~trained.diverged)
    return indices[np.argsort(trained.history["test_loss"][indices, -1], kind="stable")]


def median_network(trained: Trained) -> int:
    """Index of the network in the middle, by final test loss; at least one did not diverge."""
    order = converged(trained)
    return int(order[len(order) // 2])


def network(trained: Trained, index: int) -> Params:
    """The parameters of one network, on the device."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), trained.params)


def subset(split: Split) -> Split:
    """The examples that are looked at, on the device."""
    rows = np.linspace(0, len(split.y) - 1, min(len(split.y), EXAMPLES)).astype(int)
    return Split(jnp.asarray(split.x[rows]), jnp.asarray(split.y[rows]))
