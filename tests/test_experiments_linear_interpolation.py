"""The interpolation experiment, on few small networks: its definitions by hand, and that it runs."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import MLP, Dataset, Recipe, Split, load, train_many
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("linear_interpolation")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """200 and 50 digits of 49 coarse pixels each."""
    whole = load("mnist5k")

    def few(split: Split, count: int) -> Split:
        coarse = split.x[:count].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).astype(np.uint8)
        return Split(coarse.reshape(count, 49), split.y[:count])

    return Dataset("few", few(whole.train, 200), few(whole.valid, 0), few(whole.test, 50), classes=10)


def test_the_barrier_is_the_largest_rise_above_any_earlier_loss(experiment: ModuleType) -> None:
    curves = np.array([[[2.0, 3.0, 1.0, 1.5, 0.05], [2.0, 1.0, 0.5, 0.08, 0.0805], [2.0, np.nan, 1.0, 1.0, 0.0]]])
    outcome = experiment.Outcome(curves, np.ones((1, 3)))
    # By the definition: over all pairs.
    wanted = [max(max(c[j] - c[i] for j in range(5) for i in range(j + 1)), 0) for c in curves[0][:2]]
    np.testing.assert_allclose(outcome.barrier[0, :2], wanted)
    np.testing.assert_allclose(outcome.barrier[0, :2], [1, 0.0005])
    np.testing.assert_allclose(outcome.lowest[0, :2], [0, 0.75])
    assert outcome.monotonic.tolist() == [[False, True, False]]
    assert outcome.trained.all()
    assert not experiment.Outcome(curves + 1, np.ones((1, 3))).trained.any()


def test_the_line_runs_from_the_start_to_where_training_ended(experiment: ModuleType, digits: Dataset) -> None:
    model, rates = MLP((49, 12, 10)), (0.05, 0.5)
    found = experiment.train(digits, model, "sgd", rates, seeds=3, epochs=4)
    assert found.loss.shape == (2, 3, experiment.POINTS)
    for i, rate in enumerate(rates):
        recipe = Recipe(optimizer="sgd", learning_rate=rate, batch_size=64, epochs=4, eval_every=4)
        trained = train_many(model, recipe, digits, range(3))
        np.testing.assert_allclose(found.loss[i][:, [0, -1]], trained.history["train_loss"], rtol=1e-4)
    assert (found.distance[1] > found.distance[0]).all()
    assert (found.distance > 0).all()


def test_the_thresholds_are_those_of_lucas_et_al(experiment: ModuleType) -> None:
    """Delta-monotonic to 0.001 nats, trained to 0.1 nats: just below and just above."""
    assert (experiment.MONOTONIC, experiment.TRAINED) == (1e-3, 0.1)
    curves = np.array([[[2.0, 0.05, 0.0509], [2.0, 0.05, 0.0511], [2.0, 1.0, 0.0999], [2.0, 1.0, 0.1001]]])
    outcome = experiment.Outcome(curves, np.ones((1, 4)))
    assert outcome.monotonic.tolist() == [[True, False, True, True]]
    assert outcome.trained.tolist() == [[True, True, True, False]]


def lines(experiment: ModuleType, heights: list[list[float]], distances: list[list[float]], end: float = 0.0) -> Any:
    """Losses that fall from 2 to the end with a hump of so many nats on the way, [rates, seeds]."""
    alphas = np.linspace(0, 1, 51)
    humps = 4 * np.asarray(heights)[..., None] * np.sin(np.pi * alphas)
    return experiment.Outcome(2 * (1 - alphas) + end * alphas + humps, np.asarray(distances))


def test_networks_are_matched_with_those_that_went_as_far(experiment: ModuleType) -> None:
    """Three seeds: SGD at distances 0.5 (falls) and 2 (rises in the second), Adam at 0.6 (falls) and 2.2 (rises)."""
    sgd = lines(experiment, [[0, 0, 0], [0, 2, 0]], [[0.5, 0.5, 0.5], [2, 2, 9]])
    adam = lines(experiment, [[0, 0, 0], [2, 2, 2]], [[0.6, 0.6, 0.6], [2.2, 2.2, 2.2]])
    near, far = (experiment.match_distance(sgd, adam, *band) for band in experiment.BANDS.values())
    assert near.pairs.tolist() == [1, 1, 1]
    assert near.sgd.tolist() == near.adam.tolist() == [100, 100, 100]
    assert far.pairs.tolist() == [1, 1, 0]  # 9 is no match for 2.2
    np.testing.assert_array_equal(far.sgd, [100, 0, np.nan])
    np.testing.assert_array_equal(far.adam, [0, 0, np.nan])
    sgd.loss[1, 0] += 1  # not trained, and so no partner
    assert experiment.match_distance(sgd, adam, 1, np.inf).pairs.tolist() == [0, 1, 0]
    sgd.distance[1, 0], sgd.loss[1, 0] = np.nan, np.nan  # diverged
    assert experiment.match_distance(sgd, adam, 1, np.inf).pairs.tolist() == [0, 1, 0]


def test_claims_follow_from_the_curves(experiment: ModuleType) -> None:
    """SGD falls all the way; Adam goes further and has a barrier; at one rate it never got trained."""
    seeds = 6
    distances = np.linspace(0.99, 1.01, seeds)
    found = {
        "sgd": lines(experiment, [[0] * seeds], [0.1 * distances]),
        "momentum": lines(experiment, [[0] * seeds], [1.9 * distances]),
        "adam": lines(experiment, [[0.5] * seeds, [0.5] * seeds], [2 * distances, 2 * distances]),
    }
    found["adam"].loss[1] += 1
    rates = {"sgd": [0.1], "momentum": [0.1], "adam": [0.01, 0.1]}
    claims = {claim.name: claim for claim in experiment.claims_of("net", rates, found)}
    assert claims["net, SGD at 0.1: monotonic"].measured == 100
    assert claims["net, SGD at 0.1: monotonic"].verdict == "holds"
    assert claims["net, Adam at 0.01: monotonic"].measured == 0
    assert claims["net, Adam at 0.01: monotonic"].verdict == "new"
    rises = "alpha from which those that are not monotonic rise"
    assert claims[f"net, Adam: {rises}"].measured == 0
    assert (claims[f"net, SGD: {rises}"].measured, claims[f"net, SGD: {rises}"].left_out) == (None, seeds)
    untrained = claims["net, Adam at 0.1: monotonic"]
    assert (untrained.measured, untrained.seeds, untrained.left_out) == (None, 0, seeds)
    near, far = (claims[f"net: monotonic, SGD above Adam at the same distance, {band}"] for band in experiment.BANDS)
    assert (near.measured, near.left_out, near.verdict) == (None, seeds, "undecided")
    assert (far.measured, far.seeds) == (100, seeds)
    assert claims[f"net: pairs of a seed at the same distance, {list(experiment.BANDS)[1]}"].measured == 1
    assert claims["net: rank correlation of barrier and distance"].measured > 0


def test_half_of_the_lines_are_not_most(experiment: ModuleType) -> None:
    seeds = 40
    half = lines(experiment, [[0, 0.5] * (seeds // 2)], [[1.0] * seeds])
    claims = {
        claim.name: claim
        for claim in experiment.claims_of(
            "net", {name: [0.1] for name in experiment.NAMES}, dict.fromkeys(experiment.NAMES, half)
        )
    }
    assert claims["net, SGD at 0.1: monotonic"].measured == 50
    assert claims["net, SGD at 0.1: monotonic"].verdict == "undecided"
    same = claims[f"net: monotonic, SGD above Adam at the same distance, {list(experiment.BANDS)[1]}"]
    assert (same.measured, same.verdict) == (0, "undecided")


def test_it_runs_and_draws_its_figure(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "TRAINED", 1.5)
    rates = {"sgd": (0.1, 0.5), "momentum": (0.01, 0.1), "adam": (1e-6, 1e-2)}

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        return experiment.settle(digits, ((49, 16, 10),), rates, seeds, 20, out)

    run_experiment("linear_interpolation", "", body, 3, 3, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["49-16-10, Adam at 0.01: monotonic"]["seeds"] > 0
    assert (
        claims["49-16-10, Adam at 1e-06: monotonic"]["seeds"],
        claims["49-16-10, Adam at 1e-06: monotonic"]["left_out"],
    ) == (0, 3)
    assert results["config"]["not trained"]["49-16-10, Adam at 1e-06"] == 3
    assert (tmp_path / "linear_interpolation.png").stat().st_size > 10_000
