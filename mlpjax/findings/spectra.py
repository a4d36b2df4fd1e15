"""The curvature in which every trained network ended."""

from typing import NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mlpjax.data import Dataset, Split
from mlpjax.findings.selection import converged, median_network, network, subset
from mlpjax.landscape.curvature import Eigenpairs, Spectrum, eigenpairs, hessian_product, spectral_density
from mlpjax.landscape.loss import make_objective
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import OnProgress, Trained, map_seeds
from mlpjax.typing import Params

TOP, BOTTOM = 10, 2
"""Eigenvalues of every network, the largest and the smallest."""
STEPS = 40
"""Of Lanczos' method."""
PROBES, DENSITY_STEPS = 5, 50
"""For the spectral density of one network."""
KEY = 0
"""Seed of the starts and the probes."""


class Spectra(NamedTuple):
    """Extreme eigenvalues of the training loss's Hessian for many networks, and the whole spectrum of one."""

    networks: Int[np.ndarray, " networks"]
    """Indices of the networks, those that did not diverge."""
    loss: Float[np.ndarray, " networks"]
    gradient_norm: Float[np.ndarray, " networks"]
    values: Float[np.ndarray, "networks k"]
    """The largest, then the smallest, descending."""
    residuals: Float[np.ndarray, "networks k"]
    """An eigenvalue lies within this distance of the value."""
    seed: int
    """Of the network whose density is here."""
    density: Spectrum


def find_spectra(model: MLP, recipe: Recipe, dataset: Dataset, trained: Trained, on_progress: OnProgress) -> Spectra:
    """The extreme eigenvalues of every network that did not diverge, and the spectral density of the median one.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        trained: many networks, at least one of which did not diverge.
        on_progress: told what is done and what there is to do, in networks.
    """
    objective = make_objective(model, recipe.loss)
    key = jax.random.key(KEY)
    split = subset(dataset.train)

    def curvature(params: Params, split: Split) -> tuple[Array, Array, Eigenpairs]:
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        top, bottom = min(TOP, size), min(BOTTOM, max(0, size - TOP))
        loss, gradient = jax.value_and_grad(objective)(params, split)
        product = hessian_product(objective, params, split)
        pairs = eigenpairs(product, params, key, top=top, bottom=bottom, steps=STEPS)
        return loss, optax.tree.norm(gradient), pairs._replace(vectors=None)

    kept = np.sort(converged(trained))
    loss, gradient_norm, pairs = map_seeds(
        curvature, trained.select(kept).params, split, chunk=1, on_progress=on_progress
    )
    index = median_network(trained)

    @jax.jit
    def whole(params: Params, split: Split) -> Spectrum:
        return spectral_density(hessian_product(objective, params, split), params, key, PROBES, DENSITY_STEPS)

    density = jax.tree.map(np.asarray, whole(network(trained, index), split))
    return Spectra(kept, loss, gradient_norm, pairs.values, pairs.residuals, int(trained.seeds[index]), density)
