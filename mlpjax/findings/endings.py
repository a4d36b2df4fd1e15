"""Where every seed ended: at a minimum, a saddle or nowhere yet, and how many different ends there are."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from mlpjax.data import Dataset, Split, scale
from mlpjax.findings.selection import subset
from mlpjax.findings.spectra import Spectra
from mlpjax.landscape.catalogue import Entry, catalogue
from mlpjax.landscape.loss import make_objective
from mlpjax.landscape.minima import Certificate, Kind, classify, polish
from mlpjax.landscape.symmetries import canonical
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import OnProgress, Trained, map_seeds
from mlpjax.typing import Params

POLISHED = 300
"""Networks of up to so many parameters are polished to a stationary point and certified."""
TOLERANCE = 1e-4
"""Relative difference below which loss, spectrum and canonical weights count as the same."""
OUTPUT_TOLERANCE = 1e-3
"""Largest difference of the outputs of one function."""
ANSWERS = 200
"""Test examples whose outputs tell functions apart."""


class Endings(NamedTuple):
    """The ends of many networks, and the catalogue of the different ones."""

    networks: Int[np.ndarray, " networks"]
    """Indices of the networks, those that did not diverge."""
    polished: bool
    """Whether they were taken to a stationary point in float64 first."""
    kind: Int[np.ndarray, " networks"]
    """A `Kind`."""
    loss: Float[np.ndarray, " networks"]
    gradient_norm: Float[np.ndarray, " networks"]
    smallest: Float[np.ndarray, " networks"]
    """Smallest eigenvalue of the Hessian that was found."""
    uncertainty: Float[np.ndarray, " networks"]
    """It is off by at most so much."""
    largest: Float[np.ndarray, " networks"]
    entries: list[Entry]
    """The different ends, the most frequent first."""
    disagreement: float
    """Mean over pairs of networks of the share of examples that they put into different classes."""


def find_endings(
    model: MLP,
    recipe: Recipe,
    dataset: Dataset,
    trained: Trained,
    spectra: Spectra,
    on_progress: OnProgress,
) -> Endings:
    """Where the networks that did not diverge ended, and which of them ended at the same place up to symmetry.

    Small networks are polished in float64 and certified by their whole spectrum. Large ones are taken as they are: with
    the norm of their gradient and the ends of their spectrum, which say whether a minimum can be near.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        trained: many networks, at least one of which did not diverge.
        spectra: theirs.
        on_progress: told what is done and what there is to do, in networks.
    """
    kept = spectra.networks
    params = trained.select(kept).params
    size = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    split = subset(dataset.train)
    x = scale(subset(dataset.test).x[:ANSWERS])
    if size <= POLISHED:
        params, certificate = _polish(model, recipe, params, split, on_progress)
        kind, loss, gradient_norm = map(np.asarray, (certificate.kind, certificate.loss, certificate.gradient_norm))
        eigenvalues = np.asarray(certificate.eigenvalues)[:, ::-1]
        uncertainty = np.asarray(certificate.uncertainty)
    else:
        kind = np.full(len(kept), Kind.NOT_STATIONARY)
        loss, gradient_norm, eigenvalues = spectra.loss, spectra.gradient_norm, spectra.values
        uncertainty = spectra.residuals[:, -1]

    def answer(params: Params, x: Array) -> Array:
        return model.apply(params, x)

    answers = map_seeds(answer, params, x, chunk=8, on_progress=on_progress)
    features = {"loss": loss, "eigenvalues": eigenvalues}
    return Endings(
        networks=kept,
        polished=size <= POLISHED,
        kind=kind,
        loss=loss,
        gradient_norm=gradient_norm,
        smallest=eigenvalues[:, -1],
        uncertainty=uncertainty,
        largest=eigenvalues[:, 0],
        entries=catalogue(features, dict.fromkeys(features, TOLERANCE), answers, OUTPUT_TOLERANCE),
        disagreement=_disagreement(answers),
    )


def _polish(
    model: MLP, recipe: Recipe, params: Params, split: Split, on_progress: OnProgress
) -> tuple[Params, Certificate]:
    """Every network at its stationary point, in canonical form, in float64; and what that point is."""
    objective = make_objective(model, recipe.loss)

    def certify(params: Params, split: Split) -> tuple[Params, Certificate]:
        end = canonical(model, polish(objective, params, split).params)
        return end, classify(objective, end, split)

    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        return map_seeds(certify, double, split, chunk=8, on_progress=on_progress)


def _disagreement(answers: Float[np.ndarray, "networks examples outputs"]) -> float:
    """Mean over pairs of networks of the share of examples that they put into different classes."""
    classes = answers.argmax(axis=2) if answers.shape[2] > 1 else answers[:, :, 0] > 0
    pairs = np.triu_indices(len(classes), 1)
    return float((classes[pairs[0]] != classes[pairs[1]]).mean()) if len(pairs[0]) else 0.0
