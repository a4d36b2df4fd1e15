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
    assert descent.steps.tolist() == [*range(0, 841, 42)]
    for sharpness, loss in zip(descent.sharpness, descent.loss, strict=True):
        stable = descent.steps[np.argmax(sharpness > 0.7) - 1]
        assert stable > 0
        assert (np.diff(loss[:stable]) < 0).all()
        assert (np.diff(loss[stable:]) > 0).any()

    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    late = claims["2 / eta = 0.7: late sharpness"]
    assert (late["published"], late["relation"], late["tolerance"]) == (0.7, "about", pytest.approx(0.07))
    assert late["measured"] == pytest.approx(descent.sharpness[:, 14:].mean())
    # At the edge rounding decides the path of the loss: in so few steps it falls on some processors and not on others.
    fall = claims.pop("2 / eta = 0.7: late fall of the loss: last over first")
    start = descent.steps[14]
    assert fall["measured"] == pytest.approx((descent.loss[:, -1] / descent.loss[:, start]).mean())
    assert {claim["verdict"] for claim in claims.values()} == {"holds", "new"}
    assert (tmp_path / "edge_of_stability.png").stat().st_size > 10_000


def test_the_late_part_is_the_last_third(experiment: ModuleType) -> None:
    sharpness = np.array([[1.0, 5.0, 5.0, 5.0, 2.2, 2.0], [1.0, 5.0, 5.0, 5.0, 1.8, 1.4]])
    loss = np.array([[9.0, 8.0, 7.0, 6.0, 4.0, 2.0], [9.0, 8.0, 7.0, 6.0, 4.0, 5.0]])
    descent = experiment.Descent(2.0, np.arange(6), sharpness, np.zeros_like(sharpness), loss)
    late, farthest, above, start, rises, fall = experiment.claims_of(descent)
    assert (late.measured, farthest.measured, above.measured) == pytest.approx((1.85, 20.0, -7.5))
    assert (late.verdict, farthest.verdict) == ("undecided", "undecided")
    assert (start.measured, rises.measured, fall.measured) == pytest.approx((1.0, 50.0, 0.875))
