"""What one network is to everything else, against scikit-learn and formulas written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.preprocessing import StandardScaler

from mlpjax.data import Split
from mlpjax.errors import UserError
from mlpjax.keys import make_keys
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.task import (
    Batch,
    Metric,
    _moments,
    adversarial,
    augmented,
    evaluate,
    make_prepare,
    make_task,
    masked,
    mean_loss,
)
from mlpjax.typing import Variables

KEY = jax.random.key(0)
KEYS = make_keys(0)
MODEL = MLP((3, 4, 2), "tanh")
VARIABLES = MODEL.init(KEY)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
LABELS = Split(X, (np.arange(50) % 2).astype(np.int32))
NUMBERS = Split(X, (3 + 2 * RNG.normal(size=(50, 2))).astype(np.float32))
TASK = make_task(MODEL, Recipe())
BATCH = Batch(jnp.asarray(X), jnp.asarray(LABELS.y), jnp.ones(50))


def test_regression_agrees_with_scikit_learn_and_has_no_accuracy():
    task = make_task(MODEL, Recipe(loss="squared_error"), NUMBERS)
    found = evaluate(task, VARIABLES, NUMBERS)
    outputs = np.asarray(task.predict(VARIABLES, jnp.asarray(X)), np.float64)
    assert found.keys() == {"loss", "rmse", "r2"}
    np.testing.assert_allclose(found["rmse"], root_mean_squared_error(NUMBERS.y.ravel(), outputs.ravel()), rtol=1e-5)
    np.testing.assert_allclose(found["r2"], r2_score(NUMBERS.y, outputs), rtol=1e-5)


def test_r2_survives_targets_far_from_zero():
    far = NUMBERS._replace(y=NUMBERS.y + np.float32(1000))
    task = make_task(MODEL, Recipe(loss="squared_error"), far)
    outputs = np.asarray(task.predict(VARIABLES, jnp.asarray(X)), np.float64)
    np.testing.assert_allclose(evaluate(task, VARIABLES, far)["r2"], r2_score(far.y, outputs), rtol=1e-4)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_a_loss_of_classes_is_refused_where_targets_are_numbers(loss):
    with pytest.raises(UserError, match=f"loss {loss}: is for classes, and the targets are numbers"):
        make_task(MODEL, Recipe(loss=loss), NUMBERS)


def test_own_loss_and_own_metrics_are_reported_by_name():
    def absolute(outputs, labels):
        return jnp.abs(outputs[:, 0] - labels.astype(jnp.float32))

    metrics = {
        "largest": lambda outputs, labels: outputs.max(axis=1),
        "spread": Metric(lambda outputs, labels: outputs[:, 0] ** 2, jnp.sqrt),
    }
    task = make_task(MODEL, Recipe(loss=absolute), LABELS, metrics)
    found = evaluate(task, VARIABLES, LABELS)
    outputs = np.asarray(MODEL.apply(VARIABLES, jnp.asarray(X))[0])
    assert found.keys() == {"loss", "accuracy", "largest", "spread"}
    np.testing.assert_allclose(found["loss"], np.abs(outputs[:, 0] - LABELS.y).mean(), rtol=1e-6)
    np.testing.assert_allclose(found["largest"], outputs.max(axis=1).mean(), rtol=1e-6)
    np.testing.assert_allclose(found["spread"], np.sqrt((outputs[:, 0] ** 2).mean()), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_without_a_finite_loss_has_no_accuracy_and_no_r2(value):
    lost = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), VARIABLES)
    assert np.isnan(evaluate(TASK, lost, LABELS)["accuracy"])
    found = evaluate(make_task(MODEL, Recipe(loss="squared_error"), NUMBERS), lost, NUMBERS)
    assert np.isnan([found["rmse"], found["r2"]]).all()


def test_range_divides_pixels_by_255_and_leaves_floats_alone():
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    prepared = jax.jit(make_prepare("range", None))(pixels)
    assert prepared.dtype == jnp.float32
    np.testing.assert_allclose(prepared, pixels / 255, rtol=1e-7)
    np.testing.assert_array_equal(make_prepare("range", None)(X), X)


@pytest.mark.parametrize("pixels", [True, False])
def test_feature_normalisation_is_scikit_learn_s_of_the_training_split(pixels):
    train = RNG.integers(0, 256, (40, 5)).astype(np.uint8) if pixels else RNG.normal(2, 3, (40, 5)).astype(np.float32)
    train[:, 2] = 7  # never varies
    other = train[::-1][:10]
    expected = StandardScaler().fit(train / (255 if pixels else 1)).transform(other / (255 if pixels else 1))
    np.testing.assert_allclose(make_prepare("feature", train)(other), expected, atol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (0, 1, 2)])
def test_moments_of_many_rows_are_those_of_all(axes, monkeypatch):
    for x in (RNG.integers(0, 256, (50, 4, 3, 2), np.uint8), RNG.normal(7, 2, (50, 4, 3, 2)).astype(np.float32)):
        wanted = [of(x, axis=axes, keepdims=True, dtype=np.float64) for of in (np.mean, np.std)]
        for exact, found in zip(wanted, _moments(x, axes), strict=True):
            np.testing.assert_array_equal(found, exact)
        with monkeypatch.context() as context:
            context.setattr("mlpjax.task.MOMENT_NUMBERS", 7 * 24)
            for exact, found in zip(wanted, _moments(x, axes), strict=True):
                np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_channel_normalisation_has_one_mean_a_colour():
    train = RNG.integers(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    prepared = np.asarray(make_prepare("channel", train)(train), np.float64)
    np.testing.assert_allclose(prepared.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(prepared.std(axis=(0, 1, 2)), 1, atol=1e-5)
    assert abs(prepared[:, 0, 0, 0].mean()) > 1e-3  # not a mean for each pixel
    grey = RNG.integers(0, 256, (20, 4, 4)).astype(np.uint8)
    np.testing.assert_allclose(np.asarray(make_prepare("channel", grey)(grey)).std(), 1, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["feature", "channel"])
def test_normalisation_without_a_training_split_is_refused(normalisation):
    with pytest.raises(UserError, match=f"normalisation {normalisation}: needs the training split"):
        make_task(MODEL, Recipe(normalisation=normalisation))


def test_augmentation_is_of_training_alone_and_has_a_key_of_its_own():
    task = augmented(TASK, lambda key, x: x + jax.random.normal(key, x.shape))
    moved = BATCH._replace(x=BATCH.x + jax.random.normal(KEYS.augment, BATCH.x.shape))
    np.testing.assert_allclose(
        task.objective(VARIABLES, BATCH, KEYS)[0], TASK.objective(VARIABLES, moved, KEYS)[0], rtol=1e-6
    )
    np.testing.assert_array_equal(task.objective(VARIABLES, BATCH, None)[0], TASK.objective(VARIABLES, BATCH, None)[0])
    assert evaluate(task, VARIABLES, LABELS) == evaluate(TASK, VARIABLES, LABELS)


def test_an_attack_goes_up_and_no_gradient_goes_through_it():
    def sign_step(_, loss, x):
        return x + 0.1 * jnp.sign(jax.grad(loss)(x))

    task = adversarial(TASK, sign_step)
    plain = TASK.objective(VARIABLES, BATCH, KEYS)[0]
    assert task.objective(VARIABLES, BATCH, KEYS)[0] > plain
    np.testing.assert_array_equal(*(t.objective(VARIABLES, BATCH, None)[0] for t in (task, TASK)))
    attacked = sign_step(None, lambda x: TASK.objective(VARIABLES, BATCH._replace(x=x), KEYS)[0], BATCH.x)

    def gradient(task, batch):
        return jax.grad(lambda p: task.objective(Variables(p), batch, KEYS)[0])(VARIABLES.params)

    ours, expected = gradient(task, BATCH), gradient(TASK, BATCH._replace(x=attacked))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ours, expected)


def test_a_mask_holds_parameters_at_zero_in_training_and_in_evaluation():
    mask = jax.tree.map(lambda leaf: jnp.asarray(RNG.random(leaf.shape) < 0.5), VARIABLES.params)
    task = masked(TASK, mask)
    pruned = Variables(jax.tree.map(lambda leaf, kept: leaf * kept.astype(leaf.dtype), VARIABLES.params, mask))
    for ours, expected in (
        (task.objective(VARIABLES, BATCH, None)[0], TASK.objective(pruned, BATCH, None)[0]),
        (task.predict(VARIABLES, BATCH.x), TASK.predict(pruned, BATCH.x)),
        (mean_loss(task)(VARIABLES.params, LABELS), mean_loss(TASK)(pruned.params, LABELS)),
        (task.init(KEY, X).params["dense_0"]["kernel"], pruned.params["dense_0"]["kernel"]),
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    grads = jax.grad(lambda p: task.objective(Variables(p), BATCH, KEYS)[0])(VARIABLES.params)
    for grad, kept in zip(jax.tree.leaves(grads), jax.tree.leaves(mask), strict=True):
        assert (np.asarray(grad)[~np.asarray(kept)] == 0).all()


def test_wrappers_go_around_one_another():
    task = augmented(masked(TASK, jax.tree.map(jnp.zeros_like, VARIABLES.params)), lambda key, x: x + 1)
    np.testing.assert_allclose(task.objective(VARIABLES, BATCH, KEYS)[0], np.log(2), rtol=1e-6)
