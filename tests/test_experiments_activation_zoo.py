"""The experiment on activations, on few coarse digits: what it trains, chooses, looks at and states."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, load_experiment, texts
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Observe, Recipe, Split, make_keys, make_task, mean_loss, sweep
from mlpjax.activations import ACTIVATIONS
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.landscape.signals import HiddenUnits, delta_norms


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("activation_zoo")


@pytest.fixture(scope="module")
def digits(coarse_digits: Dataset) -> Dataset:
    """With some to choose by."""
    train, test = coarse_digits.train, coarse_digits.test
    valid = Split(test.x[:40], test.y[:40])
    return Dataset("few", train, valid, Split(test.x[40:], test.y[40:]), classes=10)


def test_steps_are_those_to_the_first_look_that_reaches_the_goal(experiment: ModuleType) -> None:
    seen = np.array([[0.9, 0.96, 0.97, 0.5], [0.98, 0.1, 0.1, 0.1], [0.9, 0.96, 0.969, 0.96], [np.nan] * 4])
    np.testing.assert_array_equal(experiment.first_steps(seen, 86), [258, 86, np.inf, np.inf])


def test_centred_inputs_have_the_mean_zero_and_their_old_scale(experiment: ModuleType, digits: Dataset) -> None:
    model, recipe = MLP((49, 3, 10)), Recipe()
    plain = np.asarray(make_task(model, recipe, digits.train).prepare(digits.train.x))
    centred = np.asarray(experiment.centred(model, recipe, digits.train).prepare(digits.train.x))
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(plain - centred, np.broadcast_to(plain.mean(axis=0), plain.shape), atol=1e-6)
    assert plain.mean() > 0.1


@pytest.mark.slow
def test_the_rate_is_chosen_on_seeds_of_its_own(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the same networks trained here; a second call goes on from what is kept."""
    monkeypatch.setattr(experiment, "HIDDEN", (6, 5))
    monkeypatch.setattr(experiment, "LOOKS", 2)
    monkeypatch.setattr(experiment, "GOAL", 0.0)
    kind = experiment.train("prelu", digits, 4, (0.001, 0.3), 3, tmp_path)
    model, recipe = MLP((49, 6, 5, 10), "prelu"), Recipe(optimizer="sgd", epochs=4, eval_every=4)
    looks = {"valid": Observe(experiment.accuracy, steps=range(1, 9))}
    swept = sweep(
        model, recipe, digits, range(5), {"learning_rate": (0.001, 0.3)}, observe=looks, snapshots=(0, 4)
    )  # as there, and so compiled once
    valid, test = (100 * (1 - swept.final(f"{split}_accuracy")) for split in ("valid", "test"))
    best = int(valid[:, :2].mean(axis=1).argmin())
    np.testing.assert_allclose(kind.tried, valid[:, :2].mean(axis=1), rtol=1e-5)
    assert kind.rate == (0.001, 0.3)[best]
    np.testing.assert_allclose(kind.error, test[best, 2:], rtol=1e-5)
    assert kind.among.all() and kind.most == 9
    np.testing.assert_array_equal(kind.steps, [1, 1, 1])
    params = swept.trained[best].params
    np.testing.assert_allclose(kind.alpha, (params["alpha_0"] + params["alpha_1"])[2:] / 2, rtol=1e-5)

    start, task = model.init(make_keys(3).init).params, make_task(model, recipe, digits.train)
    found = delta_norms(mean_loss(task), start, digits.valid)
    np.testing.assert_allclose(kind.inside.signal[1, 0], found, rtol=1e-4)
    x = jnp.asarray(digits.valid.x.reshape(40, -1) / 255, jnp.float32)
    means = [float(layer.mean()) for layer in model.activations(start, x)[:-1]]
    np.testing.assert_allclose(kind.inside.units.mean[1, 0], means, rtol=1e-4)
    assert (kind.inside.units.mean[:, 0] != kind.inside.units.mean[:, 1]).all()

    monkeypatch.setattr(experiment, "GOAL", 2.0)
    kept = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy"))
    again = experiment.train("prelu", digits, 4, (0.001, 0.3), 3, tmp_path)
    assert np.isinf(again.steps).all()
    np.testing.assert_array_equal(experiment.capped(again), [9, 9, 9])
    assert kept == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy"))


def made(experiment: ModuleType, error: float, steps: list[float], mean: float, signal: float) -> Any:
    """A kind of network whose three seeds gave such figures; the last hidden layer alone is flat."""
    wobble = np.array([0.0, 0.01, -0.01])
    means = np.full((3, 2, 3), mean) + wobble[:, None, None]
    flat = np.zeros((3, 2, 3))
    flat[:, 1, 2] = 1
    signals = np.ones((3, 2, 4))
    signals[:, 0, 0] = signal * (1 + wobble)
    signals[:, 1] = 2
    inside = experiment.Inside(HiddenUnits(means, flat, flat / 2), signals)
    among = np.ones(3, bool)
    return experiment.Kind(0.3, np.zeros(2), error + wobble, np.array(steps), 100, inside, None, among)


def test_claims_compare_the_pairs_of_the_deck(experiment: ModuleType) -> None:
    kinds = {
        "sigmoid": made(experiment, 4, [80, 90, np.inf], 0.5, 0.01),
        "tanh": made(experiment, 3, [60, 60, 60], -0.1, 1),
        "sigmoid, centred inputs": made(experiment, 3.5, [70, 80, 90], 0.5, 0.01),
        "tanh, centred inputs": made(experiment, 3.25, [70, 70, 70], 0, 1),
        "smooth_relu": made(experiment, 3, [60, 60, 60], 0.2, 1),
        "trained_smooth_relu": made(experiment, 2, [50, 50, 50], 0.2, 1)._replace(
            alpha=np.array([21.0, 22.0, 23.0]), among=np.array([True, True, False])
        ),
    }
    stated: dict[str, Claim] = {claim.name: claim for claim in experiment.claims_of_deck(kinds)}
    slopes = [stated[f"{name}: steepest slope"] for name in ("sigmoid", "tanh")]
    assert [(claim.measured, claim.verdict, claim.theorem) for claim in slopes] == [
        (0.25, "holds", True),
        (1, "holds", True),
    ]
    expected = {
        "steps to 97 %, never as 100, sigmoid above tanh": 30,
        "test error, sigmoid above tanh": 1,
        "distance of the mean activation from 0 at the start, sigmoid above tanh": 0.4,
        "distance of the mean activation from 0 at the end, sigmoid above tanh": 0.4,
        "gradient at the start, first layer over output, tanh above sigmoid": 0.99,
        "steps to 97 %, never as 100, sigmoid above sigmoid, centred inputs": 10,
        "test error, sigmoid above sigmoid, centred inputs": 0.5,
        "steps to 97 %, never as 100, tanh above tanh, centred inputs": -10,
        "test error, tanh above tanh, centred inputs": -0.25,
        "test error, smooth_relu above trained_smooth_relu": 1,
        "steps to 97 %, never as 100, smooth_relu above trained_smooth_relu": 10,
    }
    assert stated.keys() - expected.keys() == {claim.name for claim in slopes}
    for name, difference in expected.items():
        claim = stated[name]
        assert claim.measured == pytest.approx(difference), name
        assert (claim.relation, claim.seeds) == ((None, 2) if "smooth" in name else ("above", 3))
    assert sum(bool(claim.settles) for claim in stated.values()) == 5

    of_sigmoid = {claim.name: claim.measured for claim in experiment.claims_of_kind("sigmoid", kinds["sigmoid"])}
    assert of_sigmoid["sigmoid: steps to 97 %, never as 100"] == 90
    assert of_sigmoid["sigmoid: units flat on a digit"] == pytest.approx(100 * 32 / 224)
    assert of_sigmoid["sigmoid: dead or saturated units"] == pytest.approx(50 * 32 / 224)
    *_, alpha = experiment.claims_of_kind("trained_smooth_relu", kinds["trained_smooth_relu"])
    assert (alpha.measured, alpha.left_out) == (21.5, 1)


def test_experiment_keeps_the_contract(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def train(*args: Any) -> Any:
        seen.append(args)
        kind = made(experiment, 3 + len(seen), [60, np.inf, 60], 0.1, 0.0 if args[0] == "step" else 0.5)
        signal = kind.inside.signal * (0 if args[0] == "step" else 1)
        signal[..., -1] = 1
        return kind._replace(inside=kind.inside._replace(signal=signal))

    monkeypatch.setattr(experiment, "train", train)
    monkeypatch.setattr(experiment, "load", lambda _: digits)
    (tmp_path / "checkpoints").mkdir()
    arguments = ["--quick", "--out", str(tmp_path)]
    run_experiment("activation_zoo", "", experiment.body, 3, 3, arguments, needs=MNIST)
    assert not (tmp_path / "checkpoints").exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["config"]["kinds"]["tanh"]["reached 97 %"] == 2
    assert results["config"]["best at an end of the rates"] == [name for name, *_ in seen]  # 0.3 is an end of quick's
    figures = ("activation_zoo", "activation_zoo_functions", "activation_zoo_layers")
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in figures)
    with pytest.raises(SystemExit, match="2"):
        run_experiment("activation_zoo", "", experiment.body, 3, 3, [*arguments, "--seeds", "1"], needs=MNIST)

    kinds = {name: train(name) for name in ("relu", "step", "sigmoid")}
    chart, layers = experiment.draw(kinds), experiment.draw_inside(kinds)
    for figure in (chart, layers):
        labelled(figure)
    assert "1 of 3 never" in texts(chart) and "relu  (0.3)" in texts(chart)
    assert "through steps comes nothing" in texts(layers)

    seen.clear()
    (tmp_path / "checkpoints").mkdir()
    for drawn in ("draw", "draw_inside", "activations"):
        monkeypatch.setattr(experiment, drawn, lambda *_: Figure())
    monkeypatch.setattr(experiment, "load_mnist", lambda _: digits)
    monkeypatch.setattr(experiment, "HELD_OUT", 50)
    claims, config = experiment.body(3, False, tmp_path, "idx:")
    names, (data, *_), *_ = zip(*seen, strict=True)
    assert [*names] == [*ACTIVATIONS, "sigmoid, centred inputs", "tanh, centred inputs"]
    assert (len(data.train.y), len(data.valid.y)) == (150, 50)
    rows = {row.tobytes() for split in (data.train, data.valid) for row in np.asarray(split.x)}
    assert rows == {row.tobytes() for row in np.asarray(digits.train.x)}
    assert len({claim.name for claim in claims}) == len(claims)
    assert config["best at an end of the rates"] == []
