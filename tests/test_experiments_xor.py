"""The XOR experiment: its parts have known answers, and its body keeps the contract."""

import itertools
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import Split, load, make_keys, train_many
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def xor() -> ModuleType:
    return load_experiment("xor")


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def first_epoch(params: dict, rate: float, epochs: int) -> int:
    """When gradient descent with momentum solves the four points: the chain rule by hand, in float64."""
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])
    weights = [np.array(params[f"dense_{i}"][part], np.float64) for i in range(2) for part in ("kernel", "bias")]
    velocity = [np.zeros_like(weight) for weight in weights]
    for epoch in range(epochs + 1):
        w, b, v, c = weights
        hidden = sigmoid(x @ w + b)
        output = sigmoid(hidden @ v + c)
        if epoch and np.abs(output - y).max() < 0.4:
            return epoch
        at_output = 2 / 4 * (output - y) * output * (1 - output)
        at_hidden = at_output @ v.T * hidden * (1 - hidden)
        grads = [x.T @ at_hidden, at_hidden.sum(0), hidden.T @ at_output, at_output.sum(0)]
        velocity = [0.9 * before + grad for before, grad in zip(velocity, grads, strict=True)]
        weights = [weight - rate * step for weight, step in zip(weights, velocity, strict=True)]
    return -1


def test_race_agrees_with_backpropagation_by_hand(xor: ModuleType) -> None:
    rates = np.array([0.25, 0.5, 0.5, 0.5, 1.0, 2.0, 2.0])
    solved_at = xor.race([*range(len(rates))], rates, epochs=1000).stopped_at
    inits = [xor.POINTS_MODEL.init(make_keys(seed).init).params for seed in range(len(rates))]
    expected = [first_epoch(params, rate, 1000) for params, rate in zip(inits, rates, strict=True)]
    assert np.sum(np.array(expected) > 0) >= 4
    np.testing.assert_array_equal(solved_at, expected)


def test_best_line_gets_three_corners_of_four(xor: ModuleType) -> None:
    corners = load("xor", n=4, noise=0).train
    assert xor.best_line(corners) == 75
    assert xor.quadrant_rule(corners) == 100


def test_best_line_agrees_with_lines_through_all_pairs(xor: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = rng.standard_normal((9, 2)).astype(np.float32)
        y = rng.integers(0, 2, 9).astype(np.int32)
        best = max(y.mean(), 1 - y.mean())
        # Some best line touches two points, which a slight turn or shift puts on either side of it.
        for i, j in itertools.combinations(range(9), 2):
            normal = np.array([x[i, 1] - x[j, 1], x[j, 0] - x[i, 0]])
            side = (x - x[i]) @ normal > 0
            for on_line in itertools.product([False, True], repeat=2):
                side[[i, j]] = on_line
                hits = np.mean(side == y)
                best = max(best, hits, 1 - hits)
        assert xor.best_line(Split(x, y), directions=20_000) == pytest.approx(100 * best)


def test_every_network_learns_the_points_of_its_own_draw(xor: ModuleType) -> None:
    draws = [load("xor", n=xor.BLOB_POINTS, seed=seed) for seed in (3, 8)]
    found = xor.train_blobs("ReLU", [draw.train for draw in draws])
    for seed, draw in enumerate(draws):
        alone = train_many(xor.BLOB_MODELS["ReLU"], xor.BLOB_RECIPE, draw, [seed])
        np.testing.assert_allclose(found.history["train_loss"][seed], alone.history["train_loss"][0], rtol=1e-5)


def test_published_figures_are_those_of_the_sources(xor: ModuleType) -> None:
    """The notebook's last printed costs, and the report's 25 of 30 runs after a median of 730 epochs."""
    assert xor.PUBLISHED_LOSS == {"linear": 0.6927, "ReLU": 0.3594}
    assert (xor.PUBLISHED_SOLVED, xor.PUBLISHED_RUNS, xor.PUBLISHED_MEDIAN, xor.PRINTED) == (25, 30, 730, 24)


def test_median_reach_holds_medians_of_25_runs(xor: ModuleType) -> None:
    rng = np.random.default_rng(0)
    epochs = rng.lognormal(6, 0.6, 20_000)
    medians = np.median(rng.choice(epochs, (20_000, 25)), axis=1)
    assert xor.median_reach(epochs) == pytest.approx(np.ptp(np.quantile(medians, [0.025, 0.975])) / 2, rel=0.03)
    assert xor.median_reach(epochs[:0]) == 0


def test_experiment_keeps_the_contract(xor: ModuleType, tmp_path: Path) -> None:
    run_experiment(
        "xor", str(xor.__doc__), xor.body, 100_000, 4000, ["--seeds", "60", "--quick", "--out", str(tmp_path)]
    )
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    linear, relu = claims["blobs: linear network, loss"], claims["blobs: ReLU network, loss"]
    assert linear["measured"] == pytest.approx(np.log(2), abs=3e-3)
    assert (linear["published"], linear["seeds"], linear["verdict"]) == (0.6927, 6, "holds")
    assert relu["measured"] < 0.5
    assert claims["blobs: ReLU network, accuracy"]["measured"] > 95
    assert claims["blobs: accuracy, ReLU network above the best line"]["measured"] > 20
    mean = claims["four points, error is the mean: seeds that solve it"]
    assert mean["seeds"] == 60
    assert mean["published"] == pytest.approx(83.33, abs=0.01)
    median = claims["four points, error is the mean: median of these"]
    assert median["seeds"] + median["left_out"] == 60
    for figure in ("xor_regions", "xor_loss", "xor_epochs"):
        assert (tmp_path / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
