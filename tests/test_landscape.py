import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax.landscape.directions import cosine, filter_normalised
from mlpjax.landscape.paths import barrier, line
from mlpjax.landscape.surfaces import surface
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.models import MLP, dense_layers

KEY = jax.random.key(0)


def test_each_neuron_of_a_direction_is_as_long_as_the_networks_own():
    params = MLP((5, 7, 3), activation="prelu", bias="same").init(KEY)
    direction = filter_normalised(jax.random.key(1), params)
    for layer, moved in zip(dense_layers(params), dense_layers(direction), strict=True):
        np.testing.assert_allclose(
            np.linalg.norm(moved["kernel"], axis=0), np.linalg.norm(layer["kernel"], axis=0), rtol=1e-5
        )
        assert (moved["bias"] == 0).all()
    assert direction["alpha_0"] == 0


def test_a_direction_is_normal_and_not_uniform_or_one_sided():
    params = {"dense_0": {"kernel": jnp.ones((4, 5000)), "bias": jnp.ones(5000)}}
    kernel = np.asarray(filter_normalised(KEY, params)["dense_0"]["kernel"])
    assert abs(kernel.mean()) < 0.02
    # Four normals scaled to length 2 lie on a sphere in R^4: E x^4 = 2^4 * 3 / (4 * 6).
    np.testing.assert_allclose((kernel**4).mean(), 2.0, rtol=0.05)


def test_directions_are_random_and_repeatable():
    params = MLP((30, 20, 10)).init(KEY)
    one, again, other = (filter_normalised(jax.random.key(seed), params) for seed in (1, 1, 2))
    np.testing.assert_allclose(cosine(one, again), 1.0, rtol=1e-5)
    assert abs(cosine(one, other)) < 0.2
    np.testing.assert_allclose(cosine(one, jax.tree.map(lambda leaf: -3 * leaf, one)), -1.0, rtol=1e-5)


def quadratic(params):
    """L = 1/2 w' A w with A = diag(1, 4), whose slices are known."""
    return 0.5 * jnp.sum(jnp.array([1.0, 4.0]) * params["w"] ** 2)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(2, 6), columns=st.integers(2, 6))
def test_a_slice_through_a_quadratic_is_its_formula(rows, columns):
    centre = {"w": jnp.array([0.5, -0.25])}
    directions = {"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 2.0])}
    alphas, betas = jnp.linspace(-1, 1, columns), jnp.linspace(-2, 1, rows)
    found = surface(quadratic, centre, directions, alphas, betas)
    a, b = np.meshgrid(np.asarray(alphas), np.asarray(betas))
    np.testing.assert_allclose(found, 0.5 * ((0.5 + a) ** 2 + 4 * (-0.25 + 2 * b) ** 2), rtol=1e-5, atol=1e-6)


def test_the_middle_of_a_surface_is_the_network_itself():
    params = MLP((3, 4, 2)).init(KEY)
    loss = lambda p: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))  # noqa: E731
    directions = filter_normalised(jax.random.key(1), params), filter_normalised(jax.random.key(2), params)
    steps = jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(surface(loss, params, directions, steps, steps)[2, 2], loss(params), rtol=1e-6)


def test_the_line_and_the_barrier_of_a_double_well():
    """L(w) = (w^2 - 1)^2 + w/2 between -1 and 1: above the chord w/2 by (w^2 - 1)^2, at most 1."""
    t = jnp.linspace(0, 1, 101)
    found = line(lambda p: (p["w"] ** 2 - 1) ** 2 + p["w"] / 2, {"w": jnp.float32(-1)}, {"w": jnp.float32(1)}, t)
    w = 2 * np.asarray(t) - 1
    np.testing.assert_allclose(found, (w**2 - 1) ** 2 + w / 2, atol=1e-6)
    np.testing.assert_allclose(barrier(t, found), 1.0, rtol=1e-5)


def test_a_convex_path_has_no_barrier():
    t = jnp.linspace(0, 1, 11)
    assert barrier(t, (t - 0.3) ** 2) == 0


def network_of(columns):
    columns = jnp.asarray(columns, jnp.float32).T
    return {"dense_0": {"kernel": columns}, "dense_1": {"kernel": jnp.ones((columns.shape[1], 1))}}


@pytest.mark.parametrize(
    ("columns", "distinct"),
    [
        ([[1, 2], [1, 2], [1, 2]], 1),
        ([[1, 2], [2, 1], [1, 2]], 2),
        ([[1, 2], [1.0001, 2]], 1),
        ([[1, 2], [1.1, 2]], 2),
        ([[0, 0], [0, 0]], 1),
        ([[0, 0], [1e-30, 0]], 2),
        ([[1e-20, 0], [1e-20, 0]], 1),
        ([[1, 2], [-1, -2]], 2),
    ],
)
def test_distinct_units_are_counted(columns, distinct):
    assert distinct_units(network_of(columns)).tolist() == [distinct]


def test_biases_tell_units_apart_and_random_units_differ():
    params = network_of([[1, 2], [1, 2]])
    params["dense_0"]["bias"] = jnp.array([0.0, 1.0])
    assert distinct_units(params).tolist() == [2]
    assert distinct_units(MLP((5, 8, 6, 2)).init(KEY)).tolist() == [8, 6]
    assert distinct_units(MLP((5, 8, 6, 2), initializer="constant").init(KEY)).tolist() == [1, 1]
