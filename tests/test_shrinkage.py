"""Early stopping, ridge and dropout in least squares: the closed forms against training, fits, and one another."""

import itertools

import jax
import numpy as np
import pytest
import scipy.optimize

from mlpjax import MLP, Dataset, Recipe, Split, train_many
from mlpjax.shrinkage import (
    RISK_RATIO,
    equal_ridge,
    kept_by_descent,
    kept_by_ridge,
    ridge_fit,
    ridge_of_dropout,
    risk,
)

RATE, STEPS, N = 0.1, 40, 50


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets, and the curvatures with their directions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4)) * [2.0, 1.0, 0.5, 0.2]
    y = x @ rng.normal(size=(4, 1)) + rng.normal(size=(N, 1))
    return x, y, *np.linalg.eigh(x.T @ x / N)


def fit(problem: tuple[np.ndarray, ...], kept: np.ndarray) -> np.ndarray:
    x, y, _, directions = problem
    return directions @ (kept[:, None] * (directions.T @ np.linalg.lstsq(x, y, rcond=None)[0]))


def test_training_that_stops_early_is_the_closed_form(problem: tuple[np.ndarray, ...]) -> None:
    """`train_many` itself; its squared error has no 1/2, so the rate is half."""
    x, y, curvatures, _ = problem
    split = Split(x.astype(np.float32), y.astype(np.float32))
    recipe = Recipe("squared_error", "sgd", learning_rate=RATE / 2, batch_size=None, epochs=STEPS, eval_every=STEPS)
    model = MLP((4, 1), initializer="zeros", bias="none")
    trained = train_many(model, recipe, Dataset("line", split, split, split), [0])
    (kernel,) = jax.tree.leaves(trained.params)
    np.testing.assert_allclose(kernel[0], fit(problem, kept_by_descent(curvatures, RATE, STEPS)), atol=2e-6)


def test_ridge_is_the_minimiser_of_its_loss(problem: tuple[np.ndarray, ...]) -> None:
    x, y, curvatures, _ = problem
    expected = np.linalg.solve(x.T @ x / N + 0.3 * np.eye(4), x.T @ y / N)
    np.testing.assert_allclose(fit(problem, kept_by_ridge(curvatures, 0.3)), expected, rtol=1e-12)


def test_each_direction_has_a_ridge_that_equals_stopping(problem: tuple[np.ndarray, ...]) -> None:
    curvatures = problem[2]
    strengths = equal_ridge(curvatures, RATE, STEPS)
    found = kept_by_ridge(curvatures, strengths)
    np.testing.assert_allclose(found, kept_by_descent(curvatures, RATE, STEPS), rtol=1e-12)
    flat = equal_ridge(np.array([1e-6]), RATE, STEPS)
    np.testing.assert_allclose(flat, 1 / (RATE * STEPS), rtol=1e-5)


def test_the_risk_is_the_mean_over_draws_of_the_targets(problem: tuple[np.ndarray, ...]) -> None:
    x, _, curvatures, directions = problem
    rng = np.random.default_rng(1)
    truth, kept = rng.normal(size=4), kept_by_ridge(curvatures, 0.3)
    weights = directions @ truth
    targets = (x @ weights)[:, None] + 0.7 * rng.normal(size=(N, 20_000))
    fitted = fit((x, targets, curvatures, directions), kept)
    expected = ((fitted - weights[:, None]) ** 2).sum(axis=0)
    error = expected.std() / np.sqrt(20_000)
    assert abs(risk(kept, curvatures, truth, 0.7**2 / N) - expected.mean()) < 4 * error


def test_the_greatest_ratio_of_the_risks() -> None:
    def ratio(x: float) -> float:
        return float(((1 - np.exp(-x)) * (1 + x) / x) ** 2)

    found = scipy.optimize.minimize_scalar(lambda x: -ratio(x), bounds=(0.1, 10), method="bounded")
    assert round(-found.fun, 2) == RISK_RATIO


def test_ridge_fit_is_least_squares_with_a_row_more_for_each_penalty(problem: tuple[np.ndarray, ...]) -> None:
    x, y = problem[0], problem[1][:, 0]
    strengths = np.array([0.1, 0.0, 2.0, 0.5])
    longer = np.concatenate([x, np.diag(np.sqrt(N * strengths))]), np.concatenate([y, np.zeros(4)])
    np.testing.assert_allclose(ridge_fit(x, y, strengths), np.linalg.lstsq(*longer, rcond=None)[0], rtol=1e-12)
    curvatures = problem[2]
    np.testing.assert_allclose(
        ridge_fit(x, y, 0.3), fit((x, y[:, None], *problem[2:]), kept_by_ridge(curvatures, 0.3))[:, 0]
    )


def test_ridge_fit_of_several_targets_is_that_of_each(problem: tuple[np.ndarray, ...]) -> None:
    x, y = problem[0], np.concatenate([problem[1], problem[1] ** 2, problem[0][:, :1]], axis=1)
    each = [ridge_fit(x, target, 0.3) for target in y.T]
    np.testing.assert_allclose(ridge_fit(x, y, 0.3), np.stack(each, axis=1), rtol=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.8])
def test_dropout_of_inputs_is_its_ridge(problem: tuple[np.ndarray, ...], rate: float) -> None:
    """The mean loss over all sixteen masks, at any weights."""
    x, y, weights = problem[0], problem[1][:, 0], np.array([1.0, -2.0, 0.5, 3.0])
    expected = 0.0
    for kept in itertools.product((False, True), repeat=4):
        probability = np.prod(np.where(kept, 1 - rate, rate))
        expected += probability * np.sum((y - x @ np.where(kept, weights / (1 - rate), 0.0)) ** 2) / (2 * N)
    found = np.sum((y - x @ weights) ** 2) / (2 * N) + ridge_of_dropout(x, rate) @ weights**2 / 2
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_dropout_does_not_ask_for_the_units_of_a_feature(problem: tuple[np.ndarray, ...]) -> None:
    """As least squares, and unlike an ordinary ridge."""
    x, y, scale = problem[0], problem[1][:, 0], np.array([10.0, 0.1, 3.0, 1.0])
    one, other = (ridge_fit(z, y, ridge_of_dropout(z, 0.4)) for z in (x, x * scale))
    np.testing.assert_allclose(other * scale, one, rtol=1e-9)
