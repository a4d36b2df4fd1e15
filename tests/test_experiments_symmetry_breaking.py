"""The experiment on how noise sets equal units free: its growth beside the theory's, and its parts by hand."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import Dataset
from mlpjax.claims import run_experiment
from mlpjax.landscape.symmetry_breaking import growth, saddle_at_zero, steps_to_part


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("symmetry_breaking")


def test_the_lowest_noise_is_the_first_of_those_that_are_all_good(experiment: ModuleType) -> None:
    noise = np.array([0.0, 1e-2, 1e-1, 1.0])
    good = np.array([[0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0]], bool)
    assert experiment.lowest(noise, good).tolist() == [1.0, 1e-1, 0.0, 1.0]


def test_noise_grows_as_the_linear_theory_says(experiment: ModuleType, coarse_digits: Dataset) -> None:
    noise = np.array([1e-5, 1e-3])
    group = experiment.train(coarse_digits, "tanh", noise, 2, [150], units=5, parting=150)
    spreads = group.spread / np.sqrt(2 * (1 - 1 / 5))
    assert spreads.shape == (2, 2, 1 + 150 * 2)
    np.testing.assert_allclose(spreads[:, :, 0].mean(axis=1), [1e-5, 1e-3], rtol=0.3)
    parted = steps_to_part(spreads, experiment.PARTED)
    assert (parted[0] > parted[1]).all()
    assert (spreads[0, 0, parted[0, 0] - 1] <= experiment.PARTED) and (spreads[0, 0, parted[0, 0]] > experiment.PARTED)
    train = coarse_digits.train
    rate = saddle_at_zero(train.x.reshape(200, -1) / 255, np.eye(10)[train.y]).rates[0]
    tenth = np.log(10) / np.log(growth(rate, experiment.RATE, experiment.MOMENTUM))
    np.testing.assert_allclose((parted[0] - parted[1]) / 2, tenth, rtol=0.2)


def test_steps_for_each_tenth_of_noise_are_the_slope_of_a_line(experiment: ModuleType) -> None:
    noise = 10.0 ** np.arange(-8, -1)
    parted = np.round(100 - 12 * np.log10(noise)[:, None] + np.array([0, 3, 5])).astype(int)
    counted = np.ones(3, bool)
    theory = {"slope": 11.0, "directions": parted - 4, "limit": parted + 2}
    first, ratio, slope, excess, *parts = experiment.parting_claims("tanh", noise, parted, theory, counted)
    assert (first.seeds, slope.published) == (3, 11)
    np.testing.assert_allclose([ratio.measured, slope.measured, excess.measured], [1, 12, 1], rtol=1e-9)
    np.testing.assert_allclose([part.measured for part in parts], [1, 0, 0], atol=1e-9)
    parted[0, 1] = -1
    claims = experiment.parting_claims("relu", noise, parted, None, counted)
    assert {(claim.seeds, claim.left_out) for claim in claims} == {(2, 1)}


@pytest.mark.parametrize(("followed", "left"), [(100, 2), pytest.param(1, 0, marks=pytest.mark.slow)])
def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, followed: int, left: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(experiment, "PARTING_EPOCHS", followed)

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        return experiment.settle(
            coarse_digits, ("tanh",), np.array([0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1.0]), seeds, (1, 100), out
        )

    run_experiment("symmetry_breaking", "", body, 2, 2, ["--out", str(tmp_path)])
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}
    assert claims["tanh, 100 epochs: lowest noise with 48 distinct units"]["measured"] == 1e-5
    assert claims["tanh: steps to part, for each tenth of noise"]["seeds"] == left
    for figure in ("symmetry_breaking", "symmetry_breaking_parting"):
        assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
