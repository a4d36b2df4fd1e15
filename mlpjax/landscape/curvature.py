"""Second derivatives of a loss: products with them, their extreme eigenpairs, trace, spectral density, and all of them.

A product is a linear function of a direction: `product(v)`, a tree like the parameters. Everything here works on one
network, for any tree of parameters, in the floating-point type that these have, and on accelerators with matrix
products of the highest precision: curvature is a difference, and 10 bits of it are noise.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree
from matfree import stochtrace

from mlpjax.errors import UserError
from mlpjax.landscape.linear_algebra import eigh
from mlpjax.landscape.loss import mean_over_batches
from mlpjax.task import MeanLoss

LinearOperator: TypeAlias = Callable[[PyTree], PyTree]
"""v -> A v with a symmetric A, for a direction v in the form of the parameters."""
DENSE_ROWS = 64
"""Rows of a dense matrix that are computed side by side."""


def hessian_product(loss: MeanLoss, params: PyTree, data: PyTree, batch_size: int | None = None) -> LinearOperator:
    """Products with the Hessian of the mean loss over the whole data: v -> H v, H = d^2 L / d theta^2.

    The gradient is differentiated forwards (Pearlmutter's R-operator). All examples at once, it is linearised a single
    time, and each product costs about two thirds of a gradient; what it keeps grows with the examples. In batches, the
    memory is that of one, and each product computes the gradient anew, about two gradients in all.

    Args:
        loss: the mean loss, of parameters and data.
        params: theta.
        data: examples are the rows of every leaf.
        batch_size: examples at a time, at least 1; None: all at once.

    Returns:
        The product, exact up to rounding either way.

    Raises:
        UserError: the batch size is not positive.

    Source: Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).
    """
    gradient = jax.grad(loss)
    if batch_size is None:
        with jax.default_matmul_precision("highest"):
            return jax.linearize(lambda p: gradient(p, data), params)[1]

    def product(v: PyTree) -> PyTree:
        def of_batch(rows: PyTree) -> PyTree:
            return jax.jvp(lambda p: gradient(p, rows), (params,), (v,))[1]

        with jax.default_matmul_precision("highest"):
            return mean_over_batches(of_batch, data, batch_size)

    return product


def gauss_newton_product(
    outputs: Callable[[PyTree, PyTree], Array],
    loss: Callable[[Array, PyTree], Float[Array, ""]],
    params: PyTree,
    data: PyTree,
    batch_size: int | None = None,
) -> LinearOperator:
    """Products with the generalised Gauss-Newton matrix: v -> J' H_f J v, J = df / d theta, H_f = d^2 L / df^2.

    The part of the Hessian that the loss bends, without what the network bends: positive semidefinite where the loss is
    convex in the outputs, and equal to the Hessian where they are linear in the parameters.

    Args:
        outputs: f(theta, data), a row for each example.
        loss: the mean loss, of outputs and data.
        params: theta.
        data: examples are the rows of every leaf.
        batch_size: examples at a time, at least 1; None: all at once, which keeps more and computes less.

    Returns:
        The product.

    Raises:
        UserError: the batch size is not positive.

    Source: Schraudolph, Fast curvature matrix-vector products for second-order gradient descent, Neural Computation 14
    (2002).
    """

    def of_rows(rows: PyTree) -> LinearOperator:
        with jax.default_matmul_precision("highest"):
            f, forwards = jax.linearize(lambda p: outputs(p, rows), params)
            bend = jax.linearize(lambda f: jax.grad(loss)(f, rows), f)[1]
            backwards = jax.linear_transpose(forwards, params)
            return lambda v: backwards(bend(forwards(v)))[0]

    if batch_size is None:
        return of_rows(data)
    return lambda v: mean_over_batches(lambda rows: of_rows(rows)(v), data, batch_size)


def dense(product: LinearOperator, like: PyTree) -> Float[Array, "n n"]:
    """The whole matrix, for small networks: its columns are the products with the unit vectors.

    Args:
        product: v -> A v.
        like: a tree in the form of v, with n numbers in all.

    Returns:
        A, in the order of `ravel_pytree`, symmetric up to rounding: n^2 numbers.
    """
    flat, unravel = ravel_pytree(like)
    return jax.lax.map(
        lambda v: ravel_pytree(product(unravel(v)))[0], jnp.eye(flat.size, dtype=flat.dtype), batch_size=DENSE_ROWS
    )


class Eigenpairs(NamedTuple):
    """Eigenpairs of a symmetric matrix, from the largest eigenvalue to the smallest, each with its certificate."""

    values: Float[Array, " k"]
    """Rayleigh quotients v' A v."""
    vectors: PyTree
    """Of length 1, in the form of the parameters with a leading axis of k."""
    residuals: Float[Array, " k"]
    """||A v - lambda v||: an eigenvalue of A lies within this distance of the value."""


def eigenpairs(
    product: LinearOperator, like: PyTree, key: Key[Array, ""], *, top: int = 0, bottom: int = 0, steps: int = 60
) -> Eigenpairs:
    """The largest and the smallest eigenvalues of a symmetric matrix, with vectors and residuals, by Lanczos' method.

    One product a step. Eigenvalues that stand apart converge first: ten outliers
    of a classifier's Hessian to a relative residual of 1e-4 in some 40 steps. Read the residuals, and give more steps
    where they are too large.

    Args:
        product: v -> A v.
        like: a tree in the form of v, with n numbers in all.
        key: draws the start.
        top: how many of the largest.
        bottom: how many of the smallest.
        steps: dimension of the Krylov space, where n allows it: at least top + bottom; memory is 2 steps * n numbers.

    Returns:
        The `top` largest, then the `bottom` smallest, descending.

    Raises:
        UserError: none are wanted, or more than there are numbers or steps.

    Source: Lanczos (1950); full reorthogonalisation, Golub and Van Loan, Matrix Computations, section 10.3, a second
    time only where it is needed: Daniel, Gragg, Kaufman and Stewart, Mathematics of Computation 30 (1976).
    """
    flat, unravel = ravel_pytree(like)
    k = top + bottom
    if top < 0 or bottom < 0 or not 1 <= k <= flat.size:
        raise UserError(f"top {top} and bottom {bottom}: between 1 and {flat.size} eigenvalues, one for each parameter")
    if steps < k:
        raise UserError(f"steps {steps}: at least {k}, one for each eigenvalue that is wanted")

    def of_flat(v: Float[Array, " n"]) -> Float[Array, " n"]:
        return ravel_pytree(product(unravel(v)))[0]

    start_key, fresh_key = jax.random.split(key)
    start = jax.random.normal(start_key, flat.shape, flat.dtype)
    basis, tridiagonal, images = lanczos(of_flat, start, fresh_key, min(steps, flat.size))
    _, ritz = eigh(tridiagonal)
    chosen = jnp.concatenate([ritz[:, ::-1][:, :top], ritz[:, :bottom][:, ::-1]], axis=1)
    # A v is the same sum of the images as v is of the basis: the residual is exact, and takes no further product.
    vectors, images = chosen.T @ basis, chosen.T @ images
    lengths = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    vectors, images = vectors / lengths, images / lengths
    values = jnp.sum(vectors * images, axis=1)
    residuals = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
    return Eigenpairs(values, jax.vmap(unravel)(vectors), residuals)


def lanczos(
    product: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    start: Float[Array, " n"],
    key: Key[Array, ""],
    steps: int,
) -> tuple[Float[Array, "steps n"], Float[Array, "steps steps"], Float[Array, "steps n"]]:
    """Orthonormal rows Q that start with `start`, and the tridiagonal T = Q A Q', with full reorthogonalisation.

    Where the Krylov space is exhausted, which happens to matrices of low rank and to multiple eigenvalues, it goes on
    with a fresh vector and a 0 in T: the next copy of a multiple eigenvalue, and no ghost of one. (This is why it is
    written here, and not matfree's, which divides by the 0.)

    Args:
        product: v -> A v with a symmetric A.
        start: the first vector, of any length but 0.
        key: draws the fresh vectors.
        steps: rows of Q, 1..n.

    Returns:
        Q, T and the images Q A of Q's rows.
    """
    kind = start.dtype
    rounding = 10 * jnp.finfo(kind).eps

    def orthogonal(w: Array, basis: Array) -> Array:
        once = w - (basis @ w) @ basis
        # Where most of w is gone, so are its digits, and rounding is left of the rest.
        lost = jnp.linalg.norm(once) < jnp.linalg.norm(w) / 2
        return jax.lax.cond(lost, lambda w: w - (basis @ w) @ basis, lambda w: w, once)

    def step(i: Array, state: tuple) -> tuple:
        q, before, coupling, basis, images, diagonal, off, scale = state
        w = product(q)
        basis, images = basis.at[i].set(q), images.at[i].set(w)
        middle = jnp.vdot(q, w)
        w = w - middle * q - coupling * before
        scale = jnp.maximum(scale, jnp.maximum(jnp.abs(middle), jnp.linalg.norm(w)))
        exhausted = jnp.linalg.norm(w) <= rounding * scale
        # Not of signs: in few dimensions these lie in the space that is exhausted.
        fresh = jax.random.normal(jax.random.fold_in(key, i), start.shape, kind)
        w = orthogonal(jnp.where(exhausted, fresh, w), basis)
        length = jnp.linalg.norm(w)
        coupling = jnp.where(exhausted, 0, length)
        return w / length, q, coupling, basis, images, diagonal.at[i].set(middle), off.at[i].set(coupling), scale

    none, zero = jnp.zeros(steps, kind), jnp.zeros((), kind)
    basis = jnp.zeros((steps, start.size), kind)
    first = (start / jnp.linalg.norm(start), jnp.zeros_like(start), zero, basis, basis, none, none, zero)
    _, _, _, basis, images, diagonal, off, _ = jax.lax.fori_loop(0, steps, step, first)
    return basis, jnp.diag(diagonal) + jnp.diag(off[:-1], 1) + jnp.diag(off[:-1], -1), images


def trace(
    product: LinearOperator, like: PyTree, key: Key[Array, ""], probes: int = 10
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The trace, estimated from random signs: mean of z' A z, with the standard error of that mean (Hutchinson).

    Args:
        product: v -> A v.
        like: a tree in the form of v.
        key: draws the signs.
        probes: how many z, at least 2; the error falls with their square root.

    Returns:
        The estimate and its standard error over the probes.

    Raises:
        UserError: fewer than 2 probes.

    Source: Hutchinson (1990), Communications in Statistics 19; matfree.
    """
    if probes < 2:
        raise UserError(f"probes {probes}: at least 2, or there is no standard error")
    estimate = stochtrace.estimator_monte_carlo_mean_and_sem(
        stochtrace.monte_carlo_trace(), stochtrace.sampler_signs(like, num=probes)
    )
    return estimate(product, key)


class Spectrum(NamedTuple):
    """A spectral density as weighted points: the share `weights` of all eigenvalues lies near `nodes`."""

    nodes: Float[Array, "probes steps"]
    weights: Float[Array, "probes steps"]
    """Of each probe, adding up to 1."""

    def density(self, at: Float[Array, " points"], width: float | Float[Array, ""]) -> Float[Array, " points"]:
        """Share of the eigenvalues per unit, blurred: mean over probes of sum_i w_i N(at; node_i, width^2).

        Args:
            at: where.
            width: standard deviation of the blur, positive, in the unit of the eigenvalues.
        """
        distance = (at[:, None, None] - self.nodes[None]) / width
        bumps = jnp.exp(-(distance**2) / 2) / (width * jnp.sqrt(2 * jnp.pi))
        return jnp.mean(jnp.sum(self.weights[None] * bumps, axis=2), axis=1)


def spectral_density(
    product: LinearOperator, like: PyTree, key: Key[Array, ""], probes: int = 10, steps: int = 80
) -> Spectrum:
    """How the eigenvalues are spread, by stochastic Lanczos quadrature.

    For random z, z' f(A) z / z'z = sum_i w_i f(node_i), exact for polynomials of degree up to 2 steps - 1: the nodes
    are the eigenvalues of the tridiagonal matrix, the weights the squared first components of its eigenvectors.

    Args:
        product: v -> A v.
        like: a tree in the form of v, with n numbers in all.
        key: draws the probes.
        probes: how many z, at least 1.
        steps: of Lanczos' method, at least 1; at most n are made.

    Returns:
        Nodes and weights, whose spread over the probes says how sure they are.

    Raises:
        UserError: no probes or no steps.

    Source: Ghorbani, Krishnan and Xiao, An Investigation into Neural Net Optimization via Hessian Eigenvalue Density,
    arXiv:1901.10159, section 2.
    """
    if probes < 1 or steps < 1:
        raise UserError(f"probes {probes}, steps {steps}: at least 1 of each")
    flat, unravel = ravel_pytree(like)

    def of_probe(probe_key: Key[Array, ""]) -> tuple[Array, Array]:
        start_key, fresh_key = jax.random.split(probe_key)
        start = jax.random.rademacher(start_key, flat.shape, flat.dtype)
        _, tridiagonal, _ = lanczos(
            lambda v: ravel_pytree(product(unravel(v)))[0], start, fresh_key, min(steps, flat.size)
        )
        nodes, ritz = eigh(tridiagonal)
        return nodes, ritz[0] ** 2

    return Spectrum(*jax.lax.map(of_probe, jax.random.split(key, probes)))
