"""The one-dimensional experiment, on curves whose minima are known."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment

from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("local_minima_1d")


def test_stationary_points_of_the_books_exercise(experiment: ModuleType) -> None:
    with jax.enable_x64(True):
        minima, maxima = experiment.stationary_points(experiment.exercise, -6.0, 6.0)
    top = np.arccos(-0.1)
    np.testing.assert_allclose(minima, [-top, 2 * np.pi - top], atol=1e-10)
    np.testing.assert_allclose(maxima, [top - 2 * np.pi, top], atol=1e-10)


def test_basins_of_a_double_well_meet_at_its_hill(experiment: ModuleType) -> None:
    """R = w^4/4 - w^3/9 - w^2/2 + ..., with R' = (w + 1) (w - 1/3) (w - 1.5): the hill is at 1/3."""

    def curve(w: jax.Array) -> jax.Array:
        return jnp.polyval(jnp.polyint(jnp.poly(jnp.array([-1.0, 1 / 3, 1.5]))), w)

    with jax.enable_x64(True):
        found = experiment.sweep(curve, -1.4, 1.9, starts=40, steps=5000)
    np.testing.assert_allclose(found.minima, [-1, 1.5], atol=1e-9)
    np.testing.assert_allclose(found.borders, [1 / 3], atol=1e-8)
    np.testing.assert_allclose(found.ends, np.where(found.starts < 1 / 3, -1, 1.5), atol=1e-6)
    assert (found.low, found.high) == (-1.4, 1.9)


def test_a_range_that_ends_behind_a_hill_is_cut_there(experiment: ModuleType) -> None:
    with jax.enable_x64(True):
        found = experiment.sweep(experiment.exercise, -6.0, 6.0, starts=30, steps=5000, rate=0.1)
    assert -4.62 < found.low < -4.55
    assert found.high == 6.0
    np.testing.assert_allclose(found.maxima, [np.arccos(-0.1)], atol=1e-10)


def test_descent_steps_are_those_of_the_rule(experiment: ModuleType) -> None:
    with jax.enable_x64(True):
        found = experiment.make_descent(experiment.exercise, 0.1, 3)(np.array([2.3, 1.4]))
    expected = np.array([2.3, 1.4])
    for _ in range(3):
        expected = expected - 0.1 * (np.cos(expected) + 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
def test_few_networks_settle(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "EXAMPLES", 40)

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        params, split = experiment.train_pairs(seeds)
        with jax.enable_x64(True):
            return experiment.settle(params, split, 21, 1500, out)

    run_experiment("local_minima_1d", "", body, 2, 2, ["--out", str(tmp_path)])
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}
    for name in (
        "exercise: end of the descent from 2.3",
        "exercise: end of the descent from 1.4",
        "exercise: border of the basins",
        "exercise: starts that reach the lower minimum",
    ):
        assert (claims[name]["verdict"], claims[name]["theorem"]) == ("holds", True), claims[name]
    for name in (
        "network: lines with two minima or more",
        "network: lines on which every start reaches the minimum of its side",
        "network: lines on which every border is a maximum, to 1e-6",
    ):
        # Two seeds are too few for a claim of every one.
        assert (claims[name]["measured"], claims[name]["verdict"]) == (100, "undecided"), claims[name]
    assert (tmp_path / "local_minima_1d.png").stat().st_size > 10_000
