"""How much faster is mlpjax at many networks than what a user would pick instead?

The same job on every side: 784-256-128-10 with ReLU, batches of 128 in an order of its own for each network and
epoch, cross-entropy, SGD at 0.1 or Adam at 0.001, float32, all tensors in memory. mlpjax trains 64 networks at once;
its time is that of training alone, and so is the peers'. The peers run in processes of their own: with the threads that
the library chooses, and as one single-threaded process a core, side by side. Every way has a row, and so has
the fastest of its kind. mlpjax in mixed precision (bfloat16 products) is set against the fastest peer in any precision.

Peers: PyTorch eager, with tensors in memory and an index_select a batch, and with its fused optimizers; a DataLoader
(for information); torch.compile; both with autocast to bfloat16; torch.func, 8 and 32 stacked networks; plain JAX, a
Flax module and an optax optimizer under jit(vmap(scan)), 8 and 64 networks; scikit-learn's MLPClassifier.

Command: python benchmarks/against_peers.py    (needs pip install 'mlpjax[peers]'; torch.compile needs a C++ compiler)
Wall time on two cores: about 20 minutes; --quick about a minute.

Expect a factor of several against one network at a time. A peer cannot be beaten by more than its own distance from the
machine's rate, for which see roofline.py.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from common import OPTIMIZERS, WIDTHS, Bench, Report, Row, Workers, import_peers, run_benchmark, time_training

from mlpjax import MLP
from mlpjax.products import PrecisionName

NETWORKS = {
    "torch.func, 8 networks": 8,
    "torch.func, 32 networks": 32,
    "plain JAX, 8 networks": 8,
    "plain JAX, 64 networks": 64,
}
"""How many networks a peer trains at once, where not one."""
OURS, OURS_MIXED, COMPILE = "mlpjax", "mlpjax, mixed precision", "torch.compile"
WHOLE, SPLIT = "all cores", "a process a core"
SIDES = {
    "PyTorch eager": (WHOLE,),
    "PyTorch eager, fused optimizer": (WHOLE, SPLIT),
    "PyTorch, DataLoader": (WHOLE,),
    COMPILE: (WHOLE, SPLIT),
    "torch.func, 8 networks": (WHOLE, SPLIT),
    "torch.func, 32 networks": (WHOLE,),
    "plain JAX, 8 networks": (WHOLE,),
    "plain JAX, 64 networks": (WHOLE,),
    "scikit-learn": (WHOLE, SPLIT),
    "bfloat16: PyTorch eager, fused optimizer": (WHOLE, SPLIT),
    "bfloat16: torch.compile": (WHOLE, SPLIT),
}
KINDS: dict[str, tuple[tuple[str, ...], dict[str, float] | None]] = {
    "PyTorch eager": (("PyTorch eager, all cores",), {"SGD": 4.0, "Adam": 5.0}),
    "the best PyTorch eager": (("PyTorch eager",), None),
    "the best of torch.compile and torch.func": ((COMPILE, "torch.func"), {"SGD": 3.0, "Adam": 3.0}),
    "the best plain JAX": (("plain JAX",), None),
    "the best scikit-learn": (("scikit-learn",), {"SGD": 4.5, "Adam": 4.5}),
}
"""By name: the beginnings of the peers' names, of which the fastest counts, and what is wanted by optimizer."""


class Cost(NamedTuple):
    """What one side took."""

    training: float
    """Seconds per seed-epoch, training alone."""
    setting_up: float
    """Seconds of everything else, above all of compiling."""


def time_ours(bench: Bench, optimizer: str, seeds: int, precision: PrecisionName = "float32") -> Cost:
    """mlpjax at many networks."""
    timing = time_training(MLP(WIDTHS, precision=precision), OPTIMIZERS[optimizer], bench.digits, seeds)
    return Cost(timing.training, timing.setting_up)


def time_peer(
    workers: Workers, train_epoch: Callable[..., float], peer: str, optimizer: str, setting_up: float
) -> Cost:
    """A peer that is warm already."""
    seconds = workers.call(train_epoch, [peer] * len(workers), [optimizer] * len(workers))
    return Cost(max(seconds) / (NETWORKS.get(peer, 1) * len(workers)), setting_up)


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    peers = import_peers("peers")
    seeds = 8 if bench.options.quick else 64
    skipped = {}
    contestants: dict[tuple[str, str], Callable[[], Cost]] = {}  # by optimizer and name
    with ExitStack() as stack:
        # A folder of its own for what torch.compile keeps: each run of the benchmark compiles anew.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = stack.enter_context(TemporaryDirectory())
        x, y = bench.digits.train
        workers = {
            WHOLE: Workers(1, stack, peers.start, x, y, None),
            SPLIT: Workers(peers.cpu_count(), stack, peers.start, x, y, 1),
        }
        for optimizer in OPTIMIZERS:
            contestants[optimizer, OURS] = partial(time_ours, bench, optimizer, seeds)
            contestants[optimizer, OURS_MIXED] = partial(time_ours, bench, optimizer, seeds, "mixed")
            for peer, side in [(peer, side) for peer, sides in SIDES.items() for side in sides]:
                try:
                    count = len(workers[side])
                    setting_up = max(workers[side].call(peers.warm_up, [peer] * count, [optimizer] * count))
                except Exception as error:
                    if COMPILE not in peer:  # which needs a compiler, and not every system has one
                        raise
                    skipped[f"{optimizer}, {peer}, {side}"] = str(error).splitlines()[0]
                    bench.console.print(f"skipped: {optimizer}, {peer}, {side}: {error}")
                    continue
                contestants[optimizer, f"{peer}, {side}"] = partial(
                    time_peer, workers[side], peers.train_epoch, peer, optimizer, setting_up
                )
        measured = {name: rounds.values for name, rounds in bench.in_turn(contestants).items()}
    return Report(rows(measured, seeds), {"seeds": seeds, "skipped": skipped})


def rows(measured: Mapping[tuple[str, str], list[Cost]], seeds: int) -> list[Row]:
    """For each optimizer the best of each kind of peer, then every peer; last, what compiling takes."""
    made, unit = [], "s per seed-epoch"
    for optimizer in OPTIMIZERS:
        training = {
            name: [cost.training for cost in costs] for (of, name), costs in measured.items() if of == optimizer
        }
        ours, mixed = training.pop(OURS), training.pop(OURS_MIXED)
        against = f"{optimizer}, {seeds} seeds, against"
        for kind, (beginnings, wanted) in KINDS.items():
            best = min((values for name, values in training.items() if name.startswith(beginnings)), key=median)
            made.append(Row(f"{against} {kind}", unit, ours, best, wanted and wanted[optimizer]))
        name = f"{optimizer}, {seeds} seeds in mixed precision, against the best peer in any precision"
        made.append(Row(name, unit, mixed, min(training.values(), key=median)))
        made += [
            Row(f"{against} {name}", unit, ours, values)
            for name, values in training.items()
            if not name.startswith("PyTorch eager, all cores")  # has its row already
        ]
    setting_up = {name: [cost.setting_up for cost in costs] for (of, name), costs in measured.items() if of == "SGD"}
    compiled = setting_up.get(f"{COMPILE}, {WHOLE}")
    return [*made, Row("compiling and setting up, SGD, against torch.compile", "s", setting_up[OURS], compiled)]


if __name__ == "__main__":
    run_benchmark("against_peers", __doc__, measure, rounds=2)
