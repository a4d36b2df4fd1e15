"""The Hessian's spectrum where every trained network ended."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Real
from matplotlib.figure import Figure

from mlpjax import stats
from mlpjax.data import Split
from mlpjax.findings.finding import LANDSCAPE, Finding
from mlpjax.findings.subject import Subject
from mlpjax.landscape.curvature import Eigenpairs, Spectrum, eigenpairs, hessian_product, spectral_density
from mlpjax.landscape.loss import whole_loss
from mlpjax.lift import OnProgress, silent
from mlpjax.report.explore import Drawing, Panel, Series
from mlpjax.report.figures import BLUE, STYLE, VERMILLION
from mlpjax.report.page import Picture, Table
from mlpjax.report.tables import SUMMARY_HEADER, summary_row
from mlpjax.task import mean_loss
from mlpjax.typing import Variables

TOP, BOTTOM = 10, 2
"""Eigenvalues of every network, the largest and the smallest."""
STEPS = 40
"""Of Lanczos' method."""
PROBES, DENSITY_STEPS = 5, 50
"""For the spectral density of one network."""
DENSITY_POINTS = 400
"""Eigenvalues at which the spectral density is drawn."""
KEY = 0
"""Seed of the starts and the probes."""


class Extremes(NamedTuple):
    """Extreme eigenvalues of the training loss's Hessian for the networks that did not diverge."""

    seeds: Int[np.ndarray, " networks"]
    loss: Float[np.ndarray, " networks"]
    gradient_norm: Float[np.ndarray, " networks"]
    values: Float[np.ndarray, "networks k"]
    """The largest, then the smallest, descending."""
    residuals: Float[np.ndarray, "networks k"]
    """An eigenvalue lies within this distance of the value."""


class Curvature(NamedTuple):
    """Extreme eigenvalues of many networks, and the whole spectrum of one."""

    extremes: Extremes
    seed: int
    """Of the network whose density is here, the median one (by final test loss)."""
    density: Spectrum


def find_extremes(subject: Subject, on_progress: OnProgress) -> Extremes:
    """The extreme eigenvalues of every network that did not diverge."""
    task, batch = subject.task, subject.batch(len(subject.train.y))

    def look(network: Variables, split: Split) -> tuple[Array, Array, Eigenpairs]:
        params, loss = network.params, mean_loss(task, network.stats)
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        top, bottom = min(TOP, size), min(BOTTOM, max(0, size - TOP))
        value, gradient = jax.value_and_grad(whole_loss, argnums=1)(loss, params, split, batch)
        product = hessian_product(loss, params, split, batch)
        pairs = eigenpairs(product, params, jax.random.key(KEY), top=top, bottom=bottom, steps=STEPS)
        return value, optax.tree.norm(gradient), pairs._replace(vectors=None)

    own = subject.random.select(subject.finite).variables
    loss, gradient_norm, pairs = subject.look("curvature", look, own, subject.train, chunk=1, on_progress=on_progress)
    seeds = subject.random.seeds[subject.finite]
    return Extremes(seeds, loss, gradient_norm, pairs.values, pairs.residuals)


def find(subject: Subject, on_progress: OnProgress = silent) -> Curvature:
    """The extreme eigenvalues of every network that did not diverge, and the spectral density of the median one."""
    task, batch = subject.task, subject.batch(len(subject.train.y))

    def look(network: Variables, split: Split) -> Spectrum:
        product = hessian_product(mean_loss(task, network.stats), network.params, split, batch)
        return spectral_density(product, network.params, jax.random.key(KEY), PROBES, DENSITY_STEPS)

    extremes = find_extremes(subject, on_progress)
    density = subject.look_at_one("curvature-density", look, subject.network(subject.median), subject.train)
    return Curvature(extremes, int(subject.random.seeds[subject.median]), density)


def summarise(found: Curvature) -> dict[str, Any]:
    """The ends of the spectra over networks."""
    values, residuals = found.extremes.values, found.extremes.residuals
    return {
        "largest_eigenvalue": stats.summarise(values[:, 0]),
        "smallest_eigenvalue": stats.summarise(values[:, -1]),
        "residual": stats.summarise(residuals.max(axis=1)),
        "gradient_norm": stats.summarise(found.extremes.gradient_norm),
    }


def show(found: Curvature) -> list[Table | Picture]:
    """The largest eigenvalues of all, the spectrum of one, and the ends in numbers."""
    seeds, _, gradient_norm, values, residuals = found.extremes
    top = values.shape[1] - BOTTOM if values.shape[1] > BOTTOM else values.shape[1]
    density = found.density
    low, high = float(density.nodes.min()), float(density.nodes.max())
    width = (high - low) / 100
    width = width if width > np.finfo(np.float32).tiny else 1.0  # of a dead network all eigenvalues are 0
    at = np.linspace(low - 5 * width, high + 5 * width, DENSITY_POINTS)
    densities = np.stack(
        [
            Spectrum(nodes[None], weights[None]).density(jnp.asarray(at), width)
            for nodes, weights in zip(density.nodes, density.weights, strict=True)
        ]
    )
    relative = residuals / np.maximum(np.abs(values[:, :1]), np.finfo(np.float32).tiny)
    rank = np.arange(1, top + 1)
    lines = Series("eigenvalue", BLUE, rank, values[:, :top], [(int(seed),) for seed in seeds])
    figure = draw_spectra(values[:, :top], residuals[:, :top], at, densities, f"seed {found.seed}, all eigenvalues")
    return [
        Picture(
            "spectra",
            "Hessian spectrum at the end of training",
            figure,
            f"Left: the largest eigenvalues of the training loss's Hessian for {len(values):,} networks, each with its "
            "residual ||Hv - lambda v|| as a bar, where that can be seen. Right: all eigenvalues of one network, by "
            "stochastic Lanczos quadrature.",
            "Largest Hessian eigenvalues over seeds, and a spectral density",
            Drawing([Panel("rank", "eigenvalue of the Hessian", [lines])]),
        ),
        Table(
            "Ends of the Hessian spectrum",
            SUMMARY_HEADER,
            [
                summary_row("largest eigenvalue", stats.summarise(values[:, 0])),
                summary_row("smallest eigenvalue found", stats.summarise(values[:, -1])),
                summary_row("norm of the gradient", stats.summarise(gradient_norm)),
                summary_row(
                    "largest residual, as a share of the largest eigenvalue", stats.summarise(relative.max(axis=1))
                ),
            ],
            "An eigenvalue of the Hessian lies within its residual of each value. Where the smallest is surely below "
            "0, the network did not end at a minimum.",
        ),
    ]


@mpl.rc_context(STYLE)
def draw_spectra(
    values: Real[np.ndarray, "networks k"],
    residuals: Real[np.ndarray, "networks k"],
    at: Real[np.ndarray, " points"],
    densities: Real[np.ndarray, "probes points"],
    title: str = "",
) -> Figure:
    """The largest eigenvalues of many networks' Hessians, and the spectral density of one of them.

    Args:
        values: eigenvalues of every network, descending.
        residuals: how far each may be off.
        at: eigenvalues at which the density is drawn.
        densities: share of the eigenvalues per unit there, one estimate for each probe.
        title: of the density, such as the network's seed.

    Returns:
        Two panels; a bar is the residual where it can be seen.
    """
    figure = Figure(figsize=(12, 4.8))
    ranks, spread = figure.subplots(1, 2)
    rank = np.arange(1, values.shape[1] + 1)
    shift = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
    for network, error, move in zip(values, residuals, shift, strict=True):
        ranks.errorbar(rank + move, network, yerr=error, fmt=".", ms=4, color=BLUE, alpha=0.35, lw=0.8)
    ranks.plot(rank, np.median(values, axis=0), "_", ms=22, mew=2.4, color=VERMILLION, label="median over seeds")
    ranks.plot([], [], ".", color=BLUE, label="a seed")
    ranks.set(xlabel="rank", ylabel="eigenvalue of the Hessian", xticks=rank)
    ranks.legend()
    lower, median, upper = stats.quantile_band(densities)
    spread.semilogy(at, median, color=BLUE, label="median over probes")
    spread.fill_between(at, lower, upper, color=BLUE, alpha=0.25, lw=0, label="central 95 % of the probes")
    floor = 1e-7 * float(upper.max())  # an outlier is one of many thousand eigenvalues
    spread.set(
        xlabel="eigenvalue of the Hessian",
        ylabel="share of eigenvalues per unit",
        ylim=(floor, 3 * float(upper.max())),
        title=title,
    )
    spread.legend()
    return figure


FINDING = Finding(
    name="curvature",
    title="Hessian spectrum",
    unit="networks",
    section=LANDSCAPE,
    order=30,
    find=find,
    summarise=summarise,
    show=show,
)
