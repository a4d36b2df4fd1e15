"""The experiment on XOR's minima: its loss by hand, known ends, and its contract."""

import json
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import Batch
from mlpjax.claims import run_experiment
from mlpjax.landscape.minima import Kind, classify


@pytest.fixture(scope="module")
def xor() -> ModuleType:
    return load_experiment("xor_minima")


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def four_points(xor: ModuleType) -> Batch:
    return Batch(*jax.tree.map(jnp.asarray, xor.in_double((*xor.CORNERS, np.ones(4, np.float32)))))


def make_params(w: np.ndarray, b: np.ndarray, v: np.ndarray, c: float) -> dict:
    layers = {"dense_0": {"kernel": w, "bias": b}, "dense_1": {"kernel": v[:, None], "bias": np.array([c])}}
    return jax.tree.map(jnp.asarray, layers)


@pytest.mark.parametrize(("name", "low", "high"), [("targets 0 and 1", 0.0, 1.0), ("targets 0.1 and 0.9", 0.1, 0.9)])
def test_loss_is_the_mean_squared_error_from_the_targets(xor: ModuleType, name: str, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    w, b, v, c = rng.standard_normal((2, 2)), rng.standard_normal(2), rng.standard_normal(2), 0.3
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    outputs = sigmoid(sigmoid(corners @ w + b) @ v + c)
    with jax.enable_x64(True):
        loss = xor.SETTINGS[name].loss(make_params(w, b, v, c), four_points(xor))
    assert float(loss) == pytest.approx(np.mean((outputs - np.array([low, high, high, low])) ** 2), rel=1e-14)


def test_equal_outputs_at_zero_weights_are_a_saddle_or_degenerate(xor: ModuleType) -> None:
    """All weights zero: stationary, every output 1/2; Sprinkhuizen-Kuyper and Boers (1998) call it a saddle."""
    with jax.enable_x64(True):
        params = make_params(np.zeros((2, 2)), np.zeros(2), np.zeros(2), 0.0)
        found = classify(xor.SETTINGS["targets 0 and 1"].loss, params, four_points(xor))
    assert float(found.loss) == 0.25
    assert found.kind in (Kind.SADDLE, Kind.DEGENERATE)


def test_experiment_keeps_the_contract(xor: ModuleType, tmp_path: Path) -> None:
    arguments = ["--seeds", "100", "--quick", "--out", str(tmp_path)]
    run_experiment("xor_minima", str(xor.__doc__), xor.body, 100_000, 2000, arguments)
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    for name in ("targets 0 and 1", "targets 0.1 and 0.9"):
        assert claims[f"{name}: solved by training"]["measured"] > 80
        assert claims[f"{name}: good after polishing"]["measured"] > 80
        for none in ("bad, and a certified strict minimum", "bad, and stationary at finite weights"):
            assert claims[f"{name}: {none}"]["measured"] == 0
            assert claims[f"{name}: {none}"]["verdict"] == "holds"
        shares = [end["share, with ci95"][0] for end in results["config"][name]["ends"]]
        assert sum(shares) == pytest.approx(1)
    assert claims["targets 0.1 and 0.9: flat directions of a good end"]["verdict"] == "holds"
    assert (tmp_path / "xor_minima.png").read_bytes().startswith(b"\x89PNG")
