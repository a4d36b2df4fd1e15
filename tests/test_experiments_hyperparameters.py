"""The experiment on hyperparameters, on few coarse digits: what it turns, chooses, splits and states."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import labelled, labels, load_experiment, texts

from mlpjax import Dataset, Recipe, train_many
from mlpjax.claims import run_experiment
from mlpjax.effects import effects

DECK = (
    "minibatch size", "normalisation", "epochs", "hidden layers", "hidden units", "learning rate", "loss", "ridge",
    "activation", "dropout", "initialiser", "optimizer", "schedule",
)  # fmt: skip
"""Every hyperparameter on the slide and the scheduler of the slide before, but for the seed."""


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("hyperparameters")


def test_every_knob_of_the_deck_is_turned_about_the_base_point(experiment: ModuleType, coarse_digits: Dataset) -> None:
    turned, (model, recipe) = experiment.knobs(coarse_digits, 20), experiment.base_point(coarse_digits, 20)
    assert turned.keys() >= {*DECK}
    for name, knob in turned.items():
        configured = recipe if hasattr(recipe, knob.field) else model
        base = knob.values[knob.base]
        assert np.all(getattr(configured, knob.field) == base) or getattr(configured, knob.field) == (base,), name
        assert 2 <= len(knob.values) <= 5
        for value in knob.values.values():  # which the model or the recipe takes
            replace(configured, **{knob.field: (value,) if knob.field == "dropout" else value})


def test_an_optimizer_has_a_rate_of_its_own(experiment: ModuleType) -> None:
    optimizer = experiment.rescaled(optax.sgd, 100)(lambda step: 0.001 * (step.astype(float) + 1))
    weight = jnp.ones(2)
    state = optimizer.init(weight)
    for step in range(2):
        update, state = optimizer.update(2 * weight, state, weight)
        np.testing.assert_allclose(update, -0.2 * (step + 1), rtol=1e-6)


def test_settings_stand_in_order_with_the_base_point_among_them(
    experiment: ModuleType, coarse_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside plain trainings of each."""
    monkeypatch.setattr(experiment, "CHOOSERS", 1)
    every = experiment.knobs(coarse_digits, 4)
    rates = {label: every["learning rate"].values[label] for label in ("0.0001", "0.001", "0.01")}
    turned = {"learning rate": every["learning rate"]._replace(values=rates)}
    found = experiment.turn(coarse_digits, 4, turned, 2)["learning rate"]
    model, recipe = experiment.base_point(coarse_digits, 4)
    base = train_many(model, recipe, coarse_digits, range(3))
    numbers = {"learning_rate": np.repeat([rates["0.0001"], rates["0.01"]], 3)}
    others = train_many(model, recipe, coarse_digits, [0, 1, 2] * 2, sweep=numbers)
    for row, history in enumerate((others.select(slice(3)).history, base.history, others.select(slice(3, 6)).history)):
        np.testing.assert_allclose(found.error[row], 100 * (1 - history["test_accuracy"][:, -1]), atol=1e-4)
        expected = np.log10(history["train_loss"][:, 1:].prod(axis=1)) / 4
        np.testing.assert_allclose(found.curve[row], expected, atol=1e-4)
    np.testing.assert_array_equal(experiment.base_error({"learning rate": found}, turned), found.error[1, 1:])


def test_only_what_varies_sets_networks_apart(experiment: ModuleType, coarse_digits: Dataset) -> None:
    """All at once in one batch the order is none, and without dropout that key does nothing."""
    recipe = Recipe(learning_rate=0.01, batch_size=None, epochs=4, eval_every=4, sample_size=30)
    model, _ = experiment.base_point(coarse_digits, 4)
    errors = experiment.by_source(coarse_digits, model, recipe, 4)
    assert [*errors] == ["initialisation", "order", "dropout", "sample", "all"]
    assert np.ptp(errors["order"]) == np.ptp(errors["dropout"]) == 0
    for name in ("initialisation", "sample", "all"):
        assert np.ptp(errors[name]) > 0
    alone = train_many(model, recipe, coarse_digits, range(4)).history["test_accuracy"][:, -1]
    np.testing.assert_allclose(errors["all"], 100 * (1 - alone), atol=1e-4)
    # Seed 0 gives the frozen draws.
    assert len({values[0] for values in errors.values()}) == 1


def test_the_seeds_that_choose_do_not_count(experiment: ModuleType) -> None:
    values = np.zeros((3, experiment.CHOOSERS + 2))
    values[1, : experiment.CHOOSERS] = 1.0
    values[0, : experiment.CHOOSERS] = -1.0
    values[:, experiment.CHOOSERS :] = [[5.0, 6.0], [2.0, 4.0], [9.0, -9.0]]
    worst, best = experiment.spread(values)
    assert (worst.tolist(), best.tolist()) == ([2, 4], [5, 6])


def test_a_variance_is_the_mean_of_its_deviations(experiment: ModuleType) -> None:
    values = np.random.default_rng(0).normal(size=9)
    np.testing.assert_allclose(experiment.deviations(values).mean(), values.var(ddof=1))


def test_shares_are_those_of_the_analysis_of_variance(experiment: ModuleType) -> None:
    """With many seeds the jackknife moves them little; and they still add up."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3, 1)) + rng.normal(size=400) + rng.normal(size=(3, 400))
    found = experiment.shares(values)
    for part in effects(values, ["setting"]):
        np.testing.assert_allclose(found[part.name].mean(), 100 * part.share, atol=0.3)
    np.testing.assert_allclose(sum(found.values()), 100)


def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, seeds = np.random.default_rng(0), 12
    shape = (5, experiment.CHOOSERS + seeds)
    # The learning rate matters to both, the schedule to the curve alone; the initialiser does nothing.
    noise = [rng.normal(0, 0.1, (2, *shape)) for _ in range(3)]
    slopes = np.arange(5.0)[:, None]
    found = {
        "learning rate": experiment.Turned(9 + slopes + noise[0][0], -1 - slopes + noise[0][1]),
        "schedule": experiment.Turned(9 + noise[1][0], -1 - slopes + noise[1][1]),
        "initialiser": experiment.Turned(9 + noise[2][0][:4], -1 + noise[2][1][:4]),
    }
    sizes = {"initialisation": 0.5, "order": 0.3, "dropout": 0.3, "sample": 5.0, "all": 5.1}
    errors = {name: rng.normal(9, size, 4 * seeds) for name, size in sizes.items()}
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "turn", lambda *_: found)
    monkeypatch.setattr(experiment, "by_source", lambda *_: errors)
    run_experiment("hyperparameters", "", experiment.body, seeds, seeds, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}

    rate = claims["learning rate: test error, worst setting above best"]
    assert (rate["seeds"], rate["statistic"]) == (seeds, "paired difference")
    assert rate["measured"] == pytest.approx(4, abs=0.2)
    assert claims["learning rate: share of the setting in the test error's variation"]["measured"] > 95
    curves = [claims[f"{name}: training curve, highest setting above lowest"] for name in experiment.CURVES]
    assert [claim["verdict"] == "holds" for claim in curves] == [True, True, False]
    (headline,) = [claim for claim in results["claims"] if claim["settles"] == experiment.TUNED]
    assert headline["verdict"] != "holds"
    assert headline["measured"] == pytest.approx(curves[2]["measured"])

    above = claims["variance of the test error: sample varies, above initialisation varies"]
    assert above["verdict"] == "holds"
    assert above["settles"]
    assert above["measured"] == pytest.approx(errors["sample"].var(ddof=1) - errors["initialisation"].var(ddof=1))
    total = claims["variance of the test error: the sum of the four sources' above that where all vary"]
    variances = [values.var(ddof=1) for values in errors.values()]
    assert total["measured"] == pytest.approx(sum(variances[:4]) - variances[4])

    config = results["config"]
    assert config["knobs"]["learning rate"]["p"] < 0.001 < config["knobs"]["schedule"]["p"]
    assert config["notes"][0].endswith("all but schedule, initialiser (p at least 0.05).")
    turned = {name: experiment.knobs(coarse_digits, 4)[name] for name in experiment.CURVES}
    whole = experiment.every_setting(found, turned)
    assert whole.shape == (1 + 4 + 4 + 3, seeds)
    assert len(np.unique(whole, axis=0)) == len(whole)
    figure = experiment.draw(found, turned, errors)
    labelled(figure)
    assert labels(figure) == {"setting", "seed", "seed at some settings"}
    assert "p < 0.001" in texts(figure)


def test_two_seeds_are_refused(experiment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_experiment("hyperparameters", "", experiment.body, 16, 4, ["--seeds", "2", "--out", str(tmp_path)])
    assert "--seeds 2: give at least 3" in capsys.readouterr().err
