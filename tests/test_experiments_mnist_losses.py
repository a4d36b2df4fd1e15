"""The experiment on losses, on few digits: what it keeps, its claims against known numbers."""

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import Dataset, Split, UserError, load
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("mnist_losses")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """200 and 100 digits."""
    whole = load("mnist5k")
    train, test = (Split(split.x[:n], split.y[:n]) for split, n in ((whole.train, 200), (whole.test, 100)))
    return Dataset("few", train, Split(train.x[:0], train.y[:0]), test, classes=10)


def test_experiment_trains_draws_and_states(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, groups = experiment.train, {}
    monkeypatch.setattr(experiment, "load", lambda _: digits)
    monkeypatch.setattr(experiment, "train", lambda *args: groups.setdefault("all", train(*args)))
    run_experiment("mnist_losses", "", experiment.body, 2, 2, ["--quick", "--out", str(tmp_path)], full_mnist=True)

    cost = {group: history["train_loss"] for group, history in groups["all"].items()}
    np.testing.assert_array_equal(cost[experiment.MSE][:, 0], cost[experiment.CONTROL][:, 0])
    assert (cost[experiment.CONTROL][:, 1] < cost[experiment.MSE][:, 1]).all()

    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert set(experiment.COLOURS) <= {name.partition(":")[0] for name in claims}
    assert {claim["seeds"] for claim in claims.values()} == {2}
    assert (results["config"]["examples"], results["config"]["epochs"]) == (200, 10)
    assert results["command"].endswith("--seeds 2 --quick")
    assert (tmp_path / "mnist_losses.png").stat().st_size > 10_000


def test_a_killed_run_goes_on_where_it_was_and_keeps_nothing_when_it_is_done(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_many, trained = experiment.train_many, []

    def killed(model: Any, recipe: Any, *args: Any, **options: Any) -> Any:
        if recipe.loss == "cross_entropy":
            raise KeyboardInterrupt
        return train_many(model, recipe, *args, **options)

    def watched(*args: Any, store: Any, **options: Any) -> Any:
        trained.append(store.stacked() is None)
        return train_many(*args, store=store, **options)

    monkeypatch.setattr(experiment, "train_many", killed)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(digits, 2, 2, tmp_path)
    monkeypatch.setattr(experiment, "train_many", watched)
    other = dataclasses.replace(digits, train=Split(255 - digits.train.x, digits.train.y))
    for dataset, epochs, what in ((digits, 3, "epochs"), (other, 2, "data")):
        with pytest.raises(UserError, match=f"holds results for {what} .*, not "):
            experiment.train(dataset, 2, epochs, tmp_path)
    trained.clear()
    experiment.train(digits, 2, 2, tmp_path)
    assert trained == [False, True]
    assert not [*tmp_path.iterdir()]


def test_the_gap_and_its_share_by_hand(experiment: ModuleType) -> None:
    accuracies = {experiment.MSE: 0.90, experiment.CONTROL: 0.96, experiment.CROSS_ENTROPY: 0.98}
    groups = {
        group: {f"{split}_accuracy": np.full((3, 2), value) for split in ("train", "test")}
        for group, value in accuracies.items()
    }
    *_, gap, rest, share = experiment.claims_of(groups, published=False)
    assert (gap.measured, rest.measured, share.measured) == pytest.approx((8.0, 2.0, 75.0))
    assert gap.verdict == "holds"


def test_one_seed_is_refused(experiment: ModuleType, digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seeds 1: give at least 2"):
        experiment.settle(digits, 1, 1, tmp_path, published=False)
