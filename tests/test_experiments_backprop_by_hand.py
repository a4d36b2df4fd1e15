"""Backpropagation by hand: its paths by counting, its gradients against closed forms, and that a wrong one is seen."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from conftest import labelled, load_experiment

from mlpjax import Dataset
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("backprop_by_hand")


def test_experiment_compares_draws_and_states(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "DEPTHS", (3,))
    run_experiment("backprop_by_hand", "", experiment.body, 2, 2, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    every = {name: claim["measured"] for name, claim in claims.items() if claim["relation"] == "every"}
    assert every == dict.fromkeys(every, 100)
    assert len(every) == 9
    assert claims["deck: order of central differences, from h = 0.01 to 0.001"]["measured"] == pytest.approx(
        2, abs=0.01
    )
    assert (tmp_path / "backprop_by_hand.png").stat().st_size > 10_000
    first = "w(1)_11, layer 1 of 3: dl/do · do/da(2)_1 · da(2)_1/da(1)_1 · da(1)_1/dw(1)_11 = "
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith(first)]) == 1


def test_a_wrong_derivative_is_seen(experiment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody forgets that tanh' = 1 - tanh^2 but in one place."""
    wrong = experiment.UNITS["tanh"]._replace(slope=lambda a: 1 - a)
    monkeypatch.setitem(experiment.UNITS, "tanh", wrong)
    with jax.enable_x64(True):
        assert (experiment.layer_by_layer(2, "tanh", 3) > 1e-2).all()


def test_paths_by_counting_and_on_a_chain_of_single_units(experiment: ModuleType) -> None:
    layers = [(np.ones(pair), np.zeros(pair[1])) for pair in ((2, 3), (3, 2), (2, 1))]
    linear = experiment.UNITS["identity"]
    ways = experiment.routes(
        layers, experiment.forward(layers, np.array([1.0, 2.0]), linear, linear), 1.0, linear, linear
    )
    assert sum(way.source > 0 for way in ways) == experiment.count_paths((2, 3, 2, 1)) == 12 + 6 + 2
    assert sum(way.source == 0 for way in ways) == 3 * 2 + 2 + 1
    # All weights are 1, so a path gives the input it starts from: do/dw(1) = 2 paths * x.
    gradient = experiment.add_up(ways, layers)
    np.testing.assert_array_equal(gradient[0][0], [[2] * 3, [4] * 3])
    np.testing.assert_array_equal(gradient[0][1], [2] * 3)
    assert experiment.count_paths((784, 256, 128, 10)) == 784 * 256 * 128 * 10 + 256 * 128 * 10 + 128 * 10


def test_central_differences_are_exact_of_squares(experiment: ModuleType) -> None:
    layers = experiment.random_layers(np.random.default_rng(0), (2, 3, 1))
    gradient = experiment.central(lambda layers: float(np.sum(experiment.flat(layers) ** 2)), layers, 0.1)
    np.testing.assert_allclose(experiment.flat(gradient), 2 * experiment.flat(layers), rtol=1e-12)


def test_a_step_goes_down_the_error_summed_over_classes(experiment: ModuleType) -> None:
    """Its move over the rate against central differences of mean_i sum_k (a_k - y_k)^2."""
    rng, sigmoid = np.random.default_rng(0), experiment.UNITS["sigmoid"]
    layers, x, targets = experiment.random_layers(rng, (3, 4, 2)), rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]

    def loss(layers: Any) -> float:
        return float(np.sum((experiment.forward(layers, x, sigmoid, sigmoid)[-1] - targets) ** 2) / len(x))

    slope, before = experiment.flat(experiment.central(loss, layers, 1e-5)), experiment.flat(layers)
    experiment.step_by_hand(layers, x, targets)
    np.testing.assert_allclose((before - experiment.flat(layers)) / 0.1, slope, rtol=1e-7)


def test_every_panel_is_labelled(experiment: ModuleType) -> None:
    with jax.enable_x64(True):
        deck = experiment.deck_network(2)
    course = experiment.Course(np.full((2, 3), 1e-15), np.ones(2), 1.0)
    labelled(experiment.draw(deck, course))
