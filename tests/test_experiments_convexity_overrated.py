"""The ramp loss against the hinge, on few points: what the two machines do with wrong labels."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax.claims import run_experiment

SVC = pytest.importorskip("sklearn.svm").SVC


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("convexity_overrated")


def blobs(experiment: ModuleType, size: int, seed: int) -> Any:
    """Two Gaussian blobs, four deviations apart."""
    rng = np.random.default_rng(seed)
    y = rng.choice([-1, 1], size)
    return experiment.Data(rng.normal(size=(size, 2)) + 2 * y[:, None], y)


def objective(data: Any, machine: Any, penalty: float, s: float) -> float:
    """1/2 ||f||^2 + C sum_i min(1 - s, H_1(y_i f(x_i)))."""
    weights = machine.dual_coef_[0]
    vectors = machine.support_vectors_
    gram = np.exp(-machine.gamma * np.sum((vectors[:, None] - vectors[None]) ** 2, axis=2))
    hinge = np.maximum(0, 1 - data.y * machine.decision_function(data.x))
    return float(weights @ gram @ weights / 2 + penalty * np.minimum(1 - s, hinge).sum())


def test_the_ramp_loss_gives_up_what_the_hinge_keeps(experiment: ModuleType) -> None:
    train, test = blobs(experiment, 300, 0), blobs(experiment, 300, 1)
    noisy = experiment.resample(train, 300, 0.1, 0)
    hinge = experiment.measure(experiment.fit_hinge, noisy, test, 10.0)
    ramp = experiment.measure(experiment.fit_ramp, noisy, test, 10.0, 0.0)
    assert ramp.vectors < 0.5 * hinge.vectors
    assert hinge.vectors > 0.1 * 300
    assert ramp.error <= hinge.error + 1


def test_the_end_is_a_fixed_point_and_no_worse_than_the_hinge(experiment: ModuleType) -> None:
    noisy = experiment.resample(blobs(experiment, 300, 0), 300, 0.1, 0)
    found, turns = experiment.fit_ramp(noisy, 10.0, -0.5)
    keep = noisy.y * found.decision_function(noisy.x) >= -0.5
    again = SVC(C=10.0, gamma=found.gamma).fit(noisy.x[keep], noisy.y[keep])
    np.testing.assert_allclose(again.decision_function(noisy.x), found.decision_function(noisy.x), atol=1e-6)
    np.testing.assert_allclose(experiment.outputs(found, noisy.x), found.decision_function(noisy.x), atol=1e-9)
    assert 2 < turns < experiment.MAXIMUM_TURNS
    hinge, _ = experiment.fit_hinge(noisy, 10.0)
    assert objective(noisy, found, 10.0, -0.5) < objective(noisy, hinge, 10.0, -0.5)


def test_a_resample_flips_the_share_it_says_and_takes_nothing_twice(experiment: ModuleType) -> None:
    train = blobs(experiment, 200, 0)
    clean, noisy = (experiment.resample(train, 100, noise, 3) for noise in (0.0, 0.2))
    np.testing.assert_array_equal(clean.x, noisy.x)
    assert np.sum(clean.y != noisy.y) == 20
    assert len(np.unique(clean.x, axis=0)) == 100


def test_each_seed_draws_a_split_of_its_own(experiment: ModuleType) -> None:
    points = blobs(experiment, 100, 0)
    train, valid, test = experiment.draw_split(points, 0)
    assert [len(part.y) for part in (train, valid, test)] == [70, 10, 20]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train.x, valid.x, test.x]), axis=0), np.sort(points.x, axis=0)
    )
    assert not np.array_equal(experiment.draw_split(points, 1)[2].x, test.x)


def test_few_points_settle(experiment: ModuleType, tmp_path: Path) -> None:
    points = blobs(experiment, 400, 0)

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        return experiment.settle(points, (0.0, 0.1), (120, 240), seeds, out)

    run_experiment("convexity_overrated", "", body, 3, 3, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["10 % noise: support vectors, ramp to hinge"]["verdict"] == "holds"
    assert claims["10 % noise: support vectors, ramp to hinge"]["seeds"] == 3
    assert (tmp_path / "convexity_overrated.png").stat().st_size > 10_000
