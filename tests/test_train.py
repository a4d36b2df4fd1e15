import dataclasses
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss

from mlpjax.data import Dataset, Split
from mlpjax.errors import UserError
from mlpjax.keys import Keys, make_keys
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.task import Batch, classification, evaluate, make_task
from mlpjax.train import (
    Observe,
    Splits,
    begin_with,
    check_fit,
    epoch_order,
    init_state,
    make_train,
    make_train_step,
    sampled_rows,
    steps_per_epoch,
)
from mlpjax.typing import Variables

KEY = jax.random.key(0)
KEYS = make_keys(0)


def objective(model, recipe, params, batch, keys):
    return classification(model, recipe).objective(Variables(params), batch, keys)[0]


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
    task = classification(model, recipe)
    state = init_state(task, recipe, KEY, DATA.train.x)
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
    state, metrics = make_train_step(task, recipe, steps=1)(state, batch, KEYS)
    after = [state.params[layer][part] for layer in ("dense_0", "dense_1") for part in ("kernel", "bias")]
    for new, old, gradient in zip(after, (w1, b1, w2, b2), gradients, strict=True):
        np.testing.assert_allclose(new, old - 0.5 * gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.grad_norm, math.sqrt(sum((g**2).sum() for g in gradients)), rtol=1e-5)


def test_the_step_takes_over_the_memory_of_the_state():
    task = classification(MLP((3, 4, 3)), Recipe())
    state = init_state(task, Recipe(), KEY, DATA.train.x)
    batch = Batch(DATA.train.x[:8], DATA.train.y[:8], jnp.ones(8))
    make_train_step(task, Recipe(), steps=1)(state, batch, KEYS)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_an_epoch_of_60000_at_128_takes_469_steps():
    assert steps_per_epoch(60_000, 128) == 469
    rows, weight = epoch_order(KEY, 60_000, 128)
    assert rows.shape == (469, 128)
    assert (weight[:-1] == 1).all()
    assert weight[-1].sum() == 96
    assert (np.sort(np.asarray(rows)[np.asarray(weight) == 1]) == np.arange(60_000)).all()


@settings(max_examples=30, deadline=None)
@given(n=st.sampled_from([1, 2, 16, 39]), batch=st.sampled_from([1, 5, 16, 40]), seed=st.integers(0, 5))
def test_every_epoch_sees_every_example_once(n, batch, seed):
    batch = min(n, batch)
    rows, weight = map(np.asarray, compiled_order(jax.random.key(seed), n, batch))
    assert len(rows) == math.ceil(n / batch)
    assert (np.sort(rows[weight == 1]) == np.arange(n)).all()
    assert (weight.sum(axis=1) > 0).all()


compiled_order = jax.jit(epoch_order, static_argnums=(1, 2))


def reference_training(model, recipe, keys, data):
    """Minibatch SGD written out: small last batches, no padding, no scan."""
    gradient = jax.jit(jax.grad(lambda params, batch, own: objective(model, recipe, params, batch, own)))
    params = model.init(keys.init).params
    n, step = len(data.train.y), 0
    for _ in range(recipe.epochs):
        rows, weight = epoch_order(jax.random.fold_in(keys.order, step), n, recipe.batch_size)
        for batch_rows, batch_weight in zip(np.asarray(rows), np.asarray(weight), strict=True):
            at = batch_rows[batch_weight == 1]
            batch = Batch(data.train.x[at], data.train.y[at], jnp.ones(len(at)))
            grads = gradient(params, batch, keys.at(step))
            params = jax.tree.map(lambda p, g: p - recipe.learning_rate * g, params, grads)
            step += 1
    return params


def test_a_whole_training_equals_the_loop_written_out():
    model = MLP((3, 5, 3), activation="tanh")
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=16, epochs=3, ridge=0.01, lasso=0.001)
    keys = make_keys(5)
    progress = jax.jit(make_train(classification(model, recipe), recipe))(keys, DATA)
    chex.assert_trees_all_close(
        progress.state.params, reference_training(model, recipe, keys, DATA), rtol=1e-4, atol=1e-6
    )
    assert progress.state.step == 3 * 4
    task = classification(model, recipe)
    final = evaluate(task, progress.state.variables, DATA.train)
    np.testing.assert_allclose(progress.history["train_loss"][-1], final["loss"], rtol=1e-6)
    first = evaluate(task, model.init(keys.init), DATA.test)
    np.testing.assert_allclose(progress.history["test_loss"][0], first["loss"], rtol=1e-6)
    assert "valid_loss" not in progress.history  # the split is empty
    assert progress.history["train_loss"].shape == (4,)


def test_one_key_gives_those_of_all_purposes():
    recipe = Recipe(batch_size=16, epochs=1)
    train = make_train(classification(MLP((3, 4, 3)), recipe), recipe)
    chex.assert_trees_all_close(train(KEY, DATA), train(make_keys(0), DATA))


def test_all_examples_at_once_is_gradient_descent():
    model, recipe = MLP((3, 4, 3)), Recipe(optimizer="sgd", learning_rate=0.2, batch_size=None, epochs=3)
    keys = make_keys(1)
    params = model.init(keys.init).params
    for _ in range(3):
        batch = Batch(DATA.train.x, DATA.train.y, jnp.ones(50))
        grads = jax.grad(lambda p, b=batch: objective(model, recipe, p, b, None))(params)
        params = jax.tree.map(lambda p, g: p - 0.2 * g, params, grads)
    chex.assert_trees_all_close(
        jax.jit(make_train(classification(model, recipe), recipe))(keys, DATA).state.params,
        params,
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_penalties_touch_weights_and_not_biases(penalty):
    model = MLP((3, 4, 3), activation="prelu", bias="same")
    params = model.init(KEY).params
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
    train, keys = make_train(classification(model, recipe), recipe), make_keys(3)
    advance = jax.jit(train.advance)
    whole = advance(keys, DATA, train.start(keys, DATA), 0, 3)
    pieces = train.start(keys, DATA)
    for done, until in ((0, 1), (1, 3)):
        pieces = advance(keys, DATA, pieces, done, until)
    chex.assert_trees_all_equal(whole, pieces)
    assert whole.history["train_loss"].shape == (4,)
    assert whole.state.step == 6 * 4


def test_a_piece_of_any_length_is_compiled_once():
    recipe, keys = Recipe(batch_size=16, epochs=4), make_keys(0)
    train = make_train(classification(MLP((3, 4, 3)), recipe), recipe)
    advance = jax.jit(chex.assert_max_traces(train.advance, n=1))
    progress = train.start(keys, DATA)
    for done, until in ((0, 1), (1, 2), (2, 4)):
        progress = advance(keys, DATA, progress, done, until)
    assert progress.state.step == 4 * 4


def test_evaluation_agrees_with_scikit_learn_on_a_split_that_batches_do_not_divide():
    model, split = MLP((3, 4, 3)), blobs(2037)
    params = model.init(KEY).params
    found = evaluate(classification(model, Recipe()), Variables(params), split)
    loss, accuracy = found["loss"], found["accuracy"]
    probabilities = scipy.special.softmax(np.asarray(model.activations(params, split.x)[-1], np.float64), axis=1)
    y = np.asarray(split.y)
    np.testing.assert_allclose(loss, log_loss(y, probabilities), rtol=1e-5)
    np.testing.assert_allclose(accuracy, accuracy_score(y, probabilities.argmax(1)), rtol=1e-6)


def test_pixels_are_scaled_inside_the_program():
    pixels = Split(jnp.arange(12, dtype=jnp.uint8).reshape(4, 3) * jnp.uint8(20), jnp.zeros(4, jnp.int32))
    floats = Split(pixels.x.astype(jnp.float32) / 255, pixels.y)
    model = MLP((3, 4, 3))
    task, variables = classification(model, Recipe()), model.init(KEY)
    assert evaluate(task, variables, pixels) == evaluate(task, variables, floats)


def test_each_network_draws_its_own_sample_of_the_examples():
    model, recipe = MLP((3, 3)), Recipe(batch_size=5, epochs=1, sample_size=10)
    marked = DATA.train._replace(x=jnp.arange(150, dtype=jnp.float32).reshape(50, 3) / 150)
    train = make_train(classification(model, recipe), recipe)
    progress = train(make_keys(1), Splits(marked, DATA.valid, DATA.test))
    rows = jax.random.permutation(make_keys(1).sample, 50)[:10]
    own = Split(marked.x[rows], marked.y[rows])
    expected = evaluate(classification(model, recipe), progress.state.variables, own)["loss"]
    np.testing.assert_allclose(progress.history["train_loss"][-1], expected, rtol=1e-6)
    assert progress.state.step == 2


def test_a_sample_is_trained_on_as_if_nothing_else_were_there():
    """To the bit: the rows that `sampled_rows` names, and no others."""
    model, recipe = MLP((3, 3)), Recipe(batch_size=5, epochs=2, sample_size=10, learning_rate=0.1)
    keys, task = make_keys(4), classification(model, recipe)
    rows = sampled_rows(keys, 50, 10)
    assert len(np.unique(rows)) == 10
    few = Split(DATA.train.x[rows], DATA.train.y[rows])
    sampled = make_train(task, recipe)(keys, DATA)
    alone = make_train(task, dataclasses.replace(recipe, sample_size=None))(keys, DATA._replace(train=few))
    chex.assert_trees_all_equal(sampled.state.params, alone.state.params)


def test_keys_of_all_purposes_and_seeds_differ():
    bits = {tuple(np.asarray(jax.random.key_data(key))) for seed in range(3) for key in make_keys(seed)}
    assert len(bits) == 3 * len(Keys._fields)


def dataset(classes=3):
    split = blobs(50, classes=classes)
    return Dataset("blobs", split, blobs(0), split, classes)


def fit(model, recipe, data):
    check_fit(model, recipe, make_task(model, recipe, data.train), data)


@pytest.mark.parametrize(
    ("widths", "recipe", "classes", "said"),
    [
        ((4, 3), {}, 3, "widths 4-3: blobs has 3 features, so the first width must be 3"),
        ((3, 2), {}, 3, "with cross_entropy the last width must be 3"),
        ((3, 1), {}, 2, "with cross_entropy the last width must be 2"),
        ((3, 3), {"loss": "squared_error"}, 2, "with squared_error the last width must be 2 or 1"),
        ((3, 1), {"loss": "binary_cross_entropy"}, 3, "with binary_cross_entropy the last width must be 3"),
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
        fit(MLP(widths), Recipe(**{"batch_size": 10} | recipe), dataset(classes))


def test_what_fits_passes():
    fit(MLP((3, 1)), Recipe(loss="squared_error", batch_size=50), dataset(2))
    fit(MLP((3, 1)), Recipe(loss="binary_cross_entropy", batch_size=None), dataset(2))
    fit(MLP((3, 3)), Recipe(loss="binary_cross_entropy", batch_size=None), dataset(3))  # one against the rest


def traced(**options):
    """A training of four epochs of four steps, with what it observed."""
    model, recipe = MLP((3, 4, 3)), Recipe(optimizer="sgd", learning_rate=0.1, batch_size=16, epochs=4)
    train = make_train(classification(model, recipe), recipe, **options)
    return jax.jit(train)(make_keys(2), DATA)


def first_bias(moment):
    return {"bias": moment.state.params["dense_0"]["bias"], "step": moment.state.step, "epoch": moment.epoch}


def test_observations_are_those_of_the_steps_and_the_epochs():
    every = traced(observe={"steps": Observe(first_bias, steps=range(17))}).observed["steps"]
    some = traced(
        observe={
            "few": Observe(first_bias, steps=(0, 3, 5), epochs=(4,)),
            "ends": Observe(first_bias, epochs=(4, 0, 2)),
        }
    )
    assert every["step"].tolist() == [*range(17)]
    np.testing.assert_array_equal(every["epoch"], np.arange(17) // 4)
    assert some.observed["few"]["step"].tolist() == [0, 3, 5, 16]
    assert some.observed["ends"]["step"].tolist() == [0, 8, 16]
    assert some.observed["ends"]["epoch"].tolist() == [0, 2, 4]
    np.testing.assert_allclose(some.observed["few"]["bias"], every["bias"][np.array([0, 3, 5, 16])], atol=1e-6)
    np.testing.assert_allclose(some.observed["ends"]["bias"], every["bias"][::8], atol=1e-6)
    np.testing.assert_allclose(every["bias"][-1], some.state.params["dense_0"]["bias"], atol=1e-6)
    chex.assert_trees_all_close(some.state.params, traced().state.params, atol=1e-6)


@pytest.mark.parametrize("times", [{}, {"epochs": (5,)}, {"steps": (17,)}, {"steps": (-1,)}])
def test_observations_that_never_come_are_refused(times):
    with pytest.raises(UserError, match="look: must be observed at one time or more, from epoch 0 to 4"):
        traced(observe={"look": Observe(first_bias, **times)})


def test_a_stop_ends_a_training_where_it_is():
    whole = traced(observe={"end": Observe(lambda moment: moment.state.params, epochs=(2,))})
    stopped = traced(stop=lambda moment: moment.epoch >= 2, observe={"epoch": Observe(first_bias, epochs=range(5))})
    assert stopped.stopped_at == 2
    assert whole.stopped_at == -1
    assert stopped.state.step == 8
    then = jax.tree.map(lambda leaf: leaf[0], whole.observed["end"])
    chex.assert_trees_all_close(stopped.state.params, then, atol=1e-6)
    for name, values in stopped.history.items():
        np.testing.assert_allclose(values[:3], whole.history[name][:3], rtol=1e-5)
        assert (values[3:] == values[2]).all()
    assert np.isnan(stopped.observed["epoch"]["bias"][3:]).all()
    assert stopped.observed["epoch"]["step"].tolist() == [0, 4, 8, 0, 0]


def test_a_stop_may_read_the_history():
    """Patience: over where the best test loss is two evaluations old."""

    def patience(moment):
        losses = jnp.where(jnp.isnan(moment.history["test_loss"]), jnp.inf, moment.history["test_loss"])
        return moment.epoch - jnp.argmin(losses) >= 2

    recipe = Recipe(optimizer="sgd", learning_rate=5.0, batch_size=16, epochs=20)
    task = classification(MLP((3, 4, 3)), recipe)
    found = jax.jit(make_train(task, recipe, stop=patience))(make_keys(1), DATA)
    losses = np.asarray(found.history["test_loss"])
    stopped_at = int(found.stopped_at)
    assert 2 <= stopped_at < 20
    assert stopped_at - losses[: stopped_at + 1].argmin() == 2
    assert all(done - losses[: done + 1].argmin() < 2 for done in range(stopped_at))


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lion,
        lambda rate: optax.chain(optax.clip(0.1), optax.sgd(rate, momentum=0.9)),
        lambda rate: optax.chain(optax.adam(rate), optax.contrib.reduce_on_plateau(patience=2, accumulation_size=4)),
        lambda rate: optax.contrib.sam(
            optax.sgd(rate), optax.chain(optax.contrib.normalize(), optax.sgd(0.05)), opaque_mode=True
        ),
        lambda rate: optax.lbfgs(),
    ],
    ids=["lion", "chain", "plateau", "sam", "lbfgs"],
)
def test_any_optax_transformation_trains(optimizer):
    recipe = Recipe(optimizer=optimizer, learning_rate=0.02, batch_size=25, epochs=6)
    with jax.numpy_dtype_promotion("standard"):  # optax's own code
        found = jax.jit(make_train(classification(MLP((3, 8, 3)), recipe), recipe))(make_keys(0), DATA)
    assert found.history["train_loss"][-1] < 0.8 * found.history["train_loss"][0]


def test_lookahead_is_a_wrapper_of_task_and_optimizer():
    """k fast steps, then the slow parameters take half of the way, written out."""
    model = MLP((3, 4, 3), "tanh")

    def pairs(rate):
        both = optax.lookahead(optax.sgd(rate), sync_period=3, slow_step_size=0.5)
        return optax.GradientTransformation(
            both.init, lambda grads, state, params: both.update(grads.fast, state, params)
        )

    recipe = Recipe(optimizer=pairs, learning_rate=0.3, batch_size=None, epochs=7)
    plain = classification(model, recipe)

    def fast(variables):
        return variables._replace(params=variables.params.fast)

    task = plain._replace(
        init=lambda key, x: Variables(optax.LookaheadParams.init_synced(plain.init(key, x).params)),
        predict=lambda variables, x: plain.predict(fast(variables), x),
        objective=lambda variables, batch, keys: plain.objective(fast(variables), batch, keys),
    )
    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(make_train(task, recipe))(KEYS, DATA).state.params

    batch = Batch(DATA.train.x, DATA.train.y, jnp.ones(50))
    slow = now = plain.init(KEYS.init, DATA.train.x).params
    for step in range(7):
        grads = jax.grad(lambda p: plain.objective(Variables(p), batch, None)[0])(now)
        now = jax.tree.map(lambda p, g: p - 0.3 * g, now, grads)
        if step % 3 == 2:
            slow = now = jax.tree.map(lambda s, f: s + 0.5 * (f - s), slow, now)
    chex.assert_trees_all_close(found, optax.LookaheadParams(now, slow), atol=1e-5)


def test_sam_is_the_gradient_at_the_worst_point_near_by():
    """w - eta grad L(w + rho g / |g|), written out."""
    rho, recipe = (
        0.1,
        Recipe(
            optimizer=lambda rate: optax.contrib.sam(
                optax.sgd(rate), optax.chain(optax.contrib.normalize(), optax.sgd(0.1)), opaque_mode=True
            ),
            learning_rate=0.3,
        ),
    )
    model = MLP((3, 4, 3), "tanh")
    task = classification(model, recipe)
    batch = Batch(DATA.train.x, DATA.train.y, jnp.ones(50))
    params = model.init(KEY).params

    def gradient(params):
        return jax.grad(lambda p: task.objective(Variables(p), batch, None)[0])(params)

    first = gradient(params)
    away = jax.tree.map(lambda p, g: p + rho * g / optax.tree.norm(first), params, first)
    expected = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient(away))
    state = init_state(task, recipe, KEY, DATA.train.x)
    state, _ = make_train_step(task, recipe, steps=1)(state, batch, KEYS)
    chex.assert_trees_all_close(state.params, expected, atol=1e-5)


def test_microbatches_take_the_same_step_as_the_whole_batch():
    """13 rows in batches of 8: the last has 5 and is filled up, so one of its microbatches holds filler alone."""
    data = Splits(*(Split(part.x[:13], part.y[:13]) for part in (DATA.train, DATA.valid, DATA.test)))
    found = []
    for microbatch in (None, 2):
        recipe = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=8, epochs=3, ridge=0.01, microbatch=microbatch)
        found.append(jax.jit(make_train(classification(MLP((3, 4, 3), "tanh"), recipe), recipe))(KEY, data))
    whole, parts = found
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), whole.state.params, parts.state.params)
    np.testing.assert_allclose(whole.history["grad_norm"], parts.history["grad_norm"], rtol=1e-4)


def test_every_microbatch_draws_what_it_drops_anew_and_hands_its_statistics_on():
    def objective(variables, batch, keys):
        drawn = jax.random.uniform(keys.dropout)
        stats = {"seen": 2 * variables.stats["seen"] + batch.x.sum(), "drawn": variables.stats["drawn"] + drawn}
        return jnp.sum(variables.params * drawn), stats

    task = classification(MLP((3, 3)), Recipe())._replace(objective=objective)
    recipe = Recipe(batch_size=4, microbatch=2, optimizer="sgd", learning_rate=1.0)
    state = begin_with(Variables(jnp.zeros(1), {"seen": jnp.float32(1), "drawn": jnp.float32(0)}), recipe)
    batch = Batch(jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.zeros(4, jnp.int32), jnp.ones(4))
    after, _ = make_train_step(task, recipe, steps=1)(state, batch, KEYS)
    draws = [float(jax.random.uniform(KEYS.at(number).dropout)) for number in (0, 1)]
    assert draws[0] != draws[1]
    assert float(after.stats["seen"]) == 2 * (2 * 1 + 3) + 7
    np.testing.assert_allclose(after.stats["drawn"], sum(draws), rtol=1e-6)
    np.testing.assert_allclose(after.params, -np.mean(draws), rtol=1e-6)


@pytest.mark.parametrize(("batch_size", "microbatch"), [(8, 3), (None, 4), (8, 16)])
def test_a_microbatch_that_does_not_divide_the_batch_is_refused(batch_size, microbatch):
    with pytest.raises(UserError, match=f"microbatch {microbatch}: must divide batch_size, {batch_size}"):
        Recipe(batch_size=batch_size, microbatch=microbatch)
