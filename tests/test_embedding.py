"""Embedding: every example of every split, in its place, as the function has it; and heads that learn on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax.data import Dataset, Split
from mlpjax.embedding import BATCH, embedded
from mlpjax.errors import UserError
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import train_many
from mlpjax.task import evaluate, make_task


def images(*sizes: int) -> Dataset:
    rng = np.random.default_rng(0)
    parts = [
        Split(rng.integers(0, 256, (n, 2, 3), np.uint8), rng.permutation(np.arange(n, dtype=np.int32) % 2))
        for n in sizes
    ]
    return Dataset("few", *parts, classes=2, class_names=("cat", "dog"))


@settings(max_examples=12, deadline=None)
@given(sizes=st.tuples(st.integers(1, 3 * BATCH), st.integers(0, 5), st.sampled_from([1, BATCH, 4 * BATCH])))
def test_every_example_is_what_the_function_gives_for_it(sizes: tuple[int, int, int]) -> None:
    dataset = images(*sizes)
    kernel = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)

    def body(x: jax.Array, kernel: jax.Array) -> jax.Array:
        assert x.shape == (BATCH, 2, 3)  # memory is bounded, and one program does for all
        return jnp.tanh(x.reshape(len(x), -1).astype(jnp.float32) / 255 @ kernel)

    found = embedded(dataset, body, jnp.asarray(kernel))
    assert (found.name, found.classes, found.class_names) == ("few, embedded", 2, ("cat", "dog"))
    assert found.features == 4
    for part in ("train", "valid", "test"):
        before, after = getattr(dataset, part), getattr(found, part)
        assert after.x.dtype == np.float32
        np.testing.assert_allclose(after.x, np.tanh(before.x.reshape(-1, 6) / 255 @ kernel), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(after.y, before.y)


def test_types_of_examples() -> None:
    dataset = images(3, 0, 2)
    smaller = embedded(dataset, lambda x: x[:, ::2, 1:])
    assert smaller.train.x.dtype == np.uint8
    np.testing.assert_array_equal(smaller.test.x, dataset.test.x[:, ::2, 1:])
    half = embedded(dataset, lambda x: x[:, 0, 0].astype(jnp.bfloat16))
    assert half.train.x.dtype == np.float32
    np.testing.assert_array_equal(half.train.x, dataset.train.x[:, 0, 0].astype(jnp.bfloat16).astype(np.float32))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (x, {}), r"embedded few: the function gives a tuple for 32 examples; return one array with a row"),
        (lambda x: x.sum(), r"the function gives \[\] for 32 examples"),
        (lambda x: x[:5], r"the function gives \[5, 2, 3\] for 32 examples"),
    ],
)
def test_what_is_no_row_for_each_example_is_refused(function, message) -> None:
    with pytest.raises(UserError, match=message):
        embedded(images(3, 0, 2), function)


def test_heads_on_a_frozen_body_are_the_whole_networks_outputs() -> None:
    """A head that starts as the last layer of the network predicts, before training, what the network does."""
    dataset, model, recipe = images(40, 0, 20), MLP((6, 5, 2), "tanh"), Recipe(batch_size=20, epochs=1)
    task = make_task(model, recipe)
    variables = model.init(jax.random.key(0))
    features = embedded(dataset, lambda x, params: model.activations(params, task.prepare(x))[0], variables.params)
    last = {"dense_0": jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), variables.params["dense_1"])}
    heads = train_many(MLP((5, 2)), recipe, features, range(3), start=last)
    for split in ("train", "test"):
        whole = evaluate(task, variables, getattr(dataset, split))
        np.testing.assert_allclose(heads.history[f"{split}_loss"][:, 0], whole["loss"], rtol=1e-5)
    assert (heads.history["train_loss"][:, 1] != heads.history["train_loss"][:, 0]).all()
