"""Paths and barriers, on landscapes whose valleys are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import MLP, Split, UserError
from mlpjax.landscape.mode_connectivity import barrier, fit_curve, line, on_curve
from mlpjax.recipe import Recipe
from mlpjax.task import classification, mean_loss

T = jnp.linspace(0, 1, 101)
LEFT, RIGHT = {"x": jnp.float32(-1), "y": jnp.float32(0)}, {"x": jnp.float32(1), "y": jnp.float32(0)}
NOISE = jnp.asarray([-0.1, 0.1] * 10)


def parabola(p, data):
    """The valley y = 1 - x^2 is the Bezier curve from (-1, 0) to (1, 0) with the bend (0, 2)."""
    return jnp.mean((p["y"] - 1 + p["x"] ** 2 + data) ** 2)


def roof(p, data):
    """The valley y = 1 - |x| is the polygon from (-1, 0) to (1, 0) with the bend (0, 1)."""
    return jnp.mean((p["y"] - 1 + jnp.abs(p["x"]) + data) ** 2)


VALLEYS = {"bezier": (parabola, 2.0), "polygon": (roof, 1.0)}


def test_the_line_and_the_barrier_of_a_double_well():
    """L(w) = (w^2 - 1)^2 + w/2 between -1 and 1: above the chord w/2 by (w^2 - 1)^2, at most 1."""
    found = line(lambda p: (p["w"] ** 2 - 1) ** 2 + p["w"] / 2, {"w": jnp.float32(-1)}, {"w": jnp.float32(1)}, T)
    w = 2 * np.asarray(T) - 1
    np.testing.assert_allclose(found, (w**2 - 1) ** 2 + w / 2, atol=1e-6)
    np.testing.assert_allclose(barrier(T, found), 1.0, rtol=1e-5)
    fine = np.linspace(-1, 1, 1_000_001)
    highest = ((fine**2 - 1) ** 2 + fine / 2).max()  # the ends' mean is 0
    np.testing.assert_allclose(barrier(T, found, "mean"), highest, rtol=1e-3)


def test_a_convex_path_has_no_barrier_above_its_chord_but_one_above_the_mean():
    t = jnp.linspace(0, 1, 11)
    losses = (t - 0.3) ** 2
    assert barrier(t, losses) == 0
    np.testing.assert_allclose(barrier(t, losses, "mean"), (0.49 - 0.09) / 2, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(losses=st.lists(st.floats(0, 10, width=32), min_size=2, max_size=9))
def test_barriers_are_those_of_their_formulas(losses):
    t, values = np.linspace(0, 1, len(losses)), np.asarray(losses)
    chord = (values - ((1 - t) * values[0] + t * values[-1])).max()
    mean = values.max() - (values[0] + values[-1]) / 2
    arrays = jnp.asarray(t, jnp.float32), jnp.asarray(values, jnp.float32)
    np.testing.assert_allclose(barrier(*arrays), chord, atol=1e-5)
    np.testing.assert_allclose(barrier(*arrays, "mean"), mean, atol=1e-5)
    assert chord >= 0 and mean >= abs(values[0] - values[-1]) / 2 - 1e-12


def test_a_line_gives_all_that_the_function_gives():
    found = line(lambda p: {"x": p["x"], "both": jnp.stack([p["x"], p["y"]])}, LEFT, RIGHT, T)
    np.testing.assert_allclose(found["x"], 2 * T - 1, atol=1e-6)
    assert found["both"].shape == (101, 2)


@pytest.mark.parametrize("curve", VALLEYS)
def test_a_curve_starts_and_ends_at_its_ends_exactly(curve):
    bend = {"x": jnp.float32(0.3), "y": jnp.float32(5)}
    for t, end in ((0.0, LEFT), (1.0, RIGHT)):
        assert on_curve(curve, LEFT, bend, RIGHT, jnp.float32(t)) == end
    middle = on_curve(curve, LEFT, bend, RIGHT, jnp.float32(0.5))
    share = {"polygon": 1.0, "bezier": 0.5}[curve]
    np.testing.assert_allclose([middle["x"], middle["y"]], [0.3 * share, 5 * share], rtol=1e-6)
    quarter = on_curve(curve, LEFT, bend, RIGHT, jnp.float32(0.25))["y"]
    np.testing.assert_allclose(quarter, 5 * {"polygon": 0.5, "bezier": 0.375}[curve], rtol=1e-6)


@pytest.mark.parametrize("curve", VALLEYS)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_fitted_curve_runs_through_the_valley_where_the_line_has_a_barrier(curve, batch_size):
    loss, height = VALLEYS[curve]
    fit = jax.jit(
        lambda key: fit_curve(
            loss, LEFT, RIGHT, NOISE, key, curve, steps=2000, learning_rate=0.05, batch_size=batch_size
        )
    )
    bend = fit(jax.random.key(0))
    np.testing.assert_allclose([bend["x"], bend["y"]], [0, height], atol=0.02 if batch_size is None else 0.1)
    straight = line(lambda p: loss(p, NOISE), LEFT, RIGHT, T)
    bent = jax.lax.map(lambda t: loss(on_curve(curve, LEFT, bend, RIGHT, t), NOISE), T)
    np.testing.assert_allclose(barrier(T, straight), 1.0, rtol=1e-3)
    assert barrier(T, bent) < 0.02
    assert fit(jax.random.key(0)) == bend


def test_every_step_of_a_fit_draws_its_own_minibatch():
    """An example pulls at a coordinate of its own, so that those are moved whose examples were drawn."""
    origin = {"w": jnp.zeros(20)}

    def loss(p, rows):
        return jnp.mean(rows @ (p["w"] - 1) ** 2)

    settings = {"steps": 200, "learning_rate": 0.1, "batch_size": 1}
    bend = fit_curve(loss, origin, origin, jnp.eye(20), jax.random.key(0), **settings)
    assert (bend["w"] > 0).all()


@pytest.mark.parametrize("curve", VALLEYS)
def test_a_bend_starts_where_it_is_told_to(curve):
    loss, height = VALLEYS[curve]
    high = {"x": jnp.float32(0.5), "y": jnp.float32(4)}
    few = fit_curve(loss, LEFT, RIGHT, NOISE, jax.random.key(0), curve, steps=1, learning_rate=1e-6, bend=high)
    np.testing.assert_allclose([few["x"], few["y"]], [0.5, 4], atol=1e-5)
    away = {"x": jnp.float32(3), "y": jnp.float32(2)}
    few = fit_curve(loss, LEFT, away, NOISE, jax.random.key(0), curve, steps=1, learning_rate=1e-6)
    np.testing.assert_allclose([few["x"], few["y"]], [1, 1], atol=1e-5)  # half-way where it is told nothing
    bend = fit_curve(loss, LEFT, RIGHT, NOISE, jax.random.key(0), curve, steps=3000, learning_rate=0.05, bend=high)
    np.testing.assert_allclose([bend["x"], bend["y"]], [0, height], atol=0.05)
    with pytest.raises(UserError, match=r"y is \(\) in one and \(2,\) in the other"):
        fit_curve(
            loss,
            LEFT,
            RIGHT,
            NOISE,
            jax.random.key(0),
            curve,
            steps=1,
            learning_rate=0.1,
            bend=high | {"y": jnp.zeros(2)},
        )


def test_curves_are_fitted_in_float64_too():
    with jax.enable_x64(True):
        ends = [jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), end) for end in (LEFT, RIGHT)]
        noise = jnp.asarray(np.asarray(NOISE), jnp.float64)
        bend = fit_curve(parabola, *ends, noise, jax.random.key(0), steps=1500, learning_rate=0.05)
        assert bend["y"].dtype == jnp.float64
        np.testing.assert_allclose([bend["x"], bend["y"]], [0, 2], atol=0.02)


def test_curves_of_networks_are_fitted_side_by_side():
    model = MLP((2, 6, 2), "tanh")
    x = jax.random.normal(jax.random.key(0), (40, 2))
    data = Split(x, (x[:, 0] * x[:, 1] > 0).astype(jnp.int32))
    loss = mean_loss(classification(model, Recipe(loss="cross_entropy")))
    starts, ends = (jax.vmap(model.init)(jax.random.split(jax.random.key(seed), 3)).params for seed in (1, 2))
    keys = jax.random.split(jax.random.key(3), 3)

    def fit(start, end, key):
        bend = fit_curve(loss, start, end, data, key, steps=200, learning_rate=0.02, batch_size=20)
        middle = jnp.float32(0.5)
        straight = loss(on_curve("polygon", start, end, end, middle / 2), data)
        return bend, straight - loss(on_curve("bezier", start, bend, end, middle), data)

    bends, gained = jax.jit(jax.vmap(fit))(starts, ends, keys)
    assert (gained > 0).all()
    alone, _ = jax.jit(fit)(*jax.tree.map(lambda leaf: leaf[1], (starts, ends, keys)))
    for one, other in zip(*map(jax.tree.leaves, (bends, alone)), strict=True):
        np.testing.assert_allclose(one[1], other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"end": {"x": jnp.zeros(2), "y": jnp.float32(0)}}, r"x is \(\) in one and \(2,\) in the other"),
        ({"curve": "circle"}, "unknown curve 'circle'"),
        ({"steps": 0}, "steps 0: must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate 0.0: must be above 0"),
        ({"batch_size": 21}, "batch_size 21: .* at most the data's 20 examples"),
        ({"data": jnp.full(20, jnp.nan)}, "not a finite number"),
    ],
)
def test_what_makes_no_sense_is_refused(changed, said):
    arguments = {"loss": parabola, "start": LEFT, "end": RIGHT, "data": NOISE, "key": jax.random.key(0)}
    with pytest.raises(UserError, match=said):
        fit_curve(**arguments | {"steps": 1, "learning_rate": 0.1} | changed)


def test_a_line_between_two_shapes_and_a_barrier_of_nan_are_refused():
    with pytest.raises(UserError, match="parameters of two different networks"):
        line(lambda p: p["x"], LEFT, {"x": jnp.zeros(3), "y": jnp.float32(0)}, T)
    with pytest.raises(UserError, match="not a finite number"):
        barrier(T, jnp.full(101, jnp.nan))
    with pytest.raises(UserError, match="unknown above 'median'"):
        barrier(T, T, "median")
