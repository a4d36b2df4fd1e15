"""The experiment on the learning coefficient: what it measures, and what it states of figures that are known."""

import json
import math
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, load_experiment

from mlpjax import Split, load
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("learning_coefficient")


def test_known_models_have_their_published_coefficients_and_a_minimum_at_zero(experiment: ModuleType) -> None:
    models = experiment.known_models()
    assert [model.coefficient for model in models.values()] == [6.5, 8, 6, 6, 6, 1 / 2, 1 / 4, 1 / 6]
    for name, model in models.items():
        near = jax.tree.map(lambda leaf: leaf + 0.1, model.zero)
        assert model.loss(model.zero, None) == 0 < model.loss(near, None), name
    assert models["crossing w1^2 w2^4"].loss(jnp.array([2.0, 3.0]), None) == 4 * 81


def test_digits_are_averaged_and_few(experiment: ModuleType) -> None:
    digits = load("mnist5k")
    found = experiment.coarse(digits, 30)
    assert found.train.x.shape == (30, 196)
    image = digits.train.x[3].reshape(28, 28) / 255
    np.testing.assert_allclose(found.train.x[3].reshape(14, 14)[4, 6], image[8:10, 12:14].mean(), rtol=1e-6)
    np.testing.assert_array_equal(found.test.y, digits.test.y)


def test_around_a_parabola_the_hessian_tells_the_coefficient(experiment: ModuleType) -> None:
    """Two networks, L = h_1 w_1^2 / 2 + h_2 w_2^2 / 2 around zero: both figures are known."""
    curvatures = np.array([0.5, 2.0])
    train = Split(np.zeros((1000, 1), np.float32), np.zeros(1000, np.int32))

    def loss(params: jax.Array, _: Split) -> jax.Array:
        return jnp.sum(jnp.asarray(curvatures, jnp.float32) * params**2) / 2

    found = experiment.measure("two parabolas", loss, jnp.zeros((2, 1, 2)), train, 1000)
    stiff = 1000 / math.log(1000) * curvatures
    exact = (stiff / (stiff + experiment.LOCALISATION)).sum() / 2
    np.testing.assert_allclose(found.parabola, exact, rtol=1e-4)
    np.testing.assert_allclose(found.trace, curvatures.sum(), rtol=1e-4)
    np.testing.assert_allclose(found.coefficient, exact, rtol=0.15)


def made_up(experiment: ModuleType, coefficient: np.ndarray) -> object:
    """Complexities with these means and a little scatter over 16 seeds; the parabola's is twice as much."""
    scatter = 0.01 * np.random.default_rng(0).normal(size=(2, len(coefficient), 16))
    one, other = coefficient[:, None] + scatter
    return experiment.Complexity(one, 0 * one, 2 * other, 3 * one)


def test_estimates_that_come_closer_do_and_others_do_not(experiment: ModuleType) -> None:
    scatter = 0.001 * np.random.default_rng(0).normal(size=(2, 16))
    for values, verdict in (((0.4, 0.49), "holds"), ((0.49, 0.4), "fails")):
        found = {"one": (0.5, np.array(values)[:, None] + scatter)}
        few, many, last = experiment.known_claims((100, 1000), found)
        assert (last.settles, last.verdict) == (experiment.CLOSER, verdict)
        assert (few.verdict, many.verdict) == ("new", verdict)


def test_shares_times_and_curvatures_are_judged(experiment: ModuleType) -> None:
    size = experiment.FULL._replace(widths=(2, 8), epochs=(2, 200))

    def verdicts(by_width: list[float], by_epoch: list[float]) -> dict[str, str]:
        parts = (made_up(experiment, np.array(values)) for values in (by_width, by_epoch))
        claims = experiment.network_claims(196, size, *parts)
        return {claim.settles: claim.verdict for claim in claims if claim.settles}

    told = (experiment.FEWER, experiment.GROWS)
    assert verdicts([80.0, 90], [10.0, 20]) == dict.fromkeys(told, "holds") | {experiment.CURVED: "fails"}
    assert verdicts([80.0, 700], [20.0, 10]) == dict.fromkeys((*told, experiment.CURVED), "fails")


def test_experiment_keeps_the_contract(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "QUICK", experiment.Size((100, 1000), 150, (8,), (1, 2), 5, 5))
    monkeypatch.setattr(experiment, "CROSSINGS", (2,))
    monkeypatch.setattr(experiment, "SHAPES", ())
    drawn = []
    draw = experiment.draw
    monkeypatch.setattr(experiment, "draw", lambda *parts: drawn.append(draw(*parts)) or drawn[0])
    run_experiment("learning_coefficient", "", experiment.body, 2, 2, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert {claim["seeds"] for claim in results["claims"]} == {2}
    assert results["config"]["epochs"] == [1, 2]
    labelled(drawn[0])
