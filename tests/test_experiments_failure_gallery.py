"""The experiment on what networks get wrong: what it plants, counts, ranks and states, on few coarse digits."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from conftest import labelled, labels, load_experiment, texts
from sklearn.metrics import average_precision_score, confusion_matrix

from mlpjax import MLP, Dataset, Recipe, make_keys, sampled_rows, train_many
from mlpjax.claims import MNIST, run_experiment

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("failure_gallery")


def test_the_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With four networks a draw; those of a draw have seeds, planted labels and halves of their own."""
    train, asked = experiment.train, []

    def watched(*args: Any) -> Any:
        asked.append(args)
        return train(*args)

    def small(*_: Any) -> dict[str, tuple[MLP, Recipe]]:
        model, recipe = MLP((49, 8, 10)), Recipe(learning_rate=0.01, batch_size=20, epochs=5, eval_every=5)
        return {experiment.POOR: (model, recipe), experiment.GOOD: (model, recipe)}

    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "networks", small)
    monkeypatch.setattr(experiment, "train", watched)
    monkeypatch.setattr(experiment, "JUDGES", 4)
    monkeypatch.setattr(experiment, "SHARE", 0.1)
    run_experiment("failure_gallery", "", experiment.body, 64, 3, ["--quick", "--out", str(tmp_path)], needs=MNIST)

    (_, _, _, _, seeds, judged), _, first, second = asked
    assert [*seeds] == [0, 1, 2]
    assert judged is coarse_digits.test
    assert {*first[4]}.isdisjoint(second[4])
    for _, _, recipe, noisy, seeds, judged in (first, second):
        planted = noisy.train.y != coarse_digits.train.y
        assert (planted.sum(), recipe.sample_size, len(seeds)) == (20, 100, 4)
        assert judged is noisy.train
    assert (first[3].train.y != second[3].train.y).any()
    results = json.loads((tmp_path / "results.json").read_text())
    names = [claim["name"] for claim in results["claims"]]
    assert not [name for name in names if "people" in name]
    # Both networks are alike here.
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["good network: its errors that the poor one of the same seed makes, too"]["measured"] == 100
    assert claims["poor network: test error"]["published"] is None
    for name in ("", "_wrong", "_candidates"):
        assert (tmp_path / f"failure_gallery{name}.png").stat().st_size > 10_000


def test_networks_are_asked_what_they_see_and_how_sure_they_are(experiment: ModuleType, coarse_digits: Dataset) -> None:
    model, recipe = MLP((49, 8, 10)), Recipe(learning_rate=0.01, batch_size=20, epochs=5, eval_every=5)
    judged = experiment.train("few", model, recipe, coarse_digits, range(3), coarse_digits.test)
    params = train_many(model, recipe, coarse_digits, range(3)).params
    x, y = coarse_digits.test.x.reshape(-1, 49) / 255, coarse_digits.test.y
    for network in range(3):
        one = jax.tree.map(lambda leaf, network=network: leaf[network].astype(float), params)
        hidden = np.maximum(x @ one["dense_0"]["kernel"] + one["dense_0"]["bias"], 0)
        odds = np.exp(hidden @ one["dense_1"]["kernel"] + one["dense_1"]["bias"])
        np.testing.assert_array_equal(judged.predicted[network], odds.argmax(axis=1))
        expected = odds[np.arange(len(y)), y] / odds.sum(axis=1)
        np.testing.assert_allclose(judged.confidence[network], expected, atol=1e-5)


def test_a_label_is_judged_by_those_that_did_not_see_it(
    experiment: ModuleType, coarse_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up networks, which know more of what they did not see; every figure is counted anew."""
    monkeypatch.setattr(experiment, "SHARE", 0.1)
    confidence, predicted = RNG.uniform(size=(16, 200)).astype(np.float32), RNG.integers(0, 10, (16, 200))
    seen, planted = np.zeros((16, 200), bool), np.zeros(200, bool)

    def made_up(*args: Any) -> Any:
        noisy, seeds = args[3:5]
        planted[:] = noisy.train.y != coarse_digits.train.y
        for row, seed in enumerate(seeds):
            seen[row, np.asarray(sampled_rows(make_keys(seed), 200, 100))] = True
        confidence[~seen & planted] *= 0.7
        return experiment.Judged(predicted, confidence)

    monkeypatch.setattr(experiment, "train", made_up)
    planting = experiment.plant(coarse_digits, MLP((49, 10)), Recipe(), 3)
    assert planted.sum() == 20
    assert (seen.sum(axis=1) == 100).all()

    def mean(chosen: np.ndarray) -> np.ndarray:
        return np.array([confidence[chosen[:, row], row].mean() for row in range(200)])

    unseen = mean(~seen)
    found = planting.found
    score = average_precision_score
    assert found[experiment.UNSEEN].average_precision == pytest.approx(score(planted, -unseen))
    assert found[experiment.SEEN].average_precision == pytest.approx(score(planted, -mean(seen)))
    alone = [score(planted[~own], -sure[~own]) for own, sure in zip(seen, confidence, strict=True)]
    assert found[experiment.ONE].average_precision == pytest.approx(np.mean(alone))
    first = planted[np.argsort(unseen)[:20]]
    assert found[experiment.UNSEEN].planted == pytest.approx(100 * first.mean())
    assert found[experiment.UNSEEN].precision[16] == pytest.approx(100 * first.mean())
    assert found[experiment.UNSEEN].recall[-1] == pytest.approx(100)
    doubted = unseen < 0.5
    assert planting.doubted == pytest.approx([100 * planted[doubted].mean(), 100 * doubted[planted].mean()])
    np.testing.assert_allclose(planting.confidence, np.where(planted, np.nan, unseen), rtol=1e-5)
    np.testing.assert_array_equal(planting.votes.sum(axis=1), (~seen).sum(axis=0))


def plantings(experiment: ModuleType, draws: int = 3) -> Any:
    """Made up: the more of the networks judge, the better."""

    def found(level: float) -> Any:
        curve = np.full((draws, 33), 100 * level)
        each = level + 0.01 * np.arange(draws)
        return experiment.Found(each, 100 * each, curve, np.tile(np.linspace(1, 100, 33), (draws, 1)))

    ways = {experiment.UNSEEN: found(0.9), experiment.ONE: found(0.7), experiment.SEEN: found(0.8)}
    return experiment.Planting(ways, np.full((draws, 2), 50.0), np.ones((draws, 4)), np.ones((draws, 4, 10)))


def test_what_is_wrong_is_counted(experiment: ModuleType) -> None:
    """10,000 images of class 0: the good network errs on rows 900 to 999, of which each of two seeds gets one right."""
    y = np.zeros(10_000, int)
    good, poor = np.zeros((2, 10_000), int), np.zeros((2, 10_000), int)
    good[:, 900:1000], poor[:, 300:980], good[0, 900], good[1, 999] = 1, 2, 0, 0
    sure = np.where(np.isin(np.arange(10_000), experiment.CONFIRMED[:12]), 0.1, 0.9) * np.ones((2, 1))
    judged = {experiment.POOR: experiment.Judged(poor, sure), experiment.GOOD: experiment.Judged(good, sure)}
    claims = {
        claim.name: claim
        for claim in experiment.claims_of(judged, y, plantings(experiment), True, experiment.CONFIRMED)
    }
    assert claims["poor network: test error"].measured == pytest.approx(6.8)
    assert claims["poor network: test error"].published == 7
    assert claims["good network: test error"].measured == pytest.approx(0.99)
    assert claims["poor network: test images that all 2 get wrong"].measured == 680
    assert claims["good network: test images that all 2 get wrong"].measured == 98
    assert claims["test images that all 4 networks get wrong"].measured == 79
    assert claims["good network: its errors that all 2 make"].measured == pytest.approx(100 * 98 / 99)
    shared = claims["good network: its errors that the poor one of the same seed makes, too"]
    np.testing.assert_allclose(shared.values[0], [100 * 79 / 99, 100 * 80 / 99])
    confirmed = [claim for name, claim in claims.items() if "people confirmed" in name]
    # Those that are not doubted most tie with all others, and are no candidates.
    assert [claim.measured for claim in confirmed] == pytest.approx([80, 80])
    gap = claims["planted labels: average precision, all networks that did not see the label above one of them"]
    assert gap.measured == pytest.approx(0.2)
    assert gap.seeds == 3


def test_as_many_labels_as_were_published_are_wrong(experiment: ModuleType) -> None:
    assert len({*experiment.CONFIRMED}) == 15


def test_the_figure_shows_the_mean_confusions(experiment: ModuleType) -> None:
    y = RNG.integers(0, 10, 300)
    judged = {
        name: experiment.Judged(np.where(RNG.uniform(size=(2, 300)) < 0.8, y, RNG.integers(0, 10, (2, 300))), None)
        for name in (experiment.POOR, experiment.GOOD)
    }
    figure = experiment.draw(judged, y, plantings(experiment), 10)
    labelled(figure)
    assert labels(figure) == {experiment.UNSEEN, experiment.ONE, experiment.SEEN}
    for axes, of in zip(figure.axes, judged.values(), strict=False):
        expected = sum(confusion_matrix(y, each, labels=range(10)) for each in of.predicted) / 2
        shown = np.asarray(axes.images[0].get_array().filled(-1))
        np.testing.assert_allclose(shown, np.where(np.eye(10), -1, expected))
    assert "good network: error" in texts(figure)


def test_the_gallery_names_true_and_predicted_class(experiment: ModuleType, coarse_digits: Dataset) -> None:
    """Of ten networks seven say 4, two say the label and one says 9; of another image all say the label."""
    test = coarse_digits.test
    row = int(np.flatnonzero(test.y == 2)[0])
    counted = 10 * np.eye(10, dtype=int)[test.y]
    counted[row] = [0, 0, 2, 0, 7, 0, 0, 0, 0, 1]
    figure = experiment.draw_gallery(test, np.array([row]), counted, "Doubted")
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["t: 2  p: 4\nwrong in 80 %\nof seeds"]
    assert "Doubted" in texts(figure)
    assert "No image was misclassified." in texts(experiment.draw_gallery(test, np.zeros(0, int), counted, "None"))
