"""The experiment on early stopping, on few coarse digits: what it keeps, and what it states."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import MLP, Dataset, Recipe, Split, load, patience, train_many
from mlpjax.claims import run_experiment
from mlpjax.data.dataset import with_label_noise


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("early_stopping")


@pytest.fixture(scope="module")
def digits(coarse_digits: Dataset) -> Dataset:
    """With some to judge by."""
    train, test = coarse_digits.train, coarse_digits.test
    valid = Split(test.x[:40], test.y[:40])
    return Dataset("few", train, valid, Split(test.x[40:], test.y[40:]), classes=10)


@pytest.mark.slow
def test_the_error_kept_is_that_of_the_lowest_validation_loss(experiment: ModuleType, digits: Dataset) -> None:
    """Beside the curves of training without patience, of which one that stops is a part, bit for bit."""
    group = experiment.train(digits, (8,), (0.5,), 3, 40)
    recipe = Recipe(batch_size=experiment.BATCH, epochs=40)
    alone = train_many(MLP((49, 8, 10)), recipe, with_label_noise(digits, 0.5), range(3))
    loss, error = alone.history["valid_loss"], 100 * (1 - alone.history["test_accuracy"].astype(float))
    np.testing.assert_allclose(group.curves[0, 0], error, atol=1e-4)
    for seed in range(3):
        best = [int(loss[seed, : epoch + 1].argmin()) for epoch in range(41)]
        stop = next((epoch for epoch in range(41) if epoch - best[epoch] >= experiment.PATIENCE), 40)
        assert group.epochs[0, 0, seed] == stop
        np.testing.assert_allclose(group.stopped[0, 0, seed], error[seed, best[stop]], atol=1e-4)
        np.testing.assert_allclose(group.end[0, 0, seed], error[seed, -1], atol=1e-4)
    assert group.strength[0, 0] in experiment.RIDGES
    assert not group.diverged.any()


def test_the_quadratic_keeps_the_theorem(experiment: ModuleType) -> None:
    risks = experiment.quadratic(load("mnist5k"), 1)
    ratio = risks["early stopping"] / risks["ridge"]
    assert ratio.shape == (1, len(experiment.TIMES))
    assert ratio.max() <= experiment.RISK_RATIO
    # At first neither knows anything; in between there is a best time.
    np.testing.assert_allclose(ratio[0, 0], 1, rtol=0.1)
    assert 0 < risks["ridge"][0].argmin() < len(experiment.TIMES) - 1


def test_experiment_keeps_the_contract(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (1, 2, 3)
    rng = np.random.default_rng(0)
    end = rng.uniform(20, 30, shape)
    group = experiment.Group(
        end, end - [[[1.0], [5.0]]], np.full(shape, 12), rng.uniform(50, 70, shape), end - 2, np.full(shape[:2], 1e-3),
        rng.uniform(20, 90, (*shape, 31)), np.zeros(shape, bool),
    )  # fmt: skip
    group.diverged[0, 1, 2] = True
    risks = {name: rng.uniform(1, 1.2, (3, len(experiment.TIMES))) for name in ("early stopping", "ridge")}
    monkeypatch.setattr(experiment, "load", lambda _: digits)
    monkeypatch.setattr(experiment, "train", lambda *_: group)
    monkeypatch.setattr(experiment, "quadratic", lambda *_: risks)
    run_experiment("early_stopping", "", experiment.body, 3, 3, ["--quick", "--out", str(tmp_path)])
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}
    clean, noisy = (
        claims[f"32 units, {share} % wrong labels: test error, at the end above stopped"] for share in (0, 40)
    )
    assert (clean["relation"], noisy["relation"]) == (None, "above")
    np.testing.assert_allclose([clean["measured"], noisy["measured"]], [1, 5])
    assert (noisy["seeds"], noisy["left_out"]) == (2, 1)
    assert noisy["settles"] and not clean["settles"]
    figure = experiment.draw(group, risks, (32,), (0.0, 0.4))
    labelled(figure)
    assert "wrong labels" in texts(figure)


def test_patience_needs_a_split_to_judge_by(coarse_digits: Dataset) -> None:
    recipe = Recipe(batch_size=50, epochs=2)
    with pytest.raises(ValueError, match="no validation split to judge by"):
        train_many(MLP((49, 2, 10)), recipe, coarse_digits, [0], stop=patience(1))
    with pytest.raises(ValueError, match="patience 0: give at least 1 epoch"):
        patience(0)
