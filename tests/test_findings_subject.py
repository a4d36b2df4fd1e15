"""What findings share: some examples at a time give what all at once do, and the plane is that of the whole loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import Split
from mlpjax.findings import subject as subjects
from mlpjax.findings.subject import in_batches, loss_on_plane
from mlpjax.landscape.directions import random_normal, stack
from mlpjax.landscape.loss_surface import points_at_once, slice_loss
from mlpjax.task import mean_loss


@pytest.mark.parametrize("batch_size", [None, 1, 4, 7, 20])
def test_rows_come_in_their_order_whatever_the_batch(batch_size):
    split = Split(np.arange(21, dtype=np.float32).reshape(7, 3), np.arange(7, dtype=np.int32))
    rows, labels = in_batches(lambda rows: (rows.x * 2, rows.y), split, batch_size)
    np.testing.assert_array_equal(rows, 2 * split.x)
    np.testing.assert_array_equal(labels, split.y)


def test_fewer_examples_are_looked_at_together_where_they_do_not_fit(subject, monkeypatch):
    """XOR through 2-5-2: 2 inputs, 5 and 2 sums, of 4 bytes each."""
    assert subject.batch(500) is None
    monkeypatch.setattr(subjects, "MEMORY", 10 * 4 * (2 + 5 + 2))
    assert subject.batch(10) is None
    assert subject.batch(11) == 10


def test_of_a_costly_network_fewer_examples_are_looked_at(subject, monkeypatch):
    """2-5-2 takes 2 (2 x 5 + 5 x 2) operations for an example."""
    monkeypatch.setattr(subjects, "FEWEST_EXAMPLES", 3)
    monkeypatch.setattr(subjects, "LOOK_FLOPS", 40 * 7.5)
    costly = dataclasses.replace(subject)
    assert len(costly.train.y) == 7
    np.testing.assert_array_equal(np.asarray(costly.train.x)[[0, -1]], subject.dataset.train.x[[0, -1]])
    monkeypatch.setattr(subjects, "LOOK_FLOPS", 1.0)
    assert len(dataclasses.replace(subject).train.y) == 3


def test_a_plane_in_stages_is_that_of_the_whole_loss(subject):
    model, task, params = subject.model, subject.task, subject.network(0).params
    directions = jax.jit(lambda p: stack(*(random_normal(jax.random.key(seed), p) for seed in (0, 1))))(params)
    steps = (jnp.linspace(-1, 1, 3),) * 2
    found = jax.jit(lambda *at: loss_on_plane(model, task, mean_loss(task), *at, 16))(
        params, subject.train, directions, steps
    )
    expected = jax.jit(lambda *at: slice_loss(mean_loss(task), *at))(params, subject.train, directions, steps)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_convolutions_are_evaluated_at_one_point_after_the_other():
    assert points_at_once({"kernel": np.zeros((3, 3, 1, 2))}) is None
    assert points_at_once({"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}) > 1
