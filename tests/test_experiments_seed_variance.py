"""The experiment on how many seeds tell: its figures against closed forms, and verdicts where the answer is known."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from conftest import labelled, load_experiment
from scipy.special import expit

from mlpjax import MLP, Dataset, Recipe, Trained, make_keys
from mlpjax.claims import Claim, run_experiment
from mlpjax.stats import difference


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("seed_variance")


@pytest.fixture(scope="module")
def setting(experiment: ModuleType, coarse_digits: Dataset) -> Any:
    return experiment.Setting("few", MLP((49, 6, 10)), Recipe(batch_size=50, epochs=2, eval_every=2), coarse_digits)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def verdicts(claims: list[Claim]) -> dict[str, str]:
    return {claim.settles: claim.verdict for claim in claims if claim.settles}


def test_two_classes_are_the_lower_and_the_upper_five(experiment: ModuleType, setting: Any) -> None:
    two = experiment.binary(setting)
    np.testing.assert_array_equal(two.dataset.test.y, setting.dataset.test.y >= 5)
    assert (two.model.widths, two.dataset.classes) == ((49, 6, 2), 2)


@pytest.mark.parametrize("paired", [True, False])
def test_comparisons_are_those_of_the_library(experiment: ModuleType, rng: np.random.Generator, paired: bool) -> None:
    one, other = rng.normal(size=(2, 40, 8)) + np.array([[[0.0]], [[1.0]]])
    found = experiment.rejections(one, other, paired, 40)
    told = [difference(*rows, paired=paired) for rows in zip(one, other, strict=True)]
    by_interval = np.array([gap.ci95 is not None and not gap.ci95[0] <= 0 <= gap.ci95[1] for gap in told])
    by_permutation = np.array([gap.p <= 0.05 for gap in told])
    np.testing.assert_array_equal(found[experiment.INTERVAL], by_interval)
    assert (found[experiment.PERMUTATION] != by_permutation).sum() <= 2 * (not paired)  # other random permutations
    assert 0 < by_interval.sum() < found[experiment.T_TEST].sum() < 40
    assert len(experiment.rejections(one, other, paired, 5)[experiment.PERMUTATION]) == 5


def test_power_is_that_of_normal_errors(
    experiment: ModuleType, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of networks with normal errors the power is right; where there is no difference, 5 % show one."""
    monkeypatch.setattr(experiment, "NUMBERS", (4, 6))
    monkeypatch.setattr(experiment, "mean_quantile", lambda _: 3.5)
    common, own = rng.normal(size=500), rng.normal(size=(2, 500))
    one, other = common + own[0], common + own[1] - 1.5
    found = experiment.compare(one, other, experiment.QUICK._replace(draws=4000, few=5))
    for pairing, seeds in found.told:
        shown, false = (hits[pairing, experiment.T_TEST, seeds].mean() for hits in (found.shown, found.false))
        assert 100 * shown == pytest.approx(found.told[pairing, seeds], abs=2.5)
        assert false == pytest.approx(0.05, abs=0.015)
        assert found.false[pairing, experiment.INTERVAL, seeds].mean() < false
    assert found.told["paired", 6] > found.told["unpaired", 6] + 10
    names = {f"{experiment.POWERFUL} ({pairing})." for pairing in experiment.PAIRINGS}
    assert verdicts(experiment.power_claims(one, other, found)) == dict.fromkeys(names, "holds")
    wrong = found._replace(told={key: value - 9 for key, value in found.told.items()})
    assert verdicts(experiment.power_claims(one, other, wrong)) == dict.fromkeys(names, "fails")


def test_variance_is_told_apart(experiment: ModuleType, rng: np.random.Generator) -> None:
    """Networks that differ in truth as well as by chance: the two parts, and their sum is the variance."""
    skill, q = rng.normal(size=400), rng.normal(size=(1000, 1))
    chance = expit(-2 + 1.5 * q + 0.1 * skill)
    wrong = rng.random(chance.shape) < chance
    own, shared = experiment.variance_parts(wrong)
    between = chance.mean(axis=0).var()
    assert own == pytest.approx((chance * (1 - chance)).mean() + chance.var(axis=1).mean() - between, rel=0.02)
    assert shared == pytest.approx(between, rel=0.35)
    n = len(wrong)
    assert own / n + (1 - 1 / n) * shared == pytest.approx(wrong.mean(axis=0).var(ddof=1))
    halves = [[wrong[order[: n // 2]].mean(axis=0), wrong[order[n // 2 :]].mean(axis=0)]
        for order in (rng.permutation(n) for _ in range(300))]  # fmt: skip
    assert shared == pytest.approx(np.mean([np.cov(*pair)[0, 1] for pair in halves]), rel=0.1)


def test_the_formula_holds_for_calibrated_networks_and_fails_for_others(
    experiment: ModuleType, rng: np.random.Generator
) -> None:
    """Where a share k / 20 of the networks says 1, k of 20 labels are 1; or all, from half of the networks on."""
    share, label = np.divmod(np.arange(21 * 20), 20)
    said = rng.random((420, 1500)) < share[:, None] / 20
    calibrated, sure = (label < share)[:, None], (share >= 10)[:, None]
    half, noise = f"{experiment.HALF} (x).", f"{experiment.NOISE} (x)."
    assert verdicts(experiment.variance_claims("x", said != calibrated)) == {half: "holds", noise: "holds"}
    assert verdicts(experiment.variance_claims("x", said != sure))[half] == "fails"
    unskilled = rng.random((420, 1500)) < 0.2 * rng.random((1, 1500))
    assert verdicts(experiment.variance_claims("x", said != calibrated ^ unskilled))[noise] == "fails"


def untrained(setting: Any, _: str, seeds: list[int], **options: Any) -> Trained:
    """In the place of `train`: networks as they start, with errors that depend on the learning rate."""
    params = jax.vmap(lambda seed: setting.model.init(make_keys(seed).init).params)(np.array(seeds, np.int32))
    rates = np.asarray(options.get("sweep", {}).get("learning_rate", 0))
    accuracy = 0.5 + 0.02 * np.random.default_rng(0).normal(size=len(seeds)) - 5 * rates
    return Trained(np.array(seeds), params, {"test_accuracy": accuracy[:, None]})


def test_experiment_keeps_the_contract(
    experiment: ModuleType, setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From untrained networks to the figure."""
    drawing: list[Any] = []
    draw = experiment.draw
    small = experiment.Size(test=100, epochs=(2, 2), draws=30, few=10)
    monkeypatch.setattr(experiment, "QUICK", small)
    monkeypatch.setattr(experiment, "NUMBERS", (4, 8))
    monkeypatch.setattr(experiment, "mean_quantile", lambda _: 3.5)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "settings", lambda _: (setting, setting._replace(name="digits")))
    monkeypatch.setattr(experiment, "train", untrained)
    monkeypatch.setattr(experiment, "draw", lambda *parts: drawing.append(draw(*parts)) or drawing[0])
    run_experiment("seed_variance", "", experiment.body, 120, 120, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["config"]["networks"] == 120 + 120 + 120 + 60
    assert (tmp_path / "seed_variance.png").read_bytes().startswith(b"\x89PNG")
    labelled(drawing[0])
    for seeds in ("90", "0"):
        with pytest.raises(SystemExit):
            argv = ["--quick", "--seeds", seeds, "--out", str(tmp_path)]
            run_experiment("seed_variance", "", experiment.body, 120, 120, argv)
