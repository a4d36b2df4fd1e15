"""The experiment on dropout, on few coarse digits: what it trains, reads, enumerates and states."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import MLP, Dataset, Recipe, Split, Swept, train_many
from mlpjax.claims import MNIST, Claim, run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("dropout")


@pytest.fixture(scope="module")
def digits(coarse_digits: Dataset) -> Dataset:
    """With some to judge by."""
    train, test = coarse_digits.train, coarse_digits.test
    valid = Split(test.x[:40], test.y[:40])
    return Dataset("few", train, valid, Split(test.x[40:], test.y[40:]), classes=10)


def test_both_networks_are_trained_in_both_ways(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as published: layers, start, rates, recipe and digits; and its errors stand in its own place."""
    seen: list[tuple[Any, ...]] = []

    def run(_: str, *args: Any) -> Any:
        seen.append(args)
        error = {"train": len(seen), "test": len(seen) + 1}
        return SimpleNamespace(error=lambda split: np.full((2, 3, 2), [90, error[split]]))

    monkeypatch.setattr(experiment, "run", run)
    found = experiment.train_published(digits, 1, 3, tmp_path)
    np.testing.assert_allclose(found["train"][..., 0, 0], [[1, 2], [3, 4]])
    np.testing.assert_allclose(found["test"][..., 1, 2], [[2, 3], [4, 5]])
    models, recipes, data, over, *_ = zip(*seen, strict=True)
    assert [model.widths for model in models] == [(49, 75, 45, 10)] * 2 + [(49, 256, 128, 10)] * 2
    assert [(model.initializer, model.bias) for model in models] == [("torch", "same")] * 2 + [("he", "zeros")] * 2
    assert [grid["dropout"][1] for grid in over] == [(0.5, 0.5)] * 2 + [(0.4, 0.3)] * 2
    for recipe, other in (recipes[::2], recipes[1::2]):
        assert recipe == other
    sgd, rmsprop = recipes[:2]
    assert (sgd.optimizer, sgd.learning_rate, sgd.batch_size, sgd.epochs, sgd.eval_every) == ("sgd", 0.1, 256, 50, 50)
    assert (rmsprop.optimizer, rmsprop.learning_rate, rmsprop.batch_size, rmsprop.epochs) == ("rmsprop", 1e-3, 128, 30)
    assert [len(part.train.y) for part in data] == [180, 200] * 2
    np.testing.assert_array_equal(data[0].train.x, digits.train.x[:180])


@pytest.mark.slow
def test_the_map_is_read_at_its_times(experiment: ModuleType, digits: Dataset, tmp_path: Path) -> None:
    cells = experiment.train_map(digits, (4,), (0.0, 0.5), (2, 6), 2, tmp_path)
    rates, recipe = np.array([0.0, 0.0, 0.5, 0.5]), Recipe(epochs=6)
    alone = train_many(MLP((49, 4, 4, 10)), recipe, digits, [0, 1, 0, 1], sweep={"dropout": rates}).history
    expected = 100 * (1 - alone["test_accuracy"][:, [2, 6]]).reshape(2, 2, 2)
    np.testing.assert_allclose(cells.error[0], expected, atol=1e-4)
    gap = (alone["valid_loss"] - alone["train_loss"])[:2, [2, 6]]
    np.testing.assert_allclose(cells.gap[0], gap, rtol=1e-5)
    assert (cells.error[0, 0] != cells.error[0, 1]).any()


def test_stopped_is_the_epoch_of_the_lowest_validation_loss(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the whole training, of which one that stops is a part, bit for bit."""
    kept: dict[str, Swept] = {}
    run = experiment.run
    monkeypatch.setattr(experiment, "run", lambda *args, **options: kept.setdefault(args[0], run(*args, **options)))
    monkeypatch.setattr(experiment, "WRONG", 0.9)
    monkeypatch.setattr(experiment, "PATIENCE", 2)
    error = experiment.train_both(digits, 16, 40, 2, tmp_path)
    stops, whole = np.zeros((2, 2), int), kept["to the end"].history
    for rate, seed in np.ndindex(2, 2):
        loss, wrong = whole["valid_loss"][rate, seed], 100 * (1 - whole["test_accuracy"][rate, seed])
        best = [int(loss[: epoch + 1].argmin()) for epoch in range(41)]
        stop = next((epoch for epoch in range(41) if epoch - best[epoch] >= 2), 40)
        stops[rate, seed] = stop
        np.testing.assert_allclose(error[rate, :, seed], [wrong[-1], wrong[best[stop]]], atol=1e-4)
    assert (stops[0] < 40).all()
    assert [setting["dropout"] for setting in kept["patience"].settings] == [0.0, experiment.HALF]


def test_the_mean_over_masks_is_the_layer(
    experiment: ModuleType, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And would not be if a unit were kept a little more often than its scale says."""
    furthest = experiment.layer_means(digits, 2)
    assert (furthest > 0).all() and (furthest <= experiment.ERRORS).all()
    honest = experiment.MLP.activations

    def generous(model: MLP, params: Any, x: Any, key: Any = None) -> Any:
        layers = honest(model, params, x, key)
        return layers if key is None else [layer * np.float32(1.1) for layer in layers]

    monkeypatch.setattr(experiment.MLP, "activations", generous)
    assert (experiment.layer_means(digits, 1) > experiment.ERRORS).all()


def test_least_squares_agree_over_all_masks(experiment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = experiment.least_squares(2)
    assert linear.by_masks.shape == (2, len(experiment.LINEAR_RATES), experiment.INPUTS)
    assert (experiment.apart(linear.by_masks, linear.by_ridge) <= experiment.AGREE).all()
    assert (linear.loss_off <= experiment.AGREE).all()
    assert (np.abs(linear.by_masks[:, 0] - linear.by_masks[:, -1]).max(axis=1) > 0.1).all()
    fit = experiment.ridge_fit
    monkeypatch.setattr(experiment, "ridge_of_dropout", lambda x, rate: rate * np.mean(x**2, axis=0))
    monkeypatch.setattr(experiment, "ridge_fit", lambda x, y, strength: fit(x, y, 0.99 * strength))
    wrong = experiment.least_squares(1)
    assert (wrong.loss_off[:, 1:] > 1e-4).all()
    assert (experiment.apart(wrong.by_masks, wrong.by_ridge) > 1e-3).all()


def test_rank_correlation_is_of_widths_and_times_at_every_rate(experiment: ModuleType) -> None:
    gap = np.random.default_rng(0).normal(size=(3, 4, 2))  # [widths, seeds, times]
    gain = np.stack([gap**3, gap + 5, -gap, np.exp(gap)], axis=1)
    np.testing.assert_allclose(experiment.rank_correlation(gap, gain), np.full(4, 0.5))
    np.testing.assert_allclose(experiment.rank_correlation(gap, gain[:, :2]), np.ones(4))


def test_experiment_keeps_the_contract(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    test = rng.uniform(2, 3, (2, 2, 2, 3))
    test[:, :, 1] = test[:, :, 0] - np.array([[-1.0, 0.5], [0.25, 2.0]])[..., None] + [0.0, 0.01, -0.01]  # gains
    found = {"train": np.zeros_like(test), "test": test}
    error = rng.uniform(9, 10, (2, 3, 3, 2))
    error[0, :, :, 0] = [[10] * 3, [12] * 3, [11] * 3]
    error[1, :, :, 1] = [[10] * 3, [7] * 3, [6] * 3]
    cells = experiment.Map((16, 64), experiment.RATES[::2], (5, 20), error, rng.uniform(0, 1, (2, 3, 2)))
    both = np.array([[[12.0] * 3, [9.0] * 3], [[10.0] * 3, [8.5] * 3]])
    monkeypatch.setattr(experiment, "load", lambda _: digits)
    monkeypatch.setattr(experiment, "MASKS", 100)
    monkeypatch.setattr(experiment, "train_published", lambda *_: found)
    monkeypatch.setattr(experiment, "train_map", lambda *_: cells)
    monkeypatch.setattr(experiment, "train_both", lambda *_: both)
    (tmp_path / "checkpoints").mkdir()
    run_experiment("dropout", "", experiment.body, 3, 3, ["--quick", "--out", str(tmp_path)], needs=MNIST)
    assert not (tmp_path / "checkpoints").exists()
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}

    def measured(name: str) -> float:
        return float(claims[name]["measured"])

    above = experiment.ABOVE
    own = claims[f"course network, course training: {above}"]
    assert (own["statistic"], own["relation"]) == ("paired difference", None)
    assert measured(f"ISLR network, course training: {above}") == pytest.approx(0.25)
    assert measured("gain by dropout, in ISLR's network above the course's") == pytest.approx(1.375)
    assert measured("gain by dropout, in ISLR's training above the course's") == pytest.approx(1.625)
    first, last = (claims[f"map, {where}: {above} 0.4"] for where in ("16 units, 5 epochs", "64 units, 20 epochs"))
    assert (first["measured"], first["relation"]) == (pytest.approx(-2), "below")
    assert (last["measured"], last["relation"]) == (pytest.approx(3), "above")
    gains_at_last = error[1, 0, :, 1] - error[1, 1, :, 1] - error[0, 0, :, 1] + error[0, 1, :, 1]
    assert measured("map, after 20 epochs: gain by dropout 0.4, 64 units above 16") == pytest.approx(
        gains_at_last.mean()
    )
    assert measured("together: test error, neither above dropout") == 2
    assert measured("together: test error, neither above early stopping") == 3
    assert measured("together: test error, early stopping above both") == 0.5
    assert measured("together: gain by early stopping, without dropout above with") == 1.5
    assert [claim["name"] for claim in claims.values() if claim["theorem"]] == [
        claim.name for claim in experiment.claims_of_theory(np.zeros(2), experiment.least_squares(2))[:3]
    ]

    with pytest.raises(SystemExit, match="2"):
        run_experiment(
            "dropout", "", experiment.body, 3, 3, ["--quick", "--seeds", "1", "--out", str(tmp_path)], needs=MNIST
        )

    full: dict[str, Claim] = {claim.name: claim for claim in experiment.claims_of_published(found, published=True)}
    assert [full[f"course as published: test accuracy {which} dropout"].published for which in ("without", "with")] == [
        97.77,
        96.60,
    ]
    assert full["ISLR as published: test error with dropout"].published == 1.8
    assert full[f"course network, course training: {above}"].verdict == "holds"  # -1, below 0
    assert full[f"ISLR network, ISLR training: {above}"].verdict == "holds"
    assert full[f"course network, ISLR training: {above}"].verdict == "new"
    figure = experiment.draw(found, cells, experiment.least_squares(1), both, published=True)
    labelled(figure)
    assert "published" in texts(figure)
    labelled(experiment.draw_map(cells))
    assert (tmp_path / "dropout_map.png").stat().st_size > 10_000
