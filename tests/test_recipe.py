import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from sklearn.linear_model import Lasso

from mlpjax.errors import UserError
from mlpjax.recipe import Recipe, make_optimizer, make_schedule, soft_threshold

STEPS = 100


def rates(name):
    schedule = make_schedule(Recipe(schedule=name, learning_rate=0.5), STEPS)
    return np.asarray([schedule(jnp.int32(step)) for step in range(STEPS + 1)])


def test_schedules_are_their_formulas():
    step = np.arange(STEPS + 1)
    np.testing.assert_allclose(rates("constant"), 0.5)
    np.testing.assert_allclose(rates("cosine"), 0.25 * (1 + np.cos(np.pi * step / STEPS)), atol=1e-7)
    np.testing.assert_allclose(rates("warm-up"), 0.5 * np.minimum(step / 10, 1), rtol=1e-6)
    np.testing.assert_allclose(rates("step"), 0.5 * 0.1 ** ((step >= 50).astype(float) + (step >= 75)), rtol=1e-6)
    rise, fall = step[:30] / 30, (step[30:] - 30) / 70
    one_cycle = np.concatenate(
        [
            0.02 + 0.48 * (1 - np.cos(np.pi * rise)) / 2,
            0.5 / 250_000 + (0.5 - 0.5 / 250_000) * (1 + np.cos(np.pi * fall)) / 2,
        ]
    )
    np.testing.assert_allclose(rates("one-cycle"), one_cycle, rtol=1e-4, atol=1e-7)


def numpy_steps(name, w, gradients, rate=0.1):
    """Textbook updates in float64: Polyak, Nesterov as Sutskever et al. (2013), Hinton's RMSprop, Kingma and Ba."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        match name:
            case "sgd":
                step = g
            case "momentum":
                m = 0.9 * m + g
                step = m
            case "nesterov":
                m = 0.9 * m + g
                step = g + 0.9 * m
            case "rmsprop":
                v = 0.9 * v + 0.1 * g**2
                step = g / np.sqrt(v + 1e-8)
            case "adam" | "adamw":
                m = 0.9 * m + 0.1 * g
                v = 0.999 * v + 0.001 * g**2
                step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        if name == "adamw":
            step = step + 0.01 * w
        w = w - rate * step
    return w


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_optimizers_are_their_textbook_formulas(name):
    rng = np.random.default_rng(0)
    w, gradients = rng.normal(size=(3, 2)), rng.normal(size=(4, 3, 2))
    decay = {"weight_decay": 0.01} if name == "adamw" else {}
    optimizer = make_optimizer(Recipe(optimizer=name, learning_rate=0.1, **decay), steps=4)
    params = {"dense_0": {"kernel": jnp.asarray(w, jnp.float32), "bias": jnp.ones(2)}}
    state = optimizer.init(params)
    for g in gradients:
        grads = {"dense_0": {"kernel": jnp.asarray(g, jnp.float32), "bias": jnp.zeros(2)}}
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    np.testing.assert_allclose(
        params["dense_0"]["kernel"], numpy_steps(name, w, gradients), rtol=1e-4
    )  # 1 - 0.999^t in float32
    assert (params["dense_0"]["bias"] == 1).all()  # no gradient, and no decay on biases


def test_clipping_shortens_the_whole_gradient_to_the_limit():
    optimizer = make_optimizer(Recipe(optimizer="sgd", learning_rate=1.0, clip=1.0), steps=1)
    params = {"dense_0": {"kernel": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}}
    grads = {"dense_0": {"kernel": jnp.full((1, 1), 3.0), "bias": jnp.full(1, 4.0)}}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["dense_0"]["kernel"], -0.6, rtol=1e-6)
    np.testing.assert_allclose(updates["dense_0"]["bias"], -0.8, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"learning_rate": 0.0}, "learning_rate 0.0: must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
        ({"optimizer": "nesterov", "momentum": 1.0}, "momentum 1.0: must be at least 0 and below 1"),
        ({"momentum": 0.5}, "momentum: is for optimizer momentum or nesterov, not adam; leave it out"),
        ({"optimizer": "sgd", "weight_decay": 0.1}, "weight_decay: is for optimizer adamw, not sgd; leave it out"),
        ({"optimizer": optax.lion, "weight_decay": 0.1}, "weight_decay: is for optimizer adamw, not one of your own"),
        ({"optimizer": optax.lion, "clip": 1.0}, "clip: is for the optimizers with a name; put optax.clip_by_global"),
        ({"ridge": -1.0}, "ridge -1.0: must be at least 0"),
        ({"clip": 0.0}, "clip 0.0: must be above 0"),
        ({"batch_size": 0}, "batch_size 0: must be at least 1"),
        ({"epochs": 0}, "epochs 0: must be at least 1"),
        ({"epochs": 10, "eval_every": 3}, "eval_every 3: must divide epochs, 10"),
        ({"loss": "binary_cross_entropy", "label_smoothing": 0.1}, "label_smoothing: is for"),
    ],
)
def test_bad_recipes_are_refused_by_name(arguments, said):
    with pytest.raises(UserError, match=said):
        Recipe(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"optimizer": optax.adam(0.1)}, "optimizer: give a function of the learning rate, such as lambda rate:"),
        ({"optimizer": "adams"}, "unknown optimizer 'adams'"),
        ({"loss": "cross_entrop"}, "unknown loss 'cross_entrop'"),
        ({"normalisation": "pixel"}, "unknown normalisation 'pixel'"),
        ({"learning_rate": "0.1"}, "learning_rate '0.1': give a number"),
        ({"ridge": None}, "ridge None: give a number"),
        ({"epochs": 5.5}, "epochs 5.5: give a whole number"),
        ({"batch_size": 12.0}, "batch_size 12.0: give a whole number"),
    ],
)
def test_what_is_of_no_such_type_is_refused_also_where_types_are_not_checked(monkeypatch, arguments, said):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=said):
        Recipe(**arguments)


def lasso_by_steps(x, y, strength, rate, steps):
    """Weights and bias of a linear regression, by gradient steps with soft thresholding."""
    optimizer = make_optimizer(
        Recipe(optimizer=lambda rate: optax.chain(optax.sgd(rate), soft_threshold(rate, strength)), learning_rate=rate),
        steps,
    )

    def loss(params):
        return jnp.mean((x @ params["kernel"] + params["bias"] - y) ** 2) / 2

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = {"kernel": jnp.zeros(x.shape[1]), "bias": jnp.float32(0)}
    return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]


def test_soft_thresholding_finds_the_lasso_that_scikit_learn_finds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    y = x @ np.array([2, -1, 0.5, 0, 0, 0, 0, 0], np.float32) + rng.normal(size=60).astype(np.float32) / 2 + 3
    theirs = Lasso(alpha=0.2, tol=1e-10).fit(x.astype(float), y)
    ours = jax.jit(lasso_by_steps, static_argnums=(2, 3, 4))(x, y, 0.2, 0.2, 500)
    np.testing.assert_allclose(ours["kernel"], theirs.coef_, atol=2e-6)
    np.testing.assert_allclose(ours["bias"], theirs.intercept_, rtol=1e-5)
    zeros = np.asarray(ours["kernel"]) == 0
    assert zeros.tolist() == (theirs.coef_ == 0).tolist()
    assert 0 < zeros.sum() < 8


def test_the_threshold_follows_the_schedule_and_leaves_biases_alone():
    transformation = soft_threshold(lambda step: jnp.where(step == 0, 0.1, 0.5), 1.0)
    params = {"kernel": jnp.array([1.0, -0.2]), "bias": jnp.array([0.05])}
    none = jax.tree.map(jnp.zeros_like, params)
    state = transformation.init(params)
    expected = {"kernel": [[-0.1, 0.1], [-0.5, 0.2]], "bias": [[0.0], [0.0]]}
    for step in range(2):
        updates, state = transformation.update(none, state, params)
        for name, values in expected.items():
            np.testing.assert_allclose(updates[name], values[step], rtol=1e-6)
