"""How fast do networks of convolutions train?

VGG16 of a quarter of the published width, with batch norm, without dropout, on random images of 64 x 64 pixels in three
colours and two classes; batch 128, SGD at 0.01, float32. mlpjax trains one network on each core, each in microbatches
of 16; set beside that, as rows of their own, are whole minibatches at a time, and one network alone. The peers train
the same network on the same batches: PyTorch in its channels-last layout, in float32 and with autocast to bfloat16, as
one process with all cores and as a process a core; and plain JAX, as its documentation writes it, Flax and optax with a
jitted step for each batch.

Command: python benchmarks/convolution.py    (needs pip install 'mlpjax[peers]' for the rows against PyTorch)
Wall time on two cores: about 10 minutes; --quick a minute.

Expect PyTorch's float32 rate to be nearly reached, and not its bfloat16 rate where the processor has units for that:
XLA has no convolutions in bfloat16 on a CPU.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import median
from types import ModuleType
from typing import Any

import convolution_jax
import jax
import numpy as np
from common import BATCH, Bench, Report, Row, Workers, run_benchmark, time_training

from mlpjax import VGG, Dataset, Recipe, Split

SIDE, WIDTH, CLASSES = 64, 0.25, 2
STEPS, QUICK_STEPS = 16, 1
"""Minibatches of an epoch."""
MICROBATCH = 16
MODEL = VGG(16, CLASSES, WIDTH, batch_norm=True, dropout=(0.0,))
RECIPE = Recipe(optimizer="sgd", learning_rate=0.01, batch_size=BATCH, microbatch=MICROBATCH)
OURS, WHOLE, ALONE, PLAIN = "a network on each core", "whole minibatches", "one network", "plain JAX"
TORCH = {"PyTorch": False, "PyTorch, bfloat16": True}
TOGETHER = "a process a core"


def synthetic_images(examples: int) -> Dataset:
    """Random pixels, always the same, and one image of each class to test."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        return Split(rng.integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8), np.arange(rows, dtype=np.int32) % CLASSES)

    return Dataset("synthetic images", split(examples), split(0), split(CLASSES), CLASSES)


def rate(dataset: Dataset, recipe: Recipe, networks: int) -> float:
    """Images of all networks that mlpjax trains on in a second."""
    return len(dataset.train.y) / time_training(MODEL, recipe, dataset, networks, epochs=1).training


def import_torch() -> ModuleType | None:
    """The module convolution_torch.py, or None where what it needs is not installed."""
    try:
        return importlib.import_module("convolution_torch")
    except ModuleNotFoundError:
        return None


def rows(measured: Mapping[str, list[float]]) -> list[Row]:
    """Images a second, against the best form of every peer."""
    what = "VGG16 of a quarter of the width"
    made = []
    for name, wanted in {"PyTorch": 1.0, "PyTorch, bfloat16": None, PLAIN: None}.items():
        forms = [rates for form, rates in measured.items() if form in (name, f"{name}, {TOGETHER}")]
        if forms:
            made.append(Row(f"{what}, against {name}", "images/s", measured[OURS], max(forms, key=median), wanted))
    for name in (WHOLE, ALONE):
        made.append(Row(f"{what}: {OURS} against {name}", "images/s", measured[OURS], measured[name]))
    return made


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    images = BATCH * (QUICK_STEPS if bench.options.quick else STEPS)
    dataset = synthetic_images(images)
    cores = jax.local_device_count()
    torch, arrays = import_torch(), tuple(dataset.train)  # a Split would bring mlpjax into the peers' processes
    with ExitStack() as stack:
        contestants: dict[str, Callable[[], float]] = {
            OURS: lambda: rate(dataset, RECIPE, cores),
            WHOLE: lambda: rate(dataset, replace(RECIPE, microbatch=None), cores),
            ALONE: lambda: rate(dataset, RECIPE, 1),
        }
        plain = Workers(1, stack, convolution_jax.start, WIDTH, CLASSES)
        contestants[PLAIN] = lambda: plain.call(convolution_jax.rate, [arrays])[0]
        for name, mixed in TORCH.items() if torch else ():
            for form, processes in {name: 1, f"{name}, {TOGETHER}": cores}.items():
                threads = cores // processes
                workers = Workers(processes, stack, torch.start, WIDTH, CLASSES, threads, mixed)
                contestants[form] = partial(together, workers, torch.rate, arrays)
        measured = {name: rounds.values for name, rounds in bench.in_turn(contestants).items()}
    config: dict[str, Any] = {"examples": images}
    if not torch:
        config["skipped"] = {"PyTorch": "torch is not installed: pip install 'mlpjax[peers]'"}
    return Report(rows(measured), config, "random images")


def together(workers: Workers, train: Callable[[Any], float], arrays: tuple[np.ndarray, ...]) -> float:
    """The rates of all workers, who train at the same time."""
    return sum(workers.call(train, [arrays] * len(workers)))


if __name__ == "__main__":
    run_benchmark("convolution", __doc__, measure, rounds=3)
