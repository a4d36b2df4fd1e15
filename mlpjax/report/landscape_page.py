"""The part of a study's page that shows the landscape the networks ended in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from mlpjax.findings import Barriers, Endings, Findings, Spectra, Surface, Trajectory, Units
from mlpjax.findings.spectra import BOTTOM
from mlpjax.landscape.minima import Kind
from mlpjax.report import figures, landscape_figures
from mlpjax.report.page import Picture, Table
from mlpjax.stats import summarise, wilson_ci

Draw: TypeAlias = Callable[[str, str, figures.Figure, str, str], Picture]
"""(name, title, figure, caption, alternative text) -> the picture, which is kept under its name."""
ENTRIES = 10
"""Entries of the catalogue that are shown."""
DENSITY_POINTS = 400
"""Eigenvalues at which the spectral density is drawn."""
SUMMARY_HEADER = ("", "mean", "95 % interval", "sd", "min", "median", "max")

_KINDS = {
    Kind.MINIMUM: "certified minimum",
    Kind.DEGENERATE: "stationary, with flat directions",
    Kind.SADDLE: "saddle",
    Kind.RUNAWAY: "on its way to a minimum at infinity",
    Kind.NOT_STATIONARY: "not stationary",
    Kind.KINK: "at a kink of the loss",
}


def number(value: float | None) -> str:
    """A number as text, to four digits; nothing for None."""
    return "" if value is None else f"{value:.4g}"


def interval(ends: Sequence[float] | None) -> str:
    """An interval as text; nothing for None."""
    return "" if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}"


def summary_row(label: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of text for what a figure was over seeds (`stats.summarise`), under `SUMMARY_HEADER`."""
    cells = [number(figure[key]) for key in ("mean", "sd", "min", "median", "max")]
    return label, cells[0], interval(figure["ci95"]), *cells[1:]


def landscape_items(draw: Draw, findings: Findings) -> list[Table | Picture]:
    """What the landscape around the trained networks looks like.

    Args:
        draw: keeps a picture.
        findings: what was found.
    """
    items: list[Table | Picture] = []
    if findings.surface:
        items += _surface(draw, findings.surface)
    if findings.trajectory:
        items += _trajectory(draw, findings.trajectory)
    if findings.spectra:
        items += _spectra(draw, findings.spectra)
    if findings.barriers:
        items += _barriers(draw, findings.barriers)
    if findings.endings:
        items += _endings(findings.endings)
    return items


def _surface(draw: Draw, found: Surface) -> list[Table | Picture]:
    middle = len(found.steps) // 2
    health = found.health
    rows = [
        (
            f"direction {place + 1}",
            number(float(health.curvature[place])),
            number(float(health.read_off[place])),
            f"{100 * health.error[place]:.1f} %",
        )
        for place in range(2)
    ]
    return [
        draw(
            "surface",
            f"The loss around seed {found.seed}, the median seed",
            figures.surface(found.steps, found.steps, found.loss.T),
            "Training loss on a plane through the network, along two random directions in which every neuron's "
            "weights are scaled to the length they have in the network (Li et al. 2018); biases stay. "
            f"The cosine between the two directions is {health.cosines[0, 1]:.3f}.",
            "Contours of the training loss around a trained network",
        ),
        draw(
            "profiles",
            "Is that plane a fair picture?",
            landscape_figures.profiles(
                found.steps,
                np.stack([found.loss[:, middle], found.loss[middle, :]]),
                np.asarray(health.profiles),
                np.asarray(health.curvature),
            ),
            f"Cuts through the middle of the plane, beside those along {len(health.profiles)} other random directions. "
            "Dotted: what the curvature in the middle foretells.",
            "Loss along random directions with a band",
        ),
        Table(
            "The plane's health check",
            ("", "curvature d'Hd", "read off the plane", "difference"),
            rows,
            "The exact second derivative of the loss along each direction, and what the three points in the middle of "
            "the plane show. A large difference means that the grid is too coarse to see how sharp the minimum is.",
        ),
    ]


def _trajectory(draw: Draw, found: Trajectory) -> list[Table | Picture]:
    coordinates, distances, own, drawn = map(np.asarray, found.track)
    rows = [
        (f"component {place + 1}", f"{100 * found.explained[place]:.1f} %", f"{100 * found.random_walk[place]:.1f} %")
        for place in range(2)
    ]
    worst = int(np.argmax(np.abs(drawn - own)))
    return [
        draw(
            "trajectory",
            f"The way of seed {found.seed} through its training",
            landscape_figures.trajectory(found.epochs, coordinates, found.steps, found.loss, own, drawn),
            "The network trained once more from the same seed, on the plane of the two largest principal components of "
            "its way, through its end. Right: the loss of the network itself, and that of the point of the plane where "
            "it is drawn. Where the two differ, the plane misleads: most at epoch "
            f"{found.epochs[worst]}, {number(float(drawn[worst]))} in place of {number(float(own[worst]))}, "
            f"{number(float(distances[worst]))} away from the plane.",
            "Contours of the training loss with the way of a training",
        ),
        Table(
            "What the plane shows of the way",
            ("", "variance explained", "of a random walk"),
            rows,
            "The shares of the way's variance, beside those of a random walk of as many points, which a plane shows as "
            "well without any learning (Antognini and Sohl-Dickstein 2018).",
        ),
    ]


def _spectra(draw: Draw, found: Spectra) -> list[Table | Picture]:
    top = found.values.shape[1] - BOTTOM if found.values.shape[1] > BOTTOM else found.values.shape[1]
    density = found.density
    low, high = float(density.nodes.min()), float(density.nodes.max())
    width = (high - low) / 100 or 1.0
    at = np.linspace(low - 5 * width, high + 5 * width, DENSITY_POINTS)
    densities = np.stack(
        [
            type(density)(nodes[None], weights[None]).density(jnp.asarray(at), width)
            for nodes, weights in zip(density.nodes, density.weights, strict=True)
        ]
    )
    networks = f"{len(found.networks):,} networks"
    relative = found.residuals / np.maximum(np.abs(found.values[:, :1]), np.finfo(np.float32).tiny)
    return [
        draw(
            "spectra",
            "How the loss bends at the end",
            landscape_figures.spectra(
                found.values[:, :top], found.residuals[:, :top], at, densities, f"seed {found.seed}, all eigenvalues"
            ),
            f"Left: the largest eigenvalues of the training loss's Hessian for {networks}, each with its residual "
            "||Hv - lambda v|| as a bar, where that can be seen. Right: all eigenvalues of one network, by stochastic "
            "Lanczos quadrature.",
            "Largest Hessian eigenvalues over seeds, and a spectral density",
        ),
        Table(
            "Curvature at the end",
            SUMMARY_HEADER,
            [
                summary_row("largest eigenvalue", summarise(found.values[:, 0])),
                summary_row("smallest eigenvalue found", summarise(found.values[:, -1])),
                summary_row("length of the gradient", summarise(found.gradient_norm)),
                summary_row("largest residual, as a share of the largest eigenvalue", summarise(relative.max(axis=1))),
            ],
            "An eigenvalue of the Hessian lies within its residual of each value. Where the smallest is surely below "
            "0, the network did not end at a minimum.",
        ),
    ]


def _barriers(draw: Draw, found: Barriers) -> list[Table | Picture]:
    pairs = f"{len(found.seeds):,} pair{'s' * (len(found.seeds) > 1)} of seeds"
    return [
        draw(
            "barriers",
            "From one seed to another, straight through parameter space",
            landscape_figures.barriers(found.t, found.before, found.after),
            f"Median and central 95 % of {pairs}, no seed in two of them: as trained, and with the second network's "
            "hidden units in the order that suits the first (weight matching, Ainsworth et al. 2023).",
            "Loss on the line between two networks, before and after matching",
        ),
        Table(
            "Barriers",
            SUMMARY_HEADER,
            [
                summary_row("as trained", summarise(found.barrier_before)),
                summary_row("units matched", summarise(found.barrier_after)),
            ],
            "The most by which the training loss rises above the chord between the two ends (Entezari et al. 2022); "
            f"the interval is over {pairs}.",
        ),
    ]


def _endings(found: Endings) -> list[Table | Picture]:
    count = len(found.networks)
    kinds = []
    for kind, label in _KINDS.items():
        share = int(np.sum(found.kind == kind))
        if share:
            low, high = wilson_ci(share, count)
            kinds.append(
                (label, f"{share:,}", f"{100 * share / count:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %")
            )
    how = (
        "Every network was taken to its stationary point by Newton's method in float64 first."
        if found.polished
        else "Networks of this size are taken as training left them: a minimum cannot be certified where the gradient "
        "is not zero."
    )
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
    return [
        Table("Where the seeds ended", ("", "seeds", "share", "95 % interval"), kinds, how),
        Table(
            "Catalogue of ends",
            ("share of seeds", "95 % interval", "train loss", "gradient", "smallest eigenvalue", "largest"),
            rows,
            f"{len(found.entries):,} different ends among {count:,} seeds up to symmetry, by loss and spectrum{more}. "
            f"As functions, two of the networks put {100 * found.disagreement:.1f} % of the test examples into "
            "different classes.",
        ),
    ]


def unit_tables(units: Mapping[str, Units], zero_gradients: Mapping[str, float]) -> list[Table]:
    """What became of the hidden units, and which gradients an all-zero start has.

    Args:
        units: of the groups random and zero.
        zero_gradients: share of every leaf's gradient that is exactly zero there.
    """
    names = {"random": "random start", "zero": "all-zero start"}
    rows = []
    for group, found in units.items():
        for layer in range(found.distinct.shape[1]):
            columns = (found.distinct, found.kernel_rank, found.activation_rank)
            rows.append((names[group], f"{layer + 1}", *(_span(column[:, layer]) for column in columns)))
    return [
        Table(
            "Hidden units",
            ("", "hidden layer", "different units", "rank of the weights", "rank of the activations"),
            rows,
            "From the lowest to the highest of all seeds. Rank: singular values above a thousandth of the largest.",
        ),
        Table(
            "Gradients at an all-zero start",
            ("parameters", "exactly zero"),
            [(name, f"{100 * share:.0f} %") for name, share in zero_gradients.items()],
            "What has no gradient cannot move at the first step.",
        ),
    ]


def _span(values: np.ndarray) -> str:
    return f"{values.min()}" if values.min() == values.max() else f"{values.min()} to {values.max()}"
