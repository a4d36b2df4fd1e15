"""The convexity experiment, on few seeds: what the definitions say of a convex loss and of a network's."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import MLP, Split, load
from mlpjax.claims import run_experiment

LOOSE = jax.numpy_dtype_promotion("standard")
"""With 64 bits, optax's L-BFGS adds integers of two kinds."""


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("convexity")


def small(experiment: ModuleType) -> dict[str, Any]:
    """A convex problem and one that is not, on 60 points of 5 features."""
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    classes = np.random.default_rng(1).integers(0, 3, 60).astype(np.int32)
    few = Split(x, classes)
    return {
        "softmax regression": experiment.Problem(MLP((5, 3)), "cross_entropy", few),
        experiment.NETWORK: experiment.Problem(MLP((5, 4, 3), "tanh"), "cross_entropy", few),
    }


def test_descents_of_a_convex_loss_end_at_the_same_optimum(experiment: ModuleType) -> None:
    """Softmax regression in NumPy: at the end its gradient, X'(softmax - Y) / n + 2 ridge W, is zero."""
    with jax.enable_x64(True), LOOSE:
        problem = small(experiment)["softmax regression"]
        ends = experiment.descend(problem, jax.random.split(jax.random.key(1), 3), "test")
    inputs = np.hstack([problem.data.x.astype(np.float64), np.ones((60, 1))])
    assert (ends.loss - ends.loss.min() <= ends.bound).all()
    assert (ends.bound < 1e-9).all()
    for kernel, bias in zip(ends.params["dense_0"]["kernel"], ends.params["dense_0"]["bias"], strict=True):
        weights = np.vstack([kernel, bias])
        softmax = np.exp(inputs @ weights)
        softmax /= softmax.sum(axis=1, keepdims=True)
        gradient = inputs.T @ (softmax - np.eye(3)[problem.data.y]) / 60 + 2 * experiment.RIDGE * weights
        np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_shuffled_units_are_the_same_function_at_another_point(experiment: ModuleType) -> None:
    model = MLP((5, 4, 3), "tanh", bias="same")
    params = model.init(jax.random.key(0)).params
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)), jnp.float32)
    other = experiment.shuffled(params)
    outputs = (model.activations(network, x)[-1] for network in (other, params))
    np.testing.assert_allclose(*outputs, rtol=1e-5)
    assert np.abs(other["dense_0"]["kernel"] - params["dense_0"]["kernel"]).max() > 0.1


def test_coarse_pixels_are_means_of_blocks(experiment: ModuleType) -> None:
    image = np.arange(784, dtype=np.float32).reshape(1, 28, 28) % 256
    found = experiment.coarse(Split(image.reshape(1, 784).astype(np.uint8), np.array([3], np.int32)), 14)
    np.testing.assert_allclose(found.x[0, 15], image[0, 2:4, 2:4].mean() / 255, rtol=1e-6)


def test_small_problems_settle(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = small(experiment)
    monkeypatch.setattr(experiment, "make_problems", lambda digits: problems)

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        with jax.enable_x64(True), LOOSE:
            return experiment.settle(load("mnist5k").train, seeds, 5, out)

    run_experiment("convexity", "", body, 4, 4, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    for what in (
        "chords below the curve",
        "tangents above the curve",
        "chords along the least curvature below the curve",
        "least curvature at random points",
        "end of a start above the lowest one",
    ):
        assert claims[f"softmax regression: {what}"]["verdict"] == "holds", what
    assert claims["network: middle above the chord, own units reversed"]["measured"] == 100
    assert claims["network: chords along the least curvature below the curve"]["measured"] == 100
    assert claims["linear regression: strength of the flattest chord"]["verdict"] == "holds"
    assert claims["linear regression: least strength of random chords"]["verdict"] == "holds"
    assert (tmp_path / "convexity.png").stat().st_size > 10_000
