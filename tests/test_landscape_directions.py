"""Directions against their definitions, and against the faults that other tools have."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from mlpjax import MLP, UserError, map_seeds
from mlpjax.landscape.curvature import eigenpairs
from mlpjax.landscape.directions import (
    cosine,
    displaced,
    filter_normalised,
    orthogonal,
    pca,
    random_normal,
    stack,
    through,
)
from mlpjax.models import dense_layers

KEY = jax.random.key(0)


def test_each_neuron_of_a_direction_is_as_long_as_the_networks_own():
    params = MLP((5, 7, 3), activation="prelu", bias="same").init(KEY).params
    direction = filter_normalised(jax.random.key(1), params)
    for layer, moved in zip(dense_layers(params), dense_layers(direction), strict=True):
        own = np.linalg.norm(layer["kernel"], axis=0)
        np.testing.assert_allclose(np.linalg.norm(moved["kernel"], axis=0), own, rtol=1e-5)
        # Not by the rows, and not only as a whole.
        assert not np.allclose(np.linalg.norm(moved["kernel"], axis=1), np.linalg.norm(layer["kernel"], axis=1))
        assert (moved["bias"] == 0).all()
    assert direction["alpha_0"] == 0


def test_a_bias_can_count_into_its_neuron():
    params = MLP((5, 7, 3), activation="prelu", bias="same").init(KEY).params
    direction = filter_normalised(jax.random.key(1), params, "joint")

    def lengths(layer):
        return np.linalg.norm(np.concatenate([layer["kernel"], layer["bias"][None]]), axis=0)

    for layer, moved in zip(dense_layers(params), dense_layers(direction), strict=True):
        np.testing.assert_allclose(lengths(moved), lengths(layer), rtol=1e-5)
        assert (moved["bias"] != 0).all()
    np.testing.assert_allclose(abs(direction["alpha_0"]), 0.25, rtol=1e-6)


def test_filters_of_trees_that_are_no_mlp():
    params = {"conv": [jnp.ones((3, 3, 2, 4)), jnp.full(4, 2.0)], "shift": jnp.arange(5.0), "w": jnp.ones((2, 4))}
    for policy in ("zero", "joint"):
        direction = filter_normalised(KEY, params, policy)
        np.testing.assert_allclose(np.linalg.norm(direction["w"], axis=0), np.sqrt(2), rtol=1e-5)
        conv, bias = direction["conv"]
        if policy == "zero":
            np.testing.assert_allclose(np.sqrt((conv**2).sum(axis=(0, 1, 2))), np.sqrt(18), rtol=1e-5)
            assert (bias == 0).all()
            assert (direction["shift"] == 0).all()
        else:
            np.testing.assert_allclose((conv**2).sum(axis=(0, 1, 2)) + bias**2, 22, rtol=1e-5)
    # A vector with no kernel, or several, beside it is one filter.
    lone = filter_normalised(KEY, {"w": jnp.array([3.0, 4.0])}, "joint")
    np.testing.assert_allclose(np.linalg.norm(lone["w"]), 5, rtol=1e-6)
    two = {"a": jnp.ones((3, 2)), "b": jnp.ones((4, 2)), "c": jnp.array([3.0, 4.0])}
    np.testing.assert_allclose(np.linalg.norm(filter_normalised(KEY, two, "joint")["c"]), 5, rtol=1e-6)


def test_a_direction_is_normal_and_not_uniform_or_one_sided():
    draws = np.asarray(random_normal(KEY, {"w": jnp.zeros((100, 500))})["w"])
    assert abs(draws.mean()) < 0.02
    np.testing.assert_allclose([draws.std(), (draws**4).mean()], [1, 3], rtol=0.03)
    params = {"dense_0": {"kernel": jnp.ones((4, 5000)), "bias": jnp.ones(5000)}}
    kernel = np.asarray(filter_normalised(KEY, params)["dense_0"]["kernel"])
    assert abs(kernel.mean()) < 0.02
    # Four normals scaled to length 2 lie on a sphere in R^4: E x^4 = 2^4 * 3 / (4 * 6).
    np.testing.assert_allclose((kernel**4).mean(), 2.0, rtol=0.05)


def test_a_dead_neuron_does_not_move_and_a_single_input_keeps_its_size():
    params = {"kernel": jnp.array([[0.0, -2.0, 3.0]])}
    direction = filter_normalised(KEY, params)["kernel"]
    np.testing.assert_allclose(abs(direction), [[0, 2, 3]], rtol=1e-6)


def test_directions_are_random_and_repeatable():
    params = MLP((30, 20, 10)).init(KEY).params
    one, again, other = (filter_normalised(jax.random.key(seed), params) for seed in (1, 1, 2))
    np.testing.assert_allclose(cosine(one, again), 1.0, rtol=1e-5)
    assert abs(cosine(one, other)) < 0.2
    np.testing.assert_allclose(cosine(one, jax.tree.map(lambda leaf: -3 * leaf, one)), -1.0, rtol=1e-5)


def test_directions_of_many_networks_are_those_of_each():
    model = MLP((6, 5, 3))
    keys = jax.random.split(KEY, 3)
    params = jax.vmap(model.init)(keys).params
    found = map_seeds(lambda own: filter_normalised(*own), (keys, params), chunk=2)
    for row in range(3):
        alone = filter_normalised(keys[row], jax.tree.map(lambda leaf, row=row: leaf[row], params))
        np.testing.assert_allclose(found["dense_1"]["kernel"][row], alone["dense_1"]["kernel"], rtol=1e-6)


def test_directions_follow_the_type_of_the_network():
    with jax.enable_x64(True):
        params = {"kernel": jnp.ones((3, 2), jnp.float64), "bias": jnp.ones(2, jnp.float64)}
        for direction in (random_normal(KEY, params), filter_normalised(KEY, params, "joint")):
            assert {leaf.dtype for leaf in jax.tree.leaves(direction)} == {np.dtype("float64")}
        assert displaced(params, stack(params), jnp.ones(1, jnp.float32))["bias"].dtype == np.float64


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), near=st.sampled_from([0.0, 1e-3, 1.0]))
def test_the_orthogonal_part_is_orthogonal_even_of_nearly_parallel_directions(seed, near):
    params = MLP((8, 6, 4), bias="same").init(KEY).params
    keys = jax.random.split(jax.random.key(seed))
    t, other = (filter_normalised(key, params) for key in keys)
    d = jax.tree.map(lambda x, y: x + (near and 1 / near) * y, other, t)
    rest = orthogonal(d, t)
    assert abs(cosine(rest, t)) < 1e-5
    # What was taken away lies along t.
    taken = jax.tree.map(jnp.subtract, d, rest)
    if near:
        np.testing.assert_allclose(abs(cosine(taken, t)), 1, rtol=1e-5)


def test_orthogonalised_after_scaling_a_pair_is_orthogonal_and_before_it_is_not():
    """Scaling filter by filter turns an orthogonal pair: the order that other tools have wrong."""
    params = {"kernel": jnp.diag(jnp.array([1.0, 100.0])) + jnp.ones((2, 2))}
    one, other = (filter_normalised(jax.random.key(seed), params) for seed in (1, 2))
    after = orthogonal(other, one)
    assert abs(cosine(one, after)) < 1e-6
    raw = [random_normal(jax.random.key(seed), params) for seed in (1, 2)]
    before = [raw[0], orthogonal(raw[1], raw[0])]
    own = np.linalg.norm(params["kernel"], axis=0)
    scaled = [{"kernel": d["kernel"] / np.linalg.norm(d["kernel"], axis=0)[None] * own[None]} for d in before]
    assert abs(cosine(*scaled)) > 1e-3


@settings(max_examples=12, deadline=None)
@given(points=st.lists(st.integers(-50, 50), min_size=9, max_size=9))
def test_the_plane_holds_its_three_points(points):
    a, b, c = np.asarray(points, np.float64).reshape(3, 3)
    with jax.enable_x64(True):
        trees = [{"w": jnp.asarray(p[:2]), "b": jnp.asarray(p[2])} for p in (a, b, c)]
        if np.linalg.matrix_rank(np.stack([b - a, c - a])) < 2:
            with pytest.raises(UserError, match=r"parallel|length 0"):
                through(*trees)
            return
        plane = through(*trees)
        for tree, place in zip(trees, plane.coordinates, strict=True):
            found = displaced(plane.centre, plane.axes, place)
            np.testing.assert_allclose(found["w"], tree["w"], atol=1e-10)
            np.testing.assert_allclose(found["b"], tree["b"], atol=1e-10)
        first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], plane.axes) for i in range(2))
        np.testing.assert_allclose(cosine(first, second), 0, atol=1e-10)
        assert plane.coordinates[1, 1] == 0
        # Distances are those in the space of parameters.
        for (i, p), (j, q) in [((0, a), (2, c)), ((1, b), (2, c)), ((0, a), (1, b))]:
            place = plane.coordinates[i] - plane.coordinates[j]
            np.testing.assert_allclose(jnp.linalg.norm(place), np.linalg.norm(p - q), rtol=1e-9)


def trajectory_of(points):
    return {"a": jnp.asarray(points[:, :4]).reshape(-1, 2, 2), "b": jnp.asarray(points[:, 4:])}


def test_principal_components_are_scikit_learns():
    points = np.random.default_rng(0).normal(size=(12, 30)).cumsum(axis=0).astype(np.float32)
    found = pca(trajectory_of(points), k=3)
    wanted = PCA(n_components=3).fit(points)
    np.testing.assert_allclose(found.explained, wanted.explained_variance_ratio_, rtol=1e-4)
    flat = np.concatenate([found.directions["a"].reshape(3, 4), found.directions["b"]], axis=1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(abs(np.sum(flat * wanted.components_, axis=1)), 1, rtol=1e-4)
    # Differences to the last point, as in Li et al., and the trajectory itself.
    again = pca(trajectory_of(points - points[-1]), k=3)
    np.testing.assert_allclose(again.directions["b"], found.directions["b"], atol=1e-4)
    assert ((flat @ (points[0] - points.mean(axis=0))) > 0).all()


def test_a_straight_trajectory_has_one_component():
    direction = np.arange(1.0, 11.0, dtype=np.float32)
    found = pca(trajectory_of(np.linspace(0, 1, 7, dtype=np.float32)[:, None] * direction), k=2)
    np.testing.assert_allclose(found.explained, [1, 0], atol=1e-6)
    flat = np.concatenate([found.directions["a"].reshape(2, 4), found.directions["b"]], axis=1)
    np.testing.assert_allclose(flat[0], -direction / np.linalg.norm(direction), rtol=1e-5)


def test_eigenvectors_are_directions():
    matrix = jnp.diag(jnp.array([5.0, 1.0, -2.0]))
    centre = {"w": jnp.zeros(3)}
    found = eigenpairs(lambda v: {"w": matrix @ v["w"]}, centre, KEY, top=1, bottom=1, steps=3)
    moved = displaced(centre, found.vectors, jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(abs(moved["w"]), [1, 0, 0], atol=1e-5)


def test_what_is_no_direction_is_refused():
    params, other = MLP((4, 3, 2)).init(KEY).params, MLP((4, 5, 2)).init(KEY).params
    zero = jax.tree.map(jnp.zeros_like, params)
    d = random_normal(KEY, params)
    with pytest.raises(UserError, match="length 0"):
        filter_normalised(KEY, zero)
    with pytest.raises(UserError, match="length 0"):
        filter_normalised(KEY, {"w": jnp.ones(3)})
    with pytest.raises(UserError, match="length nan"):
        cosine(d, jax.tree.map(lambda leaf: leaf * jnp.nan, d))
    with pytest.raises(UserError, match="length 0"):
        orthogonal(zero, d)
    with pytest.raises(UserError, match="parallel"):
        orthogonal(jax.tree.map(lambda leaf: 3 * leaf, d), d)
    for function in (cosine, orthogonal, stack):
        with pytest.raises(UserError, match="two different networks: dense_0/bias"):
            function(d, other)
    with pytest.raises(UserError, match="two different networks"):
        through(params, d, other)
    with pytest.raises(UserError, match="biases"):
        inspect.unwrap(filter_normalised)(KEY, params, "all")
    points = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), d)
    with pytest.raises(UserError, match="length 0"):
        pca(points)
    with pytest.raises(UserError, match="k 3: at least 1, and at most 2 for 3 points"):
        pca(points, k=3)


def test_within_a_compiled_program_what_is_known_is_still_refused():
    d, zero = {"w": jnp.ones((3, 2))}, {"w": jnp.zeros((3, 2))}
    np.testing.assert_allclose(jax.jit(lambda other: cosine(d, other))(d), 1, rtol=1e-6)
    with pytest.raises(UserError, match="length 0"):
        jax.jit(lambda other: cosine(zero, other))(d)
    assert bool(jnp.isnan(jax.jit(cosine)(d, zero)))
