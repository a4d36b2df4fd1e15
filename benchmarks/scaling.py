"""How do time and memory grow with the number of seeds, and what do more devices and processes bring?

784-256-128-10 with Adam, one epoch, from 1 to 1,024 seeds, and four-point XOR, 2-2-1, 500 steps, from 1 to 1,000,000;
each size in a process of its own, so that its peak resident memory is its own, with results streaming to disk. Time is
that of training with its two evaluations, compilation apart. Then the same MNIST job on one device and on one for
every core, and in one process and in two.

Command: python benchmarks/scaling.py
Wall time on two cores: about 14 minutes; --quick about a minute.

Expect the time per seed to fall until the cores are busy and stay flat from there, and memory bounded by what is worked
on at once.
"""

import dataclasses
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
from common import (
    BATCH,
    OPTIMIZERS,
    WIDTHS,
    XOR_MODEL,
    XOR_RECIPE,
    Bench,
    Options,
    Report,
    Rounds,
    Row,
    four_points,
    load_digits,
    run_benchmark,
    time_training,
)

import mlpjax
from mlpjax import MLP, Split, UserError
from mlpjax.plumbing.runs import Checkpoints

XOR_STEPS = 500
MNIST, XOR = "MNIST, Adam", f"four-point XOR, {XOR_STEPS} steps"
SIZES = {MNIST: (1, 4, 16, 64, 256, 1024), XOR: (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)}
QUICK_SIZES = {MNIST: (1, 8), XOR: (1, 10_000)}
MNIST_EXAMPLES = 100 * BATCH
"""Fewer than there are: 1,024 networks on all of them would take a quarter of an hour a round."""
PEAK = {MNIST: 2.0}
"""Wanted of the largest size: at most so many GB of resident memory."""


class Cost(NamedTuple):
    """What one size took."""

    seconds: float
    """Per seed: training and evaluations, compilation apart."""
    peak: float
    """Highest resident memory of the process, in GB."""
    setting_up: float
    """Seconds of compiling, loading and writing."""


def train(problem: str, seeds: int, devices: int | None, options: Options) -> Cost:
    """Train so many seeds in this process, which must be a fresh one; `devices` None: one for every core."""
    if devices is not None:
        jax.config.update("jax_num_cpu_devices", devices)
    mlpjax.use_all_cores()
    with tempfile.TemporaryDirectory() as folder:
        store = Checkpoints(Path(folder))
        if problem == MNIST:
            digits = load_digits(options)
            fewer = dataclasses.replace(digits, train=Split(*(leaf[:MNIST_EXAMPLES] for leaf in digits.train)))
            timing = time_training(MLP(WIDTHS), OPTIMIZERS["Adam"], fewer, seeds, 1, store=store)
        else:
            timing = time_training(XOR_MODEL, XOR_RECIPE, four_points(), seeds, XOR_STEPS, store=store)
    return Cost(timing.total / seeds, peak_memory(), timing.setting_up)


def peak_memory() -> float:
    """The highest resident memory that this process has had, in GB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of Linux includes what the parent held when it started this process
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def in_fresh_process(function: Callable[..., Cost], *arguments: Any) -> Cost:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def rows_of_sizes(measured: Mapping[tuple[str, ...], Rounds[Cost]], problem: str, sizes: Sequence[int]) -> list[Row]:
    """Time of the largest size against the smallest, and memory."""
    first, last = (measured[problem, f"{size:,} seeds"].values for size in (sizes[0], sizes[-1]))
    largest, smallest = ([cost.seconds for cost in costs] for costs in (last, first))
    name = f"{problem}, {sizes[-1]:,} seeds"
    return [
        Row(f"{name} against {sizes[0]:,}", "s per seed", largest, smallest, wanted=1.0),
        Row(f"{name}: compiling, loading and writing", "s", [cost.setting_up for cost in last]),
        Row(f"{name}: peak resident memory", "GB", [cost.peak for cost in last], None, PEAK.get(problem), "at most"),
    ]


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    options = bench.options
    sizes = QUICK_SIZES if options.quick else SIZES
    seeds = 8 if options.quick else 64
    jobs: dict[tuple[str, ...], tuple[str, int, int | None]] = {
        (problem, f"{size:,} seeds"): (problem, size, None) for problem in sizes for size in sizes[problem]
    }
    if jax.default_backend() == "cpu":
        jobs |= {(MNIST, f"{seeds} seeds", "1 device"): (MNIST, seeds, 1)}
    measured = bench.in_turn({name: partial(in_fresh_process, train, *job, options) for name, job in jobs.items()})
    rows = [row for problem in sizes for row in rows_of_sizes(measured, problem, sizes[problem])]
    if jax.default_backend() == "cpu":
        name = (MNIST, f"{seeds} seeds")
        all_devices, one_device = ([cost.seconds for cost in measured[n].values] for n in (name, (*name, "1 device")))
        what = f"{MNIST}, {seeds} seeds: {len(jax.devices())} devices against 1"
        rows.append(Row(what, "s per seed", all_devices, one_device))
    if hasattr(os, "sched_setaffinity"):
        rows += rows_of_processes(bench)
    return Report(
        rows, {"seeds": seeds, "curves": {problem: curve(measured, problem, sizes[problem]) for problem in sizes}}
    )


def curve(
    measured: Mapping[tuple[str, ...], Rounds[Cost]], problem: str, sizes: Sequence[int]
) -> dict[str, list[float]]:
    """Medians by size, for the figure."""
    costs = [measured[problem, f"{size:,} seeds"].values for size in sizes]
    fields = {field: [median(getattr(cost, field) for cost in rounds) for rounds in costs] for field in Cost._fields}
    return {"seeds": list(sizes)} | fields


def rows_of_processes(bench: Bench) -> list[Row]:
    """One process on all cores against one on each of two halves of them."""
    seeds, epochs = (8, 2) if bench.options.quick else (64, 10)
    times = bench.in_turn({str(count): partial(time_processes, count, seeds, epochs) for count in (1, 2)})
    what = f"mlpjax study, {seeds} seeds, from start to report: 2 processes of half the cores against 1 of all"
    return [Row(what, "s", times["2"].values, times["1"].values)]


def time_processes(count: int, seeds: int, epochs: int) -> float:
    """Seconds from the start of so many `mlpjax study` processes, which share the cores, to the end of the last."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
        free.close()
        command = [sys.executable, "-c", "from mlpjax.cli import main; main()", "study", "--out", f"{folder}/run"]
        command += ["--seeds", str(seeds), "--epochs", str(epochs), "--grid", "3"]
        begin = time.perf_counter()
        started = []
        for index in range(count):
            together = ["--coordinator", address, "--processes", str(count), "--process", str(index)] * (count > 1)
            own = cores[index::count]
            started.append(
                subprocess.Popen(
                    [*command, *together],
                    stdout=subprocess.DEVNULL,
                    preexec_fn=partial(os.sched_setaffinity, 0, own),
                )
            )
        if any([process.wait() for process in started]):
            raise UserError("mlpjax study failed in one of its processes")
        return time.perf_counter() - begin


if __name__ == "__main__":
    run_benchmark("scaling", __doc__, measure, rounds=1)
