"""The experiment on softmax collapse: its losses by hand, and what it states of curves that are known."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, labels, load_experiment

from mlpjax import MLP, Recipe, Variables, make_keys, sampled_rows, train_many
from mlpjax.claims import run_experiment
from mlpjax.data.generated import make_modular_addition


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    found: Any = load_experiment("softmax_collapse")
    found.train_many = functools.partial(train_many, chunk=1)  # one program for any number of networks
    return found


def test_stablemax_by_hand_and_with_a_slope_where_softmax_has_none(experiment: ModuleType) -> None:
    outputs, y = jnp.float32(np.array([[2.0, -1, 0], [0, 30, -3]])), jnp.array([1, 1])
    expected = [-np.log(0.5 / (3 + 0.5 + 1)), -np.log(31 / (1 + 31 + 0.25))]
    np.testing.assert_allclose(experiment.stablemax(outputs, y), expected, rtol=1e-5)
    sure = jnp.float32(np.array([[0.0, 30]]))
    of_softmax = jax.grad(lambda f: -jax.nn.log_softmax(f)[0, 1])(sure)
    of_stablemax = jax.grad(lambda f: experiment.stablemax(f, jnp.array([1]))[0])(sure)
    assert float(of_softmax[0, 1]) == 0
    assert float(of_stablemax[0, 1]) == pytest.approx(1 / 32 - 1 / 31, rel=1e-3)


def test_what_a_network_was_not_trained_on_and_what_float32_lost_are_told(experiment: ModuleType) -> None:
    """By a network that is trained alone, on the pairs that it drew; and float64 begins where it does."""
    size = experiment.Size(7, 64, 300)
    found = experiment.train(experiment.SOFTMAX, size, 2)
    with jax.numpy_dtype_promotion("standard"):  # the pairs stay float32
        exact = experiment.train(experiment.EXACT, size, 2)
    model = MLP((14, 64, 7), experiment.square, initializer="torch", bias="none")
    recipe = Recipe("cross_entropy", experiment.own_adam(1e-15), learning_rate=0.03, batch_size=None, epochs=300)
    recipe = replace(recipe, eval_every=10, sample_size=34)
    dataset = make_modular_addition(7)
    alone = experiment.train_many(model, recipe, dataset, range(2))
    for seed in range(2):
        rows = np.asarray(sampled_rows(make_keys(seed), 49, 34))
        params = jax.tree.map(lambda leaf, seed=seed: leaf[seed], alone.params)
        outputs = np.asarray(model.apply(Variables(params), dataset.test.x)[0])
        right = outputs.argmax(axis=1) == dataset.test.y
        assert found.train[seed, -1] == pytest.approx(100 * right[rows].mean(), abs=1e-3)
        assert found.test[seed, -1] == pytest.approx(100 * np.delete(right, rows).mean())
        odds = np.exp(outputs - outputs[np.arange(49), dataset.test.y][:, None], dtype=np.float64).sum(axis=1) - 1
        rounded = odds[rows] < 2.0**-24  # 1 + odds is 1 in float32
        assert found.lost[seed, -1] == pytest.approx(100 * rounded.mean(), abs=3)
    assert found.lost[:, -1].min() > 0
    np.testing.assert_array_equal(exact.lost, 0)
    np.testing.assert_array_equal(exact.test[:, 0], found.test[:, 0])


def test_all_of_673_losses_are_all_of_them(experiment: ModuleType) -> None:
    """A mean of 673 ones in float32 is less than one: they are counted."""
    zeros = SimpleNamespace(predict=lambda *_: None, prepare=lambda x: x, losses=lambda *_: jnp.zeros(673))
    train = SimpleNamespace(train=(jnp.zeros(673), None))
    moment = SimpleNamespace(data=train, task=zeros, state=SimpleNamespace(variables=None))
    assert int(jax.jit(lambda: experiment.lost(moment))()) == 673


def known(experiment: ModuleType, end: float, lost: float, seeds: int, noise: float = 0.1) -> Any:
    """Networks that fit at once and generalise to such an accuracy, with such a share of lost losses; one diverged."""
    steps = np.arange(0, 301, 10)
    fit = np.where(steps >= 20, 100.0, 10.0)
    own = noise * np.random.default_rng(round(end)).normal(size=(seeds, 1))
    rest = np.where(steps >= 30, end, 10.0) + own
    diverged = np.arange(seeds) == seeds - 1
    return experiment.Curves(steps, np.tile(fit, (seeds, 1)), rest, np.full((seeds, 31), lost), diverged)


def test_collapse_is_told_apart_from_what_rounding_does(experiment: ModuleType) -> None:
    def judged(lost: float, stable: float, exact: float, **changed: Any) -> list[str]:
        found = {
            experiment.SOFTMAX: known(experiment, 20, lost, 17)._replace(**changed),
            experiment.STABLE: known(experiment, stable, 0, 17),
            experiment.EXACT: known(experiment, exact, 0, 8),
        }
        verdicts = {claim.settles: claim.verdict for claim in experiment.collapse_claims(found)}
        return [verdicts[name] for name in (experiment.COLLAPSES, experiment.MENDS, experiment.BLAMED)]

    assert judged(100, 97, 60) == ["holds"] * 3
    assert judged(99, 10, 11) == ["fails"] * 3
    assert judged(100, 97, 60, train=np.full((17, 31), 98.0)) == ["fails", "holds", "holds"]


def test_experiment_keeps_the_contract(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On curves that are known."""
    monkeypatch.setattr(experiment, "train", lambda _name, _size, seeds: known(experiment, 50, 50, seeds + 1))
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    figures = []
    draw = experiment.draw
    monkeypatch.setattr(experiment, "draw", lambda found: figures.append(draw(found)) or figures[0])
    run_experiment("softmax_collapse", "", experiment.body, 8, 8, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["config"]["networks"] == 9 + 9 + 5
    labelled(figures[0])
    assert {"softmax", "StableMax", "softmax in float64"} <= labels(figures[0])
    with pytest.raises(SystemExit):
        run_experiment("softmax_collapse", "", experiment.body, 3, 3, ["--quick", "--out", str(tmp_path)])
