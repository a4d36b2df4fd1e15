"""The experiment on losses, on few digits: what it keeps, its claims against known numbers."""

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import MLP, Dataset, Recipe, Split, UserError, train_many
from mlpjax.claims import MNIST, run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("mnist_losses")


def test_experiment_trains_draws_and_states(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, groups = experiment.train, {}
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "train", lambda *args: groups.setdefault("all", train(*args)))
    run_experiment("mnist_losses", "", experiment.body, 2, 2, ["--quick", "--out", str(tmp_path)], needs=MNIST)

    cost = {group: history["train_loss"] for group, history in groups["all"].items()}
    np.testing.assert_array_equal(cost[experiment.MSE][:, 0], cost[experiment.SUMMED][:, 0])
    assert (cost[experiment.SUMMED][:, 1] < cost[experiment.MSE][:, 1]).all()
    assert (cost[experiment.SMALL][:, 0] != cost[experiment.SUMMED][:, 0]).all()

    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert set(experiment.GROUPS) <= {name.partition(":")[0] for name in claims}
    assert {claim["seeds"] + claim["left_out"] for claim in claims.values()} == {2}
    assert results["config"]["examples"] == 200
    assert set(results["config"]["epochs"].values()) == {10}
    assert results["command"].endswith("--seeds 2 --quick")
    assert (tmp_path / "mnist_losses.png").stat().st_size > 10_000


def test_a_killed_run_goes_on_where_it_was_and_keeps_nothing_when_it_is_done(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_many, trained = experiment.train_many, []
    two = {name: experiment.GROUPS[name] for name in (experiment.MSE, experiment.CROSS_ENTROPY)}
    monkeypatch.setattr(experiment, "GROUPS", two)

    def killed(model: Any, recipe: Any, *args: Any, **options: Any) -> Any:
        if recipe.loss == "cross_entropy":
            raise KeyboardInterrupt
        return train_many(model, recipe, *args, **options)

    def watched(*args: Any, store: Any, **options: Any) -> Any:
        trained.append(store.stacked() is None)
        return train_many(*args, store=store, **options)

    monkeypatch.setattr(experiment, "train_many", killed)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(coarse_digits, 2, 2, tmp_path)
    monkeypatch.setattr(experiment, "train_many", watched)
    other = dataclasses.replace(coarse_digits, train=Split(255 - coarse_digits.train.x, coarse_digits.train.y))
    for dataset, epochs, what in ((coarse_digits, 3, "epochs"), (other, 2, "data")):
        with pytest.raises(UserError, match=f"holds results for {what} .*, not "):
            experiment.train(dataset, 2, epochs, tmp_path)
    trained.clear()
    experiment.train(coarse_digits, 2, 2, tmp_path)
    assert trained == [False, True]
    assert not [*tmp_path.iterdir()]


PRINTED = """
mse 90.78 91.34 .0881 .0852 .0812 .0763 .0709 .0502 .0340 .0220 .0171
scratch 94.69 94.53 .06567 .04299 .03255 .02692 .02366 .01728 .01335 .00945
crossentr 99.00 97.67 .4951 .3739 .3302 .3037 .2860 .2255 .1606 .0842 .0434
"""
"""What the notebooks print: training and test accuracy, the costs after epochs 1 to 5, 10, 20, 50 and, of two, 100."""


def histories_of(experiment: ModuleType, accuracies: dict[str, float], seeds: int = 16) -> dict[str, Any]:
    """What each group would have recorded, had every seed come to what was printed, or to the given test accuracy."""
    rng = np.random.default_rng(0)
    histories = {}
    for name, group in experiment.GROUPS.items():
        cost = rng.normal(0, 1e-9, (seeds, group.epochs + 1))
        for epoch, printed in group.cost.items():
            cost[:, epoch] += printed
        accuracy = {
            f"{split}_accuracy": np.tile(accuracies.get(name, group.accuracy.get(split, 50.0) / 100), (seeds, 2))
            + rng.normal(0, 1e-9, (seeds, 2))
            for split in ("train", "test")
        }
        histories[name] = {"train_loss": cost, **accuracy}
    return histories


def test_every_printed_figure_is_judged_and_is_what_the_notebooks_print(experiment: ModuleType) -> None:
    claims = {claim.name: claim for claim in experiment.claims_of(histories_of(experiment, {}), published=True)}
    groups = (experiment.MSE, experiment.SMALL, experiment.CROSS_ENTROPY)
    notebooks = dict(zip(groups, (line.split() for line in PRINTED.strip().splitlines()), strict=True))
    for group, (notebook, *figures) in notebooks.items():
        names = ["train accuracy", "test accuracy"]
        names += [f"cost after epoch {epoch}" for epoch in (1, 2, 3, 4, 5, 10, 20, 50, 100)]
        for name, printed in zip(names, map(float, figures), strict=False):
            claim = claims[f"{group}: {name}"]
            # The notebook on cross-entropy divides the sum over 600 batches by 599.
            scale = 599 / 600 if "cost" in name and notebook == "crossentr" else 1
            assert claim.published == pytest.approx(printed * scale, rel=1e-12)
            assert claim.verdict == "holds"
            assert notebook in claim.source
    judged = [claim for claim in claims.values() if claim.relation == "about"]
    assert len(judged) == sum(len(figures) - 1 for figures in notebooks.values())
    # Half of the last digit: the costs of 784-50-10 have five.
    assert claims[f"{experiment.SMALL}: cost after epoch 1"].tolerance == pytest.approx(5e-6, rel=1e-2)
    assert claims[f"{experiment.MSE}: cost after epoch 1"].tolerance == pytest.approx(5e-5, rel=1e-2)


def test_a_cost_that_was_not_printed_fails(experiment: ModuleType) -> None:
    histories = histories_of(experiment, {})
    histories[experiment.MSE]["train_loss"][:, 3] += 2e-4
    claims = {claim.name: claim for claim in experiment.claims_of(histories, published=True)}
    assert claims[f"{experiment.MSE}: cost after epoch 3"].verdict == "fails"
    assert claims[f"{experiment.MSE}: cost after epoch 4"].verdict == "holds"


def test_the_error_summed_over_classes_takes_the_steps_of_the_mean_at_ten_times_the_rate(
    experiment: ModuleType, coarse_digits: Dataset
) -> None:
    """By an own loss, summed as in the notebook, at its learning rate of 0.1."""
    group = experiment.GROUPS[experiment.SMALL]
    model = MLP((49, group.hidden, 10), "sigmoid", group.output, initializer="normal", scale=0.1)

    def summed(outputs: Any, labels: Any) -> Any:
        return jnp.sum((outputs - jax.nn.one_hot(labels, 10)) ** 2, axis=1)

    shared = {"batch_size": 100, "epochs": 3}
    ours, notebook = (
        train_many(model, Recipe(loss, "sgd", learning_rate=rate, **shared), coarse_digits, range(2))
        for loss, rate in ((group.loss, group.learning_rate), (summed, 0.1))
    )
    for one, other in zip(*map(jax.tree.leaves, (ours.params, notebook.params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_gap_and_its_share_by_hand(experiment: ModuleType) -> None:
    accuracies = {experiment.MSE: 0.90, experiment.SUMMED: 0.96, experiment.CROSS_ENTROPY: 0.98}
    *_, gap, rest, share = experiment.claims_of(histories_of(experiment, accuracies), published=False)
    assert (gap.measured, rest.measured, share.measured) == pytest.approx((8.0, 2.0, 75.0), rel=1e-5)
    assert {gap.verdict, rest.verdict, share.verdict} == {"holds"}
    assert gap.chance == 1
    alike = dict.fromkeys(accuracies, 0.9)
    histories = histories_of(experiment, alike)
    histories[experiment.CROSS_ENTROPY] = histories[experiment.MSE]
    *_, gap, rest, share = experiment.claims_of(histories, published=False)
    assert {gap.verdict, rest.verdict, share.verdict} == {"undecided"}
    assert (share.measured, share.left_out) == (None, 16)  # of no gap there is no share


def test_one_seed_is_refused(experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seeds 1: give at least 2"):
        experiment.settle(coarse_digits, 1, 1, tmp_path, published=False)
