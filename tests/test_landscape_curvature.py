from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from matfree import decomp

from mlpjax import MLP, Split, UserError, map_seeds
from mlpjax.landscape.curvature import (
    dense,
    eigenpairs,
    gauss_newton_product,
    hessian_product,
    lanczos,
    spectral_density,
    trace,
)
from mlpjax.losses import cross_entropy
from mlpjax.recipe import Recipe
from mlpjax.task import classification, mean_loss

MODEL = MLP((4, 5, 3), activation="tanh", bias="same")
LOSS = mean_loss(classification(MODEL, Recipe(loss="cross_entropy")))
KEY = jax.random.key(0)


def network(seed=0, model=MODEL):
    return model.init(jax.random.key(seed)).params


def examples(n=20):
    rng = np.random.default_rng(1)
    return Split(jnp.asarray(rng.normal(size=(n, 4)), jnp.float32), jnp.arange(n) % 3)


@jax.jit
def jax_hessian(params, data):
    flat, unravel = ravel_pytree(params)
    return jax.hessian(lambda v: LOSS(unravel(v), data))(flat)


def times(matrix):
    """The product with a NumPy matrix, for a direction that is a tree of two leaves."""
    matrix = jnp.asarray(matrix, jnp.float32)

    def product(v):
        flat, unravel = ravel_pytree(v)
        return unravel(matrix @ flat)

    return product


def tree_of(n):
    return {"a": jnp.zeros(n - 2), "b": {"c": jnp.zeros(2)}}


def rows(vectors):
    """A tree with a leading axis as the rows of a matrix."""
    return np.asarray(jax.vmap(lambda v: ravel_pytree(v)[0])(vectors))


def symmetric(eigenvalues, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues))))
    return q * np.asarray(eigenvalues, float) @ q.T


@pytest.mark.parametrize("batch_size", [None, 7, 20, 64])
def test_the_hessian_is_the_one_of_jax(batch_size):
    params, data = network(), examples()
    found = jax.jit(lambda p: dense(hessian_product(LOSS, p, data, batch_size), p))(params)
    np.testing.assert_allclose(found, jax_hessian(params, data), atol=1e-6)
    assert found.shape == (43, 43)


@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_gauss_newton_matrix_is_that_of_its_formula(batch_size):
    params, data = network(), examples()
    flat, unravel = ravel_pytree(params)
    outputs = lambda p, split: MODEL.activations(p, split.x)[-1]  # noqa: E731
    loss = lambda f, split: jnp.mean(cross_entropy(f, split.y))  # noqa: E731
    jacobian = jax.jacobian(lambda v: outputs(unravel(v), data))(flat)
    p = jax.nn.softmax(outputs(params, data))
    bend = (jax.vmap(jnp.diag)(p) - p[:, :, None] * p[:, None, :]) / len(p)
    expected = jnp.einsum("eia,eij,ejb->ab", jacobian, bend, jacobian)
    found = jax.jit(lambda p: dense(gauss_newton_product(outputs, loss, p, data, batch_size), p))(params)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.linalg.eigvalsh(found)[0] > -1e-6


def test_without_a_hidden_layer_the_gauss_newton_matrix_is_the_hessian():
    model = MLP((4, 3))
    params, data = network(model=model), examples()
    product = gauss_newton_product(
        lambda p, split: model.activations(p, split.x)[-1],
        lambda f, split: jnp.mean(cross_entropy(f, split.y)),
        params,
        data,
    )
    hessian = hessian_product(mean_loss(classification(model, Recipe(loss="cross_entropy"))), params, data)
    np.testing.assert_allclose(dense(product, params), dense(hessian, params), atol=1e-6)


def test_matrix_free_eigenpairs_are_those_of_the_dense_hessian():
    params, data = network(), examples()
    found = jax.jit(lambda p: eigenpairs(hessian_product(LOSS, p, data), p, KEY, top=4, bottom=3, steps=43))(params)
    values = np.linalg.eigvalsh(np.asarray(jax_hessian(params, data), np.float64))[::-1]
    np.testing.assert_allclose(found.values, [*values[:4], *values[-3:]], atol=2e-6)
    assert (np.asarray(found.residuals) < 1e-5).all()


@jax.jit
def four_eigenpairs(matrix, key):
    return eigenpairs(times(matrix), tree_of(len(matrix)), key, top=2, bottom=2, steps=8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), n=st.sampled_from([12, 17, 40]))
def test_a_residual_bounds_the_error_of_its_eigenvalue(seed, n):
    matrix = symmetric(np.random.default_rng(seed).normal(size=n), seed)
    found = four_eigenpairs(matrix.astype(np.float32), jax.random.key(seed))
    eigenvalues = np.linalg.eigvalsh(matrix)
    vectors = rows(found.vectors)
    residuals = np.linalg.norm(vectors @ matrix - np.asarray(found.values)[:, None] * vectors, axis=1)
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-5)
    nearest = np.abs(eigenvalues[None] - np.asarray(found.values)[:, None]).min(axis=1)
    assert (nearest <= residuals + 1e-5).all()
    assert (np.diff(found.values) <= 1e-6).all()


@pytest.mark.parametrize(
    "eigenvalues",
    [
        [0.0] * 30,
        [7.0, *[0.0] * 29],
        [1.0] * 30,
        [5.0, 5.0, 5.0, -2.0, -2.0, *[0.0] * 25],
    ],
    ids=["zero", "rank one", "identity", "multiple"],
)
def test_multiple_eigenvalues_come_as_often_as_they_are_there(eigenvalues):
    found = eigenpairs(times(symmetric(eigenvalues)), tree_of(30), KEY, top=5, bottom=4, steps=30)
    ordered = sorted(eigenvalues, reverse=True)
    np.testing.assert_allclose(found.values, [*ordered[:5], *ordered[-4:]], atol=1e-5)
    vectors = rows(found.vectors)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(9), atol=1e-5)
    assert (np.asarray(found.residuals) < 1e-5).all()


def test_lanczos_is_matfrees_where_nothing_is_exhausted():
    matrix = jnp.asarray(symmetric(np.linspace(-1, 3, 25)), jnp.float32)
    start = jax.random.normal(KEY, (25,))
    basis, tridiagonal, images = lanczos(lambda v: matrix @ v, start, KEY, 10)
    theirs = decomp.tridiag_sym(10)(lambda v: matrix @ v, start)
    np.testing.assert_allclose(tridiagonal, theirs.J_small, atol=1e-5)
    np.testing.assert_allclose(basis, theirs.Q_tall, atol=1e-4)
    np.testing.assert_allclose(basis @ basis.T, np.eye(10), atol=1e-5)
    np.testing.assert_allclose(images, basis @ matrix, atol=1e-5)


@pytest.mark.parametrize("eigenvalues", [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 3.0], [2.0, 2.0]])
def test_few_dimensions_are_gone_through_to_the_last_whatever_the_key(eigenvalues):
    matrix = jnp.diag(jnp.array(eigenvalues))
    n = len(eigenvalues)

    def of_key(key):
        return lanczos(lambda v: matrix @ v, jax.random.rademacher(key, (n,), jnp.float32), key, n)[:2]

    bases, tridiagonals = jax.jit(jax.vmap(of_key))(jax.random.split(KEY, 50))
    np.testing.assert_allclose(bases @ bases.mT, np.tile(np.eye(n), (50, 1, 1)), atol=1e-4)
    np.testing.assert_allclose(np.linalg.eigvalsh(tridiagonals), np.tile(eigenvalues, (50, 1)), atol=1e-4)


@pytest.mark.parametrize("decay", [0.1, 0.3, 0.5])
def test_the_basis_stays_orthogonal_down_to_where_rounding_is_all_that_is_left(decay):
    matrix = jnp.asarray(symmetric(decay ** np.arange(25.0)), jnp.float32)
    basis, tridiagonal, _ = lanczos(lambda v: matrix @ v, jax.random.normal(KEY, (25,)), KEY, 25)
    np.testing.assert_allclose(basis @ basis.T, np.eye(25), atol=1e-5)
    np.testing.assert_allclose(np.linalg.eigvalsh(tridiagonal)[::-1], decay ** np.arange(25.0), atol=1e-6)


def test_the_trace_of_a_diagonal_matrix_is_exact_and_of_another_within_its_error():
    exact, error = trace(times(np.diag(np.arange(30.0))), tree_of(30), KEY, probes=3)
    np.testing.assert_allclose([exact, error], [435, 0], rtol=1e-6, atol=1e-4)
    matrix = symmetric(np.arange(30.0))
    estimate, error = trace(times(matrix), tree_of(30), KEY, probes=400)
    assert abs(estimate - 435) < 4 * error
    # The variance of z'Az over random signs is 2 sum over i != j of A_ij^2.
    np.testing.assert_allclose(error, np.sqrt(2 * (np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)) / 400), rtol=0.15)


def test_the_spectral_density_has_the_moments_of_the_matrix():
    eigenvalues = np.concatenate([np.random.default_rng(0).normal(size=190), np.full(10, 8.0)])
    matrix = symmetric(eigenvalues)
    found = spectral_density(times(matrix), tree_of(200), KEY, probes=60, steps=20)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-5)
    for power in (1, 2, 3):
        moments = np.sum(found.weights * found.nodes**power, axis=1)
        sem = moments.std(ddof=1) / np.sqrt(len(moments))
        assert abs(moments.mean() - np.mean(eigenvalues**power)) < 4 * sem + 1e-3
    # 5 % of the eigenvalues are 8, far from the others.
    at = jnp.linspace(-6, 12, 600)
    density = found.density(at, 0.2)
    np.testing.assert_allclose(np.trapezoid(density, at), 1, rtol=1e-3)
    np.testing.assert_allclose(np.trapezoid(density[at > 6], at[at > 6]), 0.05, rtol=0.15)


def test_double_precision_certifies_more_digits():
    params, data = network(), examples()
    three = jax.jit(lambda p: eigenpairs(hessian_product(LOSS, p, data), p, KEY, top=3, steps=43))
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        found = three(double)
        assert found.values.dtype == jnp.float64
        assert (np.asarray(found.residuals) < 1e-13).all()
    single = three(params)
    assert single.values.dtype == jnp.float32
    np.testing.assert_allclose(single.values, found.values, rtol=1e-4)


def test_many_networks_at_once_give_what_one_gives():
    data = examples()

    def spectrum(params, split):
        return eigenpairs(hessian_product(LOSS, params, split), params, KEY, top=2, bottom=1, steps=20)

    networks = jax.vmap(MODEL.init)(jax.random.split(KEY, 5)).params
    together = map_seeds(spectrum, networks, data, chunk=2)
    alone = jax.jit(spectrum)(jax.tree.map(lambda leaf: leaf[3], networks), data)
    np.testing.assert_allclose(together.values[3], alone.values, atol=1e-6)
    assert together.residuals.shape == (5, 3)
    assert together.vectors["dense_0"]["kernel"].shape == (5, 3, 4, 5)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"top": 9}, "between 1 and 8"),
        ({}, "between 1 and 8"),
        ({"top": 5, "bottom": 4}, "between 1 and 8"),
        ({"top": -1, "bottom": 2}, "between 1 and 8"),
        ({"top": 3, "steps": 2}, "steps 2: at least 3"),
    ],
)
def test_more_eigenvalues_than_there_are_is_refused(wanted, message):
    with pytest.raises(UserError, match=message):
        eigenpairs(times(np.eye(8)), tree_of(8), KEY, **wanted)


def test_probes_and_batches_must_be_there():
    product = times(np.eye(8))
    with pytest.raises(UserError, match="probes 1: at least 2"):
        trace(product, tree_of(8), KEY, probes=1)
    with pytest.raises(UserError, match="at least 1 of each"):
        spectral_density(product, tree_of(8), KEY, probes=0)
    with pytest.raises(UserError, match="batch_size 0"):
        hessian_product(LOSS, network(), examples(), 0)(network())


def test_the_loss_may_be_any_and_the_parameters_any_tree():
    """L = mean_i (w . x_i - y_i)^2 with w in two leaves, whose Hessian is 2 X'X / n."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(9, 5)), jnp.float32)

    def loss(params, data):
        w = jnp.concatenate([params[0], params[1][None]])
        return jnp.mean((data["x"] @ w - data["y"]) ** 2)

    params = (jnp.ones(4), jnp.float32(2.0))
    product = partial(hessian_product, loss, params, {"x": x, "y": jnp.ones(9)})
    for batch_size in (None, 4):
        found = jax.jit(lambda batch_size=batch_size: dense(product(batch_size), params))()
        np.testing.assert_allclose(found, 2 * x.T @ x / 9, rtol=1e-5, atol=1e-5)
