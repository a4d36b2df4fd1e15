"""Trajectories whose shadows on a plane are known, and the principal components of mere noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import MLP, Recipe, UserError, load, train_many
from mlpjax.landscape.directions import pca, random_normal, stack, through
from mlpjax.landscape.trajectory import project, random_walk_shares, track
from mlpjax.task import classification, mean_loss

KEY = jax.random.key(0)


@pytest.mark.parametrize("points", [5, 40])
def test_a_random_walk_has_the_shares_of_the_null(points):
    walk = np.random.default_rng(0).normal(size=(points, 20_000)).cumsum(axis=0).astype(np.float32)
    found = pca({"w": jnp.asarray(walk)}, k=4)
    np.testing.assert_allclose(found.explained, random_walk_shares(points, 4), rtol=0.05)


def test_the_null_is_61_percent_in_the_limit_and_adds_up_to_1():
    """Antognini and Sohl-Dickstein: the k-th component has 6 / (pi k)^2 of the variance of a long walk."""
    k = np.arange(1, 6)
    np.testing.assert_allclose(random_walk_shares(100_000, 5), 6 / (np.pi * k) ** 2, rtol=1e-6)
    np.testing.assert_allclose(random_walk_shares(100_000, 1), 0.6079, atol=1e-4)
    for points in (2, 3, 10, 51):
        np.testing.assert_allclose(random_walk_shares(points, points - 1).sum(), 1, rtol=1e-12)
        # The eigenvalues of the centred covariance of a walk, min(i, j), by NumPy.
        centring = np.eye(points) - 1 / points
        covariance = centring @ np.minimum.outer(np.arange(points), np.arange(points)) @ centring
        wanted = np.linalg.eigvalsh(covariance)[::-1][: points - 1] / np.trace(covariance)
        np.testing.assert_allclose(random_walk_shares(points, points - 1), wanted, rtol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(1, 3))
def test_projections_are_least_squares_on_axes_at_any_angle(seed, k):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        points, centre, axes = (jnp.asarray(rng.normal(size=shape)) for shape in ((6, 7), (7,), (k, 7)))
        tree = lambda x: {"a": x[..., :3], "b": x[..., 3:].reshape(*x.shape[:-1], 2, 2)}  # noqa: E731
        coordinates, distances = project(tree(points), tree(centre), tree(axes))
        away = np.asarray(points - centre[None])
        wanted, *_ = np.linalg.lstsq(np.asarray(axes).T, away.T, rcond=None)
        np.testing.assert_allclose(coordinates, wanted.T, rtol=1e-6, atol=1e-9)
        rest = away - wanted.T @ np.asarray(axes)
        np.testing.assert_allclose(distances, np.linalg.norm(rest, axis=1), rtol=1e-6, atol=1e-9)


def test_the_points_of_a_plane_lie_on_it():
    params = MLP((4, 3, 2), bias="same").init(KEY).params
    others = [random_normal(jax.random.key(seed), params) for seed in (1, 2)]
    plane = through(params, *others)
    coordinates, distances = project(stack(params, *others), plane.centre, plane.axes)
    np.testing.assert_allclose(coordinates, plane.coordinates, atol=1e-5)
    np.testing.assert_allclose(distances, 0, atol=1e-5)


def test_a_helix_shows_its_circle_and_hides_its_rise():
    """L = |w|^2 of (cos t, sin t, t) on the plane of the circle: the picture says 1, and it is 1 + t^2."""
    t = jnp.linspace(0, 3, 7)
    helix = {"w": jnp.stack([jnp.cos(t), jnp.sin(t), t], axis=1)}
    axes = {"w": 2 * jnp.eye(3)[:2]}
    found = track(
        lambda p, data: jnp.mean(data) * jnp.sum(p["w"] ** 2), helix, jnp.ones(5), {"w": jnp.zeros(3)}, axes, 2
    )
    np.testing.assert_allclose(found.coordinates, jnp.stack([jnp.cos(t), jnp.sin(t)], axis=1) / 2, atol=1e-6)
    np.testing.assert_allclose(found.distances, t, atol=1e-6)
    np.testing.assert_allclose(found.losses, 1 + t**2, rtol=1e-6)
    np.testing.assert_allclose(found.projected_losses, 1, rtol=1e-6)


def test_a_training_drawn_on_its_own_components():
    model, dataset = MLP((2, 8, 2), activation="tanh"), load("xor", n=50)
    recipe = Recipe(optimizer="sgd", learning_rate=0.5, batch_size=None, epochs=8)
    trained = train_many(model, recipe, dataset, seeds=[0], snapshots=range(9))
    trajectory, last = (
        jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), tree) for tree in (trained.snapshots, trained.params)
    )
    found, loss = pca(trajectory, k=3), mean_loss(classification(model, recipe))
    drawn = track(loss, trajectory, dataset.train, last, found.directions)
    np.testing.assert_allclose(drawn.losses, trained.history["train_loss"][0], rtol=1e-4)
    np.testing.assert_allclose(drawn.coordinates[-1], 0, atol=1e-5)
    np.testing.assert_allclose(drawn.projected_losses[-1], drawn.losses[-1], rtol=1e-5)
    assert (found.explained[0] > random_walk_shares(9, 1)).all()
    # In all of its components nothing is hidden.
    whole = track(loss, trajectory, dataset.train, last, pca(trajectory, k=8).directions)
    np.testing.assert_allclose(whole.distances, 0, atol=1e-4)
    np.testing.assert_allclose(whole.projected_losses, whole.losses, rtol=1e-4)


def test_what_cannot_be_projected_is_refused():
    points = {"w": jnp.ones((4, 3))}
    centre = {"w": jnp.zeros(3)}
    with pytest.raises(UserError, match="length 0"):
        project(points, centre, {"w": jnp.zeros((1, 3))})
    with pytest.raises(UserError, match="two different networks: w"):
        project(points, {"w": jnp.zeros(4)}, {"w": jnp.ones((1, 4))})
    with pytest.raises(UserError, match="two different networks: w"):
        project(points, centre, {"w": jnp.ones((1, 4))})
    for k in (0, 4):
        with pytest.raises(UserError, match=f"k {k}: at least 1, and at most 3"):
            random_walk_shares(4, k)
