"""The edge of stability, on few coarse digits: sharpness against the dense Hessian, claims against known numbers."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment
from jax.flatten_util import ravel_pytree

from mlpjax import MLP, Dataset, Moment, Recipe, Split, Splits, init_state, load, make_task, mean_loss
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    loaded: Any = load_experiment("edge_of_stability")
    loaded.HIDDEN = (12,)
    return loaded


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """50 digits of 49 coarse pixels each, centred."""
    x, y = load("mnist5k").train
    coarse = x[:50].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(50, 49).astype(np.float32) / 255
    train = Split(coarse - coarse.mean(axis=0), y[:50])
    return Dataset("few", train, Split(train.x[:0], train.y[:0]), Split(train.x[:5], train.y[:5]), classes=10)


def test_digits_are_centred_by_pixel(experiment: ModuleType) -> None:
    dataset = experiment.centred_digits(100)
    assert dataset.train.x.shape == (100, 28, 28)
    np.testing.assert_allclose(dataset.train.x.mean(axis=0), 0, atol=1e-6)
    pixels = load("mnist5k").train.x[:100].astype(np.float32) / 255
    np.testing.assert_allclose(dataset.train.x - dataset.train.x[:1], pixels - pixels[:1], atol=1e-6)


def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(experiment: ModuleType, digits: Dataset) -> None:
    model = MLP((49, 12, 10), "tanh")
    recipe = Recipe("squared_error", "sgd", batch_size=None)
    task, train = make_task(model, recipe, digits.train), jax.tree.map(jnp.asarray, digits.train)

    def look(key: jax.Array) -> Any:
        state = init_state(task, recipe, key, train.x)
        moment = Moment(task, state, Splits(train, digits.valid, digits.test), {}, 0)
        flat, unravel = ravel_pytree(state.params)
        dense = jax.hessian(lambda flat: mean_loss(task)(unravel(flat), train))(flat)
        return *experiment.sharpness(moment), dense

    values, residuals, dense = jax.jit(jax.vmap(look))(jax.random.split(jax.random.key(1), 3))
    assert (residuals < 0.02 * values).all()
    np.testing.assert_allclose(values, np.linalg.eigvalsh(np.asarray(dense, float))[:, -1], rtol=1e-3)


def test_sharpness_rises_to_the_edge_and_stays_there(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    descend = experiment.descend
    monkeypatch.setattr(experiment, "descend", lambda *args: kept.setdefault("only", descend(*args)))
    run_experiment(
        "edge_of_stability",
        "",
        lambda seeds, _, out: experiment.settle(digits, (0.7,), seeds, 2400.0, 20, out),
        2,
        2,
        ["--out", str(tmp_path)],
    )
    descent = kept["only"]
    assert descent.steps.tolist() == [*range(0, 861, 43)]  # 42 would be even
    for sharpness, loss in zip(descent.sharpness, descent.loss, strict=True):
        stable = descent.steps[np.argmax(sharpness > 0.7) - 1]
        assert stable > 0
        assert (np.diff(loss[:stable]) < 0).all()
        assert (np.diff(loss[stable:]) > 0).any()

    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    for what in ("sharpness rises from below 2 / eta to it", "late sharpness within 10 % of 2 / eta"):
        claim = claims[f"2 / eta = 0.7: {what}"]
        assert (claim["measured"], claim["relation"], claim["seeds"]) == (100, "every", 2)
    converged = claims["2 / eta = 0.7: largest residual of the sharpness"]
    assert converged["measured"] == pytest.approx(100 * (descent.residual / descent.sharpness).max(axis=1).mean())
    assert converged["measured"] < 0.1
    # At the edge rounding decides the path of the loss: in so few steps it falls on some processors and not on others.
    fall = claims["2 / eta = 0.7: late fall of the loss: last over first"]
    start = descent.steps[14]
    assert fall["measured"] == pytest.approx((descent.loss[:, -1] / descent.loss[:, start]).mean())
    assert (tmp_path / "edge_of_stability.png").stat().st_size > 10_000


def test_claims_are_those_of_known_numbers(experiment: ModuleType) -> None:
    """Six measurements, every 3 steps, the last two of them late; the third seed diverged."""
    steps = np.arange(0, 18, 3)
    sharpness = np.array([[1, 1.5, 5, 5, 2.4, 2.0], [1, 5, 5, 5, 1.7, 1.4], [1, 1, 1, 1, np.nan, np.nan]])
    loss = np.array([[*range(20, 8, -1), 5, 6, 5, 4], [*range(20, 8, -1), 2, 3, 2, 3], [np.nan] * 16], np.float32)
    descent = experiment.Descent(2.0, steps, sharpness, 0.03 * sharpness, loss)
    claims = {claim.name.removeprefix("2 / eta = 2: "): claim for claim in experiment.claims_of(descent)}
    assert all((claim.seeds, claim.left_out) == (2, 1) for claim in claims.values())
    measured = {name: claim.measured for name, claim in claims.items()}
    assert measured == {
        "sharpness rises from below 2 / eta to it": 100,
        "late sharpness within 10 % of 2 / eta": 50,
        "late sharpness above 2 / eta": pytest.approx((10 - 22.5) / 2),
        "late measurements within 10 % of 2 / eta": 25,
        "late sharpness at odd steps above that at even ones": pytest.approx((-20 - 15) / 2),
        "largest residual of the sharpness": pytest.approx(3),
        "sharpness at the start": 1,
        "every step lowers the loss until the sharpness is at 2 / eta": 100,
        "late steps that raise the loss": pytest.approx(50),
        "loss lower at the end than late": 50,
        "late fall of the loss: last over first": pytest.approx((4 / 5 + 3 / 2) / 2),
    }
    assert claims["late sharpness within 10 % of 2 / eta"].verdict == "fails"
    assert claims["largest residual of the sharpness"].published == 1


def test_a_loss_that_rises_before_the_edge_and_a_sharpness_that_stays_below_are_told(experiment: ModuleType) -> None:
    steps = np.arange(0, 18, 3)
    sharpness = np.array([[1, 1.5, 5, 5, 2, 2], [1, 1.2, 1.3, 1.4, 1.5, 1.6], [3, 2, 2, 2, 2, 2]])
    loss = np.tile(np.arange(20.0, 4.0, -1.0, np.float32), (3, 1))
    loss[0, 2] += 2
    claims = experiment.claims_of(experiment.Descent(2.0, steps, sharpness, 0 * sharpness, loss))
    values = {claim.name.removeprefix("2 / eta = 2: "): claim.values[0].tolist() for claim in claims}
    assert values["sharpness rises from below 2 / eta to it"] == [1, 0, 0]
    assert values["every step lowers the loss until the sharpness is at 2 / eta"] == [0, 1, 1]


def test_seed_0_is_left_out(experiment: ModuleType, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[range] = []

    def stop(*arguments: Any, **_: Any) -> Any:
        taken.append(arguments[3])
        raise RuntimeError("far enough")

    monkeypatch.setattr(experiment, "train_many", stop)
    with pytest.raises(RuntimeError, match="far enough"):
        experiment.descend(digits, 0.7, 3, 2400.0, 20)
    assert taken == [range(1, 4)]
