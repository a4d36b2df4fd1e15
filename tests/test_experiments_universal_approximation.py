"""One hidden layer: networks by construction against formulas, least squares against its own condition, and rates."""

import json
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
from conftest import labelled, load_experiment

from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("universal_approximation")


def test_experiment_approximates_draws_and_states(
    experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "TARGETS", {"wave": experiment.TARGETS["wave"]})
    monkeypatch.setattr(experiment, "STEEPNESS", {"sigmoid": 10.0})
    monkeypatch.setattr(experiment, "draw", lambda *_: experiment.Figure())

    def body(seeds: int, _quick: bool, out: Path) -> tuple:
        return experiment.settle((4, 32), seeds, 30, out)

    run_experiment("universal_approximation", "", body, 2, 2, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["wave, constructed: largest error over the bound, at most"]["verdict"] == "holds"
    assert claims["wave, sigmoid, solved: largest error of 32 units at most 0.01"]["measured"] == 100
    apart = claims["wave, sigmoid: log10 of the largest error of 32 units, trained above solved"]
    assert apart["measured"] > 1
    assert apart["relation"] == "above"
    assert len({claim["name"].partition(":")[0] for claim in results["claims"]}) == 4


@pytest.mark.parametrize("target", ["wave", "root"])
def test_lines_through_points_are_as_far_off_as_geometry_says(experiment: ModuleType, target: str) -> None:
    """And the network goes through the points themselves."""
    dataset = experiment.points(target)
    with jax.enable_x64(True):
        params = experiment.construct(target, 10)
        largest, square = experiment.errors_of(dataset, "relu", params)
        assert largest == pytest.approx(experiment.BOUNDS[target](0.2), rel=2e-2)
        assert square < largest
        knots = np.linspace(-1, 1, 11)[:, None]
        outputs, _ = experiment.MLP((1, 10, 1)).apply(experiment.Variables(params), jax.numpy.asarray(knots))
        np.testing.assert_allclose(outputs, experiment.TARGETS[target](knots), atol=1e-12)
        params["dense_1"]["kernel"][4] += 1
        assert experiment.errors_of(dataset, "relu", params)[0] > 2 * largest


def test_what_is_solved_leaves_residuals_at_right_angles_to_all_units(experiment: ModuleType) -> None:
    dataset = experiment.points("root")
    with jax.enable_x64(True):
        solved = experiment.solve(dataset, "sigmoid", experiment.draw_hidden(0, 6, 10.0))
        model = experiment.MLP((1, 6, 1), "sigmoid")
        params = jax.tree.map(jax.numpy.asarray, solved)
        hidden, outputs = model.activations(params, jax.numpy.asarray(dataset.train.x, float))
    residual = np.asarray(outputs) - dataset.train.y
    assert np.abs(residual).max() > 1e-3
    np.testing.assert_allclose(np.asarray(hidden).T @ residual, 0, atol=1e-9)
    assert residual.mean() == pytest.approx(0, abs=1e-11)


def test_units_are_drawn_with_their_centres_in_the_interval(experiment: ModuleType) -> None:
    hidden = experiment.draw_hidden(3, 1000, 10.0)
    centres = -hidden["bias"] / hidden["kernel"][0]
    assert np.abs(centres).max() < 1
    assert centres.std() == pytest.approx(1 / np.sqrt(3), abs=0.03)
    assert set(hidden["kernel"][0]) == {-10.0, 10.0}
    assert (experiment.draw_hidden(4, 1000, 10.0)["bias"] != hidden["bias"]).all()


def test_rates_and_the_figure_of_known_errors(experiment: ModuleType) -> None:
    widths = (4, 16, 64)
    errors = np.array([4.0, 16.0, 64.0])[:, None] ** -1.5 * np.ones((1, 20))
    np.testing.assert_allclose(experiment.rate(widths, errors), -1.5)
    worse = 10 * errors + 1e-9 * np.random.default_rng(0).normal(size=errors.shape)
    worse[:, 2] = np.nan  # one that diverged
    found = {
        (activation, way): np.stack([values, values])
        for activation in ("relu", "sigmoid")
        for way, values in (("solved", errors), ("trained", worse))
    }
    constructed = np.array([experiment.BOUNDS["wave"](2 / units) for units in widths])
    claims = {claim.name: claim for claim in experiment.claims_of("wave", widths, constructed, found)}
    apart = claims["wave, sigmoid: log10 of the largest error of 64 units, trained above solved"]
    assert (apart.measured, apart.seeds, apart.left_out) == (pytest.approx(1), 19, 1)
    assert claims["wave, sigmoid, trained: rate of the root mean square error"].verdict == "holds"
    assert claims["wave, relu, trained: rate of the root mean square error"].verdict == "new"
    labelled(experiment.draw(widths, {"wave": (constructed, found), "root": (constructed, found)}))
