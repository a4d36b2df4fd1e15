"""The experiment on learning curves: its laws and crossings on curves that are known, and what it states of them."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, load_experiment, texts
from sklearn.linear_model import Ridge

from mlpjax import MLP, Dataset, Observe, Split, make_keys, sampled_rows, train_many
from mlpjax.claims import MNIST, Claim, run_experiment

N = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("learning_curve")


@pytest.fixture(scope="module")
def data(coarse_digits: Dataset) -> Dataset:
    """170 coarse digits to train on and 30 to choose on."""
    x, y = coarse_digits.train
    return Dataset("few", Split(x[:170], y[:170]), Split(x[170:], y[170:]), coarse_digits.test, classes=10)


def law(a: float, b: float, c: float = 0.0, scatter: float = 0.02, seeds: int = 17) -> np.ndarray:
    """Errors a n^-b + c of so many seeds with some scatter, [examples, seeds]."""
    noise = np.random.default_rng(0).normal(size=(len(N), seeds))
    return (a * np.array(N)[:, None] ** -b + c) * np.exp(scatter * noise)


ALL = np.ones(17, bool)


def by_name(claims: list[Claim]) -> dict[str, Claim]:
    return {claim.name: claim for claim in claims}


@pytest.mark.parametrize("floor", [False, True])
def test_a_law_is_found_again(experiment: ModuleType, floor: bool) -> None:
    n, c = np.array(N), [5.0] * floor
    exact = experiment.fit_law(n, 150 * n**-0.4 + sum(c), floor)
    np.testing.assert_allclose(exact.parameters, [np.log(150), 0.4, *c], rtol=1e-4)
    assert exact.determination == pytest.approx(1, abs=1e-8)
    told, reach = experiment.foretell(exact, 10**6)
    assert told == pytest.approx(np.log(150 * 10**-2.4 + sum(c)), abs=1e-4)
    assert reach < 1e-4
    exponents = [experiment.fit_law(n, error, floor).parameters[1] for error in law(150, 0.4, *c).T]
    error = np.std(exponents, ddof=1) / np.sqrt(17)
    assert abs(np.mean(exponents) - 0.4) < 4 * error < 0.05


def test_a_prediction_is_that_of_linear_regression(experiment: ModuleType) -> None:
    """Without a floor ln error is linear in ln n: Draper and Smith's interval of one more observation."""
    n, error = np.array(N[:8]), law(150, 0.4, scatter=0.1)[:8, 0]
    x, at = np.log(n), np.log(50_000)
    slope, intercept = np.polyfit(x, np.log(error), 1)
    s = np.sqrt(((np.log(error) - intercept - slope * x) ** 2).sum() / 6)
    reach = 2.4469 * s * np.sqrt(1 + 1 / 8 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    found = experiment.foretell(experiment.fit_law(n, error, False), 50_000)
    np.testing.assert_allclose(found, (intercept + slope * at, reach), rtol=1e-4)


def test_a_prediction_interval_holds_the_next_error_as_often_as_it_says(experiment: ModuleType) -> None:
    errors, n = law(150, 0.4, scatter=0.1, seeds=400), np.array(N[:8])
    told = np.array([experiment.foretell(experiment.fit_law(n, e, False), N[-1]) for e in errors[:8].T])
    share = np.mean(abs(np.log(errors[-1]) - told[:, 0]) <= told[:, 1])
    assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


def test_a_floor_is_needed_where_there_is_one(experiment: ModuleType) -> None:
    assert experiment.needs_floor(np.array(N), law(150, 0.6, 7.0))
    assert not experiment.needs_floor(np.array(N), law(150, 0.4))


def test_a_gap_crosses_once_and_for_good(experiment: ModuleType) -> None:
    n = (10, 100, 1000, 10_000)
    gap = np.array([[1, -1, -2, -3], [-1, 1, -1, -2], [3, 2, 1, -1], [-1, -1, -1, 1], [-1, -1, -1, -1], [2, 0, -1, -1]])
    found = experiment.crossing(n, gap.T.astype(float))
    np.testing.assert_allclose(found, [10**1.5, 10**2.5, 10**3.5, np.inf, 0, 100])


def test_linear_errors_are_those_of_scikit_learn(experiment: ModuleType, data: Dataset) -> None:
    train, test = (Split(split.x.reshape(-1, 49) / np.float32(255), split.y) for split in (data.train, data.test))
    found = experiment.linear_errors(train, (train, test), 10)
    expected = []
    for penalty in experiment.PENALTIES[experiment.RIDGE]:
        fitted = Ridge(penalty * len(train.y)).fit(train.x.astype(float), np.eye(10)[train.y])
        expected.append([100 * np.mean(fitted.predict(s.x).argmax(axis=1) != s.y) for s in (train, test)])
    np.testing.assert_allclose(found, expected)
    assert len(np.unique(found[:, 1])) > 1


def test_all_methods_see_the_same_digits_the_fewer_among_the_more(experiment: ModuleType, data: Dataset) -> None:
    size = experiment.Size((20, 40), (8,), 20, 20)
    seen = {}
    for widths in ((49, 8, 10), (49, 10)):
        how = experiment.recipe(size, experiment.LOGISTIC, 40)
        look = Observe(lambda moment: jnp.sum(moment.data.train.x.reshape(40, -1).astype(jnp.int32), axis=1), [0])
        seen[widths] = train_many(MLP(widths), how, data, [0, 3], observe={"x": look}).observed["x"][:, 0]
    rows = np.stack([sampled_rows(make_keys(seed), 170, 40) for seed in (0, 3)])
    expected = data.train.x[rows].reshape(2, 40, -1).astype(int).sum(axis=2)
    for found in seen.values():
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(sampled_rows(make_keys(3), 170, 20), rows[1, :20])
    assert set(rows[0]) != set(rows[1])


def test_each_seed_chooses_its_own(experiment: ModuleType, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[Any] = []
    sweep = experiment.sweep
    monkeypatch.setattr(experiment, "sweep", lambda *a, **o: swept.append(sweep(*a, **o)) or swept[-1])
    found = experiment.train(experiment.Size((40,), (8,), 20, 20), experiment.LOGISTIC, data, 3)
    for seed in range(3):
        ends = []
        for trained in swept[0].trained:
            stop = trained.history["valid_loss"][seed].argmin()
            ends.append((trained.error("valid")[seed, stop], trained.error()[seed, stop]))
        best = int(np.argmin([valid for valid, _ in ends]))
        assert found.error[0, seed] == ends[best][1]
        assert found.penalty[0, seed] == experiment.PENALTIES[experiment.LOGISTIC][best]


def test_recipes_take_enough_steps_and_epochs(experiment: ModuleType) -> None:
    for n in experiment.FULL.examples:
        how = experiment.recipe(experiment.FULL, experiment.NETWORK, n)
        assert how.epochs * n == max(2000 * min(n, 100), 20 * n)
        assert (how.evaluations, how.batch_size) == (10, min(n, 100))


def test_more_digits_must_help_every_seed(experiment: ModuleType) -> None:
    error = law(150, 0.4)
    claims = experiment.more_claims(experiment.NETWORK, N, error, ALL)
    judged = [claim for claim in claims if claim.published is not None]
    assert len(judged) == 10
    assert {claim.verdict for claim in judged} == {"holds"}
    error[7, 4] = error[4, 4] + 0.1  # 10,000 above 1,000 digits, in one seed
    *_, every = experiment.more_claims(experiment.NETWORK, N, error, ALL)
    assert (every.settles, every.verdict) == (experiment.HELPS, "fails")
    error[3] = 1.1 * error[2]
    step = by_name(experiment.more_claims(experiment.NETWORK, N, error, ALL))["MLP: test error, 500 above 200 digits"]
    assert step.verdict == "fails"


def test_rivals_cross_where_they_do(experiment: ModuleType) -> None:
    network, linear = law(220, 0.45, scatter=0.01), law(60, 0.2, scatter=0.0)
    among = np.arange(17) < 16
    few, many, always, later, where = experiment.rival_claims(experiment.LOGISTIC, N, network, linear, among)
    assert [(few.settles, few.verdict), (many.settles, many.verdict)] == [
        (experiment.FEW, "holds"),
        (experiment.MANY, "holds"),
    ]
    assert (always.measured, later.measured, where.left_out) == (0, 100, 1)
    assert where.measured == pytest.approx((220 / 60) ** 4, rel=0.1)
    few, many, always, _, where = experiment.rival_claims(experiment.LOGISTIC, N, network, 1.1 * network, among)
    assert (few.verdict, many.verdict, always.measured, where.measured) == ("fails", "holds", 100, None)
    few, many, always, later, _ = experiment.rival_claims(experiment.LOGISTIC, N, network, 0.9 * network, among)
    assert (few.verdict, many.verdict, always.measured, later.measured) == ("holds", "fails", 0, 0)


def test_a_law_that_breaks_is_seen(experiment: ModuleType) -> None:
    error = law(150, 0.4)
    first, share, early, exponent, *_ = experiment.law_claims(experiment.NETWORK, experiment.FULL, error, ALL, False)
    assert (first.settles, first.verdict) == (experiment.POWER_LAW, "holds")
    assert exponent.measured == pytest.approx(0.4, abs=0.01)
    assert early.measured != exponent.measured
    assert share.measured > 80
    error[-1] *= 1.5
    first, share, *_ = experiment.law_claims(experiment.NETWORK, experiment.FULL, error, ALL, False)
    assert (first.verdict, share.measured) == ("fails", 0)


@pytest.mark.parametrize(("method", "at"), [("LOGISTIC", 7.2), ("RIDGE", 12.0), ("NETWORK", 2.3)])
def test_published_errors_stand_beside_the_laws(experiment: ModuleType, method: str, at: float) -> None:
    a = 100.0
    c = at - 0.05 - a * 60_000**-0.5
    for shift, verdict in ((0.0, "holds"), (2.0, "fails")):
        *_, last = experiment.law_claims(
            getattr(experiment, method), experiment.FULL, law(a, 0.5, c + shift), ALL, True
        )
        assert (last.published, last.verdict) == (at, verdict)


def test_ridge_regression_learns_the_digits(experiment: ModuleType, data: Dataset) -> None:
    found = experiment.regress(experiment.Size((20, 160), (8,), 20, 20), data, 2)
    rows = sampled_rows(make_keys(1), 170, 160)
    own = Split(data.train.x[rows].reshape(160, -1) / np.float32(255), data.train.y[rows])
    test = Split(data.test.x.reshape(100, -1) / np.float32(255), data.test.y)
    errors = experiment.linear_errors(own, (test,), 10)[:, 0]
    place = experiment.PENALTIES[experiment.RIDGE].index(found.penalty[1, 1])
    assert found.error[1, 1] == errors[place]
    assert found.error[1].mean() < found.error[0].mean() < 70


def test_experiment_keeps_the_contract(
    experiment: ModuleType, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On curves that are known, but for ridge regression."""
    rows = [N.index(n) for n in (50, 100, 200, 500, 2000)]
    laws = {experiment.NETWORK: (220, 0.45), experiment.LOGISTIC: (60, 0.2, 3.0), experiment.RIDGE: (90, 0.3)}
    gone = np.broadcast_to(np.arange(17) == 16, (5, 17))

    def known(method: str) -> object:
        return experiment.Found(law(*laws[method])[rows], np.ones((5, 17)), np.zeros((5, 17)), gone)

    monkeypatch.setattr(experiment, "load", lambda _: data)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "train", lambda _, method, *__: known(method))
    monkeypatch.setattr(experiment, "regress", lambda *_: known(experiment.RIDGE))
    drawn = []
    draw = experiment.draw
    monkeypatch.setattr(experiment, "draw", lambda *parts: drawn.append(draw(*parts)) or drawn[0])
    run_experiment("learning_curve", "", experiment.body, 17, 17, ["--quick", "--out", str(tmp_path)], needs=MNIST)
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["MLP: lower test error with ten times as many digits, wherever there are"]["verdict"] == "holds"
    assert claims["MLP, 50 digits: test error"]["seeds"] == 16
    assert results["config"]["networks"] == 7 * 5 * 17
    labelled(drawn[0])
    assert "MLP crosses logistic regression" in texts(drawn[0])
    with pytest.raises(SystemExit):
        run_experiment("learning_curve", "", experiment.body, 17, 1, ["--quick", "--out", str(tmp_path)], needs=MNIST)
