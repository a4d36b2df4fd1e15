"""How few seconds of training does the network 784-256-128-10 take until it errs on 1.8 or 1.5 % of MNIST?

Claim: with its 235,146 parameters, in a population on two cores, 0.5 s a seed are enough for 1.8 % and 1 s for 1.5 %.
Source: what was wanted of mlpjax, beside a planning run with throw-away code that was never published: 3, 4, 5 and 10
epochs of one-cycle Adam gave 1.85, 1.74, 1.61 and 1.55 % in 0.66, 0.72, 0.98 and 1.7 s a seed, on an Intel processor
with units for bfloat16 products (AMX). Arithmetic sets a floor: an epoch is 60.4 GFLOP, 0.30 s at the 200 GFLOP/s that
two cores without such units reach in float32, and half of that in bfloat16. So 0.5 s are two epochs, or fewer FLOPs.

Protocol: full MNIST, 60,000 / 10,000; mixed precision, batches of 128 and He's start; 1 to 10 epochs, each length a
training with a schedule of its own. Five recipes, with the same seeds, chosen on 10,000 held-out training digits:
- one-cycle Adam with a peak of 0.003: planning's, as far as that is told;
- cosine AdamW: label smoothing 0.1, a rate that falls from 0.008 at the first step, and b2 = 0.98;
- the same in 64 components: the first layer sees the digits' leading principal components, and an epoch is 16.2 GFLOP.
  What is tested is 784-256-128-10, with W = basis U: 235,146 parameters, but 50,826 numbers decide them;
- components, then pixels: there at a constant rate for all epochs but the last, in which all 235,146 are trained, at a
  rate that falls from 0.003;
- Muon (K. Jordan, 2024) in 64 components, with a peak of 0.05 and batches of 500, as its orthogonal steps cost more
  than the gradients of 128 digits.
Finding the components is part of the time. Seconds are a network's share of its population's wall time, without
compiling, drawing and evaluating; a run that was killed goes on with the seconds that it kept. The shortest training is
that of the fewest seconds whose mean test error is low enough in the first half of the seeds; the second half judges
it. PyTorch trains the first and the third recipe eagerly, with bfloat16 autocast and the fused optimizer, one process a
core; torch.compile changes that by a tenth, more or less. Without it (pip install 'mlpjax[peers]') its rows are absent.

Command: python experiments/fast_mnist.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz or
not, or --data tfds:mnist; or set MLPJAX_MNIST to either.
Wall time on two cores: 15 minutes, which need the machine to themselves; --quick 40 s, on mnist5k.

Expected (AMD EPYC without AMX, 169 GFLOP/s in float32): two epochs, the first in 64 components and the second on
pixels, err on 1.65 % [1.60, 1.71] after 0.43 s a seed, and four on 1.41 % [1.36, 1.46] after 0.58 s; both wants are
met, by fewer FLOPs. In components alone 1.74 % takes 0.22 s and 1.42 % 0.39 s, and seven epochs err on 1.30 %: fewer
numbers to fit err less, too. Muon takes as many epochs and twice the time. On pixels alone 0.5 s are missed: cosine
AdamW needs three epochs and 0.83 s for 1.8 %, one-cycle Adam four and 1.05 s, and neither comes to 1.5 % in ten.
PyTorch takes 1.2 to 1.9 times as long for the same epochs of one-cycle Adam and 1.6 to 3.3 times in components, with
the same errors.
"""

import multiprocessing
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
import scipy.linalg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mlpjax import (
    MLP,
    Checkpoints,
    Dataset,
    Recipe,
    Split,
    UserError,
    Variables,
    evaluate,
    load,
    make_task,
    map_seeds,
    progress_bar,
    steps_per_epoch,
    train_many,
)
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.mnist import load_mnist
from mlpjax.lift import OnProgress
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.recipe import make_schedule
from mlpjax.report.figures import BLUE, GREEN, ORANGE, PURPLE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band
from mlpjax.typing import Params

HIDDEN, EPOCHS, TORCH_SEEDS = (256, 128), (1, 2, 3, 4, 5, 7, 10), 4
WANTED = {1.8: 0.5, 1.5: 1.0}
"""Seconds a seed, by test error in %."""
PLANNING = {3: (0.66, 1.85), 4: (0.72, 1.74), 5: (0.98, 1.61), 10: (1.7, 1.55)}
"""Seconds a seed and test error in %, by epochs."""
SOURCE = "what was wanted of mlpjax, after planning on an Intel processor with AMX"
OURS = "ours, after trials on held-out training digits"
BETAS, DECAY = (0.9, 0.98), 0.03
SAMPLE = 10_000
"""Digits that the principal components are found on."""
NO_TORCH = "PyTorch was not installed, so its rows are absent: pip install 'mlpjax[peers]'."


def adamw(rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW with a short memory, as a training is short."""
    return optax.adamw(rate, *BETAS, weight_decay=DECAY)


def muon(rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon for the weights; for the biases Adam at a tenth of the rate."""
    return optax.contrib.muon(rate, beta=0.9, adam_learning_rate=lambda step: 0.1 * rate(step))


@dataclass(frozen=True)
class Way:
    """A recipe, and what the first layer sees."""

    colour: str
    recipe: Recipe
    components: int | None = None
    """How many principal components; None: all pixels."""
    last: Recipe | None = None
    """For a last epoch on pixels; None: it is like the others."""


ADAM = Recipe(learning_rate=3e-3, schedule="one-cycle")
COSINE = Recipe(optimizer=adamw, learning_rate=8e-3, schedule="cosine", label_smoothing=0.1)
ONE_CYCLE, ADAMW, COMPONENTS = "one-cycle Adam", "cosine AdamW", "cosine AdamW in 64 components"
RELEASED, MUON = "64 components, then pixels", "Muon in 64 components"
WAYS = {
    ONE_CYCLE: Way(ORANGE, ADAM),
    ADAMW: Way(BLUE, COSINE),
    COMPONENTS: Way(VERMILLION, COSINE, 64),
    RELEASED: Way(PURPLE, replace(COSINE, schedule="constant"), 64, last=replace(COSINE, learning_rate=3e-3)),
    MUON: Way(GREEN, replace(COSINE, optimizer=muon, learning_rate=0.05, batch_size=500), 64),
}
PYTORCH = "PyTorch, "
PEERS = (ONE_CYCLE, COMPONENTS)
"""What PyTorch trains as well."""


class Curve(NamedTuple):
    """What trainings of several lengths took and gave: arrays [lengths, seeds]."""

    seconds: np.ndarray
    """Of training, a seed."""
    error: np.ndarray
    """Of the network 784-256-128-10, on test digits, in %."""


class Components(NamedTuple):
    """Coordinates z = (x - mean) basis of pixels x from 0 to 1."""

    mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, count: int) -> "Components":
        """The leading principal components of the first digits."""
        x = images[:SAMPLE].reshape(len(images[:SAMPLE]), -1).astype(np.float32) / 255
        mean, features = x.mean(axis=0), x.shape[1]
        covariance = (x - mean).T @ (x - mean) / len(x)
        vectors = scipy.linalg.eigh(covariance, subset_by_index=[features - count, features - 1])[1]
        return cls(mean, vectors[:, ::-1])

    def see(self, split: Split) -> Split:
        """The split in these coordinates."""
        x = split.x.reshape(len(split.x), len(self.mean)).astype(np.float32)
        return Split(x @ (self.basis / np.float32(255)) - self.mean @ self.basis, split.y)

    def unfold(self, params: Params) -> Params:
        """Networks on pixels that give what these give on components: W = basis U, b' = b - mean W."""
        first = params["dense_0"]
        kernel = self.basis @ first["kernel"]
        return params | {"dense_0": {"kernel": kernel, "bias": first["bias"] - self.mean @ kernel}}


def shortest(curve: Curve, limit: float, choosers: slice) -> int | None:
    """Place of the fastest training whose mean error, over the seeds that choose, is at most the limit."""
    seconds = np.where(curve.error[:, choosers].mean(axis=1) <= limit, curve.seconds[:, choosers].mean(axis=1), np.inf)
    return int(seconds.argmin()) if np.isfinite(seconds).any() else None


def seen(way: Way, dataset: Dataset) -> tuple[Dataset, Components | None, float]:
    """The data as the way's first layer sees it, its coordinates, and the seconds that finding them took."""
    if way.components is None:
        return dataset, None, 0.0
    begin = time.perf_counter()
    found = Components.of(dataset.train.x, way.components)
    data = replace(dataset, train=found.see(dataset.train))
    seconds = time.perf_counter() - begin
    return replace(data, valid=found.see(dataset.valid), test=found.see(dataset.test)), found, seconds


def train(way: Way, dataset: Dataset, lengths: Sequence[int], seeds: int, kept: Path, on_progress: OnProgress) -> Curve:
    """Train a population for every length."""
    data, found, setting_up = seen(way, dataset)
    curve = Curve(np.full((len(lengths), seeds), setting_up / seeds), np.empty((len(lengths), seeds)))
    task = make_task(MLP((dataset.features, *HIDDEN, 10)), way.recipe)

    def accuracy(params: Params, test: Split) -> jax.Array:
        return evaluate(task, Variables(params), test)["accuracy"]

    def fit(recipe: Recipe, data: Dataset, epochs: int, place: int, start: Params | None = None) -> Params:
        trained = train_many(
            MLP((data.features, *HIDDEN, 10), precision="mixed"),
            replace(recipe, epochs=epochs, eval_every=epochs),
            data,
            range(seeds),
            start=start,
            store=Checkpoints(kept / f"{lengths[place]}-{'first' if start is None else 'last'}"),
        )
        trained.require_finite()
        # The start is a draw and an evaluation; the one period is the training and another evaluation.
        begin, period = trained.history["seconds"].astype(float).T
        curve.seconds[place] += period - begin
        return trained.params

    for place, length in enumerate(lengths):
        params = None
        if length > bool(way.last):
            params = fit(way.recipe, data, length - bool(way.last), place)
            params = found.unfold(params) if found else params
        if way.last:
            params = fit(way.last, dataset, 1, place, params)
        curve.error[place] = 100 * (1 - map_seeds(accuracy, params, dataset.test).astype(float))
        on_progress(place + 1, len(lengths))
    return curve


_torch: dict[str, Any] = {}
"""The digits of a process that PyTorch trains in."""


def torch_start(train: Split, test: Split) -> None:
    """Make this process a worker of one thread on these digits."""
    torch = import_module("torch")
    torch.set_num_threads(1)
    _torch.update(data=[torch.from_numpy(part) for part in (*train, *test)])
    torch_train(0, np.full(3, 1e-3), 3, COSINE)  # the first steps are slower


def torch_train(seed: int, rates: np.ndarray, each: int, recipe: Recipe) -> tuple[float, float]:
    """Train one network with these rates, `each` steps an epoch: seconds of training, and test error in %."""
    torch = import_module("torch")
    x, y, test_x, test_y = _torch["data"]
    torch.manual_seed(seed)
    dense = [torch.nn.Linear(*widths) for widths in pairwise((x.shape[1], *HIDDEN, 10))]
    for layer in dense:
        torch.nn.init.kaiming_normal_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    model = torch.nn.Sequential(dense[0], torch.nn.ReLU(), dense[1], torch.nn.ReLU(), dense[2])
    # Without decay AdamW is Adam.
    betas, decay = (BETAS, DECAY) if recipe.optimizer is adamw else ((0.9, 0.999), 0.0)
    optimizer = torch.optim.AdamW(model.parameters(), betas=betas, weight_decay=decay, fused=True)
    begin = time.perf_counter()
    for epoch in rates.reshape(-1, each):
        # Fewer rates than batches, in warming up, end the epoch.
        for rows, rate in zip(torch.randperm(len(y)).split(recipe.batch_size or len(y)), epoch, strict=False):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16):
                outputs = model(x.index_select(0, rows))
            labels = y.index_select(0, rows)
            torch.nn.functional.cross_entropy(
                outputs.float(), labels, label_smoothing=recipe.label_smoothing
            ).backward()
            optimizer.step()
    seconds = time.perf_counter() - begin
    with torch.no_grad():
        wrong = (model(test_x).argmax(1) != test_y).float().mean()
    return seconds, 100 * float(wrong)


def train_torch(way: Way, dataset: Dataset, lengths: Sequence[int], seeds: int) -> Curve:
    """Train one network a core at a time in PyTorch; finding components is shared among as many seeds as ours."""
    data, _, setting_up = seen(way, dataset)
    cores = jax.device_count()
    networks = cores * -(-TORCH_SEEDS // cores)
    curve = Curve(np.empty((len(lengths), networks)), np.empty((len(lengths), networks)))

    def floats(split: Split) -> Split:
        x = split.x.reshape(len(split.x), -1)
        return Split(x.astype(np.float32) / (255 if x.dtype == np.uint8 else 1), split.y.astype(np.int64))

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, torch_start, (floats(data.train), floats(data.test))) as pool:
        for place, epochs in enumerate(lengths):
            each = steps_per_epoch(len(data.train.y), way.recipe.batch_size)
            schedule = make_schedule(way.recipe, each * epochs)
            rates = np.asarray(jax.vmap(schedule)(jnp.arange(each * epochs)), float)
            found = pool.map(torch_train, range(networks), *map(repeat, (rates, each, way.recipe)))
            seconds, curve.error[place] = np.array(list(found)).T
            curve.seconds[place] = seconds / cores + setting_up / seeds
    return curve


def claims_of(
    curves: Mapping[str, Curve], lengths: Sequence[int], wanted: Mapping[float, float], published: bool
) -> tuple[list[Claim], list[str]]:
    """Seconds until every error, beside what was wanted; every curve; and in words what was never reached."""
    claims, notes = [], []
    for limit, most in wanted.items():
        for name, curve in curves.items():
            half = len(curve.error[0]) // 2
            place = shortest(curve, limit, slice(half))
            if place is None:
                notes.append(f"{name}: no training of up to {lengths[-1]} epochs erred on at most {limit} %.")
                continue
            ours, told = published and name in WAYS, ""
            if ours and name == RELEASED:
                told = f"In {most:g} s a seed, on two cores, networks of 235,146 parameters learn MNIST to {limit} %."
            beside: dict[str, Any] = {"relation": "at most", "source": SOURCE} if ours else {}
            claims += [
                Claim.mean(
                    f"{name}: seconds a seed until {limit} % ({lengths[place]} epochs)", curve.seconds[place, half:],
                    unit="s", settles=told, **beside | ({"published": most} if ours else {}),
                ),
                Claim.mean(
                    f"{name}: test error of the shortest training to {limit} %", curve.error[place, half:],
                    unit="%", **beside | ({"published": limit} if ours else {}),
                ),
            ]  # fmt: skip
    middle = len(lengths) // 2
    for name in (ADAMW, COMPONENTS, RELEASED, MUON):
        errors = (curves[which].error[middle] for which in (ONE_CYCLE, name))
        what = f"{lengths[middle]} epochs: test error, {ONE_CYCLE} above {name}"
        beside = {"published": 0, "relation": "above", "source": OURS} if published else {}
        claims.append(Claim.difference(what, *errors, unit="points", **beside))
    for name, curve in curves.items():
        for place, epochs in enumerate(lengths):
            claims += [
                Claim.mean(f"{name}, {epochs} epochs: test error", curve.error[place], unit="%"),
                Claim.mean(f"{name}, {epochs} epochs: seconds a seed", curve.seconds[place], unit="s"),
            ]
    return claims, notes


@mpl.rc_context(STYLE)
def draw(curves: Mapping[str, Curve], lengths: Sequence[int], wanted: Mapping[float, float], published: bool) -> Figure:
    """Test error against seconds a seed, and against epochs."""
    figure = Figure(figsize=(14, 6.2))
    panels = figure.subplots(1, 2, sharey=True)
    for name, curve in curves.items():
        ours = name in WAYS
        error = curve.error.mean(axis=1)
        reach = mean_band(curve.error.T)[2] - error
        for axes, x in zip(panels, (curve.seconds.mean(axis=1), lengths), strict=True):
            axes.errorbar(
                x, error, reach, color=WAYS[name if ours else name.removeprefix(PYTORCH)].colour, label=name,
                marker="o" if ours else "s", ls="-" if ours else ":", mfc=None if ours else "white", capsize=3,
            )  # fmt: skip
    if published:
        seconds, errors = zip(*PLANNING.values(), strict=True)
        style = {
            "color": "black",
            "marker": "D",
            "ls": "none",
            "mfc": "none",
            "zorder": 5,
            "label": "planning, with AMX",
        }
        for axes, x in zip(panels, (seconds, [*PLANNING]), strict=True):
            axes.plot(x, errors, **style)
        panels[0].plot([*wanted.values()], [*wanted], "k*", ms=15, zorder=5, label="wanted")
    for axes, label in zip(panels, ("seconds of training, a seed", "epochs"), strict=True):
        for limit in wanted:
            axes.axhline(limit, color="black", ls="--", lw=1)
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="test error (%)")
        for axis, ticks in ((axes.xaxis, (1, 2, 5)), (axes.yaxis, (1, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 4, 5, 7))):
            axis.set_major_locator(LogLocator(subs=ticks))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter("{x:g}")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        title="mean over seeds with its 95 % interval; each point a training of its own length",
    )
    return figure


def settle(
    dataset: Dataset, lengths: Sequence[int], wanted: Mapping[float, float], seeds: int, out: Path, published: bool
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 4:
        raise UserError(f"--seeds {seeds}: give at least 4; one half chooses the length of training, one judges it")
    kept, rate, curves, notes = out / "checkpoints", float32_rate(), {}, []
    for name, way in WAYS.items():
        with progress_bar(name, "lengths") as on_progress:
            curves[name] = train(way, dataset, lengths, seeds, kept / name.replace(" ", "-"), on_progress)
    if find_spec("torch"):
        curves |= {PYTORCH + name: train_torch(WAYS[name], dataset, lengths, seeds) for name in PEERS}
    else:
        notes.append(NO_TORCH)
        print(NO_TORCH)
    claims, missed = claims_of(curves, lengths, wanted, published)
    epoch = flops_per_example((dataset.features, *HIDDEN, 10)) * len(dataset.train.y) / 1e9
    for name in (ONE_CYCLE, ADAMW):
        share = 100 * epoch * lengths[-1] / curves[name].seconds[-1] / rate
        claims.append(Claim.mean(f"{name}: share of the machine's float32 rate", share, unit="%"))
    (out / "fast_mnist.png").write_bytes(png(draw(curves, lengths, wanted, published)))
    shutil.rmtree(kept)
    config = {
        "examples": len(dataset.train.y),
        "lengths": list(lengths),
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "floor of an epoch on pixels (s, float32)": round(epoch / rate, 3),
        "notes": notes + missed,
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k, for which nothing was wanted."""
    if quick:
        return settle(load("mnist5k"), (6,), {8.0: 0.5, 5.5: 1.0}, seeds, out, published=False)
    return settle(load_mnist(data), EPOCHS, WANTED, seeds, out, published=True)


if __name__ == "__main__":
    shared = "MNIST's own split, 10,000 test digits"
    run_experiment("fast_mnist", __doc__, body, full_seeds=16, quick_seeds=4, needs=MNIST, shared=shared)
