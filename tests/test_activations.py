"""Values and derivatives of every activation against closed forms in float64 NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import expit, spherical_jn
from scipy.stats import norm

from mlpjax import activations
from mlpjax.activations import ACTIVATIONS

ALPHA = 0.25
NAMES = sorted(ACTIVATIONS)
KINKS = [-1.0, 0.0, 1.0]  # where a function or its slope may jump: a finite difference must not cross them
CURVED = np.concatenate([np.linspace(-30, 30, 601), np.geomspace(1e-8, 1, 20), -np.geomspace(1e-8, 1, 20)])
GRID = np.concatenate([CURVED, KINKS, [-1e4, -100, -1e-30, 1e-30, 100, 1e4]])

Function = NDArray[np.float64]


def softplus(z: Function) -> Function:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def smooth_relu(z: Function) -> Function:
    positive = np.maximum(z, 0)
    return positive - np.log1p(400 * positive) / 400


def mish_slope(z: Function) -> Function:
    decay = np.exp(-2 * softplus(z))
    return np.tanh(softplus(z)) + z * expit(z) * 4 * decay / (1 + decay) ** 2  # sech^2 without cancellation


EXPECTED = {
    "identity": lambda z: z,
    "sigmoid": expit,
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.maximum(z, 0) + 0.01 * np.minimum(z, 0),
    "elu": lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
    "prelu": lambda z: np.maximum(z, 0) + ALPHA * np.minimum(z, 0),
    "softplus": softplus,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "step": lambda z: np.where(z >= 0, 1.0, 0.0),
    "log_sigmoid": lambda z: -softplus(-z),
    "swish": lambda z: z * expit(z),
    "sinc": lambda z: np.sinc(z / np.pi),
    "mish": lambda z: z * np.tanh(softplus(z)),
    "gelu": lambda z: z * norm.cdf(z),
    "parametric_softplus": lambda z: softplus(10 * z) / 10,
    "smooth_relu": smooth_relu,
    "trained_smooth_relu": smooth_relu,  # of the root that it starts at
}
EXPECTED_SLOPE = {
    "identity": np.ones_like,
    "sigmoid": lambda z: expit(z) * expit(-z),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "hard_tanh": lambda z: np.where(np.abs(z) <= 1, 1.0, 0.0),
    "relu": lambda z: np.where(z > 0, 1.0, 0.0),
    "leaky_relu": lambda z: np.where(z >= 0, 1.0, 0.01),
    "elu": lambda z: np.exp(np.minimum(z, 0)),
    "prelu": lambda z: np.where(z >= 0, 1.0, ALPHA),
    "softplus": expit,
    "softsign": lambda z: 1 / (1 + np.abs(z)) ** 2,
    "step": np.zeros_like,
    "log_sigmoid": lambda z: expit(-z),
    "swish": lambda z: expit(z) * (1 + z * expit(-z)),
    "sinc": lambda z: -np.sign(z) * spherical_jn(1, np.abs(z)),  # j0' = -j1, and j1 is odd
    "mish": mish_slope,
    "gelu": lambda z: norm.cdf(z) + z * norm.pdf(z),
    "parametric_softplus": lambda z: expit(10 * z),
    "smooth_relu": lambda z: 400 * np.maximum(z, 0) / (1 + 400 * np.maximum(z, 0)),
    "trained_smooth_relu": lambda z: 400 * np.maximum(z, 0) / (1 + 400 * np.maximum(z, 0)),
}
PEAKS = {"sigmoid": 0.25, "tanh": 1.0, "identity": 1.0, "step": 0.0, "swish": 1.0998, "mish": 1.0885, "gelu": 1.1289}


def of_z(name):
    """The named function with what is trained of it filled in, where that starts."""
    known = ACTIVATIONS[name]
    return known.function if known.alpha is None else lambda z: known.function(z, jnp.asarray(known.alpha, z.dtype))


def slope(function):
    return jax.jit(jax.vmap(jax.grad(function)))


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


def test_the_table_holds_the_whole_list():
    assert ACTIVATIONS.keys() == EXPECTED.keys() == EXPECTED_SLOPE.keys()
    assert all(known.function.__name__ == name for name, known in ACTIVATIONS.items())


@pytest.mark.parametrize("name", NAMES)
def test_values_and_slopes_equal_the_closed_forms(name, dtype):
    z = jnp.asarray(GRID, dtype)
    exact_z = np.asarray(z, np.float64)  # the grid as rounded to dtype
    # Of all, mish's slope is rounded worst: its 1 - tanh^2 is multiplied by z.
    rounding = 200 * jnp.finfo(dtype).eps if name == "mish" else 16 * jnp.finfo(dtype).eps
    values, slopes = jax.jit(lambda z: (of_z(name)(z), slope(of_z(name))(z)))(z)
    np.testing.assert_allclose(values, EXPECTED[name](exact_z), rtol=rounding, atol=rounding)
    np.testing.assert_allclose(slopes, EXPECTED_SLOPE[name](exact_z), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", NAMES)
def test_slopes_equal_central_differences(name):
    step = 1e-6
    z = CURVED[np.abs(CURVED[:, None] - KINKS).min(axis=1) > 2 * step]
    with jax.enable_x64(True):
        function = of_z(name)
        difference = (function(jnp.asarray(z + step)) - function(jnp.asarray(z - step))) / (2 * step)
        # The difference is off by step^2 / 6 times the third derivative (up to 2 * 400^2, in smooth_relu just
        # right of 0) and by rounding / step.
        np.testing.assert_allclose(slope(function)(jnp.asarray(z)), difference, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_curvatures_are_finite(name, dtype):
    assert np.isfinite(slope(jax.grad(of_z(name)))(jnp.asarray(GRID, dtype))).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_shape_and_dtype_are_kept(name, shape, dtype):
    z = jax.ShapeDtypeStruct(shape, dtype)
    assert jax.eval_shape(of_z(name), z) == z


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_visible(name):
    assert np.isnan(of_z(name)(jnp.array(jnp.nan)))


@pytest.mark.parametrize(
    ("name", "kink", "expected"),
    [
        ("relu", 0.0, 0.0),
        ("leaky_relu", 0.0, 1.0),
        ("prelu", 0.0, 1.0),
        ("elu", 0.0, 1.0),
        ("step", 0.0, 0.0),
        ("smooth_relu", 0.0, 0.0),
        ("smooth_relu", -1 / 400, 0.0),  # its logarithm's pole
        ("trained_smooth_relu", 0.0, 0.0),
        ("hard_tanh", 1.0, 1.0),
        ("hard_tanh", -1.0, 1.0),
    ],
)
def test_slope_at_a_kink_is_the_documented_one(name, kink, expected):
    assert jax.grad(of_z(name))(kink * jnp.ones(())) == expected


def test_sinc_is_one_and_flat_at_zero_with_curvature_minus_a_third():
    zero = jnp.zeros(1)
    assert activations.sinc(zero) == 1
    assert slope(activations.sinc)(zero) == 0
    np.testing.assert_allclose(slope(jax.grad(activations.sinc))(zero), -1 / 3, rtol=1e-6)


def test_sinc_joins_its_series_and_its_quotient_smoothly():
    with jax.enable_x64(True):
        sides = jnp.array([np.nextafter(1.0, 0.0), 1.0])
        function = activations.sinc
        for _ in range(4):
            below, above = jax.jit(jax.vmap(function))(sides)
            np.testing.assert_allclose(below, above, rtol=0, atol=1e-13)
            function = jax.grad(function)


def test_prelu_trains_alpha():
    z = jnp.array([-2.0, -0.5, 0.0, 3.0])
    slopes = jax.vmap(jax.grad(activations.prelu, argnums=1), in_axes=(0, None))(z, jnp.array(ALPHA))
    np.testing.assert_array_equal(slopes, np.minimum(z, 0))


def test_smooth_relu_trains_the_root_of_its_sharpness():
    """By hand: df/dalpha = log(1 + alpha z) / alpha^2 - z / (alpha (1 + alpha z)) for z > 0, times 2 root."""
    z, root = np.array([-2.0, 0.0, 0.01, 3.0]), 20.0
    with jax.enable_x64(True):
        function = activations.trained_smooth_relu
        slopes = jax.vmap(jax.grad(function, argnums=1), in_axes=(0, None))(jnp.asarray(z), jnp.asarray(root))
        mirrored = function(jnp.asarray(z), jnp.asarray(-root))
    alpha, positive = root**2, np.maximum(z, 0)
    by_alpha = np.log1p(alpha * positive) / alpha**2 - positive / (alpha * (1 + alpha * positive))
    np.testing.assert_allclose(slopes, 2 * root * by_alpha, rtol=1e-10)
    np.testing.assert_allclose(mirrored, smooth_relu(z), rtol=1e-12)
    assert (np.abs(by_alpha) < 1e-4).all()


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_those_of_the_closed_forms(name):
    z = np.linspace(-5, 5, 12, dtype=np.float32).reshape(3, 4)
    found = jax.jit(lambda z: activations.slopes(ACTIVATIONS[name], z))(z)
    np.testing.assert_allclose(found, EXPECTED_SLOPE[name](z.astype(float)), rtol=1e-5, atol=1e-6)


def test_slopes_are_of_the_alpha_that_is_given():
    z, alpha = jnp.array([-1.0, 2.0]), jnp.float32(-3.0)
    np.testing.assert_array_equal(activations.slopes(ACTIVATIONS["prelu"], z, alpha), [-3.0, 1.0])
    assert activations.peak_slope(ACTIVATIONS["prelu"], alpha) == 3
    assert activations.peak_slope(ACTIVATIONS["prelu"]) == 1


@pytest.mark.parametrize(("name", "peak"), PEAKS.items())
def test_peak_slopes_are_the_known_ones(name, peak):
    np.testing.assert_allclose(
        activations.peak_slope(ACTIVATIONS[name]), peak, atol=0 if peak in (0, 0.25, 1) else 1e-4
    )


@pytest.mark.parametrize("smooth", [activations.parametric_softplus, activations.smooth_relu])
def test_large_alpha_leads_to_relu(smooth):
    z = jnp.linspace(-3, 3, 61)
    np.testing.assert_allclose(smooth(z, alpha=1e6), jax.nn.relu(z), atol=2e-5)


many_floats = arrays(np.float32, 32, elements=st.floats(-1e4, 1e4, width=32))


@settings(max_examples=25, deadline=None)
@given(many_floats)
def test_slope_of_tanh_is_one_minus_its_square(z):
    np.testing.assert_allclose(slope(activations.tanh)(jnp.array(z)), 1 - np.tanh(z) ** 2, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(many_floats)
def test_softplus_of_z_less_softplus_of_minus_z_is_z(z):
    difference = activations.softplus(jnp.array(z)) - activations.softplus(jnp.array(-z))
    np.testing.assert_allclose(difference, z, rtol=1e-6, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(many_floats)
def test_swish_is_z_times_sigmoid(z):
    z = jnp.array(z)
    np.testing.assert_allclose(activations.swish(z), z * activations.sigmoid(z), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(many_floats)
def test_log_sigmoid_is_the_mirrored_softplus(z):
    np.testing.assert_array_equal(activations.log_sigmoid(jnp.array(z)), -activations.softplus(jnp.array(-z)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"swish", "mish", "gelu", "sinc"}))
@settings(max_examples=25, deadline=None)
@given(z=many_floats)
def test_monotone_functions_never_fall(name, z):
    values = of_z(name)(jnp.array(np.sort(z)))
    assert (np.diff(values) >= -1e-8).all()  # near 0 smooth_relu is a rounded difference of two numbers


@pytest.mark.parametrize("name", ["identity", "tanh", "hard_tanh", "softsign"])
@settings(max_examples=25, deadline=None)
@given(z=many_floats)
def test_odd_functions_are_odd(name, z):
    np.testing.assert_array_equal(of_z(name)(jnp.array(-z)), -of_z(name)(jnp.array(z)))
