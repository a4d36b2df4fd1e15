"""The experiment on ISLR's table, on few coarse digits: what it chooses, counts and states."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import Dataset, Split, Trained
from mlpjax.claims import MNIST, run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("islr_table")


@pytest.mark.slow
def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices, found, chosen = experiment.choose, experiment.train, {}
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(
        experiment, "STRENGTHS", {experiment.RIDGE: (1.0, 0.5, 1.0, 1e-4), experiment.LASSO: (1.0, 1e3)}
    )
    monkeypatch.setattr(experiment, "choose", lambda *args: chosen.setdefault("choices", choices(*args)))
    monkeypatch.setattr(experiment, "train", lambda *args: chosen.setdefault("found", found(*args)))
    train_many, known = experiment.train_many, dict[Any, Trained]()

    def few_programs(model: Any, recipe: Any, *args: Any, **options: Any) -> Trained:
        """One training for all networks of the same layers, but for the lasso's."""
        name = model.widths, callable(recipe.optimizer)
        if name not in known:
            known[name] = train_many(model, recipe, *args, **options)
        return known[name]

    monkeypatch.setattr(experiment, "train_many", few_programs)
    run_experiment("islr_table", "", experiment.body, 2, 2, ["--quick", "--out", str(tmp_path)], needs=MNIST)

    choice = chosen["choices"][experiment.RIDGE]
    assert choice.strengths == (0.5, 1e-4)
    assert choice.best == choice.strengths[int(choice.error.mean(axis=1).argmin())]
    # Strong as it is, the lasso leaves no weight; nothing else makes a zero.
    assert chosen["choices"][experiment.LASSO].zeros.tolist() == [[100, 100]]
    zeros = {name: experiment.zeros(trained) for name, trained in chosen["found"].items()}
    assert [name for name, share in zeros.items() if (share > 0).any()] == [experiment.LASSO]

    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["lasso: weights that are exactly 0"]["measured"] == 100
    test = chosen["found"][experiment.DROPOUT].history["test_accuracy"][:, -1].astype(float)
    assert claims["dropout: test error"]["measured"] == pytest.approx(100 * (1 - test.mean()))
    assert claims["dropout: test error"]["published"] is None
    gap = claims["test error: no regularisation above dropout"]
    assert gap["statistic"] == "paired difference"
    assert not (tmp_path / "checkpoints").exists()
    assert (tmp_path / "islr_table.png").stat().st_size > 10_000

    full = experiment.claims_of(chosen["found"], chosen["choices"], 12.7, published=True)
    stated = {claim.name.partition(":")[0]: claim.published for claim in full if claim.relation == "at most"}
    assert stated == {"ridge": 2.3, "dropout": 1.8, "logistic regression": 7.2, "linear discriminant analysis": 12.7}
    figure = experiment.draw(chosen["found"], chosen["choices"], 12.7, True)
    labelled(figure)
    assert "published" in texts(figure)


def test_digits_to_choose_on_are_held_out_of_training(experiment: ModuleType, coarse_digits: Dataset) -> None:
    held = experiment.hold_out(coarse_digits, 50)
    assert (len(held.train.y), len(held.valid.y)) == (150, 50)
    train, valid = ([row.tobytes() for row in split.x] for split in (held.train, held.valid))
    assert sorted(train + valid) == sorted(row.tobytes() for row in coarse_digits.train.x)
    np.testing.assert_array_equal(held.test.x, coarse_digits.test.x)


def test_only_exact_zeros_of_weights_are_counted(experiment: ModuleType) -> None:
    params = {"dense_0": {"kernel": np.array([[[0.0, 1e-9], [2, 0]]] * 2), "bias": np.zeros((2, 2))}}
    assert experiment.zeros(Trained(np.arange(2), params, {})).tolist() == [50, 50]


def test_discriminant_analysis_is_that_of_a_shared_gaussian(experiment: ModuleType) -> None:
    """Beside the closed form: the nearest mean in the metric of the pooled covariance, with the prior."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 60).astype(np.int32)
    x = rng.normal([[0, 0], [90, 20], [40, 80]], 30, (60, 3, 2)).transpose(1, 0, 2).reshape(180, 2).clip(-99, 156) + 99
    split = Split(x.astype(np.uint8), y)
    dataset = Dataset("blobs", split, split, split, classes=3)
    pixels = split.x / 255
    means = np.stack([pixels[y == k].mean(axis=0) for k in range(3)])
    within = pixels - means[y]
    gaps = pixels[:, None] - means
    distance = np.einsum("nki,ij,nkj->nk", gaps, np.linalg.inv(within.T @ within / 180), gaps)
    expected = 100 * np.mean(distance.argmin(axis=1) != y)
    assert experiment.discriminant_error(dataset) == pytest.approx(expected)


def test_a_seed_that_diverged_is_left_out_of_its_pair(experiment: ModuleType) -> None:
    def trained(errors: list[float], lost: int | None = None) -> Trained:
        accuracy = 1 - np.array(errors, np.float32)[:, None] / 100
        loss = np.ones_like(accuracy)
        if lost is not None:
            loss[lost] = np.nan
        params = {"dense_0": {"kernel": np.ones((len(errors), 2, 2)), "bias": np.ones((len(errors), 2))}}
        return Trained(np.arange(len(errors)), params, {"test_accuracy": accuracy, "test_loss": loss})

    names = (experiment.DROPOUT, experiment.RIDGE, experiment.LASSO, experiment.LOGISTIC)
    found: dict[str, Any] = {name: trained([2.0, 2.1, 2.2]) for name in names}
    found |= {experiment.PLAIN: trained([3.0, 3.3, 99.0], lost=2)}
    claims = {claim.name: claim for claim in experiment.claims_of(found, {}, 12.7, published=True)}
    gap = claims["test error: no regularisation above dropout"]
    assert (gap.seeds, gap.left_out) == (2, 1)
    np.testing.assert_allclose(gap.measured, 1.1, atol=1e-4)
    np.testing.assert_allclose(claims["dropout: test error"].measured, 2.1, atol=1e-4)
