"""Attacks against linear models, whose worst perturbation is known in closed form, and against NumPy's PGD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax.attacks import fgsm, margins, pgd, strongest
from mlpjax.data import Split
from mlpjax.keys import make_keys
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.task import Batch, adversarial, make_task
from mlpjax.typing import Variables

KEY, EPSILON = jax.random.key(0), 0.1
RNG = np.random.default_rng(0)
W = RNG.normal(size=(20, 2)).astype(np.float32)
W -= W.mean(axis=0)  # so that both classes are common
X = RNG.uniform(0.2, 0.8, size=(300, 20)).astype(np.float32)
LABELS = RNG.integers(0, 2, 300)
ATTACKS = {"fgsm": fgsm(EPSILON), "one step": pgd(EPSILON, 2.5 * EPSILON, 1), "pgd": pgd(EPSILON, 0.02, 12)}


def linear_margins(x):
    return margins(jnp.asarray(x) @ W, jnp.asarray(LABELS))


def attacked(attack, losses=linear_margins, x=X, key=KEY):
    return np.asarray(jax.jit(lambda x: attack(key, lambda x: losses(x).sum(), x))(jnp.asarray(x)))


@pytest.mark.parametrize("name", ATTACKS)
def test_worst_perturbation_of_a_linear_model_is_found(name):
    """epsilon sign(w_wrong - w_right), whatever the objective that grows with the margin; and so the accuracy."""
    direction = np.where(LABELS[:, None] == 1, W[:, 0] - W[:, 1], W[:, 1] - W[:, 0])
    for losses in (linear_margins, lambda x: jnp.exp(3 * linear_margins(x))):
        found = attacked(ATTACKS[name], losses)
        np.testing.assert_allclose(found, X + np.float32(EPSILON) * np.sign(direction), atol=1e-6)
    margin = np.sum(direction * X, axis=1)
    robust = margin + EPSILON * np.abs(direction).sum(axis=1) < 0
    np.testing.assert_array_equal(np.asarray(linear_margins(found)) < 0, robust)
    assert 0 < robust.sum() < (margin < 0).sum()


def test_pixels_stay_between_0_and_1_and_near():
    x = RNG.uniform(size=X.shape).astype(np.float32)
    direction = np.where(LABELS[:, None] == 1, W[:, 0] - W[:, 1], W[:, 1] - W[:, 0])
    worst = np.clip(x + np.float32(0.5) * np.sign(direction), 0, 1)
    for attack in (fgsm(0.5), pgd(0.5, 0.2, 8)):
        np.testing.assert_allclose(attacked(attack, x=x), worst, atol=1e-6)
    start = attacked(pgd(0.5, 0.2, 0), x=x)
    assert start.min() >= 0
    assert start.max() <= 1
    assert abs(start - x).max() <= 0.5 + 1e-6


def test_the_start_is_uniform_in_the_ball_and_drawn_by_the_key():
    flat = np.full((100, 50), 0.5, np.float32)
    keys = jax.random.split(KEY)
    start, other = (attacked(pgd(0.3, 0.1, 0), lambda x: x.sum(axis=1), flat, key) - 0.5 for key in keys)
    np.testing.assert_allclose(np.quantile(start, [0, 0.25, 0.5, 0.75, 1]), [-0.3, -0.15, 0, 0.15, 0.3], atol=0.02)
    assert abs(np.corrcoef(start.ravel(), other.ravel())[0, 1]) < 0.05


def test_pgd_follows_a_loop_in_numpy_where_the_gradient_turns():
    """L = -sum |x - c| / 2 (x - c): a peak inside of the ball, around which the steps go to and fro."""
    centre = (X + RNG.uniform(-0.2, 0.2, X.shape)).astype(np.float32)
    start = attacked(pgd(EPSILON, 0.03, 0))
    x = start.copy()
    for _ in range(7):
        x = np.clip(x + np.float32(0.03) * np.sign(centre - x), X - np.float32(EPSILON), X + np.float32(EPSILON))
    found = attacked(pgd(EPSILON, 0.03, 7), lambda x: -((x - centre) ** 2).sum(axis=1))
    np.testing.assert_allclose(found, x, atol=1e-5)


def test_margin_is_that_of_the_best_wrong_class():
    outputs = jnp.asarray([[1.0, 3, 2], [1, 3, 2], [5, 5, 0]])
    np.testing.assert_array_equal(margins(outputs, jnp.asarray([1, 2, 0])), [-1, 1, 0])


def test_of_several_runs_the_worst_is_kept_for_each_example():
    def wavy(x):
        return jnp.sin(40 * x).sum(axis=1) + linear_margins(x)

    attack, restarts = pgd(EPSILON, 0.02, 3), 4
    runs = [attacked(attack, wavy, key=key) for key in jax.random.split(KEY, restarts)]
    losses = np.array([wavy(x) for x in (X, *runs)])
    best = losses.argmax(axis=0)
    assert len(set(best) - {0}) == restarts
    found = jax.jit(lambda x: strongest(attack, KEY, wavy, x, restarts))(jnp.asarray(X))
    np.testing.assert_allclose(wavy(found), losses.max(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found, np.array([X, *runs])[best, np.arange(len(X))], atol=1e-5)


def test_an_example_that_no_run_makes_worse_is_kept():
    def peak(x):
        return -jnp.abs(x - X).sum(axis=1)

    np.testing.assert_array_equal(strongest(pgd(EPSILON, 0.02, 0), KEY, peak, jnp.asarray(X), 2), X)


def test_adversarial_training_steps_on_the_attacked_minibatch():
    """Of logistic regression, where the attack is known: the objective is that at x + epsilon sign(w)."""
    model = MLP((20, 2))
    task = make_task(model, Recipe(), Split(X, LABELS))
    weights = Variables({"dense_0": {"kernel": jnp.asarray(W), "bias": jnp.zeros(2)}})
    direction = np.where(LABELS[:, None] == 1, W[:, 0] - W[:, 1], W[:, 1] - W[:, 0])
    batch = Batch(jnp.asarray(X), jnp.asarray(LABELS), jnp.ones(len(X)))
    worst = batch._replace(x=jnp.asarray(X + np.float32(EPSILON) * np.sign(direction)))
    expected = task.objective(weights, worst, None)[0]
    for attack in ATTACKS.values():
        found = jax.jit(adversarial(task, attack).objective)(weights, batch, make_keys(0))[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
