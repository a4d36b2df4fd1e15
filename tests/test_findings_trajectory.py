"""The way of a training: it ends where the study's network ended, and lies where NumPy's SVD puts it."""

import jax
import numpy as np
import pytest

from mlpjax import MLP, Recipe, load, train_many
from mlpjax.findings.trajectory import POINTS, find_trajectory
from mlpjax.landscape.trajectory import random_walk_shares

MODEL = MLP((2, 5, 2), "tanh")
RECIPE = Recipe(batch_size=20, epochs=6, eval_every=2)


def silent(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def xor():
    return load("xor", n=40)


def test_the_way_is_that_of_the_median_network(xor):
    freeze = ("order",)
    trained = train_many(MODEL, RECIPE, xor, [3, 4, 5], freeze=freeze, snapshots=(0, 2, 4, 6))
    found = find_trajectory(MODEL, RECIPE, xor, trained, freeze, 9, silent)
    row = int(np.argsort(trained.history["test_loss"][:, -1])[1])
    assert found.seed == trained.seeds[row]
    np.testing.assert_array_equal(found.epochs, [0, 2, 4, 6])
    np.testing.assert_allclose(found.track.losses, trained.history["train_loss"][row], rtol=1e-5)

    leaves = [leaf[row] for leaf in jax.tree.leaves(trained.snapshots)]
    points = np.concatenate([leaf.reshape(4, -1) for leaf in leaves], axis=1)
    centred = points - points.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred.astype(float), full_matrices=False)
    np.testing.assert_allclose(found.explained, singular[:2] ** 2 / np.sum(singular**2), rtol=1e-4)
    np.testing.assert_allclose(found.random_walk, random_walk_shares(4, 2))
    coordinates = (points - points[-1]) @ rows[:2].T
    np.testing.assert_allclose(np.abs(found.track.coordinates), np.abs(coordinates), atol=1e-5)
    np.testing.assert_allclose(found.track.coordinates[-1], 0, atol=1e-6)


def test_the_plane_holds_the_whole_way_and_agrees_with_where_it_is_drawn(xor):
    trained = train_many(MODEL, RECIPE, xor, [0])
    found = find_trajectory(MODEL, RECIPE, xor, trained, (), 401, silent)
    for axis, steps in enumerate(found.steps):
        assert steps[0] < found.track.coordinates[:, axis].min()
        assert steps[-1] > found.track.coordinates[:, axis].max()
    nearest = [np.abs(found.track.coordinates[:, [i]] - steps).argmin(axis=1) for i, steps in enumerate(found.steps)]
    np.testing.assert_allclose(found.loss[nearest[0], nearest[1]], found.track.projected_losses, atol=1e-3)


def test_a_long_training_is_drawn_with_few_points(xor):
    recipe = Recipe(batch_size=None, epochs=150)
    found = find_trajectory(MODEL, recipe, xor, train_many(MODEL, recipe, xor, [0]), (), 3, silent)
    assert len(found.epochs) == len(found.track.losses) == POINTS
    assert (found.epochs[0], found.epochs[-1]) == (0, 150)


def test_where_nothing_moves_there_is_no_way(xor):
    short = Recipe(batch_size=20, epochs=1)
    assert find_trajectory(MODEL, short, xor, train_many(MODEL, short, xor, [0]), (), 3, silent) is None
    stuck = MLP((2, 5, 2), initializer="zeros", bias="none")
    assert find_trajectory(stuck, RECIPE, xor, train_many(stuck, RECIPE, xor, [0]), (), 3, silent) is None
