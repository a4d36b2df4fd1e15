"""The figures of the landscape, by what they draw."""

import numpy as np
from matplotlib.figure import Figure

from mlpjax.report import landscape_figures

RNG = np.random.default_rng(0)
STEPS = np.linspace(-1, 1, 11)


def labels(figure: Figure) -> set[str]:
    legends = [legend for part in (figure, *figure.axes) for legend in getattr(part, "legends", [])]
    legends += [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


def test_profiles_draw_the_parabola_of_the_curvature() -> None:
    own = 0.5 + np.stack([STEPS**2, 2 * STEPS**2])
    figure = landscape_figures.profiles(STEPS, own, RNG.uniform(0.5, 2, (16, 11)), np.array([2.0, 4.0]))
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["curvature 2"], own[0])
    np.testing.assert_allclose(lines["curvature 4"], lines["direction 2"])
    assert "other directions, central 95 %" in labels(figure)


def test_a_trajectory_runs_from_its_start_to_its_end_beside_both_losses() -> None:
    way = np.array([[3.0, 1.0], [2.0, -1.0], [0.0, 0.0]])
    own, drawn = np.array([2.0, 1.0, 0.5]), np.array([1.5, 1.1, 0.5])
    bowl = 0.5 + STEPS[:, None] ** 2 + np.zeros(7)
    figure = landscape_figures.trajectory(np.arange(3), way, (STEPS, STEPS[:7]), bowl, own, drawn)
    plane, beside = figure.axes[:2]
    lines = {line.get_label(): line for line in (*plane.lines, *beside.lines)}
    np.testing.assert_array_equal(plane.lines[0].get_xydata(), way)
    np.testing.assert_array_equal(lines["start"].get_xydata(), way[:1])
    np.testing.assert_array_equal(lines["end"].get_xydata(), way[-1:])
    np.testing.assert_array_equal(lines["where it is drawn"].get_ydata(), drawn)
    assert {"start", "end", "of the network"} <= labels(figure)


def test_spectra_show_every_seed_its_residual_and_the_median() -> None:
    values = np.sort(RNG.uniform(1, 9, (5, 4)))[:, ::-1]
    at = np.linspace(-1, 9, 50)
    figure = landscape_figures.spectra(values, 0.1 * values, at, np.exp(-(at**2))[None].repeat(3, axis=0))
    ranks, spread = figure.axes
    assert len(ranks.containers) == 5
    medians = next(line for line in ranks.lines if line.get_label() == "median over seeds")
    np.testing.assert_allclose(medians.get_ydata(), np.median(values, axis=0))
    assert spread.get_yscale() == "log"
    assert ranks.get_xlabel() == "rank"


def test_spectra_of_one_network_are_drawn_too() -> None:
    figure = landscape_figures.spectra(np.ones((1, 2)), np.zeros((1, 2)), STEPS, np.ones((1, 11)))
    assert "a seed" in labels(figure)


def test_barriers_draw_the_median_of_both() -> None:
    before, after = RNG.uniform(1, 2, (6, 11)), RNG.uniform(0, 1, (6, 11))
    figure = landscape_figures.barriers(np.linspace(0, 1, 11), before, after)
    assert labels(figure) == {"as trained", "units matched"}
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["units matched"], np.median(after, axis=0))
    assert figure.axes[0].get_ylim()[0] == 0
