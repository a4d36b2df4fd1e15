"""The experiment on double descent: what it trains, on little data, and what it states of curves that are known."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import MLP, Dataset, Recipe, Trained, train_many
from mlpjax.claims import run_experiment

RIGHT, WRONG = "right labels", "wrong labels"


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("double_descent")


@pytest.fixture(scope="module")
def noisy(experiment: ModuleType) -> Dataset:
    return experiment.mnist1d(200, 100, 0.135)


def test_data_is_all_trained_on_and_wrong_where_it_should_be(experiment: ModuleType, noisy: Dataset) -> None:
    right = experiment.mnist1d(200, 100, 0.0)
    assert (len(noisy.train.y), len(noisy.valid.y), len(noisy.test.y)) == (200, 0, 100)
    np.testing.assert_array_equal(noisy.train.x, right.train.x)
    assert (noisy.train.y != right.train.y).sum() == 27
    np.testing.assert_array_equal(noisy.test.y, right.test.y)


def test_the_nineteen_widths_are_the_published(experiment: ModuleType) -> None:
    assert experiment.WIDTHS == (2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 47, 61, 80, 104, 135, 177, 230, 300)


@pytest.mark.slow
def test_curves_are_those_of_networks_trained_alone(experiment: ModuleType, noisy: Dataset) -> None:
    """Over widths, over examples with as many steps, and over epochs; a ridge makes a difference."""
    own = Recipe(optimizer="momentum", learning_rate=0.01, momentum=0.9, batch_size=100, epochs=4, eval_every=4)
    model = MLP((40, 5, 5, 10), initializer="torch", bias="same")
    whole = train_many(model, own, noisy, range(2))
    found = experiment.over_widths(noisy, (5,), (0.0, 0.1), 2, 4)
    np.testing.assert_allclose(found.loss[0, 0], whole.history["test_loss"][:, -1], rtol=1e-4)
    np.testing.assert_allclose(found.error[0, 0], whole.error()[:, -1], atol=1)
    np.testing.assert_allclose(found.fit[0, 0], whole.error("train")[:, -1], atol=1)
    assert (abs(found.loss[0, 1] - found.loss[0, 0]) > 1e-3).all()
    half = train_many(model, replace(own, epochs=8, eval_every=8, sample_size=100), noisy, range(2))
    found = experiment.over_examples(noisy, (5,), (100,), 2, 8)
    np.testing.assert_allclose(found.loss[0, 0], half.history["test_loss"][:, -1], rtol=1e-4)
    trained = experiment.over_epochs(noisy, 5, 2, 4)
    np.testing.assert_allclose(trained.history["test_loss"][:, -1], whole.history["test_loss"][:, -1], rtol=1e-4)
    assert trained.error().shape == (2, 5)


@pytest.mark.slow
def test_a_network_goes_on_from_the_narrower_one(experiment: ModuleType, coarse_digits: Dataset) -> None:
    anew, again = (experiment.over_units(coarse_digits, (3, 6), reuse, 2, 2) for reuse in (False, True))
    np.testing.assert_array_equal(anew.loss[0], again.loss[0])
    recipe = Recipe("squared_error", schedule="cosine", batch_size=100, epochs=2, eval_every=2)
    narrow = train_many(MLP((49, 3, 10), initializer="glorot"), recipe, coarse_digits, range(2))
    np.testing.assert_allclose(anew.loss[0], narrow.history["test_loss"][:, -1], rtol=1e-4)
    start = experiment.widened(narrow.params, 6)
    wide = train_many(MLP((49, 6, 10)), recipe, coarse_digits, range(2), start=start)
    np.testing.assert_allclose(again.loss[1], wide.history["test_loss"][:, -1], rtol=1e-4)
    assert (again.loss[1] != anew.loss[1]).all()


def test_new_units_are_small_and_drawn_for_each_seed(experiment: ModuleType) -> None:
    rng = np.random.default_rng(0)
    params = {
        "dense_0": {"kernel": rng.normal(size=(2, 500, 3)), "bias": rng.normal(size=(2, 3))},
        "dense_1": {"kernel": rng.normal(size=(2, 3, 10)), "bias": rng.normal(size=(2, 10))},
    }
    wide = experiment.widened(params, 9)
    np.testing.assert_array_equal(wide["dense_0"]["kernel"][..., :3], params["dense_0"]["kernel"])
    np.testing.assert_array_equal(wide["dense_1"]["kernel"][:, :3], params["dense_1"]["kernel"])
    np.testing.assert_array_equal(wide["dense_1"]["bias"], params["dense_1"]["bias"])
    np.testing.assert_array_equal(wide["dense_0"]["bias"][:, 3:], 0)
    new = wide["dense_0"]["kernel"][..., 3:]
    assert new.std() == pytest.approx(0.1, rel=0.05)
    assert abs(np.corrcoef(new[0].ravel(), new[1].ravel())[0, 1]) < 0.1
    assert wide["dense_1"]["kernel"].shape == (2, 9, 10)


def test_the_peak_that_stands_highest_above_both_sides(experiment: ModuleType) -> None:
    assert experiment.most_prominent(np.array([9.0, 5, 3, 4, 6, 5, 4.5, 4.7, 4.6])) == (2, 4, 6)
    assert experiment.most_prominent(np.array([1.0, 5, 4.9, 2, 3, 1.5])) == (0, 1, 5)


def known(experiment: ModuleType, error: np.ndarray, loss: np.ndarray | None = None) -> object:
    """Curves with these means and a little scatter, of 17 seeds; the last diverged."""
    scatter = 0.01 * np.random.default_rng(0).normal(size=(*error.shape, 17))
    error, loss = error[..., None] + scatter, (error if loss is None else loss)[..., None] + scatter
    return experiment.Curves(error, loss, 0 * error, np.broadcast_to(np.arange(17) == 16, error.shape))


def test_a_double_descent_is_one_and_a_single_is_none(experiment: ModuleType) -> None:
    descends, falls = np.array([60.0, 47, 54, 45]), np.array([60.0, 54, 47, 45])

    def verdicts(labels: str, error: np.ndarray, loss: np.ndarray) -> dict[str, str]:
        claims = experiment.width_claims(labels, (4, 16, 47, 300), known(experiment, error, loss))
        assert all(claim.left_out == 1 for claim in claims)
        return {claim.settles: claim.verdict for claim in claims if claim.settles}

    told = (experiment.DESCENDS, experiment.LOWER)
    assert verdicts(WRONG, descends, descends) == dict.fromkeys(told, "holds")
    assert verdicts(WRONG, falls, descends)[experiment.DESCENDS] == "fails"
    assert verdicts(WRONG, np.array([60.0, 47, 54, 50]), descends)[experiment.LOWER] == "fails"
    assert verdicts(RIGHT, falls, descends) == {experiment.LOSS_ONLY: "holds"}
    assert verdicts(RIGHT, descends, descends) == {experiment.LOSS_ONLY: "fails"}
    assert verdicts(RIGHT, falls, falls) == {experiment.LOSS_ONLY: "fails"}


def test_published_figures_stand_beside_their_own(experiment: ModuleType) -> None:
    widths = (16, 47, 61, 300)
    found = known(experiment, np.array([47.24, 54.05, 54.0, 45.47]), np.array([1.3, 5.7, 5.786, 2.6]))
    claims = {claim.name: claim for claim in experiment.width_claims(WRONG, widths, found)}
    for name in ("width 16: test error", "width 300: test error", "highest test loss"):
        assert claims[f"{WRONG}, {name}" if "width" in name else f"{WRONG}: {name}"].verdict == "holds"
    assert claims[f"{WRONG}: width with the highest test loss"].measured == 61


def test_the_ridge_is_chosen_by_seeds_that_do_not_judge_it(experiment: ModuleType) -> None:
    found = known(experiment, np.array([[48.0, 44], [54, 41]]))  # [widths, ridges]
    weak, strong = experiment.ridge_claims((16, 47), (0.001, 0.003), found)
    assert (weak.verdict, strong.verdict) == ("fails", "holds")
    assert (weak.settles, strong.settles) == ("", experiment.TAMED)
    assert (strong.seeds, strong.left_out) == (8, 9)


def test_the_largest_rise_over_examples_is_judged(experiment: ModuleType) -> None:
    error, loss = np.array([[70.0, 60, 50], [65, 55, 52]]), np.array([[2.0, 1.5, 1.0], [3, 4.5, 4.6]])
    of_error, of_loss = experiment.example_claims((16, 27), (500, 1000, 2000), known(experiment, error, loss))
    assert (of_error.verdict, of_error.name) == (
        "fails",
        "examples: test error of width 27, 2,000 above 1,000 examples",
    )
    assert (of_loss.verdict, of_loss.name) == ("holds", "examples: test loss of width 27, 1,000 above 500 examples")


def test_a_peak_at_the_threshold_is_above_both_sides(experiment: ModuleType) -> None:
    units = (25, 38, 50, 66, 160)
    for loss, verdict in (([3, 4, 5, 4, 2], "holds"), ([3, 4, 5, 6, 7], "fails"), ([5, 4, 3, 2, 1], "fails")):
        *_, last = experiment.unit_claims(experiment.ANEW, units, known(experiment, np.array(loss, float)))
        assert (last.settles, last.verdict) == (experiment.THRESHOLDS[experiment.ANEW], verdict)


def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On curves that are known; the units are those of the scheme that is neither trained alone."""

    def over_units(*_: object) -> object:
        return known(experiment, np.full(4, 2.0) if _[2] else np.full(4, 1.0))

    error = np.stack([[50.0, 40, 30, 35, 32]] * 17) + 0.01 * np.random.default_rng(1).normal(size=(17, 5))
    history = {f"{split}_accuracy": 1 - error / 100 for split in ("train", "test")} | {"test_loss": error}
    trained = Trained(np.arange(17), {"dense_0": {"bias": np.zeros((17, 47))}}, history)
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "mnist1d", lambda *_: coarse_digits)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "over_widths", lambda *_: known(experiment, np.array([[60.0], [47], [54]])))
    monkeypatch.setattr(experiment, "over_epochs", lambda *_: trained)
    monkeypatch.setattr(experiment, "over_examples", lambda *_: known(experiment, np.array([[70.0, 60]])))
    monkeypatch.setattr(experiment, "over_units", over_units)
    drawn = []
    draw = experiment.draw
    monkeypatch.setattr(experiment, "draw", lambda *parts: drawn.append(draw(*parts)) or drawn[0])
    run_experiment("double_descent", "", experiment.body, 17, 17, ["--quick", "--out", str(tmp_path)])
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}
    rises = claims["epochs, width 47: test error after 3 epochs above that after 2"]
    assert (rises["measured"], rises["seeds"]) == (pytest.approx(5, abs=0.02), 9)
    both = claims["weights used again up to the threshold: test loss, 50 units above 66"]
    assert both["measured"] == pytest.approx(1, abs=0.02)
    assert claims[f"{WRONG}, ridge 0.001: test error, width 47 above width 16"]["verdict"] == "fails"
    labelled(drawn[0])
    assert {"over widths; crosses: published", "weights used again"} <= set(texts(drawn[0]).splitlines())
    with pytest.raises(SystemExit):
        run_experiment("double_descent", "", experiment.body, 16, 3, ["--quick", "--out", str(tmp_path)])
