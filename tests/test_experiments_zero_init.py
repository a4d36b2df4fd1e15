"""The zero-start experiment, on few networks: what theory says of equal units, bit by bit."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import labelled, load_experiment

from mlpjax import MLP, Dataset, Split, load
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
    found = experiment.train(digits, MLP((49, 5, 10), "tanh"), [0.0, 1e-2, 1.0], 2, 20)
    assert found.distinct.tolist() == [[1, 1], [5, 5], [5, 5]]
    assert found.unequal[0].tolist() == [1, 1]
    np.testing.assert_array_equal(found.weight[0], 0.0)
    np.testing.assert_allclose(found.error[0], 90.0, atol=1e-4)
    assert (found.weight[1:] > 0).all()
    assert (found.error[2] < 60).all()
    assert not found.diverged.any()


@pytest.mark.slow
def test_sigmoid_networks_from_zero_train_as_one_unit(experiment: ModuleType, digits: Dataset, tmp_path: Path) -> None:
    def body(seeds: int, _quick: bool, out: Path) -> Any:
        return experiment.settle(digits, ("sigmoid",), seeds, 20, out)

    run_experiment("zero_init", "", body, 2, 2, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    for start in ("zero start", "equal constants"):
        claim = claims[f"sigmoid, {start}: one distinct hidden unit"]
        assert (claim["measured"], claim["theorem"]) == (100, True)
    rates = "test error: equal units within 1 point of one unit, rates and start of equal units"
    assert claims[f"sigmoid, {rates}"]["measured"] == 100
    assert claims["sigmoid, He's start: test error"]["measured"] < 60
    assert results["config"]["diverged"] == 0
    assert (tmp_path / "zero_init.png").stat().st_size > 10_000


def test_networks_that_diverged_are_left_out_and_counted(experiment: ModuleType) -> None:
    blank = np.ones((1, 20))
    lost = np.zeros((1, 20), bool)
    lost[0, 3] = True
    outcome = experiment.Outcome(blank, blank, blank, blank, blank, ~lost & lost)
    found = dict.fromkeys((experiment.ZERO, experiment.UNEVEN, experiment.FREE, experiment.ONE), outcome)
    found |= dict.fromkeys((experiment.FASTER, experiment.SAME), outcome._replace(diverged=lost))
    equal = experiment.Outcome(*(np.tile(field, (3, 1)) for field in outcome))
    claims = experiment.claims_of("sigmoid", found | {experiment.EQUAL: equal})
    assert {(claim.seeds, claim.left_out) for claim in claims} == {(19, 1)}
    labelled(experiment.draw({"sigmoid": found | {experiment.EQUAL: equal}}))


def test_only_the_biases_and_the_sigmoids_output_kernel_move_from_zero(experiment: ModuleType, digits: Dataset) -> None:
    for name in ("relu", "tanh", "sigmoid"):
        claims = experiment.gradient_claims(name, experiment.zero_start_gradients(digits, name, 16, units=5))
        assert len(claims) == 5
        assert {claim.verdict for claim in claims} == {"holds"}
