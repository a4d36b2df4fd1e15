"""How fast does mlpjax read pictures of one's own, the first time and after that?

JPEGs of smooth noise, made here, of three kinds: 640 x 480 and 200 x 150 pixels, made 64 x 64, and 64 x 64 as they are.
All files have been read before, so that they come from memory and not from a disk. mlpjax is timed as a user meets it:

- decoding: `mlpjax.load` of the folder with an empty cache folder, to the checked data set; against Pillow alone, which
  opens the same files as JPEGs, resizes them in the same way, and does nothing with them, in a thread a core and in a
  process a core, whichever is faster.
- the first epoch: that, and all training pictures in shuffled minibatches of 128, as floats on the device, by the
  gather of the compiled training loop; no network is trained.
- the second epoch: loaded anew, from the memory-mapped cache, and read in minibatches again.
- each further epoch: the minibatches alone, as the data stay on the device.
- streaming, for pictures that do not fit a memory budget: epochs of training a small VGG11 on 1,024 pictures that stay
  in a file, against the same with the pictures on the device, where nothing waits for data.

The peer is PyTorch's DataLoader over torchvision's ImageFolder with Resize and ToTensor, minibatches of 128, shuffled,
in a process of its own; with a decoding process a core that is kept between epochs, and with none, whichever is faster.
Its second epoch decodes again. The folder is listed in its first epoch, and in ours. What it leaves on the CPU counts
as delivered.

Command: python benchmarks/images.py    (needs pip install 'mlpjax[peers]' for the rows against PyTorch)
Wall time on two cores: 9 to 19 minutes; --quick under a minute.

Expect decoding to come close to Pillow's rate where a picture is large, and further epochs to cost next to nothing.
"""

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import images_pillow
import jax
import numpy as np
from common import BATCH, Bench, Report, Row, Workers, run_benchmark, timed
from PIL import Image

import mlpjax
from mlpjax import MLP, VGG, Batch, Dataset, Files, Recipe, Split, make_task, train_many
from mlpjax.train import epoch_order

SIDE = 64
"""Pixels of what is learned, either way."""
KINDS = {
    f"640 x 480 made {SIDE} x {SIDE}": (640, 480),
    f"200 x 150 made {SIDE} x {SIDE}": (200, 150),
    f"{SIDE} x {SIDE}": (SIDE, SIDE),
}
"""Width and height of the files."""
CLASSES = ("cat", "dog")
PICTURES, QUICK_PICTURES = 5_000, 200
COARSENESS = 8
"""Pixels from one random colour to the next."""
STREAMED, QUICK_STREAMED = 1024, 128
"""Pictures to train on."""
NETWORK = VGG(11, width=0.125, batch_norm=True, classes=len(CLASSES))
OURS, LOADER = "mlpjax", "PyTorch's DataLoader"
IN_FILE, ON_DEVICE = "in a file", "on the device"
THREADS, PROCESSES = "a thread a core", "a process a core"
TASK = make_task(MLP((3 * SIDE**2, len(CLASSES))), Recipe(batch_size=BATCH))


class Cost(NamedTuple):
    """Seconds that mlpjax took."""

    decoding: float
    first: float
    """An epoch with decoding."""
    second: float
    """An epoch from the cache."""
    further: float
    """An epoch from the device."""


def write_pictures(folder: Path, pictures: int, size: tuple[int, int]) -> list[str]:
    """Write training pictures of so many pixels, always the same, and one of each class to test; the former's paths."""
    rng = np.random.default_rng(0)
    width, height = size
    paths = []
    for part, count in (("train", pictures), ("test", len(CLASSES))):
        for number in range(count):
            path = folder / part / CLASSES[number % len(CLASSES)] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            few = rng.integers(0, 256, (height // COARSENESS, width // COARSENESS, 3), np.uint8)
            Image.fromarray(few).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
            if part == "train":
                paths.append(str(path))
    os.sync()  # the disk is done with them before anything is timed
    return paths


def minibatches(key: jax.Array, train: Split) -> tuple[Batch, jax.Array]:
    """One epoch of minibatches as training gathers them: the last, and a number of each that asks for all of it."""
    x, y = train
    rows, weight = epoch_order(key, len(y), BATCH)
    flat = x.reshape(len(y), -1)  # gathered in one piece

    def gather(rows: jax.Array, weight: jax.Array) -> Batch:
        return Batch(TASK.prepare(flat[rows].reshape(-1, *x.shape[1:])), y[rows], weight)

    def step(before: Batch, now: tuple[jax.Array, jax.Array]) -> tuple[Batch, jax.Array]:
        return gather(*now), before.x[0, 0, 0, 0]

    return jax.lax.scan(step, gather(rows[0], weight[0]), (rows, weight))


def time_ours(folder: Path, read: Callable[..., Any]) -> Cost:
    """Three epochs of mlpjax, with a cache folder of their own."""

    def load() -> Dataset:
        return mlpjax.load(f"folder:{folder}", files=Files(image_size=(SIDE, SIDE), valid_share=0))

    def epoch(train: Split) -> None:
        jax.block_until_ready(read(jax.random.key(0), train))

    with tempfile.TemporaryDirectory() as cache, mock.patch("platformdirs.user_cache_dir", return_value=cache):
        dataset, decoding = timed(load)
        _, reading = timed(lambda: epoch(jax.device_put(dataset.train)))
        on_device, loading = timed(lambda: jax.device_put(load().train))
        _, again = timed(lambda: epoch(on_device))
        _, further = timed(lambda: epoch(on_device))
    return Cost(decoding, decoding + reading, loading + again, further)


def measure_kind(bench: Bench, size: tuple[int, int], pictures: int, read: Callable[..., Any]) -> dict[str, Any]:
    """What mlpjax, Pillow and PyTorch took, round by round, for files of one size."""
    cores, side = os.cpu_count() or 1, (SIDE, SIDE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = write_pictures(folder, pictures, size)
        one = Workers(1, stack, images_pillow.start)
        each = Workers(cores, stack, images_pillow.start)
        shares = [paths[core::cores] for core in range(cores)]
        each.call(images_pillow.seconds, [paths[:1]] * cores, [side] * cores, [1] * cores)  # until all are there
        contestants: dict[str, Callable[[], Any]] = {
            OURS: lambda: time_ours(folder, read),
            THREADS: lambda: one.call(images_pillow.seconds, [paths], [side], [cores])[0],
            PROCESSES: lambda: max(each.call(images_pillow.seconds, shares, [side] * cores, [1] * cores)),
        }
        if torch := import_torch():
            reader = Workers(1, stack, torch.start, str(folder / "train"), side, BATCH)
            for name, processes in {LOADER: 0, f"{LOADER}, {PROCESSES}": cores}.items():
                contestants[name] = partial(reader.call, torch.two_epochs, [processes])
        return {name: rounds.values for name, rounds in bench.in_turn(contestants).items()}


def import_torch() -> ModuleType | None:
    """The module images_torch.py, or None where what it needs is not installed."""
    try:
        return importlib.import_module("images_torch")
    except ModuleNotFoundError:
        return None


def rows(kind: str, pictures: int, measured: Mapping[str, Any]) -> list[Row]:
    """Decoding against Pillow alone; then the epochs, against PyTorch where it was measured."""
    ours = measured[OURS]
    rates = {name: [pictures / value for value in measured[name]] for name in (THREADS, PROCESSES)}
    decoded = [(pictures + len(CLASSES)) / cost.decoding for cost in ours]
    best = max(rates.values(), key=median)
    made = [Row(f"{kind}: decoding, share of Pillow's rate", "images/s", decoded, best, 0.9)]
    made += [
        Row(f"{kind}: decoding, share of Pillow's rate, {name}", "images/s", decoded, rate)
        for name, rate in rates.items()
    ]
    loaders = [values for name, values in measured.items() if name.startswith(LOADER)]
    if loaders:
        first, second = (
            min(([epochs[place] for (epochs,) in values] for values in loaders), key=median) for place in (0, 1)
        )
        made += [
            Row(f"{kind}: first epoch, against {LOADER}", "s", [cost.first for cost in ours], first, 1.5),
            Row(f"{kind}: second epoch, from the cache, against {LOADER}", "s", [c.second for c in ours], second, 10.0),
            Row(f"{kind}: further epoch, on the device, against {LOADER}", "s", [c.further for c in ours], second),
        ]
    return made


def streamed_row(bench: Bench) -> Row:
    """Pictures a second that a network is trained on and evaluated with, from a file and from the device."""
    pictures = QUICK_STREAMED if bench.options.quick else STREAMED
    recipe = Recipe(epochs=1 if bench.options.quick else 5, batch_size=BATCH // 2, microbatch=BATCH // 8)
    with tempfile.TemporaryFile() as file:
        x = np.memmap(file, np.uint8, "w+", shape=(pictures, SIDE, SIDE, 3))
        x[:] = np.random.default_rng(0).integers(0, 256, x.shape, np.uint8)
        train = Split(x, np.arange(pictures, dtype=np.int32) % len(CLASSES))
        dataset = Dataset("noise", train, Split(x[:0], train.y[:0]), Split(x[:2], train.y[:2]), len(CLASSES))

        def rate(memory_budget: int | None) -> float:
            trained = train_many(NETWORK, recipe, dataset, [0], memory_budget=memory_budget)
            return recipe.epochs * pictures / float(trained.history["seconds"][0, 1:].sum())

        measured = bench.in_turn({IN_FILE: lambda: rate(1), ON_DEVICE: lambda: rate(None)})
    told = f"training a VGG11 of an eighth of the width, pictures {IN_FILE}, share of the rate with them {ON_DEVICE}"
    return Row(told, "images/s", measured[IN_FILE].values, measured[ON_DEVICE].values, 0.95)


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    pictures = QUICK_PICTURES if bench.options.quick else PICTURES
    blank = Split(np.zeros((pictures, SIDE, SIDE, 3), np.uint8), np.zeros(pictures, np.int32))
    lowered = jax.jit(minibatches).lower(jax.random.key(0), jax.device_put(blank))
    read, compiling = timed(lowered.compile)
    made = []
    for kind, size in KINDS.items():
        made += rows(kind, pictures, measure_kind(bench, size, pictures, read))
    made.append(streamed_row(bench))
    made.append(Row("an epoch of minibatches: compiling", "s", [compiling]))
    config: dict[str, Any] = {"examples": pictures}
    if not import_torch():
        config["skipped"] = {LOADER: "torch and torchvision are not installed: pip install 'mlpjax[peers]'"}
    return Report(made, config, "generated pictures")


if __name__ == "__main__":
    run_benchmark("images", __doc__, measure, rounds=5)
