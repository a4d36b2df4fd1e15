"""The Hessian's spectrum: the extremes are those of the dense matrix, and the figures show what they were given."""

import jax
import numpy as np
from conftest import labels
from jax.flatten_util import ravel_pytree

from mlpjax.findings.curvature import BOTTOM, FINDING, TOP, draw_spectra
from mlpjax.landscape.curvature import Spectrum
from mlpjax.task import mean_loss

RNG = np.random.default_rng(0)
STEPS = np.linspace(-1, 1, 11)


def test_the_extremes_are_those_of_the_dense_hessian(subject, silent):
    found = FINDING.find(subject, silent)
    flat, unravel = ravel_pytree(subject.network(1).params)
    loss = mean_loss(subject.task)
    values = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda v: loss(unravel(v), subject.train)))(flat))[::-1]
    np.testing.assert_allclose(found.extremes.values[1, :TOP], values[:TOP], atol=1e-4)
    np.testing.assert_allclose(found.extremes.values[1, -BOTTOM:], values[-BOTTOM:], atol=1e-4)
    assert found.seed == subject.random.seeds[subject.median]
    summary = FINDING.summarise(found)
    assert summary["largest_eigenvalue"]["max"] == found.extremes.values[:, 0].max()
    (panel,) = FINDING.show(found)[0].drawing.parts
    assert panel.series[0].seeds == [(seed,) for seed in subject.random.seeds]
    np.testing.assert_array_equal(panel.series[0].y, found.extremes.values[:, :TOP])
    assert [item.title for item in FINDING.show(found)] == [
        "Hessian spectrum at the end of training",
        "Ends of the Hessian spectrum",
    ]


def test_spectra_show_every_seed_its_residual_and_the_median():
    values = np.sort(RNG.uniform(1, 9, (5, 4)))[:, ::-1]
    at = np.linspace(-1, 9, 50)
    figure = draw_spectra(values, 0.1 * values, at, np.exp(-(at**2))[None].repeat(3, axis=0))
    ranks, spread = figure.axes
    assert len(ranks.containers) == 5
    medians = next(line for line in ranks.lines if line.get_label() == "median over seeds")
    np.testing.assert_allclose(medians.get_ydata(), np.median(values, axis=0))
    assert spread.get_yscale() == "log"
    assert ranks.get_xlabel() == "rank"


def test_the_spectrum_of_one_network_is_drawn_too():
    figure = draw_spectra(np.ones((1, 2)), np.zeros((1, 2)), STEPS, np.ones((1, 11)))
    assert "a seed" in labels(figure)


def test_the_spectrum_of_a_dead_network_is_drawn_at_zero(subject, silent):
    """Its eigenvalues are rounding, so small that the density over their range would overflow."""
    found = FINDING.find(subject, silent)
    nodes = 1e-42 * np.arange(found.density.nodes.size, dtype=np.float32).reshape(found.density.nodes.shape)
    dead = found._replace(density=Spectrum(nodes, np.full_like(nodes, 1 / nodes.shape[1])))
    assert FINDING.show(dead)
