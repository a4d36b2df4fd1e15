import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss

from mlpjax.data import Dataset, Split
from mlpjax.errors import UserError
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.train import (
    Batch,
    Keys,
    Splits,
    check_fit,
    epoch_order,
    evaluate,
    init_state,
    make_keys,
    make_train,
    make_train_step,
    objective,
    steps_per_epoch,
)

KEY = jax.random.key(0)


def blobs(n, seed=0, features=3, classes=3):
    """Points that a small network can tell apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n).astype(np.int32)
    x = rng.normal(size=(n, features)) + 2 * np.eye(classes, features)[y]
    return Split(jnp.asarray(x, jnp.float32), jnp.asarray(y))


DATA = Splits(blobs(50), blobs(0), blobs(40, seed=1))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_one_step_is_backpropagation_by_hand():
    """The chain rule of the lecture, path by path, for one hidden layer, in NumPy float64."""
    model = MLP((3, 4, 2), activation="sigmoid", output_activation="sigmoid", bias="same")
    recipe = Recipe(loss="squared_error", optimizer="sgd", learning_rate=0.5)
    state = init_state(model, recipe, KEY)
    x, y = np.asarray(DATA.train.x[:8], np.float64), np.asarray(DATA.train.y[:8]) % 2
    w1, b1, w2, b2 = (
        np.asarray(state.params[layer][part], np.float64)
        for layer in ("dense_0", "dense_1")
        for part in ("kernel", "bias")
    )
    h = sigmoid(x @ w1 + b1)
    f = sigmoid(h @ w2 + b2)
    d_out = 2 * (f - np.eye(2)[y]) / (8 * 2) * f * (1 - f)
    d_hidden = d_out @ w2.T * h * (1 - h)
    gradients = [x.T @ d_hidden, d_hidden.sum(0), h.T @ d_out, d_out.sum(0)]
    loss = ((f - np.eye(2)[y]) ** 2).mean()

    batch = Batch(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32), jnp.ones(8))
    state, metrics = make_train_step(model, recipe, steps=1)(state, batch, KEY)
    after = [state.params[layer][part] for layer in ("dense_0", "dense_1") for part in ("kernel", "bias")]
    for new, old, gradient in zip(after, (w1, b1, w2, b2), gradients, strict=True):
        np.testing.assert_allclose(new, old - 0.5 * gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.grad_norm, math.sqrt(sum((g**2).sum() for g in gradients)), rtol=1e-5)


def test_the_step_takes_over_the_memory_of_the_state():
    state = init_state(MLP((3, 4, 3)), Recipe(), KEY)
    batch = Batch(DATA.train.x[:8], DATA.train.y[:8], jnp.ones(8))
    make_train_step(MLP((3, 4, 3)), Recipe(), steps=1)(state, batch, KEY)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_an_epoch_of_60000_at_128_takes_469_steps():
    assert steps_per_epoch(60_000, 128) == 469
    rows, weight = epoch_order(KEY, 60_000, 128)
    assert rows.shape == (469, 128)
    assert (weight[:-1] == 1).all()
    assert weight[-1].sum() == 96
    assert (np.sort(np.asarray(rows)[np.asarray(weight) == 1]) == np.arange(60_000)).all()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), batch=st.integers(1, 40), seed=st.integers(0, 5))
def test_every_epoch_sees_every_example_once(n, batch, seed):
    batch = min(n, batch)
    rows, weight = map(np.asarray, epoch_order(jax.random.key(seed), n, batch))
    assert len(rows) == math.ceil(n / batch)
    assert (np.sort(rows[weight == 1]) == np.arange(n)).all()
    assert (weight.sum(axis=1) > 0).all()


def reference_training(model, recipe, keys, data):
    """Minibatch SGD written out: small last batches, no padding, no scan, no jit."""
    params = model.init(keys.init)
    n, step = len(data.train.y), 0
    for _ in range(recipe.epochs):
        rows, weight = epoch_order(jax.random.fold_in(keys.order, step), n, recipe.batch_size)
        for batch_rows, batch_weight in zip(np.asarray(rows), np.asarray(weight), strict=True):
            at = batch_rows[batch_weight == 1]
            batch = Batch(data.train.x[at], data.train.y[at], jnp.ones(len(at)))
            key = jax.random.fold_in(keys.dropout, step)
            grads = jax.grad(lambda p, b=batch, k=key: objective(model, recipe, p, b, k))(params)
            params = jax.tree.map(lambda p, g: p - recipe.learning_rate * g, params, grads)
            step += 1
    return params


def test_a_whole_training_equals_the_loop_written_out():
    model = MLP((3, 5, 3), activation="tanh")
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=16, epochs=3, ridge=0.01, lasso=0.001)
    keys = make_keys(5)
    progress = jax.jit(make_train(model, recipe))(keys, DATA)
    chex.assert_trees_all_close(
        progress.state.params, reference_training(model, recipe, keys, DATA), rtol=1e-4, atol=1e-6
    )
    assert progress.state.step == 3 * 4
    final = evaluate(model, "cross_entropy", progress.state.params, DATA.train)
    np.testing.assert_allclose(progress.history["train_loss"][-1], final[0], rtol=1e-6)
    first = evaluate(model, "cross_entropy", model.init(keys.init), DATA.test)
    np.testing.assert_allclose(progress.history["test_loss"][0], first[0], rtol=1e-6)
    assert "valid_loss" not in progress.history  # the split is empty
    assert progress.history["train_loss"].shape == (4,)


def test_one_key_is_split_into_the_four():
    recipe = Recipe(batch_size=16, epochs=1)
    train = make_train(MLP((3, 4, 3)), recipe)
    chex.assert_trees_all_close(train(KEY, DATA), train(make_keys(0), DATA))


def test_all_examples_at_once_is_gradient_descent():
    model, recipe = MLP((3, 4, 3)), Recipe(optimizer="sgd", learning_rate=0.2, batch_size=None, epochs=3)
    keys = make_keys(1)
    params = model.init(keys.init)
    for _ in range(3):
        batch = Batch(DATA.train.x, DATA.train.y, jnp.ones(50))
        grads = jax.grad(lambda p, b=batch: objective(model, recipe, p, b, None))(params)
        params = jax.tree.map(lambda p, g: p - 0.2 * g, params, grads)
    chex.assert_trees_all_close(
        jax.jit(make_train(model, recipe))(keys, DATA).state.params, params, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_penalties_touch_weights_and_not_biases(penalty):
    model = MLP((3, 4, 3), activation="prelu", bias="same")
    params = model.init(KEY)
    batch = Batch(DATA.train.x, DATA.train.y, jnp.ones(50))
    plain, with_penalty = (
        jax.grad(lambda p, r=recipe: objective(model, r, p, batch, None))(params)
        for recipe in (Recipe(), Recipe(**{penalty: 0.5}))
    )
    for name, leaf in params["dense_0"].items():
        expected = {"ridge": leaf, "lasso": 0.5 * jnp.sign(leaf)}[penalty] if name == "kernel" else 0.0
        difference = with_penalty["dense_0"][name] - plain["dense_0"][name]
        np.testing.assert_allclose(difference, jnp.broadcast_to(expected, leaf.shape), atol=1e-6)
    assert with_penalty["alpha_0"] == plain["alpha_0"]


def test_where_a_training_is_cut_does_not_matter():
    model, recipe = MLP((3, 5, 3), dropout=(0.3,)), Recipe(batch_size=16, epochs=6, eval_every=2)
    train, keys = make_train(model, recipe), make_keys(3)
    advance = jax.jit(train.advance)
    whole = advance(keys, DATA, train.start(keys, DATA), jnp.int32(3))
    pieces = train.start(keys, DATA)
    for until in (1, 3):
        pieces = advance(keys, DATA, pieces, jnp.int32(until))
    chex.assert_trees_all_equal(whole, pieces)
    assert whole.history["train_loss"].shape == (4,)
    assert whole.state.step == 6 * 4


def test_a_piece_of_any_length_is_compiled_once():
    train, keys = make_train(MLP((3, 4, 3)), Recipe(batch_size=16, epochs=4)), make_keys(0)
    advance = jax.jit(chex.assert_max_traces(train.advance, n=1))
    progress = train.start(keys, DATA)
    for until in (1, 2, 4):
        progress = advance(keys, DATA, progress, jnp.int32(until))
    assert progress.done == 4


def test_evaluation_agrees_with_scikit_learn_on_a_split_that_batches_do_not_divide():
    model, split = MLP((3, 4, 3)), blobs(2037)
    params = model.init(KEY)
    loss, accuracy = evaluate(model, "cross_entropy", params, split)
    probabilities = scipy.special.softmax(np.asarray(model.apply(params, split.x), np.float64), axis=1)
    y = np.asarray(split.y)
    np.testing.assert_allclose(loss, log_loss(y, probabilities), rtol=1e-5)
    np.testing.assert_allclose(accuracy, accuracy_score(y, probabilities.argmax(1)), rtol=1e-6)


def test_pixels_are_scaled_inside_the_program():
    pixels = Split(jnp.arange(12, dtype=jnp.uint8).reshape(4, 3) * jnp.uint8(20), jnp.zeros(4, jnp.int32))
    floats = Split(pixels.x.astype(jnp.float32) / 255, pixels.y)
    model = MLP((3, 4, 3))
    params = model.init(KEY)
    assert evaluate(model, "cross_entropy", params, pixels) == evaluate(model, "cross_entropy", params, floats)


def test_each_network_draws_its_own_sample_of_the_examples():
    model, recipe = MLP((3, 3)), Recipe(batch_size=5, epochs=1, sample_size=10)
    marked = DATA.train._replace(x=jnp.arange(150, dtype=jnp.float32).reshape(50, 3) / 150)
    train = make_train(model, recipe)
    progress = train(make_keys(1), Splits(marked, DATA.valid, DATA.test))
    rows = jax.random.permutation(make_keys(1).sample, 50)[:10]
    own = Split(marked.x[rows], marked.y[rows])
    expected = evaluate(model, "cross_entropy", progress.state.params, own)[0]
    np.testing.assert_allclose(progress.history["train_loss"][-1], expected, rtol=1e-6)
    assert progress.state.step == 2


def test_four_keys_are_four():
    bits = {tuple(np.asarray(jax.random.key_data(key))) for seed in range(3) for key in make_keys(seed)}
    assert len(bits) == 3 * len(Keys._fields)


def dataset(classes=3):
    split = blobs(50, classes=classes)
    return Dataset("blobs", split, blobs(0), split, classes)


@pytest.mark.parametrize(
    ("widths", "recipe", "classes", "said"),
    [
        ((4, 3), {}, 3, "widths 4-3: blobs has 3 features, so the first width must be 3"),
        ((3, 2), {}, 3, "with cross_entropy the last width must be 3"),
        ((3, 1), {}, 2, "with cross_entropy the last width must be 2"),
        ((3, 3), {"loss": "squared_error"}, 2, "with squared_error the last width must be 2 or 1"),
        ((3, 2), {"loss": "binary_cross_entropy"}, 2, "with binary_cross_entropy the last width must be 1"),
        ((3, 1), {"loss": "binary_cross_entropy"}, 3, "needs two classes, and blobs has 3"),
        ((3, 3), {"batch_size": 51}, 3, "batch_size 51: larger than the training split, 50 examples"),
        ((3, 3), {"sample_size": 51}, 3, "sample_size 51: larger"),
        (
            (3, 3),
            {"sample_size": 20, "batch_size": 21},
            3,
            "batch_size 21: larger than the training split, 20",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused(widths, recipe, classes, said):
    with pytest.raises(UserError, match=said):
        check_fit(MLP(widths), Recipe(**{"batch_size": 10} | recipe), dataset(classes))


def test_what_fits_passes():
    check_fit(MLP((3, 1)), Recipe(loss="squared_error", batch_size=50), dataset(2))
    check_fit(MLP((3, 1)), Recipe(loss="binary_cross_entropy", batch_size=None), dataset(2))
