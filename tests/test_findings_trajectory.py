"""The training trajectory: it ends where the study's network ended, and lies where NumPy's SVD puts it."""

import dataclasses

import jax
import numpy as np
from conftest import labels

from mlpjax import MLP, Recipe, train_many
from mlpjax.findings.trajectory import FINDING, POINTS, draw_trajectory
from mlpjax.landscape.trajectory import random_walk_shares

STEPS = np.linspace(-1, 1, 11)


def other(subject, tmp_path, model, recipe, **changes):
    """Other networks on the same data."""
    random = train_many(model, recipe, subject.dataset, [0])
    changes = {"model": model, "recipe": recipe, "random": random, "freeze": (), "folder": tmp_path} | changes
    return dataclasses.replace(subject, **changes)


def test_the_trajectory_is_that_of_the_median_network(subject, silent):
    found = FINDING.find(subject, silent)
    trained = subject.random
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
    (surface,) = FINDING.show(found)[0].drawing.parts
    np.testing.assert_array_equal(surface.path[:, :2], found.track.coordinates)
    np.testing.assert_array_equal(surface.path[:, 2], found.track.projected_losses)
    assert FINDING.show(found)[0].title == f"Training trajectory of seed {found.seed}"


def test_the_plane_holds_the_whole_trajectory_and_agrees_with_where_it_is_drawn(subject, silent, tmp_path):
    found = FINDING.find(dataclasses.replace(subject, grid=401, folder=tmp_path), silent)
    for axis, steps in enumerate(found.steps):
        assert steps[0] < found.track.coordinates[:, axis].min()
        assert steps[-1] > found.track.coordinates[:, axis].max()
    nearest = [np.abs(found.track.coordinates[:, [i]] - steps).argmin(axis=1) for i, steps in enumerate(found.steps)]
    np.testing.assert_allclose(found.loss[nearest[0], nearest[1]], found.track.projected_losses, atol=5e-3)


def test_a_long_training_is_drawn_with_few_points(subject, silent, tmp_path):
    found = FINDING.find(other(subject, tmp_path, subject.model, Recipe(batch_size=None, epochs=150)), silent)
    assert len(found.epochs) == len(found.track.losses) == POINTS
    assert (found.epochs[0], found.epochs[-1]) == (0, 150)


def test_where_nothing_moves_there_is_no_trajectory(subject, silent, tmp_path):
    short = Recipe(batch_size=20, epochs=1)
    assert FINDING.find(other(subject, tmp_path / "short", subject.model, short), silent) is None
    stuck = MLP((2, 5, 2), initializer="zeros", bias="none")
    assert FINDING.find(other(subject, tmp_path / "stuck", stuck, subject.recipe), silent) is None


def test_it_is_drawn_from_its_start_to_its_end_beside_both_losses():
    way = np.array([[3.0, 1.0], [2.0, -1.0], [0.0, 0.0]])
    own, drawn = np.array([2.0, 1.0, 0.5]), np.array([1.5, 1.1, 0.5])
    bowl = 0.5 + STEPS[:, None] ** 2 + np.zeros(7)
    figure = draw_trajectory(np.arange(3), way, (STEPS, STEPS[:7]), bowl, own, drawn)
    plane, beside = figure.axes[:2]
    lines = {line.get_label(): line for line in (*plane.lines, *beside.lines)}
    np.testing.assert_array_equal(plane.lines[0].get_xydata(), way)
    np.testing.assert_array_equal(lines["start"].get_xydata(), way[:1])
    np.testing.assert_array_equal(lines["end"].get_xydata(), way[-1:])
    np.testing.assert_array_equal(lines["where it is drawn"].get_ydata(), drawn)
    assert {"start", "end", "of the network"} <= labels(figure)
