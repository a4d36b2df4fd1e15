"""Slices through losses whose slices are known, and their health checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import MLP, Split, UserError
from mlpjax.landscape.directions import cosine, filter_normalised, random_normal, stack
from mlpjax.landscape.loss import make_stages
from mlpjax.landscape.loss_surface import health, slice_loss, slice_stages
from mlpjax.recipe import Recipe
from mlpjax.task import classification, mean_loss

KEY = jax.random.key(0)
STEPS = jnp.linspace(-1, 1, 21)


def quadratic(params, data):
    """L = mean_i 1/2 s_i w' A w with A = diag(1, 4), whose slices are known; s_i are the data."""
    return 0.5 * jnp.mean(data) * jnp.sum(jnp.array([1.0, 4.0]) * params["w"] ** 2)


CENTRE = {"w": jnp.array([0.5, -0.25])}
ONES = jnp.ones(7)


@settings(max_examples=8, deadline=None)
@given(first=st.integers(1, 7), second=st.integers(1, 7), batch_size=st.sampled_from([None, 3, 7]))
def test_a_slice_through_a_quadratic_is_its_formula(first, second, batch_size):
    """Every column and row in its place, on grids that are neither even nor square nor as long as a batch of points."""
    directions = {"w": jnp.array([[1.0, 0.0], [0.0, 2.0]])}
    steps = jnp.linspace(-1, 1, first) ** 3, jnp.linspace(-2, 1, second)
    data = jnp.arange(7.0) / 3
    found = jax.jit(lambda steps: slice_loss(quadratic, CENTRE, data, directions, steps, batch_size))(steps)
    a, b = np.meshgrid(*map(np.asarray, steps), indexing="ij")
    np.testing.assert_allclose(found, 0.5 * ((0.5 + a) ** 2 + 4 * (-0.25 + 2 * b) ** 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_slices_have_any_dimension(dimensions):
    centre = {"w": jnp.zeros(3)}
    directions = {"w": jnp.eye(3)[:dimensions]}
    steps = [jnp.arange(2.0), jnp.arange(3.0), jnp.arange(4.0)][:dimensions]
    weights = jnp.array([1.0, 10.0, 100.0])
    found = slice_loss(lambda p, _: jnp.vdot(weights, p["w"]), centre, None, directions, steps)
    places = np.meshgrid(*map(np.asarray, steps), indexing="ij")
    np.testing.assert_allclose(found, sum(weights[i] * place for i, place in enumerate(places)), rtol=1e-6)


def test_a_slice_of_a_network_is_a_loop_over_networks():
    model = MLP((5, 6, 3), activation="tanh")
    params, loss = model.init(KEY).params, mean_loss(classification(model, Recipe(loss="cross_entropy")))
    rng = np.random.default_rng(0)
    data = Split(rng.normal(size=(11, 5)).astype(np.float32), rng.integers(0, 3, 11))
    directions = stack(*(filter_normalised(jax.random.key(seed), params) for seed in (1, 2)))
    steps = jnp.linspace(-1, 1, 3), jnp.linspace(-1, 1, 5)
    found = jax.jit(lambda p: slice_loss(loss, p, data, directions, steps))(params)
    for i, a in enumerate(np.asarray(steps[0])):
        for j, b in enumerate(np.asarray(steps[1])):
            moved = jax.tree.map(lambda p, d, a=a, b=b: p + a * d[0] + b * d[1], params, directions)
            np.testing.assert_allclose(found[i, j], loss(moved, data), rtol=1e-5)
    np.testing.assert_allclose(found[1, 2], loss(params, data), rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        MLP((5, 6, 4, 3), "prelu", dropout=(0.1, 0.2)),
        MLP((5, 4, 3), "tanh", output_activation="sigmoid", bias="none"),
        MLP((5, 3), bias="same"),
    ],
    ids=["prelu", "no bias", "one layer"],
)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_first_layer_worked_out_once_gives_the_same_slice(model, batch_size):
    task = classification(model, Recipe(loss="squared_error"))
    params = model.init(KEY).params
    rng = np.random.default_rng(0)
    data = Split(rng.normal(size=(11, 5)).astype(np.float32), rng.integers(0, 3, 11))
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        directions = stack(*(random_normal(jax.random.key(seed), params) for seed in (1, 2)))
        steps = jnp.linspace(-1, 1, 3), jnp.linspace(-2, 1, 4)
        whole = jax.jit(lambda p: slice_loss(mean_loss(task), p, data, directions, steps, batch_size))(params)
        cut = jax.jit(lambda p: slice_stages(make_stages(model, task), p, data, directions, steps, batch_size))(params)
    assert cut.shape == (3, 4)
    np.testing.assert_allclose(cut, whole, rtol=1e-12)


def test_a_slice_follows_the_type_of_the_network():
    with jax.enable_x64(True):
        centre = {"w": jnp.array([0.5, -0.25], jnp.float64)}
        directions = {"w": jnp.eye(2, dtype=jnp.float64)}
        steps = jnp.array([0.0, 1e-9], jnp.float64)
        found = slice_loss(lambda p, _: jnp.sum(p["w"]), centre, None, directions, [steps, steps])
        assert found.dtype == np.float64
        np.testing.assert_allclose(found[1, 0] - found[0, 0], 1e-9, rtol=1e-6)


def test_the_health_of_a_quadratic_is_perfect_on_any_grid():
    directions = {"w": jnp.array([[1.0, 0.0], [1.0, 1.0]])}
    steps = jnp.array([-2.0, -0.5, 0.0, 0.25]), jnp.array([-0.25, 0.0, 1.0])
    losses = slice_loss(quadratic, CENTRE, ONES, directions, steps)
    found = health(quadratic, CENTRE, ONES, directions, steps, losses, KEY, draw=random_normal, others=5)
    np.testing.assert_allclose(found.curvature, [1, 5], rtol=1e-6)
    np.testing.assert_allclose(found.read_off, [1, 5], rtol=1e-5)
    np.testing.assert_allclose(found.error, 0, atol=1e-5)
    np.testing.assert_allclose(found.cosines, [[1, 2**-0.5], [2**-0.5, 1]], rtol=1e-6)
    for key, profile in zip(jax.random.split(KEY, 5), found.profiles, strict=True):
        d = random_normal(key, CENTRE)["w"]
        w = CENTRE["w"][None] + steps[0][:, None] * d[None]
        np.testing.assert_allclose(profile, 0.5 * (w[:, 0] ** 2 + 4 * w[:, 1] ** 2), rtol=1e-5)


def test_the_curvature_of_each_axis_is_read_along_it():
    """A quartic in three dimensions: L = sum_i c_i w_i^2 + w_i^4, whose second difference is 2 c_i + 2 h^2."""
    c = jnp.array([1.0, 2.0, 3.0])
    loss = lambda p, _: jnp.sum(c * p["w"] ** 2 + p["w"] ** 4)  # noqa: E731
    centre, directions = {"w": jnp.zeros(3)}, {"w": jnp.eye(3)}
    steps = [jnp.linspace(-h, h, 3) for h in (0.1, 0.5, 1.0)]
    losses = slice_loss(loss, centre, None, directions, steps)
    found = health(loss, centre, None, directions, steps, losses, KEY, draw=random_normal, others=1)
    np.testing.assert_allclose(found.curvature, 2 * c, rtol=1e-6)
    np.testing.assert_allclose(found.read_off, 2 * c + 2 * jnp.array([0.01, 0.25, 1.0]), rtol=1e-4)
    np.testing.assert_allclose(found.error, jnp.array([0.01, 0.25, 1.0]) / c, rtol=2e-2)


@pytest.fixture(scope="module")
def network():
    model = MLP((8, 10, 3), activation="tanh", bias="same")
    rng = np.random.default_rng(1)
    data = Split(jnp.asarray(rng.normal(size=(50, 8)).astype(np.float32)), jnp.asarray(rng.integers(0, 3, 50)))
    return mean_loss(classification(model, Recipe(loss="cross_entropy"))), model.init(KEY).params, data


@pytest.mark.parametrize("batch_size", [None, 20])
def test_the_curvature_of_a_smooth_network_can_be_read_off_its_slice(network, batch_size):
    loss, params, data = network
    directions = stack(*(filter_normalised(jax.random.key(seed), params) for seed in (1, 2)))

    @jax.jit
    def check(params):
        losses = slice_loss(loss, params, data, directions, [STEPS, STEPS], batch_size)
        return health(loss, params, data, directions, [STEPS, STEPS], losses, KEY, others=3, batch_size=batch_size)

    found = check(params)
    assert (found.error < 0.05).all()
    assert found.profiles.shape == (3, 21)
    np.testing.assert_allclose(found.profiles[:, 10], loss(params, data), rtol=1e-5)
    pair = [jax.tree.map(lambda leaf, i=i: leaf[i], directions) for i in range(2)]
    np.testing.assert_allclose(found.cosines[0, 1], cosine(*pair), atol=1e-6)


def test_the_health_check_notices_a_slice_that_is_out_of_register(network):
    """The fault of other tools: a picture whose columns are one step off."""
    loss, params, data = network
    directions = stack(*(filter_normalised(jax.random.key(seed), params) for seed in (1, 2)))
    sharp = lambda p, rows: jnp.exp(10 * loss(p, rows))  # noqa: E731

    @jax.jit
    def error(params, off):
        losses = jnp.roll(slice_loss(sharp, params, data, directions, [STEPS, STEPS]), off, axis=1)
        return health(sharp, params, data, directions, [STEPS, STEPS], losses, KEY, others=1).error

    right, wrong = error(params, 0), error(params, 1)
    assert wrong[1] > 5 * right[1]


def test_health_is_taken_for_many_networks_and_tells_where_the_grid_is_too_coarse(network):
    """Twice the weights saturate the units: steps of 0.1 then miss the curvature that steps of 0.01 see."""
    loss, params, data = network

    def check(points):
        steps = jnp.linspace(-1, 1, points)

        def one(params, key):
            directions = stack(filter_normalised(key, params))
            losses = slice_loss(loss, params, data, directions, [steps])
            return health(loss, params, data, directions, [steps], losses, key, others=2)

        two = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
        return jax.jit(jax.vmap(one))(two, jax.random.split(jax.random.key(1)))

    coarse, fine = check(21), check(201)
    assert fine.profiles.shape == (2, 2, 201)
    np.testing.assert_allclose(coarse.curvature, fine.curvature, rtol=1e-4)
    assert coarse.error[1, 0] > 0.1
    assert (fine.error < 0.05).all()


def test_what_cannot_be_drawn_is_refused():
    directions = {"w": jnp.eye(2)}
    steps = [STEPS, STEPS]
    losses = slice_loss(quadratic, CENTRE, ONES, directions, steps)

    def check(steps=steps, losses=losses, directions=directions, centre=CENTRE, **options):
        return health(quadratic, centre, ONES, directions, steps, losses, KEY, draw=random_normal, **options)

    with pytest.raises(UserError, match="length 0"):
        slice_loss(quadratic, CENTRE, ONES, {"w": jnp.array([[1.0, 0.0], [0.0, 0.0]])}, steps)
    with pytest.raises(UserError, match="give 2 along a leading axis"):
        slice_loss(quadratic, CENTRE, ONES, {"w": jnp.eye(2)[:1]}, steps)
    with pytest.raises(UserError, match="two different networks: w"):
        slice_loss(quadratic, CENTRE, ONES, {"w": jnp.ones((2, 3))}, steps)
    with pytest.raises(UserError, match="not a finite number"):
        slice_loss(quadratic, {"w": jnp.array([jnp.nan, 0.0])}, ONES, directions, steps)
    with pytest.raises(UserError, match="batch_size 0"):
        slice_loss(quadratic, CENTRE, ONES, directions, steps, 0)
    with pytest.raises(UserError, match="not a finite number"):
        check(losses=losses * jnp.nan)
    for grid in (jnp.linspace(0, 1, 21), jnp.linspace(-1, 1, 20), STEPS[::-1]):
        with pytest.raises(UserError, match="must rise and hold 0"):
            check(steps=[STEPS, grid])
    with pytest.raises(UserError, match="at least 3"):
        check(steps=[STEPS, jnp.zeros(2)])
    with pytest.raises(UserError, match="others 0"):
        check(others=0)


def test_a_slice_may_leave_where_the_loss_is_finite():
    found = slice_loss(lambda p, _: -jnp.log(p["w"]), {"w": jnp.ones(())}, None, {"w": jnp.ones(1)}, [STEPS - 1])
    assert bool(jnp.isfinite(found).any())
    assert not bool(jnp.isfinite(found).all())
