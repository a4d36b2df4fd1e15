import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlpjax.activations import Activation
from mlpjax.errors import UserError
from mlpjax.models import MLP, count_parameters, dense_layers, from_linen

KEY = jax.random.key(0)


def test_the_lecture_network_has_235146_parameters_layer_by_layer():
    counts = count_parameters(jax.eval_shape(MLP((784, 256, 128, 10)).init, KEY).params)
    assert counts == [200_960, 32_896, 1_290]
    assert sum(counts) == 235_146


@settings(max_examples=20, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=14),
    bias=st.sampled_from(["zeros", "same", "none"]),
)
def test_any_widths_have_the_parameters_of_the_formula(widths, bias):
    params = jax.eval_shape(MLP(tuple(widths), bias=bias).init, KEY).params
    extra = 0 if bias == "none" else 1
    assert count_parameters(params) == [(a + extra) * b for a, b in itertools.pairwise(widths)]


def test_apply_is_the_formula():
    model = MLP((3, 5, 4, 2), activation="tanh", output_activation="sigmoid", bias="same")
    params = model.init(KEY).params
    x = jax.random.normal(jax.random.key(1), (7, 3))
    h = np.asarray(x, np.float64)
    for layer in dense_layers(params):
        z = h @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
        h = np.tanh(z)
    np.testing.assert_allclose(model.activations(params, x)[-1], 1 / (1 + np.exp(-z)), rtol=1e-5)


@pytest.mark.parametrize(("activation", "start"), [("prelu", 0.25), ("trained_smooth_relu", 20.0)])
def test_alpha_is_trained_where_the_activation_says_so(activation, start):
    model = MLP((2, 3, 3, 1), activation=activation)
    params = model.init(KEY).params
    assert params["alpha_0"] == params["alpha_1"] == start
    x = jax.random.normal(jax.random.key(1), (20, 2))
    grads = jax.grad(lambda p: model.activations(p, x)[-1].sum())(params)
    assert grads["alpha_0"] != 0
    for fixed in ("relu", "smooth_relu"):
        assert "alpha_0" not in MLP((2, 3, 1), activation=fixed).init(KEY).params


FAN_IN, FAN_OUT = 400, 100
TRUNCATED = stats.truncnorm(-2, 2)


@pytest.mark.parametrize(
    ("initializer", "distribution"),
    [
        ("normal", stats.norm(scale=0.5)),
        ("uniform", stats.uniform(-0.5, 1.0)),
        ("torch", stats.uniform(-0.5 / FAN_IN**0.5, 1.0 / FAN_IN**0.5)),
        ("lecun", stats.truncnorm(-2, 2, scale=0.5 * (1 / FAN_IN) ** 0.5 / TRUNCATED.std())),
        ("glorot", stats.truncnorm(-2, 2, scale=0.5 * (2 / (FAN_IN + FAN_OUT)) ** 0.5 / TRUNCATED.std())),
        ("he", stats.truncnorm(-2, 2, scale=0.5 * (2 / FAN_IN) ** 0.5 / TRUNCATED.std())),
    ],
)
def test_initialisers_draw_from_their_distribution_times_the_scale(initializer, distribution):
    model = MLP((FAN_IN, FAN_OUT), initializer=initializer, scale=0.5, bias="same")
    layer = model.init(KEY).params["dense_0"]
    assert stats.kstest(np.asarray(layer["kernel"]).ravel(), distribution.cdf).pvalue > 0.001
    assert stats.kstest(np.asarray(layer["bias"]), distribution.cdf).pvalue > 0.001


def test_zeros_and_constants():
    zeros = MLP((3, 2), initializer="zeros", bias="same").init(KEY).params
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(zeros))
    constant = MLP((3, 2), initializer="constant", scale=0.3, bias="same").init(KEY).params
    assert all((leaf == np.float32(0.3)).all() for leaf in jax.tree.leaves(constant))
    assert (MLP((3, 2)).init(KEY).params["dense_0"]["bias"] == 0).all()


def test_a_key_decides_the_parameters():
    model = MLP((3, 4, 2))
    first, again, other = model.init(KEY).params, model.init(KEY).params, model.init(jax.random.key(1)).params
    assert (first["dense_0"]["kernel"] == again["dense_0"]["kernel"]).all()
    assert not (first["dense_0"]["kernel"] == other["dense_0"]["kernel"]).any()


def test_dropout_drops_its_share_of_each_layer_and_keeps_the_mean():
    model = MLP((1, 20_000, 1), activation="identity", dropout=(0.4,), initializer="constant", bias="none")
    params = model.init(KEY).params
    x = jnp.ones((1, 1))
    whole = model.activations(params, x)[-1]
    dropped = model.activations(params, x, jax.random.key(3))[-1]
    np.testing.assert_allclose(dropped, whole, rtol=0.03)
    assert not (dropped == whole).all()
    hidden = dropped / (1 / 0.6)  # each unit that stays counts 1 / (1 - 0.4)
    assert stats.binomtest(round(float(hidden[0, 0])), 20_000, 0.6).pvalue > 0.001
    both = MLP((1, 8, 8, 1), dropout=(0.0, 0.5)), MLP((1, 8, 8, 1), dropout=(0.5, 0.0))
    params = both[0].init(KEY).params
    first, second = (m.activations(params, jnp.ones((50, 1)), KEY)[-1] for m in both)
    assert not jnp.allclose(first, second)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"widths": (784, 0, 10)}, "784-0-10: every width must be at least 1"),
        ({"widths": (784,)}, "at least an input and an output width"),
        ({"output_activation": "prelu"}, "hidden layers only"),
        ({"dropout": (1.0,)}, r"dropout 1.0: a rate must lie in \[0, 1\)"),
        ({"dropout": (0.1, 0.2, 0.3)}, "one for each of the 2 hidden layers"),
        ({"scale": float("nan")}, "scale nan: must be a finite number"),
    ],
)
def test_bad_descriptions_are_refused_by_name(arguments, said):
    with pytest.raises(UserError, match=said):
        MLP(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dropout": 0.5}, r"dropout 0.5: give a tuple of rates, such as \(0.5,\)"),
        ({"widths": 784}, "widths 784: give a tuple"),
    ],
)
def test_a_number_where_a_tuple_belongs_is_refused_also_where_types_are_not_checked(monkeypatch, arguments, said):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=said):
        MLP(**arguments)


def test_networks_are_drawn_in_single_precision_also_where_double_is_on():
    model = MLP((3, 4, 2))
    single = model.init(jax.random.key(0)).params
    with jax.enable_x64(True):
        double = model.init(jax.random.key(0)).params
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(one, other)


def test_an_mlp_flattens_images():
    model, images = MLP((12, 5, 2)), jax.random.normal(KEY, (3, 2, 2, 3))
    variables = model.init(KEY)
    np.testing.assert_array_equal(model.apply(variables, images)[0], model.apply(variables, images.reshape(3, 12))[0])


def test_functions_of_the_users_stand_where_names_do():
    own = MLP((4, 6, 3), activation=jnp.tanh, initializer=lambda key, shape, dtype: jnp.full(shape, 0.1, dtype))
    named = MLP((4, 6, 3), activation="tanh", initializer="constant", scale=0.1)
    x = jax.random.normal(KEY, (5, 4))
    for one, other in zip(*(m.activations(m.init(KEY).params, x) for m in (own, named)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    halved = MLP((4, 6, 3), activation=Activation(lambda z, alpha: alpha * z, alpha=0.5))
    assert halved.init(KEY).params["alpha_0"] == 0.5


class Normalised(nn.Module):
    """A linen module with batch statistics and dropout."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(8)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


def test_a_linen_module_keeps_its_statistics_and_its_dropout():
    module, x = Normalised(), 3 + jax.random.normal(KEY, (50, 4))
    model = from_linen(module, flag="train")
    variables = model.init(KEY, x)
    outputs, stats = model.apply(variables, x)
    assert outputs.shape == (50, 3)
    assert stats is variables.stats
    expected = module.apply({"params": variables.params, **variables.stats}, x, train=False)
    np.testing.assert_array_equal(outputs, expected)
    trained, moved = model.apply(variables, x, jax.random.key(1))
    assert not jnp.allclose(trained, model.apply(variables, x, jax.random.key(2))[0])
    sums = np.asarray(x @ variables.params["Dense_0"]["kernel"] + variables.params["Dense_0"]["bias"][None])
    np.testing.assert_allclose(moved["batch_stats"]["BatchNorm_0"]["mean"], 0.1 * sums.mean(axis=0), rtol=1e-4)
    plain = from_linen(nn.Dense(2))
    assert plain.init(KEY, x).stats == {}
    np.testing.assert_array_equal(*(plain.apply(plain.init(KEY, x), x, key)[0] for key in (None, KEY)))
