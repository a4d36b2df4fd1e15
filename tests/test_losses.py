"""Losses against NumPy and scikit-learn, gradients against closed forms, penalties on weights alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logsumexp, softmax
from sklearn.metrics import log_loss

from mlpjax.errors import UserError
from mlpjax.losses import (
    LOSSES,
    Loss,
    binary_cross_entropy,
    correct,
    cross_entropy,
    kernel_mask,
    kernels,
    lasso,
    loss_of,
    ridge,
    smooth,
    squared_error,
    to_targets,
)

BATCH, CLASSES = 7, 5
SMOOTHED = {"cross_entropy": cross_entropy, "squared_error": squared_error}


@pytest.fixture
def outputs():
    return jnp.array(np.random.default_rng(0).normal(scale=3, size=(BATCH, CLASSES)), jnp.float32)


@pytest.fixture
def labels():
    return jnp.array([0, 4, 2, 2, 1, 3, 0])


@pytest.fixture
def binary_labels():
    return jnp.array([0, 1, 1, 0, 0, 1, 1])


@pytest.fixture
def params():
    key = jax.random.key(0)
    return {
        "dense_0": {"kernel": jax.random.normal(key, (4, 3)), "bias": jnp.full(3, 2.0)},
        "alpha_0": jnp.array(0.25),
        "dense_1": {"kernel": jnp.array([[1.0], [-2.0], [0.0]]), "bias": jnp.array([-5.0])},
        "head": {"alpha": jnp.array(0.5)},
    }


def identity_rows(labels):
    return jnp.array(np.eye(CLASSES, dtype=np.float32)[labels])


def gradient(loss, outputs, labels):
    """The gradient of the sum over the batch: row i is the gradient of example i's loss."""
    return jax.grad(lambda outputs: loss(outputs, labels).sum())(outputs)


def test_the_table_holds_what_is_known_of_the_losses():
    known = {
        "squared_error": Loss(squared_error, 0.5, smooths=True),
        "cross_entropy": Loss(cross_entropy, None, smooths=True, logits=True),
        "binary_cross_entropy": Loss(binary_cross_entropy, 0.0, logits=True),
    }
    assert known == LOSSES
    assert loss_of("squared_error") is LOSSES["squared_error"]
    assert loss_of(optax.losses.huber_loss).function is optax.losses.huber_loss
    with pytest.raises(UserError, match="unknown loss 'hinge'"):
        loss_of("hinge")


def test_cross_entropy_equals_scikit_learn(outputs, labels):
    probabilities = softmax(np.asarray(outputs, np.float64), axis=1)
    expected = [
        log_loss([label], [row], labels=range(CLASSES))
        for label, row in zip(labels.tolist(), probabilities, strict=True)
    ]
    np.testing.assert_allclose(cross_entropy(outputs, labels), expected, rtol=1e-5)


def test_binary_cross_entropy_equals_scikit_learn(outputs, binary_labels):
    logits = outputs[:, :1]
    probabilities = expit(np.asarray(logits[:, 0], np.float64))
    expected = [
        log_loss([label], [p], labels=[0, 1]) for label, p in zip(binary_labels.tolist(), probabilities, strict=True)
    ]
    np.testing.assert_allclose(binary_cross_entropy(logits, binary_labels), expected, rtol=1e-5)


def test_binary_cross_entropy_of_several_logits_is_the_mean_of_single_ones(outputs):
    targets = jnp.array(np.random.default_rng(1).integers(0, 2, outputs.shape), jnp.float32)
    single = [binary_cross_entropy(outputs[:, [k]], targets[:, k].astype(int)) for k in range(CLASSES)]
    np.testing.assert_allclose(binary_cross_entropy(outputs, targets), np.mean(single, axis=0), rtol=1e-6)


def test_squared_error_is_the_mean_over_the_outputs(outputs, labels):
    expected = ((np.asarray(outputs) - np.eye(CLASSES)[np.asarray(labels)]) ** 2).mean(axis=1)
    np.testing.assert_allclose(squared_error(outputs, labels), expected, rtol=1e-6)


def test_squared_error_of_a_single_output_takes_the_label_as_target(outputs, binary_labels):
    expected = (np.asarray(outputs[:, 0]) - np.asarray(binary_labels)) ** 2
    np.testing.assert_allclose(squared_error(outputs[:, :1], binary_labels), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_integer_and_one_hot_labels_agree(loss, outputs, labels):
    one_hot = identity_rows(labels)
    np.testing.assert_array_equal(LOSSES[loss].function(outputs, labels), LOSSES[loss].function(outputs, one_hot))
    np.testing.assert_array_equal(
        LOSSES[loss].function(outputs, labels), LOSSES[loss].function(outputs, labels.astype(jnp.uint8))
    )
    np.testing.assert_array_equal(correct(outputs, labels, loss), correct(outputs, one_hot, loss))


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_integer_and_column_labels_agree_for_a_single_output(loss, outputs, binary_labels):
    column = binary_labels[:, None].astype(jnp.float32)
    single = outputs[:, :1]
    np.testing.assert_array_equal(LOSSES[loss].function(single, binary_labels), LOSSES[loss].function(single, column))
    np.testing.assert_array_equal(correct(single, binary_labels, loss), correct(single, column, loss))


def test_soft_targets_average_the_losses_of_their_classes(outputs):
    half = jnp.full((BATCH, 1), 0.5)
    soft = jnp.concatenate([half, half, jnp.zeros((BATCH, CLASSES - 2))], axis=1)
    first, second = (cross_entropy(outputs, jnp.full(BATCH, label)) for label in (0, 1))
    np.testing.assert_allclose(cross_entropy(outputs, soft), (first + second) / 2, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_the_outputs_is_kept(loss, dtype, binary_labels):
    with jax.enable_x64(dtype == "float64"):
        result = LOSSES[loss].function(jnp.zeros((BATCH, 2), dtype), binary_labels)
    assert result.dtype == dtype


def test_gradient_of_cross_entropy_is_softmax_less_target(outputs, labels):
    expected = softmax(np.asarray(outputs, np.float64), axis=1) - identity_rows(labels)
    np.testing.assert_allclose(gradient(cross_entropy, outputs, labels), expected, atol=1e-6)


def test_gradient_of_binary_cross_entropy_is_sigmoid_less_target(outputs, labels):
    expected = (expit(np.asarray(outputs, np.float64)) - identity_rows(labels)) / CLASSES
    np.testing.assert_allclose(gradient(binary_cross_entropy, outputs, labels), expected, atol=1e-6)


def test_gradient_of_squared_error_is_twice_the_error(outputs, labels):
    expected = 2 * (outputs - identity_rows(labels)) / CLASSES
    np.testing.assert_allclose(gradient(squared_error, outputs, labels), expected, rtol=1e-6)


def test_cross_entropy_needs_no_gather(outputs, labels):
    program = str(jax.make_jaxpr(jax.grad(lambda f: cross_entropy(f, labels).sum()))(outputs))
    assert "gather" not in program
    assert "scatter" not in program


def test_cross_entropy_is_stable_at_huge_logits():
    outputs = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    labels = jnp.array([0, 0])
    np.testing.assert_array_equal(cross_entropy(outputs, labels), [0, 2e4])
    np.testing.assert_array_equal(gradient(cross_entropy, outputs, labels), [[0, 0, 0], [-1, 1, 0]])


def test_binary_cross_entropy_is_stable_at_huge_logits():
    outputs = jnp.array([[1e4], [1e4], [-1e4], [-1e4]])
    labels = jnp.array([1, 0, 1, 0])
    np.testing.assert_array_equal(binary_cross_entropy(outputs, labels), [0, 1e4, 1e4, 0])
    np.testing.assert_array_equal(gradient(binary_cross_entropy, outputs, labels), [[0], [1], [-1], [0]])


def test_nan_outputs_give_nan_losses_in_their_row_alone(labels, outputs):
    broken = outputs.at[2, 1].set(jnp.nan)
    for loss in LOSSES.values():
        np.testing.assert_array_equal(np.isnan(loss.function(broken, labels)), np.arange(BATCH) == 2)


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)),
    st.floats(-100, 100, width=32),
)
def test_cross_entropy_ignores_a_shift_of_all_logits(outputs, shift):
    labels = jnp.array([0, 3, 1])
    shifted = cross_entropy(jnp.array(outputs) + jnp.float32(shift), labels)
    np.testing.assert_allclose(shifted, cross_entropy(jnp.array(outputs), labels), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (6, 1), elements=st.floats(-100, 100, width=32)))
def test_binary_cross_entropy_is_cross_entropy_against_a_zero_logit(outputs):
    labels = jnp.array([0, 1, 0, 1, 0, 1])
    pairs = jnp.array(np.concatenate([np.zeros_like(outputs), outputs], axis=1))
    np.testing.assert_allclose(
        binary_cross_entropy(jnp.array(outputs), labels), cross_entropy(pairs, labels), rtol=1e-5, atol=1e-5
    )


def test_cross_entropy_of_a_single_output_is_refused(outputs, binary_labels):
    with pytest.raises(UserError, match="binary_cross_entropy"):
        cross_entropy(outputs[:, :1], binary_labels)


def test_smoothing_mixes_with_the_uniform_distribution(outputs, labels):
    smoothed = smooth(to_targets(outputs, labels), 0.1, CLASSES)
    np.testing.assert_allclose(smoothed.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(smoothed[0], [0.92, 0.02, 0.02, 0.02, 0.02], rtol=1e-6)
    np.testing.assert_allclose(smoothed, optax.smooth_labels(identity_rows(labels), 0.1), rtol=1e-6)


def test_smoothed_cross_entropy_mixes_the_losses_of_all_classes(outputs, labels):
    logits = np.asarray(outputs, np.float64)
    log_p = logits - logsumexp(logits, axis=1, keepdims=True)
    expected = -0.9 * log_p[np.arange(BATCH), np.asarray(labels)] - 0.1 * log_p.mean(axis=1)
    np.testing.assert_allclose(cross_entropy(outputs, labels, label_smoothing=0.1), expected, rtol=1e-5)


def test_smoothed_squared_error_of_a_single_output_pulls_towards_a_half(outputs, binary_labels):
    expected = (np.asarray(outputs[:, 0]) - (0.8 * np.asarray(binary_labels) + 0.1)) ** 2
    result = squared_error(outputs[:, :1], binary_labels, label_smoothing=0.2)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", SMOOTHED.values())
def test_smoothing_may_be_one_value_per_member(loss, outputs, labels):
    alphas = jnp.array([0.0, 0.1, 1.0])
    together = jax.jit(jax.vmap(lambda alpha: loss(outputs, labels, label_smoothing=alpha)))(alphas)
    for alpha, row in zip(alphas, together, strict=True):
        np.testing.assert_allclose(row, loss(outputs, labels, label_smoothing=float(alpha)), rtol=1e-5)


@pytest.mark.parametrize("loss", SMOOTHED.values())
def test_no_smoothing_adds_no_work(loss, outputs, labels):
    targets = identity_rows(labels)
    assert smooth(targets, 0.0, CLASSES) is targets
    plain = jax.make_jaxpr(loss)(outputs, labels)
    zero = jax.make_jaxpr(lambda f, y: loss(f, y, label_smoothing=0.0))(outputs, labels)
    assert str(plain) == str(zero)


@pytest.mark.parametrize("loss", LOSSES)
def test_correct_compares_the_largest_output(loss):
    outputs = jnp.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5], [jnp.inf, 0.0]])
    np.testing.assert_array_equal(correct(outputs, jnp.array([1, 1, 0, 0]), loss), [True, False, True, True])


@pytest.mark.parametrize(
    ("loss", "answers"),
    [("binary_cross_entropy", [0, 0, 1, 1, 1]), ("squared_error", [0, 0, 0, 0, 1])],
)
def test_correct_compares_a_single_output_with_the_threshold_of_its_loss(loss, answers):
    outputs = jnp.array([[-0.1], [0.0], [0.1], [0.5], [0.6]])
    np.testing.assert_array_equal(correct(outputs, jnp.array(answers), loss), [True] * 5)
    np.testing.assert_array_equal(correct(outputs, 1 - jnp.array(answers), loss), [False] * 5)


def test_a_row_with_nan_is_wrong_whatever_its_label():
    several = jnp.array([[jnp.nan, 0.0], [0.0, jnp.nan], [jnp.nan, jnp.nan]])
    assert not correct(several, jnp.array([0, 1, 0]), "cross_entropy").any()
    single = jnp.array([[jnp.nan], [jnp.nan]])
    assert not correct(single, jnp.array([0, 1]), "binary_cross_entropy").any()


def test_correct_refuses_a_loss_without_threshold_for_a_single_output():
    with pytest.raises(UserError, match="choose from binary_cross_entropy, squared_error"):
        correct(jnp.zeros((2, 1)), jnp.array([0, 1]), "cross_entropy")


def test_kernel_mask_selects_weights_alone(params):
    assert kernel_mask(params) == {
        "dense_0": {"kernel": True, "bias": False},
        "alpha_0": False,
        "dense_1": {"kernel": True, "bias": False},
        "head": {"alpha": False},
    }
    assert [kernel.shape for kernel in kernels(params)] == [(4, 3), (3, 1)]


def test_kernel_mask_keeps_weight_decay_off_the_rest(params):
    decay = optax.add_decayed_weights(0.5, mask=kernel_mask)
    updates, _ = decay.update(jax.tree.map(jnp.zeros_like, params), decay.init(params), params)
    for update, leaf, is_kernel in zip(
        jax.tree.leaves(updates), jax.tree.leaves(params), jax.tree.leaves(kernel_mask(params)), strict=True
    ):
        np.testing.assert_allclose(update, 0.5 * leaf if is_kernel else 0, rtol=1e-6)


@pytest.mark.parametrize(
    ("penalty", "value", "slope"),
    [(ridge, np.square, lambda w: 2 * w), (lasso, np.abs, np.sign)],
)
def test_penalties_touch_weights_alone(penalty, value, slope, params):
    expected = sum(value(np.asarray(params[layer]["kernel"])).sum() for layer in ("dense_0", "dense_1"))
    np.testing.assert_allclose(penalty(params), expected, rtol=1e-6)
    gradients = jax.grad(penalty)(params)
    for layer in ("dense_0", "dense_1"):
        np.testing.assert_allclose(gradients[layer]["kernel"], slope(params[layer]["kernel"]), rtol=1e-6)
        np.testing.assert_array_equal(gradients[layer]["bias"], 0)
    assert gradients["alpha_0"] == 0
    assert gradients["head"]["alpha"] == 0
    assert gradients["dense_1"]["kernel"][2, 0] == 0  # lasso's subgradient at 0
