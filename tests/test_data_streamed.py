"""Examples that stay on the host: networks see the same rows, and end with the same figures to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import MLP, Checkpoints, Observe, Recipe, UserError, train_many
from mlpjax.data import Dataset, Split
from mlpjax.data.dataset import some_rows
from mlpjax.data.streamed import AHEAD, Streamed, block, take
from mlpjax.plumbing.identity import digest
from mlpjax.task import evaluation_batch

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (23, 4, 3), np.uint8)
MODEL, RECIPE = MLP((12, 3)), Recipe(batch_size=5, epochs=3, learning_rate=0.01)


@pytest.fixture
def images(monkeypatch):
    """23 images to train on, 4 to validate and 9 to test: whole blocks of 4 to evaluate, and a rest."""
    monkeypatch.setattr("mlpjax.task.EVALUATION_BATCH", 4)
    splits = [Split(RNG.integers(0, 256, (n, 4, 3), np.uint8), np.arange(n, dtype=np.int32) % 3) for n in (23, 4, 9)]
    assert evaluation_batch(splits[0].x) == 4
    return Dataset("images", *splits, classes=3)


def test_rows_are_those_of_the_array_for_one_and_for_many():
    streamed, array = Streamed(X), jnp.asarray(X)
    rows = jnp.asarray([3, 22, 3, 0])
    for x in (streamed, array):
        np.testing.assert_array_equal(jax.jit(lambda rows, x=x: take(x, rows, rows))(rows), X[np.asarray(rows)])
        np.testing.assert_array_equal(jax.jit(lambda start, x=x: block(x, start, 6))(17), X[17:])
    many = jnp.stack([rows, rows[::-1], rows + 1 % 23])
    found = jax.jit(jax.vmap(lambda rows: take(streamed, rows, rows)))(jnp.minimum(many, 22))
    np.testing.assert_array_equal(found, X[np.minimum(many, 22)])


def test_rows_that_follow_are_read_before_they_are_asked_for():
    streamed = Streamed(X.copy())
    now, then = jnp.array([0, 1]), jnp.array([2, 3])
    streamed._read(now, then)
    ahead = X[2:4]
    streamed._ahead[np.asarray(then).tobytes()].result()
    streamed.examples[:] = 0
    np.testing.assert_array_equal(streamed._read(then, now), ahead)
    for row in range(3 * AHEAD):
        streamed._read(jnp.array([row % 23, 1]), jnp.array([row % 23, 2]))
    assert len(streamed._ahead) <= AHEAD


@pytest.mark.parametrize("chunk", [1, 3])
def test_networks_end_at_the_same_bits(images, chunk, tmp_path):
    whole = train_many(MODEL, RECIPE, images, range(3), chunk=chunk, store=Checkpoints(tmp_path))
    streamed = train_many(MODEL, RECIPE, images, range(3), chunk=chunk, memory_budget=35 * 12)
    held = train_many(MODEL, RECIPE, images, range(3), chunk=chunk, memory_budget=36 * 12)
    for found in (streamed, held):
        jax.tree.map(np.testing.assert_array_equal, whole.params, found.params)
        for name in set(whole.history) - {"seconds"}:
            np.testing.assert_array_equal(whole.history[name], found.history[name], err_msg=name)
    again = train_many(MODEL, RECIPE, images, range(3), memory_budget=1, store=Checkpoints(tmp_path))
    np.testing.assert_array_equal(again.history["seconds"], whole.history["seconds"])  # nothing is trained again


def test_the_content_decides_what_is_kept():
    assert digest(Split(Streamed(X), X[:, 0, 0])) == digest(Split(X, X[:, 0, 0]))
    assert digest(Split(Streamed(X), X[:, 0, 0])) != digest(Split(Streamed(X + 1), X[:, 0, 0]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": None}, "batch_size None"),
        ({"sample_size": 10}, "sample_size 10"),
        ({}, "memory_budget 0"),
    ],
)
def test_what_cannot_be_streamed_is_refused(images, changes, said):
    recipe = Recipe(**{"batch_size": 5, "epochs": 1} | changes)
    with pytest.raises(UserError, match=said):
        train_many(MODEL, recipe, images, range(2), memory_budget=1 if changes else 0)


def test_a_look_at_all_examples_says_why_it_cannot_be(images):
    look = Observe(lambda moment: jnp.mean(jnp.asarray(moment.data.train.x)), epochs=(0,))
    with pytest.raises(UserError, match="memory_budget: the training examples are streamed"):
        train_many(MODEL, RECIPE, images, range(2), memory_budget=1, observe={"mean": look})


def test_some_rows_of_a_file_stay_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("mlpjax.data.dataset.COPIED", 4)
    X.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=X.shape)
    rows = np.array([1, 2, 5, 8, 13, 21])
    for chosen in (rows, np.arange(3, 9), rows[:0]):
        found = some_rows(mapped, chosen)
        np.testing.assert_array_equal(found, X[chosen])
        assert not len(chosen) or isinstance(found, np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["pixels"]
