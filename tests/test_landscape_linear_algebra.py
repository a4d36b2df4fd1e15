"""Factorisations of many matrices, one after the other, are NumPy's."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax.landscape.linear_algebra import eigh, one_by_one


def symmetric(seed: int, *shape: int) -> np.ndarray:
    matrices = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return matrices + np.swapaxes(matrices, -1, -2)


def test_many_matrices_have_numpys_eigenvalues() -> None:
    matrices = symmetric(0, 2, 3, 6, 6)
    values, vectors = jax.vmap(jax.vmap(eigh))(matrices)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrices), atol=1e-5)
    np.testing.assert_allclose(vectors * values[..., None, :] @ vectors.mT, matrices, atol=1e-5)


def test_what_is_not_finite_leaves_the_others_alone() -> None:
    matrices = symmetric(1, 3, 4, 4)
    matrices[1, 2, 2] = np.inf
    values, _ = jax.vmap(eigh)(matrices)
    values = np.asarray(values)
    assert np.isnan(values[1]).all()
    np.testing.assert_allclose(values[[0, 2]], np.linalg.eigvalsh(matrices[[0, 2]]), atol=1e-5)


def test_where_lapack_gives_up_the_opposite_order_has_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which matrices LAPACK gives up on depends on the machine: here on those whose first entry is the largest."""
    lapack = jnp.linalg.eigh

    def gives_up(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, vectors = lapack(matrix)
        lost = jnp.where(matrix[0, 0] == matrix.max(), jnp.nan, 1.0)
        return values * lost, vectors * lost

    monkeypatch.setattr(jnp.linalg, "eigh", gives_up)
    matrix = symmetric(3, 5, 5)
    matrix[0, 0] = 9
    values, vectors = eigh(jnp.asarray(matrix))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=1e-5)
    np.testing.assert_allclose(vectors * values[None] @ vectors.T, matrix, atol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an accelerator takes them all at once")
def test_lapack_is_never_asked_for_a_batch() -> None:
    solve = one_by_one(jnp.linalg.solve)

    def both(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
        return eigh(matrix)[0], solve(matrix, matrix[0])

    program = jax.jit(jax.vmap(jax.vmap(both))).lower(jnp.asarray(symmetric(2, 2, 7, 5, 5))).as_text()
    calls = re.findall(r"custom_call @lapack\w+\(.*?\).*?: \((tensor<[^>]*>)", program)
    assert calls
    assert set(calls) == {"tensor<5x5xf32>"}
