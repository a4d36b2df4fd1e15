import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import MLP, Split, UserError, map_seeds
from mlpjax.landscape.convexity import Place, curvatures, measure_chord, random_chords, random_place
from mlpjax.landscape.curvature import eigenpairs, hessian_product
from mlpjax.landscape.loss import known
from mlpjax.recipe import Recipe
from mlpjax.task import classification, mean_loss
from mlpjax.typing import Params

KEY = jax.random.key(0)
NO_DATA = jnp.zeros((1, 0))
EIGENVALUES = (0.5, 2.0, 7.0)


def quadratic(params, _):
    """L = 1/2 sum_i lambda_i (w_i - 1)^2 over a tree of two leaves."""
    w = jnp.concatenate([params["u"], params["v"][None]])
    return 0.5 * jnp.sum(jnp.asarray(EIGENVALUES, w.dtype) * (w - 1) ** 2)


def place(start, end, t=0.5):
    return Place(jnp.asarray(start, float), jnp.asarray(end, float), jnp.asarray(t, float))


def digits(classes: int, examples: int = 40, features: int = 6) -> Split:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, features)).astype(np.float32)
    return Split(x, rng.integers(0, classes, examples).astype(np.int32))


def drawer(model: MLP, size: float = 1.0):
    """Normal parameters, in the floating-point type that is the default where they are drawn."""
    flat, unravel = jax.flatten_util.ravel_pytree(model.init(KEY).params)

    @jax.jit
    def draw(key) -> Params:
        drawn = size * jax.random.normal(key, flat.shape, jnp.float32)
        return jax.tree.map(lambda leaf: leaf.astype(float), unravel(drawn))

    return draw


@settings(max_examples=30, deadline=None)
@given(
    direction=st.lists(st.floats(-3, 3), min_size=3, max_size=3).filter(lambda d: max(map(abs, d)) > 0.1),
    t=st.floats(0.1, 0.9),
)
def test_a_chord_of_a_quadratic_is_its_formula(direction, t):
    """c = t (1 - t) / 2 d'Ad and the first-order gap 1/2 d'Ad, so the strength is the Rayleigh quotient of d."""
    with jax.enable_x64(True):
        start = {"u": jnp.asarray([0.3, -0.2]), "v": jnp.asarray(0.7)}
        end = {"u": start["u"] + jnp.asarray(direction[:2]), "v": start["v"] + direction[2]}
        found = measure_chord(quadratic, Place(start, end, jnp.asarray(t)), NO_DATA)
        bent = np.sum(np.array(EIGENVALUES) * np.array(direction) ** 2)
        np.testing.assert_allclose(found.gap, t * (1 - t) / 2 * bent, rtol=1e-9)
        np.testing.assert_allclose(found.tangent_gap, bent / 2, rtol=1e-9)
        np.testing.assert_allclose(found.strength, bent / np.sum(np.square(direction)), rtol=1e-9)
        assert not found.violates
        assert not found.violates_tangent


def test_the_chord_along_the_flattest_direction_recovers_the_strong_convexity_constant():
    with jax.enable_x64(True):
        start = {"u": jnp.asarray([0.3, -0.2]), "v": jnp.asarray(0.7)}
        found = curvatures(quadratic, start, NO_DATA)
        np.testing.assert_allclose(found.values, EIGENVALUES, rtol=1e-10)
        np.testing.assert_allclose(found.rounding, 3 * 2.0**-52 * max(EIGENVALUES), rtol=1e-10)
        end = jax.tree.map(jnp.add, start, found.lowest)
        found = measure_chord(quadratic, Place(start, end, jnp.asarray(0.4)), NO_DATA)
        np.testing.assert_allclose(found.strength, min(EIGENVALUES), rtol=1e-10)

        draw = lambda key: {"u": jax.random.normal(key, (2,)), "v": jax.random.normal(key, ())}  # noqa: E731
        chords, _ = random_chords(quadratic, draw, NO_DATA, jax.random.split(KEY, 200))
        assert min(EIGENVALUES) - 1e-9 <= chords.strength.min() <= chords.strength.max() <= max(EIGENVALUES) + 1e-9


def test_the_absolute_value_is_convex_and_not_strictly():
    loss = lambda w, _: jnp.sum(jnp.abs(w))  # noqa: E731
    across = measure_chord(loss, place([-1.0], [3.0], 0.25), NO_DATA)
    np.testing.assert_allclose(across.gap, 1.5, rtol=1e-6)
    along = measure_chord(loss, place([1.0], [3.0], 0.25), NO_DATA)
    np.testing.assert_allclose(along.gap, 0.0, atol=1e-6)
    assert along.strength < 1e-5
    draw = lambda key: jax.random.normal(key, (5,))  # noqa: E731
    chords, _ = random_chords(loss, draw, NO_DATA, jax.random.split(KEY, 504))
    assert not chords.violates.any()
    assert not chords.violates_tangent.any()


def test_a_concave_loss_violates_every_chord_and_every_tangent():
    loss = lambda w, _: -quadratic({"u": w[:2], "v": w[2]}, NO_DATA)  # noqa: E731
    draw = lambda key: jax.random.normal(key, (3,))  # noqa: E731
    chords, worst = random_chords(loss, draw, NO_DATA, jax.random.split(KEY, 104))
    assert chords.violates.all()
    assert chords.violates_tangent.all()
    np.testing.assert_allclose(measure_chord(loss, worst, NO_DATA).gap, chords.gap.min(), rtol=1e-5)


def test_the_place_of_the_lowest_gap_shows_the_hill_of_a_double_well():
    """L = (w^2 - 1)^2: the deepest violation of all is from well to well, 1 at w = 0."""
    loss = lambda w, _: (w**2 - 1) ** 2  # noqa: E731
    draw = lambda key: jax.random.uniform(key, (), minval=-1.2, maxval=1.2)  # noqa: E731
    chords, worst = random_chords(loss, draw, NO_DATA, jax.random.split(KEY, 2000))
    assert chords.violates.any()
    assert not chords.violates.all()
    assert worst.start * worst.end < 0
    np.testing.assert_allclose(chords.gap.min(), -1.0, atol=0.1)


@pytest.mark.parametrize(
    ("model", "loss", "classes", "dtype", "size"),
    [
        (MLP((6, 4)), "cross_entropy", 4, "float32", 100.0),
        (MLP((6, 4)), "cross_entropy", 4, "float64", 100.0),
        (MLP((6, 1)), "binary_cross_entropy", 2, "float32", 100.0),
        (MLP((6, 1)), "squared_error", 2, "float32", 1.0),
    ],
)
def test_linear_models_show_no_false_violation(model, loss, classes, dtype, size):
    draw = drawer(model, size)
    with jax.enable_x64(dtype == "float64"):
        chords, _ = random_chords(
            mean_loss(classification(model, Recipe(loss=loss))), draw, digits(classes), jax.random.split(KEY, 504)
        )
        assert chords.gap.dtype == dtype
        assert not chords.violates.any()
        assert not chords.violates_tangent.any()


def test_log_sum_exp_is_convex_and_flat_along_equal_shifts():
    loss = lambda w, _: jax.nn.logsumexp(w)  # noqa: E731
    with jax.enable_x64(True):
        draw = lambda key: 10 * jax.random.normal(key, (6,))  # noqa: E731
        chords, _ = random_chords(loss, draw, NO_DATA, jax.random.split(KEY, 504))
        assert (chords.gap > 0).all()
        shift = measure_chord(loss, place(np.arange(6.0), np.arange(6.0) + 5), NO_DATA)
        np.testing.assert_allclose(shift.gap, 0.0, atol=1e-14)
        assert not shift.violates
        found = curvatures(loss, jnp.arange(6.0), NO_DATA)
        assert np.abs(found.values[0]) <= found.rounding < 1e-3 * found.values[1]
        np.testing.assert_allclose(np.abs(found.lowest), 6**-0.5, rtol=1e-10)


def test_a_network_with_hidden_units_violates_and_swapped_units_show_why():
    """A network and itself with two units swapped have one loss, and the chord between them passes below it."""
    model, split = MLP((6, 5, 1), "tanh", bias="same"), digits(2)
    loss = mean_loss(classification(model, Recipe(loss="squared_error")))
    chords, worst = random_chords(loss, drawer(model, 2.0), split, jax.random.split(KEY, 200))
    assert chords.violates.any()
    assert measure_chord(loss, worst, split).violates

    target = model.activations(params := model.init(KEY).params, jnp.asarray(split.x))[-1]
    fitted = lambda p, s: jnp.mean((model.activations(p, jnp.asarray(s.x))[-1] - target) ** 2)  # noqa: E731
    swap = jnp.array([1, 0, 2, 3, 4])
    swapped = {
        "dense_0": {"kernel": params["dense_0"]["kernel"][:, swap], "bias": params["dense_0"]["bias"][swap]},
        "dense_1": {"kernel": params["dense_1"]["kernel"][swap], "bias": params["dense_1"]["bias"]},
    }
    np.testing.assert_allclose(fitted(swapped, split), 0.0, atol=1e-9)
    found = measure_chord(fitted, Place(params, swapped, jnp.float32(0.5)), split)
    assert found.violates
    assert found.gap < -1e-4


def test_the_lowest_curvature_of_a_saddle_is_negative_and_its_direction_violates():
    loss = lambda w, _: 2 * w[0] ** 2 - 3 * w[1] ** 2 + w[2]  # noqa: E731
    with jax.enable_x64(True):
        start = jnp.asarray([0.3, 0.2, -1.0])
        bends = curvatures(loss, start, NO_DATA)
        np.testing.assert_allclose(bends.values, [-6, 0, 4], atol=1e-10)
        np.testing.assert_allclose(np.abs(bends.lowest), [0, 1, 0], atol=1e-9)
        found = measure_chord(loss, place(start - bends.lowest, start + bends.lowest), NO_DATA)
        np.testing.assert_allclose(found.gap, -3, rtol=1e-10)
        assert found.violates and found.violates_tangent


@pytest.mark.parametrize(
    ("loss", "start", "end", "chord", "tangent"),
    [
        (lambda w, _: w[0] ** 3, [-1.0], [1.5], False, True),
        (lambda w, _: (w[0] ** 2 - 1) ** 2, [-1.2], [1.0], True, False),
    ],
    ids=["the tangent only", "the chord only"],
)
def test_a_chord_and_a_tangent_violate_each_on_its_own(loss, start, end, chord, tangent):
    found = measure_chord(loss, place(start, end), NO_DATA)
    assert (bool(found.violates), bool(found.violates_tangent)) == (chord, tangent)


def test_the_lowest_of_many_eigenvalues_is_found_where_lanczos_has_not_come_down_to_it():
    """Softmax regression: rank((K - 1) (X, 1)) eigenvalues are positive, those of equal shifts of all outputs are 0."""
    model, split = MLP((20, 10)), digits(10, examples=60, features=20)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), drawer(model)(KEY))
        loss = mean_loss(classification(model, Recipe()))
        found = curvatures(loss, params, split)
        lanczos = eigenpairs(hessian_product(loss, params, split), params, KEY, bottom=1, steps=60)
    zero = np.abs(np.asarray(found.values)) <= float(found.rounding)
    assert zero.sum() == 10 * 21 - 9 * 21
    assert zero[:21].all()
    assert float(lanczos.values[0]) > 1e3 * float(found.rounding)
    shift = np.asarray(found.lowest["dense_0"]["kernel"])
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=1e-6)


def test_chords_of_many_networks_are_those_of_each():
    loss = lambda w, scale: jnp.sum(scale * (w**2 - 1) ** 2)  # noqa: E731
    draw = lambda key: jax.random.normal(key, (2,))  # noqa: E731

    @jax.jit
    def share(key):
        fixed = Place(jnp.zeros(2), jnp.ones(2), np.float32(0.5))
        assert not known(measure_chord(loss, fixed, jnp.ones(1)).gap)  # a known t passes in a traced program
        return jnp.mean(random_chords(loss, draw, jnp.ones(1), jax.random.split(key, 10))[0].violates)

    keys = jax.random.split(KEY, 3)
    np.testing.assert_allclose(map_seeds(share, keys, chunk=2), [share(key) for key in keys])


def test_a_place_repeats_with_its_key():
    draw = lambda key: jax.random.normal(key, (2,))  # noqa: E731
    one, again, other = (random_place(draw, jax.random.key(seed)) for seed in (1, 1, 2))
    assert (one.start == again.start).all() and one.t == again.t
    assert (one.start != other.start).any() and (one.start != one.end).any()


def test_places_lie_all_along_the_chord():
    draw = lambda key: jax.random.normal(key, (2,))  # noqa: E731
    t = np.asarray(jax.lax.map(lambda key: random_place(draw, key).t, jax.random.split(KEY, 1000)))
    assert scipy.stats.kstest(t, scipy.stats.uniform(0.1, 0.8).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (place([1.0], [1.0]), "the same parameters"),
        (place([1.0], [2.0], 1.0), "t 1.0"),
        (place([1.0], [2.0, 3.0]), "two different networks"),
        (place([1.0], [np.nan]), "not a finite number"),
        (place([0.0], [1.0]), "not a finite number"),
    ],
)
def test_chords_that_make_no_sense_are_refused(bad, message):
    with pytest.raises(UserError, match=message):
        measure_chord(lambda w, _: -jnp.sum(jnp.log(w)), bad, NO_DATA)


def test_a_loss_that_is_not_finite_somewhere_is_refused():
    with pytest.raises(UserError, match="not a finite number"):
        random_chords(lambda w, _: jnp.log(w), lambda key: jax.random.normal(key), NO_DATA, jax.random.split(KEY, 24))


def test_a_draw_that_ignores_its_key_is_refused():
    with pytest.raises(UserError, match="draw gives the same parameters"):
        random_chords(lambda w, _: w**2, lambda key: 0 * jax.random.normal(key), NO_DATA, jax.random.split(KEY, 8))
