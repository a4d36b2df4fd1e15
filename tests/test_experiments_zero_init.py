"""The zero-start experiment, on few networks: what theory says of equal units, bit by bit."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import Dataset, Split, load
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("zero_init")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """200 and 100 digits, an equal number of every class, of 49 coarse pixels each."""
    whole = load("mnist5k")

    def few(split: Split, each: int) -> Split:
        rows = np.concatenate([np.flatnonzero(split.y == label)[:each] for label in range(10)])
        coarse = split.x[rows].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).astype(np.uint8)
        return Split(coarse.reshape(len(rows), 49), split.y[rows])

    return Dataset("few", few(whole.train, 20), few(whole.valid, 0), few(whole.test, 10), classes=10)


def test_zero_tanh_networks_move_nothing_but_their_output_biases(experiment: ModuleType, digits: Dataset) -> None:
    group = experiment.train(digits, "tanh", "he", np.array([0.0, 1e-2, 1.0]), seeds=2, epochs=[20], units=5)
    found = group.after[20]
    assert found.distinct.tolist() == [[1, 1], [5, 5], [5, 5]]
    assert found.unequal[0].tolist() == [1, 1]
    np.testing.assert_array_equal(found.weight[0], 0.0)
    np.testing.assert_allclose(found.error[0], 90.0, atol=1e-4)
    assert (found.weight[1:] > 0).all()
    assert (found.error[2] < 60).all()
    assert group.diverged == 0


def test_the_lowest_noise_is_the_first_of_those_that_are_all_good(experiment: ModuleType) -> None:
    noise = np.array([0.0, 1e-2, 1e-1, 1.0])
    error = np.array([[90.0, 90.0], [5.0, 5.0], [20.0, 20.0], [4.0, 6.0]])
    claim = experiment.lowest_noise("lowest", noise, error, limit=1.0)
    assert (claim.measured, claim.ci95, claim.seeds) == (1.0, (1.0, 1.0), 2)
    claim = experiment.lowest_noise("lowest", noise, error, limit=15.0)
    assert claim.measured == 1e-2
    claim = experiment.lowest_noise("lowest", noise, np.zeros((4, 3)), limit=0.0)
    assert claim.measured == 0.0


def test_sigmoid_networks_from_zero_train_as_one_unit(experiment: ModuleType, digits: Dataset, tmp_path: Path) -> None:
    def body(seeds: int, _quick: bool, out: Path) -> Any:
        return experiment.settle(digits, ("sigmoid",), np.array([0.0, 1.0]), seeds, (1, 20), out)

    run_experiment("zero_init", "", body, 2, 2, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    for start in ("zero start", "equal constants"):
        claim = claims[f"sigmoid, {start}: distinct hidden units"]
        assert (claim["measured"], claim["verdict"]) == (1, "holds")
    assert claims["sigmoid, 20 epochs: lowest noise with 32 distinct units"]["measured"] == 1.0
    assert claims["sigmoid, He's start: test error"]["measured"] < 60
    assert results["config"]["diverged"] == 0
    assert (tmp_path / "zero_init.png").stat().st_size > 10_000


def test_only_the_biases_and_the_sigmoids_output_kernel_move_from_zero(experiment: ModuleType, digits: Dataset) -> None:
    for name in ("relu", "tanh", "sigmoid"):
        claims = experiment.gradient_claims(name, experiment.zero_gradients(digits, name, 2, units=5))
        assert len(claims) == 5
        assert {claim.verdict for claim in claims} == {"holds"}


def test_noise_grows_as_the_linear_theory_says(experiment: ModuleType, digits: Dataset) -> None:
    noise = np.array([1e-5, 1e-3])
    group = experiment.train(digits, "tanh", "he", noise, seeds=2, epochs=[150], units=5, parting=150)
    spreads = group.spread / np.sqrt(2 * (1 - 1 / 5))
    assert spreads.shape == (2, 2, 1 + 150 * 2)
    np.testing.assert_allclose(spreads[:, :, 0].mean(axis=1), [1e-5, 1e-3], rtol=0.3)
    parted = experiment.steps_to_part(spreads)
    assert (parted[0] > parted[1]).all()
    assert (spreads[0, 0, parted[0, 0] - 1] <= experiment.PARTED) and (spreads[0, 0, parted[0, 0]] > experiment.PARTED)
    slopes = (parted[0] - parted[1]) / 2
    np.testing.assert_allclose(slopes, experiment.predicted_growth(digits.train), rtol=0.2)


def test_steps_for_each_tenth_of_noise_are_the_slope_of_a_line(experiment: ModuleType) -> None:
    noise = 10.0 ** np.arange(-8, 1)
    parted = np.round(100 - 12 * np.log10(noise)[:, None] + np.array([0, 3])).astype(int)
    parted[-1] = 0
    _, slope, ratio = experiment.parting_claims("tanh", noise, parted, 12.0)
    np.testing.assert_allclose([slope.measured, ratio.measured], [12, 1], rtol=1e-9)
    assert slope.verdict == "holds"
    parted[0, 1] = -1
    first, *_ = experiment.parting_claims("tanh", noise, parted, 12.0)
    assert "1e-07" in first.name
