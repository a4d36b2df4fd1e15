"""The experiment on what seeds learn: its figures against closed forms, and its verdicts where the answer is known."""

import functools
import json
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from conftest import labelled, load_experiment
from sklearn.metrics import brier_score_loss, log_loss

from mlpjax import MLP, Dataset, Recipe, Trained, make_keys, make_task
from mlpjax.claims import Claim, run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("seed_ensembles")


@pytest.fixture(scope="module")
def setting(experiment: ModuleType, coarse_digits: Dataset) -> Any:
    return experiment.Setting("few", MLP((49, 6, 10)), Recipe(batch_size=50, epochs=2, eval_every=2), coarse_digits)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(
    rng: np.random.Generator, networks: int, examples: int = 30, classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of networks, and labels."""
    p = rng.dirichlet(np.ones(classes), size=(networks, examples))
    return p, rng.integers(classes, size=examples)


def verdicts(claims: list[Claim]) -> dict[str, str]:
    return {claim.settles: claim.verdict for claim in claims if claim.settles}


def test_scores_are_those_of_scikit_learn(experiment: ModuleType, rng: np.random.Generator) -> None:
    p, y = drawn(rng, 4)
    error, loss, brier = experiment.scores(p, y)
    np.testing.assert_allclose(error, [100 * (own.argmax(axis=1) != y).mean() for own in p])
    np.testing.assert_allclose(loss, [log_loss(y, own) for own in p])
    np.testing.assert_allclose(brier, [brier_score_loss(y, own, labels=[0, 1, 2], scale_by_half=False) for own in p])
    assert np.isfinite(experiment.scores(np.eye(3)[None], np.array([1, 2, 0]))).all()


def test_disagreement_counts_all_pairs_of_a_group(experiment: ModuleType) -> None:
    predicted = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [2, 2, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]])
    np.testing.assert_allclose(experiment.disagreement(predicted, 2), [25, 100, 0])
    np.testing.assert_allclose(experiment.disagreement(predicted, 3), [100 * (1 + 2 + 1) / 12, 0])


def test_calibration_error_is_what_the_gaps_of_the_bins_weigh(experiment: ModuleType, rng: np.random.Generator) -> None:
    sure = np.array([0.9, 0.9, 0.9, 0.9, 0.61, 0.61])
    p = np.stack([sure, 1 - sure], axis=1)[None]
    right_3_of_4_and_none = np.array([0, 0, 0, 1, 1, 1])
    found = experiment.calibration_error(p, right_3_of_4_and_none)
    np.testing.assert_allclose(found, 100 * (4 * abs(0.9 - 0.75) + 2 * 0.61) / 6)
    r = rng.random(200_000)  # right as often as it is sure
    calibrated = experiment.calibration_error(np.stack([r, 1 - r], axis=1)[None], (rng.random(len(r)) > r).astype(int))
    assert calibrated < 1
    certain, unsure = np.tile([[[1.0, 0.0]]], (1, 4, 1)), np.full((1, 4, 20), 0.05)
    np.testing.assert_allclose(experiment.calibration_error(certain, np.array([0, 1, 1, 1])), 75)
    np.testing.assert_allclose(experiment.calibration_error(unsure, np.zeros(4, int)), 95)


def test_the_forecast_is_the_score_of_ensembles(experiment: ModuleType, rng: np.random.Generator) -> None:
    """Of all ensembles of M distinct ones of n the mean is known: the variance counts (n - M) / (n - 1) as much."""
    p, y = drawn(rng, 4)
    pairs = np.mean(
        [experiment.scores((p[a] + p[b])[None] / 2, y)[2] for a, b in product(range(4), repeat=2) if a != b]
    )
    one, two, all_four = experiment.brier_forecast(p, y, (1, 2, 4))
    np.testing.assert_allclose([one, two, all_four], [experiment.scores(p, y)[2].mean(), pairs,
        experiment.scores(p.mean(axis=0), y)[2]])  # fmt: skip
    many = np.mean([experiment.brier_forecast(drawn_again, y, (100,)) for drawn_again in (
        rng.dirichlet(np.ones(3), size=(5, 30)) for _ in range(2000))])  # fmt: skip
    mean = experiment.scores(np.full((30, 3), 1 / 3), y)[2]
    assert many == pytest.approx(mean + 3 * (1 / 3) * (2 / 3) / 4 / 100, abs=0.002)  # unbiased, from five networks


def test_curves_are_of_disjoint_ensembles(experiment: ModuleType, rng: np.random.Generator) -> None:
    p, y = drawn(rng, 2 * experiment.BLOCK)
    curves = experiment.by_size(p, y)
    assert curves.shape == (3, len(experiment.SIZES), 2)
    last = [experiment.scores(part.mean(axis=0), y) for part in np.split(p, 2)]
    np.testing.assert_allclose(curves[:, -1], np.transpose(last))
    tens = [experiment.scores(p[start : start + 10].mean(axis=0), y) for start in range(0, 40, 10)]
    np.testing.assert_allclose(curves[:, experiment.SIZES.index(10), 0], np.mean(tens, axis=0))


@functools.cache
def all_starts(experiment: ModuleType, model: MLP) -> Any:
    """Of the first 240 seeds."""
    return experiment.starts(model, np.arange(240, dtype=np.int32))


def untrained(experiment: ModuleType, setting: Any, _: str, seeds: Any, **options: Any) -> Trained:
    """In the place of `train`: networks as they start, with made-up errors."""
    start = jax.tree.map(lambda leaf: leaf[np.array(seeds)], all_starts(experiment, setting.model))
    accuracy = 0.5 + 0.02 * np.random.default_rng(0).normal(size=len(seeds))
    params = options.get("start", start)
    snapshots = {"snapshots": jax.tree.map(lambda leaf: leaf[:, None], start)} if "snapshots" in options else {}
    return Trained(
        np.array(seeds),
        params,
        dict.fromkeys(("train_accuracy", "test_accuracy"), accuracy[:, None]),
        observed=snapshots,
    )


def test_start_or_order_is_shared_in_a_group(
    experiment: ModuleType, setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[int] = []
    monkeypatch.setattr(
        experiment,
        "train",
        lambda *given, **options: orders.extend(given[2]) or untrained(experiment, *given, **options),
    )
    alone = {name: params["dense_0"]["kernel"] for name, params in experiment.train_alone(setting, 2).items()}
    task = make_task(setting.model, setting.recipe)
    own = np.stack(
        [task.init(make_keys(seed).init, setting.dataset.train.x).params["dense_0"]["kernel"] for seed in range(10)]
    )
    first = [0] * 5 + [5] * 5
    assert orders == [*range(10), *first]
    np.testing.assert_array_equal(alone[experiment.ORDER], own[first])
    np.testing.assert_array_equal(alone[experiment.START], own)


def test_soups_of_one_network_are_it_where_matched(
    experiment: ModuleType, rng: np.random.Generator, setting: Any
) -> None:
    """Five times the same network with its units in another order; its output layer is a regression."""
    train = setting.dataset.train
    kernel = rng.normal(size=(49, 40)).astype(np.float32)
    hidden = np.maximum(train.x.reshape(-1, 49) / 255 @ kernel, 0)
    output = np.linalg.lstsq(hidden, np.eye(10)[train.y], rcond=0.01)[0].astype(np.float32)
    orders = np.stack([rng.permutation(40) for _ in range(5)])
    group = {
        "dense_0": {"kernel": kernel.T[orders].swapaxes(1, 2), "bias": np.zeros((5, 40), np.float32)},
        "dense_1": {"kernel": output[orders], "bias": np.zeros((5, 10), np.float32)},
    }
    wider = setting._replace(model=MLP((49, 40, 10)))
    found = experiment.cook(wider, {name: group for name in (experiment.BOTH, experiment.ORDER)}, 5)
    np.testing.assert_allclose(found[experiment.MATCHED], found[experiment.SINGLE])
    np.testing.assert_allclose(found[experiment.ENSEMBLED], found[experiment.SINGLE])
    assert found[experiment.NAIVE] > found[experiment.SINGLE] + 20
    assert found[experiment.SHARED] == found[experiment.NAIVE]


def test_looks_tell_calibrated_from_sure_networks(experiment: ModuleType, rng: np.random.Generator) -> None:
    """Networks that draw their answers as labels are drawn, and are too sure of them; then made-up ones."""
    cumulative = rng.dirichlet(np.full(4, 0.5), size=2000).cumsum(axis=1)
    said = (rng.random((60, 2000, 1)) > cumulative).sum(axis=2)
    labels = (rng.random((2000, 1)) > cumulative).sum(axis=1)
    found = experiment.look(0.96 * np.eye(4)[said] + 0.01, labels)
    names = [f"{experiment.AS_MANY} (x, fit).", f"{experiment.CALIBRATED} (x, fit).", f"{experiment.BETTER} (x)."]
    told = verdicts(experiment.look_claims("x", experiment.FIT, found))
    assert told == dict(zip(names, ("holds", "holds", "undecided"), strict=True))  # six ensembles are too few
    half = found._replace(
        disagreement=found.disagreement / 2,
        together=found.together + 50,
        together_calibration=found.together_calibration + 90,
    )
    told = verdicts(experiment.look_claims("x", experiment.FIT, half))
    assert told == dict.fromkeys(names, "fails")
    assert experiment.look_claims("x", experiment.EARLY, half)[2].verdict == "new"


def test_claims_of_order_sizes_and_soups_can_fail(experiment: ModuleType, rng: np.random.Generator) -> None:
    def around(mean: float) -> np.ndarray:
        return mean + 0.01 * rng.normal(size=12)

    both = around(30), around(20)
    for told, verdict in ((30, "holds"), (20, "fails")):
        arms = {experiment.BOTH: both} | {
            name: (around(told), around(20)) for name in (experiment.ORDER, experiment.START)
        }
        assert set(verdicts(experiment.alone_claims("x", arms)).values()) == {verdict}
    curve = 1 + 1 / np.array(experiment.SIZES)
    curves = curve[None, :, None] + 1e-4 * rng.normal(size=(3, 6, 24))
    assert set(verdicts(experiment.size_claims(curves, curves[2, :, ::2])).values()) == {"holds"}
    assert verdicts(experiment.size_claims(curves, curves[2, :, ::2] + 0.1))[experiment.EXACT] == "fails"
    slow = (3 - 0.1 * np.array(experiment.SIZES) / 4)[None, :, None] + 1e-4 * rng.normal(size=(3, 6, 24))
    assert verdicts(experiment.size_claims(slow, slow[2, :, ::2]))[experiment.FIVE] == "fails"
    kinds = experiment.SINGLE, experiment.ENSEMBLED, experiment.NAIVE, experiment.MATCHED, experiment.SHARED
    for means, verdict in (((10, 8, 50, 9, 9), "holds"), ((10, 8, 6, 7, 9), "fails")):
        errors = {kind: around(mean) for kind, mean in zip(kinds, means, strict=True)}
        assert set(verdicts(experiment.soup_claims("x", errors)).values()) == {verdict}


def test_experiment_keeps_the_contract(
    experiment: ModuleType, setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From untrained networks to the figure."""
    drawing: list[Any] = []
    draw = experiment.draw
    small = experiment.Size(test=100, epochs=(2, 2), early=1, groups=6, wide=6)
    monkeypatch.setattr(experiment, "QUICK", small)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "settings", lambda _: (setting, setting._replace(name="digits")))
    monkeypatch.setattr(experiment, "MLP", lambda widths: MLP((49, *widths[1:])))
    monkeypatch.setattr(experiment, "train", functools.partial(untrained, experiment))
    monkeypatch.setattr(experiment, "draw", lambda *parts: drawing.append(draw(*parts)) or drawing[0])
    run_experiment("seed_ensembles", "", experiment.body, 240, 240, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["config"]["networks"] == 240 + 60 + 60 + 60 + 15
    assert (tmp_path / "seed_ensembles.png").read_bytes().startswith(b"\x89PNG")
    labelled(drawing[0])
    for seeds in ("100", "80"):
        with pytest.raises(SystemExit):
            argv = ["--quick", "--seeds", seeds, "--out", str(tmp_path)]
            run_experiment("seed_ensembles", "", experiment.body, 240, 240, argv)
