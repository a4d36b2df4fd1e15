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

from mlpjax import Split, load, make_task, mean_loss
from mlpjax.claims import run_experiment
from mlpjax.plumbing.rate import flops_per_example


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
    np.testing.assert_allclose(found.rank, 2, rtol=1e-4)
    flat = experiment.measure(
        "another", lambda params, _: jnp.sum(params**2) * jnp.float32(0.5) / 1e3, jnp.zeros((1, 1, 2)), train, 2
    )
    np.testing.assert_allclose(flat.rank, 0, atol=1e-4)  # n beta h = 0.14, and the localisation is 1
    np.testing.assert_allclose(found.coefficient, exact, rtol=0.15)


def made_up(experiment: ModuleType, coefficient: np.ndarray) -> object:
    """Complexities with these means and a little scatter over 16 seeds; the parabola's is twice as much."""
    scatter = 0.01 * np.random.default_rng(0).normal(size=(2, len(coefficient), 16))
    one, other = coefficient[:, None] + scatter
    return experiment.Complexity(one, 0 * one, 2 * other, 3 * one, 4 * one)


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


def test_pairs_are_parted_and_the_quadratic_loss_is_a_likelihood(experiment: ModuleType) -> None:
    setting = experiment.grokking_settings()[experiment.QUADRATIC]
    dataset = experiment.addition(setting.share)
    (x, y), test = dataset.train, dataset.test
    assert (len(y), len(test.y)) == (432, 529)
    every = np.concatenate([x, test.x])
    assert len(np.unique(every, axis=0)) == 31**2
    params = setting.model.init(jax.random.key(0)).params
    mean = mean_loss(make_task(setting.model, setting.recipe, dataset.train))
    hidden = (x @ np.asarray(params["dense_0"]["kernel"])) ** 2
    outputs = hidden @ np.asarray(params["dense_1"]["kernel"]) / (62 * 256)
    exact = (((outputs - np.eye(31)[y]) ** 2).sum(axis=1) / (2 * 0.1**2)).mean()
    np.testing.assert_allclose(setting.scale * mean(params, dataset.train), exact, rtol=1e-4)


def test_a_coefficient_that_falls_for_every_seed_is_told_from_one_that_does_not(experiment: ModuleType) -> None:
    accuracy = np.full((2, 16), 50.0)
    steps = dict.fromkeys((experiment.QUADRATIC, experiment.RELU), (300, 2500))
    values = {experiment.QUADRATIC: [480.0, 380], experiment.RELU: [590.0, 590]}
    found = {
        name: experiment.Grokked(made_up(experiment, np.array(ends)), accuracy, accuracy)
        for name, ends in values.items()
    }
    claims = experiment.grokking_claims(steps, found)
    verdicts = {claim.settles: claim.verdict for claim in claims if claim.settles}
    assert verdicts == {experiment.SIMPLER[experiment.QUADRATIC]: "holds", experiment.SIMPLER[experiment.RELU]: "fails"}
    differences = [claim for claim in claims if claim.name.endswith("difference")]
    assert differences[0].measured == pytest.approx(-100, abs=0.1)


def test_experiment_keeps_the_contract(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = dict.fromkeys((experiment.QUADRATIC, experiment.RELU), (300, 310))
    monkeypatch.setattr(experiment, "QUICK", experiment.Size((100, 1000), 150, (8,), (1, 2), 5, 5, steps))
    small = experiment.grokking_settings(4, 4)
    monkeypatch.setattr(experiment, "grokking_settings", lambda: small)
    monkeypatch.setattr(experiment, "CROSSINGS", (2,))
    monkeypatch.setattr(experiment, "SHAPES", ())
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    drawn = []
    draw = experiment.draw
    monkeypatch.setattr(experiment, "draw", lambda *parts: drawn.append(draw(*parts)) or drawn[0])
    run_experiment("learning_coefficient", "", experiment.body, 2, 2, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert {claim["seeds"] for claim in results["claims"]} == {2}
    assert results["config"]["epochs"] == [1, 2]
    assert results["config"]["networks"] == 6
    digits = 150 * flops_per_example((196, 8, 10)) * (2 + 2 * 4 * 10)
    pairs = [n * flops_per_example((62, 4, 31)) * (310 + 2 * 4 * 10) for n in (432, 769)]
    assert experiment.operations(196, experiment.QUICK) == digits + sum(pairs)
    labelled(drawn[0])
