"""The loss surface: the plane holds the network's own loss, and the figures show what they were given."""

import jax
import numpy as np
import pytest
from conftest import labelled, labels, texts

from mlpjax.findings.surface import FINDING, Surface, draw_profiles, draw_surface, draw_surface_3d, verdict
from mlpjax.landscape.loss_surface import Health
from mlpjax.task import mean_loss

RNG = np.random.default_rng(0)
STEPS = np.linspace(-1, 1, 21)
BOWL = 0.1 + STEPS[None, :] ** 2 + 2 * STEPS[:15, None] ** 2


def test_the_middle_of_the_plane_is_the_median_network(subject, silent):
    found = FINDING.find(subject, silent)
    losses = subject.random.history["test_loss"][:, -1]
    assert found.seed == subject.random.seeds[np.argsort(losses)[1]]
    own = jax.jit(mean_loss(subject.task))(subject.network(subject.median).params, subject.train)
    np.testing.assert_allclose(found.loss[4, 4], own, rtol=1e-5)
    assert found.loss.shape == (9, 9)
    np.testing.assert_allclose(FINDING.summarise(found)["curvature"], found.health.curvature)
    (surface,) = FINDING.show(found)[0].drawing.parts
    np.testing.assert_array_equal(surface.loss, found.loss)
    np.testing.assert_allclose(surface.path, [[0, 0, own]], rtol=1e-5)
    assert FINDING.show(found)[0].title == f"Loss surface around seed {found.seed}, the median seed"


GRID = np.linspace(-1, 1, 9)
FAIR = Surface(
    0,
    GRID,
    0.1 + GRID[:, None] ** 2 + GRID**2,
    Health(
        curvature=np.array([2.0, 2.0]),
        read_off=np.array([2.1, 2.0]),
        error=np.array([0.05, 0.0]),
        cosines=np.array([[1.0, 0.01], [0.01, 1.0]]),
        profiles=0.1 + np.linspace(0.5, 2, 16)[:, None] * GRID**2,
    ),
    False,
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Yes: it bends as the loss does in its middle, and rises as along 16 other directions."),
        # 9 points show twice the curvature: half the error takes steps 1 / 1.42 as long.
        (
            {"read_off": np.array([2.0, 4.0]), "error": np.array([0.0, 1.0])},
            "No: in its middle it shows a curvature that is 100 % off: read the exact one in the table below, or give "
            "a finer --grid, such as 13.",
        ),
        ({"curvature": np.array([1e-3, 2.0]), "read_off": np.array([5e-3, 2.0]), "error": np.array([4.0, 0])}, "Yes: "),
        (
            {"cosines": np.array([[1.0, -0.5], [-0.5, 1.0]])},
            "No: its directions stand at 120 degrees, not at 90: trust its cuts, not its shape.",
        ),
        (
            {"profiles": 0.1 + np.linspace(1.1, 2, 16)[:, None] * GRID**2},
            "No: the loss rises less along both of its directions than along 16 others: trust the band below.",
        ),
        ({"profiles": 0.1 + np.linspace(0.1, 0.9, 16)[:, None] * GRID**2}, "No: the loss rises more along both"),
    ],
)
def test_the_verdict_says_what_is_wrong_and_what_to_do(changes, said):
    found = FAIR._replace(health=FAIR.health._replace(**changes))
    assert verdict(found).startswith(said)
    assert FINDING.show(found)[2].title == f"Is that plane a fair picture? {verdict(found)}"


@pytest.mark.parametrize("loss", [BOWL, BOWL - 1, 0 * BOWL, 0 * BOWL + 2.3, np.where(BOWL > 2, np.inf, BOWL)])
def test_the_surface_spans_the_loss_and_marks_the_centre(loss):
    figure = draw_surface(STEPS, STEPS[:15], loss)
    labelled(figure)
    axes, bar = figure.axes
    texts(figure)
    assert bar.get_ylabel() == "loss"
    assert axes.lines[0].get_xydata().tolist() == [[0, 0]]
    finite = loss[np.isfinite(loss)]
    low, high = axes.collections[0].get_clim()
    assert low <= finite.min()
    assert finite.max() <= high


@pytest.mark.parametrize("loss", [BOWL, BOWL - 1, 0 * BOWL, 0 * BOWL + 2.3, np.where(BOWL > 2, np.inf, BOWL)])
def test_the_surface_in_three_dimensions_is_as_high_as_the_loss(loss):
    figure = draw_surface_3d(STEPS, STEPS[:15], loss)
    labelled(figure)
    texts(figure)
    (axes,) = figure.axes
    finite = loss[np.isfinite(loss)]
    heights = np.log10(finite) if finite.min() > 0 else finite
    low, high = axes.get_zlim()
    assert low <= heights.min()
    assert heights.max() <= high
    corners = np.isfinite(loss)
    whole = corners[1:, 1:] & corners[:-1, 1:] & corners[1:, :-1] & corners[:-1, :-1]
    drawn = (axes.collections[0].get_facecolor()[:, 3] > 0).sum()
    assert whole.sum() <= drawn <= corners[:-1, :-1].sum()
    wanted = "0.01" if finite.min() > 0 else None
    assert wanted is None or axes.zaxis.get_major_formatter()(-2, 0) == wanted


def test_levels_are_even_in_log_loss():
    levels = draw_surface(STEPS, STEPS[:15], BOWL).axes[0].collections[0].levels
    assert np.allclose(np.diff(np.log(levels)), np.log(BOWL.max() / BOWL.min()) / 24)


def test_profiles_draw_the_parabola_of_the_curvature():
    own = 0.5 + np.stack([STEPS**2, 2 * STEPS**2])
    figure = draw_profiles(STEPS, own, RNG.uniform(0.5, 2, (16, 21)), np.array([2.0, 4.0]))
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["curvature 2"], own[0])
    np.testing.assert_allclose(lines["curvature 4"], lines["direction 2"])
    assert "other directions, central 95 %" in labels(figure)
