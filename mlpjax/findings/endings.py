"""Where every seed ended: at a minimum, a saddle or nowhere yet, and how many different ends there are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlpjax.data import Split
from mlpjax.findings.curvature import find_extremes
from mlpjax.findings.finding import LANDSCAPE, Finding
from mlpjax.findings.subject import Subject
from mlpjax.landscape.catalogue import Entry, catalogue
from mlpjax.landscape.minima import Certificate, Kind, classify, count_kinds, in_float64, polish
from mlpjax.landscape.symmetries import canonical
from mlpjax.lift import OnProgress, silent
from mlpjax.losses import classes_of
from mlpjax.models import MLP
from mlpjax.report.page import Picture, Table, Tile
from mlpjax.report.tables import share_tile
from mlpjax.report.words import counted, number
from mlpjax.stats import wilson_ci
from mlpjax.task import mean_loss
from mlpjax.typing import Params, Variables

POLISHED = 300
"""Networks of up to so many parameters are polished to a stationary point and certified."""
TOLERANCE = 1e-4
"""Relative difference below which loss, spectrum and canonical weights count as the same."""
OUTPUT_TOLERANCE = 1e-3
"""Largest difference of the outputs of one function."""
ANSWERS = 200
"""Test examples whose outputs tell functions apart."""
ENTRIES = 10
"""Entries of the catalogue that are shown."""
KINDS = {
    Kind.MINIMUM: "certified minimum",
    Kind.DEGENERATE: "stationary, with flat directions",
    Kind.SADDLE: "saddle",
    Kind.KINK: "at a kink of the loss",
    Kind.RUNAWAY: "on its way to a minimum at infinity",
    Kind.NOT_STATIONARY: "not stationary",
}
"""In words."""


class Endings(NamedTuple):
    """The ends of the networks that did not diverge, and the catalogue of the different ones."""

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
    disagreement: float | None
    """Mean over pairs of networks of the share of examples that they put into different classes; None in regression."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Endings:
    """Where the networks that did not diverge ended, and which of them ended at the same place up to symmetry.

    Small networks are polished in float64 and certified by their whole spectrum. Large ones are taken as they are: with
    the norm of their gradient and the ends of their spectrum, which say whether a minimum can be near.
    """
    task = subject.task
    networks = subject.random.select(subject.finite).variables
    size = sum(leaf[0].size for leaf in jax.tree.leaves(networks.params))
    if polished := isinstance(subject.model, MLP) and size <= POLISHED:
        params, certificate = _polish(subject.model, subject, networks.params, on_progress)
        networks = Variables(params)
        kind, loss, gradient_norm = map(np.asarray, (certificate.kind, certificate.loss, certificate.gradient_norm))
        eigenvalues, uncertainty = np.asarray(certificate.eigenvalues)[:, ::-1], np.asarray(certificate.uncertainty)
    else:
        extremes = find_extremes(subject, on_progress)
        loss, gradient_norm, eigenvalues = extremes.loss, extremes.gradient_norm, extremes.values
        kind, uncertainty = np.full(len(loss), Kind.NOT_STATIONARY), extremes.residuals[:, -1]

    def answer(network: Variables, x: Array) -> Array:
        return task.predict(network, task.prepare(x))

    answers = subject.look("endings-answers", answer, networks, subject.test.x[:ANSWERS], chunk=8)
    features = {"loss": loss, "eigenvalues": eigenvalues}
    return Endings(
        polished=polished,
        kind=kind,
        loss=loss,
        gradient_norm=gradient_norm,
        smallest=eigenvalues[:, -1],
        uncertainty=uncertainty,
        largest=eigenvalues[:, 0],
        entries=catalogue(features, dict.fromkeys(features, TOLERANCE), answers, OUTPUT_TOLERANCE),
        disagreement=None if subject.dataset.classes is None else _disagreement(answers, subject.recipe.loss),
    )


def _polish(model: MLP, subject: Subject, params: Params, on_progress: OnProgress) -> tuple[Params, Certificate]:
    """Every network at its stationary point, in canonical form; and, found in float64, what that point is."""
    task = subject.task

    def certify(params: Params, split: Split) -> tuple[Params, Certificate]:
        loss = mean_loss(task)
        end = canonical(model, polish(loss, params, split).params)
        return end, classify(loss, end, split)

    with jax.enable_x64(True):
        ends, certificate = subject.look(
            "endings", certify, in_float64(params), subject.train, chunk=8, on_progress=on_progress
        )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), ends), certificate


def _disagreement(answers: Float[np.ndarray, "networks examples outputs"], loss: Any) -> float:
    """Mean over pairs of networks of the share of examples that they put into different classes."""
    networks, examples, outputs = answers.shape
    classes = np.asarray(classes_of(jnp.asarray(answers.reshape(-1, outputs)), loss)).reshape(networks, examples)
    pairs = np.triu_indices(networks, 1)
    return float((classes[pairs[0]] != classes[pairs[1]]).mean()) if networks > 1 else 0.0


def summarise(found: Endings) -> dict[str, Any]:
    """How many different ends there are, and of which kinds."""
    return {
        "different": len(found.entries),
        "kinds": {name.lower(): count for name, count in count_kinds(found.kind).items()},
        "disagreement": found.disagreement,
    }


def tiles(found: Endings) -> list[Tile]:
    """The share of certified minima, where networks were polished."""
    if not found.polished:
        return []
    return [share_tile("Certified minima", int(np.sum(found.kind == Kind.MINIMUM)), len(found.kind), "seeds")]


def show(found: Endings) -> list[Table | Picture]:
    """The kinds of ends, and the catalogue of the different ones."""
    count = len(found.kind)
    kinds = []
    for kind, label in KINDS.items():
        if members := int(np.sum(found.kind == kind)):
            low, high = wilson_ci(members, count)
            kinds.append(
                (label, f"{members:,}", f"{100 * members / count:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %")
            )
    notes = [
        "Newton's method in float64 first took every network to its stationary point, as far as there is one."
        if found.polished
        else "Networks of this size are taken as training left them: a minimum cannot be certified where the gradient "
        "is not zero."
    ]
    if 1 < len(found.entries) == count:
        notes.append(f"All {count:,} ends differ up to symmetry, by loss and spectrum.")
    if found.disagreement is not None and count > 1:
        notes.append(
            f"As functions, two of the networks put {100 * found.disagreement:.1f} % of the test examples into "
            "different classes."
        )
    items: list[Table | Picture] = [
        Table(
            "Stationary points: where the seeds ended", ("", "seeds", "share", "95 % interval"), kinds, " ".join(notes)
        )
    ]
    if len(found.entries) < count:
        items.append(_catalogue(found))
    return items


def _catalogue(found: Endings) -> Table:
    rows = []
    for entry in found.entries[:ENTRIES]:
        first = entry.members[0]
        rows.append(
            (
                f"{100 * entry.share:.1f} %",
                "{:.1f} to {:.1f} %".format(*(100 * end for end in entry.ci95)),
                number(float(found.loss[first])),
                number(float(found.gradient_norm[first])),
                f"{found.smallest[first]:.4g} ± {found.uncertainty[first]:.1g}",
                number(float(found.largest[first])),
            )
        )
    more = f"; the {ENTRIES} most frequent are shown" if len(found.entries) > ENTRIES else ""
    return Table(
        "Catalogue of ends",
        ("share of seeds", "95 % interval", "train loss", "gradient norm", "smallest eigenvalue", "largest"),
        rows,
        f"{counted(len(found.entries), 'different end')} among {counted(len(found.kind), 'seed')} up to symmetry, "
        f"by loss and spectrum{more}.",
    )


FINDING = Finding(
    name="endings",
    title="Stationary points",
    unit="networks",
    section=LANDSCAPE,
    order=50,
    find=find,
    summarise=summarise,
    show=show,
    tiles=tiles,
)
