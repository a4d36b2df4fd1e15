"""How much faster does mlpjax see the landscape than what a user would pick instead?

The same job on every side: 784-256-128-10 with ReLU, trained for 10 epochs, cross-entropy on 5,000 real digits
(mnist5k, all its splits) at once, float32. The ten largest eigenvalues of the Hessian, of one network and of 16; the
spectral density from 10 probes of 80 steps; and a surface of 51 x 51 points, with the first layer, which is linear in
the steps, worked out once; what share of the machine's rate is reached is measured without that.

Eigenvalues are compared at an equal residual. A peer stops by its own rule; how many steps of Lanczos' method mlpjax
needs for residuals ||H v - lambda v|| / lambda as small, measured in float64, is found on a network that is not timed,
and all residuals of the timed ones are in the results. PyHessian stops where an eigenvalue changes little, which says
nothing about the residual: at its own tolerance of 1e-3 that is some per cent. The peers run in processes of their own:
with the threads that torch chooses, and as one single-threaded process a core, side by side. "A network, of 16": the
peer takes one after the other, of which a few are timed, or one a process. What both sides find is compared as well.

Peers: PyHessian 0.1 (its density asks for torch.eig, which torch has no more and which is put back for it); curvlinops
with SciPy's eigsh; loss-landscapes, without gradients.

Command: python benchmarks/landscape.py    (needs pip install 'mlpjax[peers]')
Wall time on two cores: about 15 minutes; --quick about 2.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import WIDTHS, Bench, Report, Row, Workers, import_peers, run_benchmark, timed

import mlpjax
from mlpjax import MLP, Recipe, Split, make_task, mean_loss
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


def fewest_steps(params: Params, data: Split, limit: float) -> int:
    """The fewest steps of Lanczos' method whose largest relative residual is at most the limit."""
    for steps in STEPS:
        pairs = eigenvalues(steps)(params, data)
        if largest_residual(params, data, np.asarray(pairs.values), pairs.vectors) <= limit:
            break
    return steps


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


class Contest(NamedTuple):
    """The largest eigenvalues, against one peer."""

    contestants: dict[str, Callable[[], float]]
    """Both sides, ready to be timed."""
    residuals: dict[str, Any]
    """What both sides reach on the timed networks, and in how many steps mlpjax does."""
    apart: Row
    """How far apart the eigenvalues of both sides are."""


def contest_eigenvalues(
    name: str,
    peer: tuple[Any, ...],
    workers: tuple[Workers, Workers],
    networks: Params,
    taken: list[Params],
    data: Split,
) -> Contest:
    """Choose the steps on the last of the taken networks, which is not timed; both sides look at the others."""
    whole, split = workers
    find, *arguments = peer
    *timed_ones, untimed = [jax.tree.map(jnp.asarray, params) for params in taken]
    timed_places = range(len(timed_ones))

    def ask(workers: Workers, places: Sequence[int]) -> list[Any]:
        return workers.call(find, places, *([argument] * len(places) for argument in arguments))

    (trial,) = ask(whole, [len(timed_ones)])
    steps = fewest_steps(untimed, data, largest_residual(untimed, data, trial.values, trial.vectors))
    of_one = eigenvalues(steps)
    theirs = [ask(whole, [place])[0] for place in timed_places]
    ours = [jax.tree.map(np.asarray, of_one(params, data)) for params in timed_ones]
    off = max(np.max(np.abs(own.values / other.values - 1)) for own, other in zip(ours, theirs, strict=True))

    def residuals(found: list[Any]) -> list[float]:
        pairs = zip(timed_ones, found, strict=True)
        return [largest_residual(params, data, each.values, each.vectors) for params, each in pairs]

    return Contest(
        {
            f"top, against {name}": seconds_of(of_one, timed_ones[0], data),
            f"many, against {name}": seconds_of(of_each(of_one), networks, data),
            name: lambda: sum(ask(whole, [place])[0].seconds for place in timed_places),
            f"{name}, a process a core": lambda: max(found.seconds for found in ask(split, timed_places)),
        },
        {"largest relative residual": residuals(theirs), "of mlpjax": residuals(ours), "steps of mlpjax": steps},
        Row(f"{TOP} largest eigenvalues: furthest from those of {name}", "", [float(off)]),
    )


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    peers = import_peers("landscape_peers")
    quick = bench.options.quick
    data = jax.tree.map(jnp.asarray, all_digits(500 if quick else 5000))
    many, probes, probe_steps, points = (2, 2, 20, 7) if quick else (16, 10, 80, 51)
    trained = mlpjax.train_many(MODEL, Recipe(epochs=10, eval_every=10), mlpjax.load("mnist5k"), range(many + 1)).params
    networks = jax.tree.map(lambda leaf: jnp.asarray(leaf[:many]), trained)
    params = jax.tree.map(lambda leaf: leaf[0], networks)
    with ExitStack() as processes:
        cores = peers.cpu_count()
        taken = [jax.tree.map(lambda leaf, i=i: leaf[i], trained) for i in (*range(cores), many)]
        job = (*map(np.asarray, data), taken)
        whole = Workers(1, processes, peers.start, *job, None)
        split = Workers(cores, processes, peers.start, *job, 1)
        tops: dict[str, tuple[Any, ...]] = {
            "PyHessian": (peers.pyhessian_top, TOP, PYHESSIAN_TOLERANCE, 100),
            "curvlinops and eigsh": (peers.curvlinops_top, TOP, EIGSH_TOLERANCE),
        }
        contestants: dict[str, Callable[[], float]] = {}
        residuals: dict[str, Any] = {}
        apart: list[Row] = []
        for name, peer in tops.items():
            contest = contest_eigenvalues(name, peer, (whole, split), networks, taken, data)
            contestants |= contest.contestants
            residuals[name] = contest.residuals
            apart.append(contest.apart)
        at = jnp.linspace(-1.0, 1.0, points)
        directions = stack(*(filter_normalised(key, params) for key in jax.random.split(jax.random.key(1))))
        density = jax.jit(
            lambda params, data: spectral_density(
                hessian_product(LOSS, params, data), params, jax.random.key(2), probes, probe_steps
            )
        )
        stages = make_stages(MODEL, TASK)
        surface = jax.jit(lambda params, data: slice_stages(stages, params, data, directions, [at, at], SURFACE_BATCH))
        every_layer = jax.jit(lambda params, data: slice_loss(LOSS, params, data, directions, [at, at], SURFACE_BATCH))
        seen, _ = whole.call(peers.pyhessian_density, [0], [probes], [probe_steps])[0][1:]
        top = float(jnp.max(density(params, data).nodes))
        what = "spectral density: largest node, from PyHessian's"
        apart.append(Row(what, "", [abs(top / float(seen.max()) - 1)]))
        corners = [float(at[0]), 0.0, float(at[-1])]
        (plain,) = whole.call(peers.plane, [0], [jax.tree.map(np.asarray, directions)], [corners])
        picked = np.asarray(surface(params, data))[:: points // 2, :: points // 2]
        apart.append(
            Row("surface: furthest from PyTorch at nine points", "", [float(np.max(np.abs(picked / plain - 1)))])
        )
        contestants |= {
            "density": seconds_of(density, params, data),
            "PyHessian, density": lambda: whole.call(peers.pyhessian_density, [0], [probes], [probe_steps])[0][0],
            "surface": seconds_of(surface, params, data),
            "surface, every layer at every point": seconds_of(every_layer, params, data),
            "loss-landscapes": lambda: whole.call(peers.surface, [0], [points])[0][0],
        }
        measured = bench.in_turn(contestants)

    def seconds(name: str, of: int = 1) -> list[float]:
        return [value / of for value in measured[name].values]

    digits = f"{len(data.y):,} digits"
    rows = []
    for name in tops:
        what = f"{TOP} largest eigenvalues, {digits}"
        alone, beside = seconds(name, cores), seconds(f"{name}, a process a core", cores)
        each = seconds(f"many, against {name}", many)
        rows += [
            Row(f"{what}, against {name}", "s", seconds(f"top, against {name}"), alone, 3.0),
            Row(f"{what}, a network, of {many}, against {name}", "s", each, alone, 5.0),
            Row(f"{what}, a network, of {many}, against {name}, a process a core", "s", each, beside, 5.0),
        ]
    what = f"spectral density, {probes} probes of {probe_steps} steps, against PyHessian"
    rows.append(Row(what, "s", seconds("density"), seconds("PyHessian, density"), 3.0))
    what = f"surface, {points} x {points} points"
    rows.append(Row(f"{what}, against loss-landscapes", "s", seconds("surface"), seconds("loss-landscapes"), 5.0))
    gflop = points**2 * len(data.y) * sum(2 * inputs * outputs for inputs, outputs in pairwise(WIDTHS)) / 1e9
    name = "surface, every layer at every point"
    rates = [gflop / value for value in seconds(name)]
    rows.append(Row(f"{name}: share of the machine's rate", "GFLOP/s", rates, measured[name].yardsticks, 0.6))
    config = {"examples": len(data.y), "networks": many, "networks that a peer is timed on": cores}
    return Report([*rows, *apart], config | {"residuals": residuals}, "mnist5k")


if __name__ == "__main__":
    run_benchmark("landscape", __doc__, measure, rounds=3)
