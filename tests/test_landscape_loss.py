import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax import MLP, Recipe, Split, UserError, Variables, evaluate
from mlpjax.landscape.loss import (
    known,
    mean_over_batches,
    require_finite_loss,
    require_same_form,
    whole_loss,
)
from mlpjax.task import classification, mean_loss

MODEL = MLP((4, 5, 3))
PARAMS = MODEL.init(jax.random.key(0)).params
TASK = classification(MODEL, Recipe())


def pixels(n=10):
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (n, 4)).astype(np.uint8), rng.integers(0, 3, n).astype(np.int32))


def test_the_objective_is_the_loss_that_training_reports():
    found = mean_loss(TASK)(PARAMS, pixels())
    np.testing.assert_allclose(found, evaluate(TASK, Variables(PARAMS), pixels())["loss"], rtol=1e-6)


def test_the_objective_computes_in_the_type_of_the_parameters():
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), PARAMS)
        assert mean_loss(TASK)(double, pixels()).dtype == jnp.float64
    assert mean_loss(TASK)(PARAMS, pixels()).dtype == jnp.float32


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_a_mean_over_batches_is_the_mean(n, batch_size):
    x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)

    def means(rows):
        return {"x": jnp.mean(rows["x"], axis=0), "yy": jnp.mean(rows["y"] ** 2)}

    found = jax.jit(lambda rows: mean_over_batches(means, rows, batch_size))({"x": x, "y": x[:, 0]})
    np.testing.assert_allclose(found["x"], x.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found["yy"], np.mean(x[:, 0] ** 2), atol=1e-6)


@pytest.mark.parametrize(("batch_size", "seen"), [(None, {10}), (4, {4, 2}), (10, {10})])
def test_a_whole_loss_sees_as_many_examples_at_a_time_as_it_is_told(batch_size, seen):
    sizes = set()

    def loss(params, rows):
        sizes.add(len(rows.y))
        return mean_loss(TASK)(params, rows)

    found = whole_loss(loss, PARAMS, pixels(), batch_size)
    np.testing.assert_allclose(found, evaluate(TASK, Variables(PARAMS), pixels())["loss"], rtol=1e-6)
    assert sizes == seen


def test_networks_of_two_forms_are_refused_by_name():
    with pytest.raises(UserError, match=r"dense_0/kernel is \(4, 5\) in one and \(4, 6\) in the other"):
        require_same_form(
            PARAMS,
            MLP((4, 6, 3)).init(jax.random.key(0)).params
            | {"dense_1": PARAMS["dense_1"]}
            | {"dense_0": PARAMS["dense_0"] | {"kernel": jnp.zeros((4, 6))}},
        )
    with pytest.raises(UserError, match=r"dense_2/bias is missing in one"):
        require_same_form(PARAMS, MLP((4, 5, 3, 3)).init(jax.random.key(0)).params)
    require_same_form(PARAMS, MODEL.init(jax.random.key(1)).params)


def test_a_loss_that_is_known_to_be_nan_is_refused():
    with pytest.raises(UserError, match="not a finite number"):
        require_finite_loss(jnp.float32(jnp.nan))
    require_finite_loss(jnp.ones(3))

    def inside(value):
        assert not known({"a": jnp.ones(2), "b": value})
        require_finite_loss(value / 0.0)
        require_finite_loss(jnp.ones(2))  # known, though the program around it is not
        return value

    assert jax.jit(inside)(1.0) == 1.0
    assert known((jnp.ones(2), 3))
