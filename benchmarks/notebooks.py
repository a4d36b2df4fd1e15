"""How much faster is mlpjax at what public notebooks do, one network after the other?

Double descent: a whole curve of nineteen widths, 40-h-h-10 with h from 2 to 300, 4,000 examples of MNIST-1D, SGD at
0.01 with momentum 0.9, batch 100; mlpjax trains 16 seeds of each width at once. The time is that of an epoch of the
curve.
Lottery tickets: 40-500-500-10 under masks that keep 8.1 % of the weights, Adam at 0.02, batch 100; 16 networks at once,
each with a mask of its own. The time is that of a step. Source: S. Greydanus and D. Kobak, MNIST-1D's repository,
notebooks/deep-double-descent.ipynb and lottery-tickets.ipynb, without the residual sum of the second.

Learning coefficient: 196-8-10 on 3,500 digits of 14 x 14 pixels, all of them at each step, ten chains; in mlpjax a step
is accepted or rejected, as well, and ten chains of 16 networks run at once. The time is that of a step of one chain.
Peer: devinterp 1.3 (later versions are for language models).

All in float32, training alone. The notebooks are PyTorch with a DataLoader (double descent) or slices of tensors
(lottery tickets); double descent has tensors in memory as a peer, too. The peers run in processes of their own: with
the threads that torch chooses, and as one single-threaded process a core, side by side.

Command: python benchmarks/notebooks.py    (needs pip install 'mlpjax[peers]')
Wall time on two cores: about 5 minutes; --quick about a minute.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Bench, Report, Row, Timing, Workers, import_peers, run_benchmark, time_training, timed
from jaxtyping import PyTree

import mlpjax
from mlpjax import MLP, Dataset, Recipe, Split, Task, make_task, map_seeds, masked, mean_loss
from mlpjax.data.dataset import without_validation
from mlpjax.data.generated import make_mnist1d
from mlpjax.landscape.learning_coefficient import learning_coefficient

SHAPES = [(40, width, width, 10) for width in np.unique(np.geomspace(2, 300, 20, dtype=int)).tolist()]
CURVE = Recipe(optimizer="momentum", learning_rate=0.01, batch_size=100)
TICKET_WIDTHS, TICKET, KEPT = (40, 500, 500, 10), Recipe(learning_rate=0.02, batch_size=100), 0.081
CHAIN_WIDTHS, CHAINS = (196, 8, 10), 10
WHOLE, SPLIT = "all cores", "a process a core"
DESCENT, LOTTERY, COEFFICIENT = "double descent", "lottery tickets", "learning coefficient"
UNITS = {DESCENT: "s per seed-epoch of the curve", LOTTERY: "s per step", COEFFICIENT: "s per step of a chain"}
ALONE = "mlpjax, one network"


class Size(NamedTuple):
    """How much is measured."""

    shapes: Sequence[Sequence[int]]
    seeds: int
    epochs: int
    steps: int
    """Of a peer: of a lottery ticket, and of each chain."""


FULL = Size(SHAPES, 16, 10, 200)
QUICK = Size(SHAPES[-2:], 2, 2, 20)


def coarse_digits() -> Split:
    """The training digits of mnist5k, averaged to 14 x 14 pixels."""
    x, y = mlpjax.load("mnist5k").train
    small = x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4), dtype=np.float32) / 255
    return Split(small.reshape(len(x), -1), y)


def masked_task(model: MLP, recipe: Recipe, train: Split, mask: PyTree) -> Task:
    """Each network has a mask of its own."""
    return masked(make_task(model, recipe, train), mask)


def draw_masks(networks: int) -> PyTree:
    """Keep a share of the weights and biases, drawn for each network."""
    rng = np.random.default_rng(0)
    params = jax.eval_shape(MLP(TICKET_WIDTHS).init, jax.random.key(0)).params
    return jax.tree.map(lambda leaf: rng.random((networks, *leaf.shape)) < KEPT, params)


def time_curve(dataset: Dataset, size: Size) -> Timing:
    """All widths, one after the other: seconds of an epoch of one seed, and of compiling."""
    timings = [
        time_training(MLP(shape, initializer="torch", bias="same"), CURVE, dataset, size.seeds, size.epochs)
        for shape in size.shapes
    ]
    return Timing(*map(sum, zip(*timings, strict=True)))


def time_tickets(dataset: Dataset, size: Size) -> float:
    """Seconds of a step of one network."""
    model = MLP(TICKET_WIDTHS, initializer="torch", bias="same")
    timing = time_training(
        model, TICKET, dataset, size.seeds, size.epochs, task=masked_task, own=draw_masks(size.seeds)
    )
    return timing.training * 100 / len(dataset.train.y)


def chains_of(networks: int, digits: Split, steps: int) -> Callable[[], float]:
    """Compiled: seconds of a step of one chain of so many networks at once."""
    model = MLP(CHAIN_WIDTHS)
    loss = mean_loss(make_task(model, Recipe()))
    keys = jax.random.split(jax.random.key(0), networks)
    params = jax.vmap(lambda key: model.init(key).params)(keys)

    def one(own: tuple[jax.Array, PyTree], data: Split) -> jax.Array:
        key, start = own
        return learning_coefficient(loss, start, data, key, chains=CHAINS, draws=steps // 2, burn_in=steps // 2).chains

    data = jax.tree.map(jnp.asarray, digits)
    run = partial(map_seeds, one, (keys, params), data)
    run()
    return lambda: timed(run)[1] / (networks * CHAINS * steps)


def time_peer(workers: Workers, function: Callable[..., float], *job: Any) -> float:
    """What a function of the peers takes, where every process does the whole job."""
    return max(workers.call(function, *([argument] * len(workers) for argument in job))) / len(workers)


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    peers = import_peers("notebooks_torch")
    size = QUICK if bench.options.quick else FULL
    dataset, digits = without_validation(make_mnist1d()), coarse_digits()
    contestants: dict[tuple[str, str], Callable[[], float]] = {}
    compiling: list[float] = []

    def curve() -> float:
        timing = time_curve(dataset, size)
        compiling.append(timing.setting_up)
        return timing.training

    contestants[DESCENT, "mlpjax"] = curve
    contestants[LOTTERY, "mlpjax"] = lambda: time_tickets(dataset, size)
    contestants[COEFFICIENT, "mlpjax"] = chains_of(size.seeds, digits, size.steps)
    contestants[COEFFICIENT, ALONE] = chains_of(1, digits, size.steps)
    with ExitStack() as stack:
        for side, processes, threads in ((WHOLE, 1, None), (SPLIT, peers.cpu_count(), 1)):
            mnist, coarse = (
                Workers(processes, stack, peers.start, split.x, split.y, threads) for split in (dataset.train, digits)
            )
            for kind, loader in (("DataLoader", True), ("tensors in memory", False)):
                job = mnist, peers.curve, size.shapes, 100, loader
                contestants[DESCENT, f"PyTorch, {kind}, {side}"] = partial(time_peer, *job)
            job = mnist, peers.ticket, TICKET_WIDTHS, 100, KEPT, size.steps
            contestants[LOTTERY, f"PyTorch, {side}"] = partial(time_peer, *job)
            job = coarse, peers.chains, CHAIN_WIDTHS, CHAINS, size.steps
            contestants[COEFFICIENT, f"devinterp, {side}"] = partial(time_peer, *job)
        measured = {name: rounds.values for name, rounds in bench.in_turn(contestants).items()}
    return Report(rows(measured, size, compiling), {"seeds": size.seeds}, "MNIST-1D and mnist5k")


def rows(measured: Mapping[tuple[str, str], list[float]], size: Size, compiling: Sequence[float]) -> list[Row]:
    """A row for each peer, job by job."""
    named = {
        DESCENT: f"{DESCENT}, {len(size.shapes)} widths",
        LOTTERY: LOTTERY,
        COEFFICIENT: f"{COEFFICIENT}, {CHAINS} chains",
    }
    made = [
        Row(f"{named[job]}, {size.seeds} seeds, against {side}", UNITS[job], measured[job, "mlpjax"], values)
        for (job, side), values in measured.items()
        if not side.startswith("mlpjax")
    ]
    alone = measured[COEFFICIENT, ALONE]
    peer = measured[COEFFICIENT, f"devinterp, {WHOLE}"]
    made.append(Row(f"{named[COEFFICIENT]}, one network, against devinterp, {WHOLE}", UNITS[COEFFICIENT], alone, peer))
    return [*made, Row(f"{named[DESCENT]}: compiling", "s", compiling)]


if __name__ == "__main__":
    run_benchmark("notebooks", __doc__, measure, rounds=3)
