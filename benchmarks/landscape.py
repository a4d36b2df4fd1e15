"""How much faster does mlpjax see the landscape than what a user would pick instead?

The same job on every side: 784-256-128-10 with ReLU, trained for 10 epochs, cross-entropy on 5,000 real digits
(mnist5k, all its splits) at once, float32. The ten largest eigenvalues of the Hessian, of one network and of 16; the
spectral density from 10 probes of 80 steps; and a surface of 51 x 51 points, with the first layer, which is linear in
the steps, worked out once; what share of the machine's rate is reached is measured without that.

Eigenvalues are compared at an equal residual. A peer runs first and stops by its own rule; the residuals ||H v - lambda
v|| / lambda of what it found are measured here in float64; then mlpjax takes the fewest steps, of a list, whose
residuals, measured likewise, are at most as large. PyHessian stops where an eigenvalue changes little, which says
nothing about the residual: at its own tolerance of 1e-3 that is some per cent. The peers run in a process of their own,
with the threads that torch chooses. "A network, of 16": the peer takes one after the other, of which a few are timed.

Peers: PyHessian 0.1 (its density asks for torch.eig, which torch has no more and which is put back for it); curvlinops
with SciPy's eigsh; loss-landscapes, without gradients.

Command: python benchmarks/landscape.py    (needs pip install 'mlpjax[peers]')
Wall time on two cores: about 15 minutes; --quick about 2.
"""

import importlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import WIDTHS, Bench, Report, Row, run_benchmark, timed

import mlpjax
from mlpjax import MLP, Recipe, Split, UserError, make_task, mean_loss
from mlpjax.landscape.curvature import eigenpairs, hessian_product, spectral_density
from mlpjax.landscape.directions import filter_normalised, stack
from mlpjax.landscape.loss import make_stages
from mlpjax.landscape.loss_surface import slice_loss, slice_stages
from mlpjax.typing import Params

MODEL = MLP(WIDTHS)
TASK = make_task(MODEL, Recipe())
LOSS = mean_loss(TASK)
TOP = 10
STEPS = (12, 16, 20, 25, 30, 35, 40, 50, 60, 80, 100)
"""Of Lanczos' method, to choose from."""
EIGSH_TOLERANCE = 1e-3
PYHESSIAN_TOLERANCE = 1e-3  # its default
SURFACE_BATCH = 1000
"""Digits at a time for the surface: their activations stay in the cache."""


def import_peers() -> ModuleType:
    """The module landscape_peers.py, which needs what is to be compared with."""
    try:
        return importlib.import_module("landscape_peers")
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'mlpjax[peers]'") from error


def all_digits(most: int) -> Split:
    """The 5,000 digits of mnist5k, or the first of them."""
    digits = mlpjax.load("mnist5k")
    x, y = (np.concatenate(parts)[:most] for parts in zip(digits.train, digits.valid, digits.test, strict=True))
    return Split(x, y)


def largest_residual(params: Params, data: Split, values: np.ndarray, vectors: Params) -> float:
    """The largest ||H v - lambda v|| / lambda, in float64, with v brought to length 1 and lambda as it was found."""
    with jax.enable_x64(True):
        doubles = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (params, values.copy(), vectors))
        return float(_residuals(*doubles, data).max())


@jax.jit
def _residuals(params: Params, values: jax.Array, vectors: Params, data: Split) -> jax.Array:
    product = hessian_product(LOSS, params, data, batch_size=500)

    def residual(pair: tuple[jax.Array, Params]) -> jax.Array:
        value, v = pair
        v = optax.tree.scale(1 / optax.tree.norm(v), v)
        return optax.tree.norm(optax.tree.add_scale(product(v), -value, v)) / value

    return jax.lax.map(residual, (values, vectors))


def fewest_steps(params: Params, data: Split, limit: float) -> tuple[int, float]:
    """The fewest steps of Lanczos' method whose largest relative residual is at most the limit, and that residual."""
    for steps in STEPS:
        pairs = eigenvalues(steps)(params, data)
        reached = largest_residual(params, data, np.asarray(pairs.values), pairs.vectors)
        if reached <= limit:
            break
    return steps, reached


@cache
def eigenvalues(steps: int) -> Callable[..., Any]:
    """The largest eigenpairs of one network in so many steps, jitted."""

    def largest(params: Params, data: Split) -> Any:
        return eigenpairs(hessian_product(LOSS, params, data), params, jax.random.key(0), top=TOP, steps=steps)

    return jax.jit(largest)


def of_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of one network lifted over many, one after the other: each product takes all cores."""
    return jax.jit(lambda networks, data: jax.lax.map(lambda params: function(params, data), networks))


def seconds_of(function: Callable[..., Any], *args: Any) -> Callable[[], float]:
    """A contestant that takes the time of a compiled function."""
    jax.block_until_ready(function(*args))
    return lambda: timed(lambda: jax.block_until_ready(function(*args)))[1]


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    peers = import_peers()
    quick = bench.options.quick
    data = jax.tree.map(jnp.asarray, all_digits(500 if quick else 5000))
    many, timed_networks, probes, probe_steps, points = (2, 1, 2, 20, 7) if quick else (16, 2, 10, 80, 51)
    networks = mlpjax.train_many(MODEL, Recipe(epochs=10, eval_every=10), mlpjax.load("mnist5k"), range(many)).params
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), networks)
    context = multiprocessing.get_context("spawn")
    taken = [jax.tree.map(lambda leaf, i=i: leaf[i], networks) for i in range(timed_networks)]
    with ProcessPoolExecutor(1, context, peers.start, (*map(np.asarray, data), taken)) as worker:

        def ask(function: Callable[..., Any], *args: Any) -> Any:
            return worker.submit(function, *args).result()

        def ask_seconds(function: Callable[..., Any], which: Sequence[int], args: Sequence[Any]) -> float:
            return sum(ask(function, index, *args).seconds for index in which)

        tops: dict[str, tuple[Any, ...]] = {
            "PyHessian": (peers.pyhessian_top, TOP, PYHESSIAN_TOLERANCE, 100),
            "curvlinops and eigsh": (peers.curvlinops_top, TOP, EIGSH_TOLERANCE),
        }
        at = jnp.linspace(-1.0, 1.0, points)
        directions = stack(*(filter_normalised(key, params) for key in jax.random.split(jax.random.key(1))))
        density = jax.jit(
            lambda params, data: spectral_density(
                hessian_product(LOSS, params, data), params, jax.random.key(2), probes, probe_steps
            )
        )
        stages = make_stages(MODEL, TASK)
        surface = jax.jit(lambda params, data: slice_stages(stages, params, data, directions, [at, at], SURFACE_BATCH))
        whole = jax.jit(lambda params, data: slice_loss(LOSS, params, data, directions, [at, at], SURFACE_BATCH))
        contestants: dict[str, Callable[[], float]] = {}
        facts: dict[str, Any] = {}
        for name, (function, *args) in tops.items():
            theirs, steps, reached = [], 0, []
            for index, one in enumerate(taken):
                found = ask(function, index, *args)
                theirs.append(largest_residual(one, data, found.values, found.vectors))
                needed, residual = fewest_steps(one, data, theirs[-1])
                steps = max(steps, needed)
                reached.append(residual)
            facts[name] = {"largest relative residual": theirs, "of mlpjax": reached, "steps of mlpjax": steps}
            of_one = eigenvalues(steps)
            contestants[f"top, against {name}"] = seconds_of(of_one, params, data)
            contestants[name] = partial(ask_seconds, function, [0], args)
            contestants[f"many, against {name}"] = seconds_of(of_each(of_one), networks, data)
            contestants[f"{name}, many"] = partial(ask_seconds, function, range(timed_networks), args)
        contestants |= {
            "density": seconds_of(density, params, data),
            "PyHessian, density": lambda: ask(peers.pyhessian_density, 0, probes, probe_steps)[0],
            "surface": seconds_of(surface, params, data),
            "surface, every layer at every point": seconds_of(whole, params, data),
            "loss-landscapes": lambda: ask(peers.surface, 0, points)[0],
        }
        measured = bench.in_turn(contestants)

    def seconds(name: str, of: int = 1) -> list[float]:
        return [value / of for value in measured[name].values]

    digits = f"{len(data.y):,} digits"
    rows = []
    for name in tops:
        what = f"{TOP} largest eigenvalues, {digits}"
        one = seconds(f"top, against {name}"), seconds(name)
        each = seconds(f"many, against {name}", many), seconds(f"{name}, many", timed_networks)
        rows += [
            Row(f"{what}, against {name}", "s", *one, 3.0),
            Row(f"{what}, a network, of {many}, against {name}", "s", *each, 5.0),
        ]
    what = f"spectral density, {probes} probes of {probe_steps} steps, against PyHessian"
    rows.append(Row(what, "s", seconds("density"), seconds("PyHessian, density"), 3.0))
    what = f"surface, {points} x {points} points"
    rows.append(Row(f"{what}, against loss-landscapes", "s", seconds("surface"), seconds("loss-landscapes"), 5.0))
    gflop = points**2 * len(data.y) * sum(2 * inputs * outputs for inputs, outputs in pairwise(WIDTHS)) / 1e9
    name = "surface, every layer at every point"
    rates = [gflop / value for value in seconds(name)]
    rows.append(Row(f"{name}: share of the machine's rate", "GFLOP/s", rates, measured[name].yardsticks, 0.6))
    config = {"examples": len(data.y), "networks": many, "networks that a peer is timed on": timed_networks}
    return Report(rows, config | {"residuals": facts}, "mnist5k")


if __name__ == "__main__":
    run_benchmark("landscape", __doc__, measure, rounds=3)
