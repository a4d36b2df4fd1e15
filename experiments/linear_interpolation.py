"""On the straight line from its random start to where training ended, does the loss fall all the way?

Claim: mostly it does, as if training had been easy: the loss is monotonic along theta_0 + alpha (theta_T - theta_0).
Source: Goodfellow, Vinyals and Saxe, arXiv:1412.6544. Lucas et al., arXiv:2104.11044, find when it does not: where
weights travel far from their start, as large learning rates make them, and adaptive optimizers.

Protocol: mnist5k, 3,500 training digits, cross-entropy, ReLU, He's start, batch 64, 30 epochs; 784-256-128-10, and a
narrower and deeper 784-64-64-64-64-10; SGD, SGD with momentum 0.9, Adam, each at several learning rates; the same seeds
(starts and data orders) everywhere. Training loss at 51 alphas in [0, 1]. As in Lucas et al. a network counts once it
is trained, to a loss of at most 0.1; the line is Delta-monotonic where no loss exceeds an earlier one by Delta, and
the least such Delta, max_{a < b} L(b) - L(a), is the height of the barrier; monotonic is at most 0.001 (the threshold
of the authors' published evaluation). Distance is ||theta_T - theta_0|| / ||theta_0||. `Mostly` means more than half.
Differences from Lucas et al.: a tenth of the data, no batch normalisation, and one network a seed instead of one a
configuration.

Command: python experiments/linear_interpolation.py
Wall time on two cores: about 6 minutes (estimated; 803 s with other work on the machine); --quick 25 s.

Expected: with SGD the loss falls all the way at every rate that trains the network, also at 1 for 19 of 20 seeds, where
784-256-128-10 travels two and a half times the length of its start. So it does with Adam up to 0.003, and at 0.01 and
0.03 often not. But what stands there is no obstacle on the way: the loss falls over 80 to 90 % of the line, and from
there rises by some thousandths of a nat to where training, its steps still large, happened to stop. The deeper network
does so with momentum at 0.1, too, so that whether Adam is worse there stays undecided. The largest rates do not train
it at all; such networks are counted in `not trained`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
import scipy.stats
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    Variables,
    evaluate,
    load,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.mode_connectivity import line
from mlpjax.recipe import OptimizerName
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import quantile_band, wilson_ci
from mlpjax.typing import Params

WIDTHS = ((784, 256, 128, 10), (784, 64, 64, 64, 64, 10))
RATES: dict[OptimizerName, tuple[float, ...]] = {
    "sgd": (0.03, 0.3, 1.0),
    "momentum": (0.01, 0.03, 0.1),
    "adam": (1e-3, 3e-3, 1e-2, 3e-2),
}
QUICK_RATES: dict[OptimizerName, tuple[float, ...]] = {
    "sgd": (0.03, 0.3),
    "momentum": (0.01, 0.1),
    "adam": (1e-3, 1e-2),
}
NAMES = {"sgd": "SGD", "momentum": "SGD with momentum", "adam": "Adam"}
STYLES = {"sgd": (BLUE, "o"), "momentum": (GREEN, "s"), "adam": (VERMILLION, "D")}
POINTS = 51
TRAINED = 0.1
"""Networks of a higher training loss (nats) are left out, as in Lucas et al."""
MONOTONIC = 1e-3
"""The least Delta (nats) up to which a line counts as monotonic."""
GOODFELLOW, LUCAS = "Goodfellow et al., arXiv:1412.6544", "Lucas et al., arXiv:2104.11044"


class Outcome(NamedTuple):
    """What became of one network under one optimizer: arrays [rates, seeds, ...]."""

    loss: np.ndarray
    """Training loss along the line, in nats, [rates, seeds, points]; the last is where training ended."""
    distance: np.ndarray
    """||theta_T - theta_0|| / ||theta_0||."""

    @property
    def trained(self) -> np.ndarray:
        """Whether training came to a loss of at most 0.1; a diverged network's did not."""
        return self.loss[:, :, -1] <= TRAINED

    @property
    def barrier(self) -> np.ndarray:
        """The least Delta for which the line is Delta-monotonic; NaN where the loss is not finite."""
        return np.max(self.loss - np.minimum.accumulate(self.loss, axis=2), axis=2)

    @property
    def lowest(self) -> np.ndarray:
        """The alpha from which the loss rises by that."""
        rise = self.loss - np.minimum.accumulate(self.loss, axis=2)
        before = np.arange(self.loss.shape[2]) <= rise.argmax(axis=2)[:, :, None]
        return np.where(before, self.loss, np.inf).argmin(axis=2) / (self.loss.shape[2] - 1)

    @property
    def monotonic(self) -> np.ndarray:
        """Whether the loss falls all the way."""
        return self.barrier <= MONOTONIC


def train(
    dataset: Dataset, model: MLP, optimizer: OptimizerName, rates: Sequence[float], seeds: int, epochs: int
) -> Outcome:
    """Train from every seed at every rate as one compiled program, then walk the lines."""
    recipe = Recipe(optimizer=optimizer, batch_size=64, epochs=epochs, eval_every=epochs)
    networks = [*range(seeds)] * len(rates)
    with progress_bar(f"{model.name} {optimizer}, {epochs} epochs", "networks") as on_progress:
        rate = {"learning_rate": np.repeat(rates, seeds)}
        trained = train_many(model, recipe, dataset, networks, sweep=rate, snapshots=(0,), on_progress=on_progress)
    alphas, task = jnp.linspace(0.0, 1.0, POINTS), make_task(model, recipe, dataset.train)

    def walk(own: tuple[Params, Params], split: Split) -> tuple[Float[Array, " points"], Float[Array, ""]]:
        start, end = own
        losses = line(lambda params: evaluate(task, Variables(params), split)["loss"], start, end, alphas)
        return losses, optax.tree.norm(optax.tree.sub(end, start)) / optax.tree.norm(start)

    with progress_bar(f"{model.name} {optimizer}, lines", "networks") as on_progress:
        own = jax.tree.map(lambda leaf: leaf[:, 0], trained.snapshots), trained.params
        loss, distance = map_seeds(walk, own, dataset.train, chunk=2, on_progress=on_progress)
    return Outcome(loss.reshape(len(rates), seeds, POINTS).astype(float), distance.reshape(len(rates), seeds))


def claims_of(
    network: str, rates: Mapping[OptimizerName, Sequence[float]], found: Mapping[OptimizerName, Outcome]
) -> list[Claim]:
    """What is claimed of one network: shares by optimizer and rate, and what goes with a barrier, seed by seed."""
    claims = []
    for optimizer, outcome in found.items():
        for i, rate in enumerate(rates[optimizer]):
            counted = outcome.trained[i]
            if counted.any():
                half = {"published": 50, "relation": "at least", "source": GOODFELLOW}
                mostly = {} if optimizer == "adam" else half
                name = f"{network}, {NAMES[optimizer]} at {rate:g}"
                claims += [
                    Claim.share(f"{name}: monotonic", outcome.monotonic[i][counted], **mostly),
                    Claim.mean(f"{name}: barrier", outcome.barrier[i][counted], unit="nats"),
                    Claim.mean(f"{name}: distance", outcome.distance[i][counted]),
                ]
                if (rising := counted & ~outcome.monotonic[i]).any():
                    claims.append(Claim.mean(f"{name}: alpha from which it rises", outcome.lowest[i][rising]))

    def shares(optimizers: Sequence[OptimizerName]) -> np.ndarray:
        """Of each seed: the share, in %, of its trained networks that are monotonic."""
        counted = np.concatenate([found[name].trained for name in optimizers])
        good = np.concatenate([found[name].monotonic for name in optimizers]) & counted
        return 100 * good.sum(axis=0) / np.where(counted.any(axis=0), counted.sum(axis=0), np.nan)

    gap = shares(["sgd", "momentum"]) - shares(["adam"])
    counted, barrier, distance = (
        np.concatenate([getattr(outcome, field) for outcome in found.values()])
        for field in ("trained", "barrier", "distance")
    )
    ranks = [
        scipy.stats.spearmanr(distance[rows, seed], barrier[rows, seed]).statistic
        for seed, rows in enumerate(counted.T)
        if rows.sum() > 2 and np.ptp(barrier[rows, seed]) > 0
    ]
    # Where nothing is trained, or no line has a barrier, there is nothing to compare.
    positive = {"published": 0, "relation": "at least", "source": LUCAS}
    if len(gap := gap[np.isfinite(gap)]):
        above = f"{network}: monotonic, SGD with and without momentum above Adam"
        claims.append(Claim.mean(above, gap, unit="points", **positive))
    if ranks:
        name = f"{network}: rank correlation of barrier and distance"
        claims.append(Claim.mean(name, np.asarray(ranks), **positive))
    return claims


@mpl.rc_context(STYLE)
def draw(
    rates: Mapping[OptimizerName, Sequence[float]], found: Mapping[str, Mapping[OptimizerName, Outcome]]
) -> Figure:
    """Above: the lines of the first network; below: shares against the rate, and barriers against distance."""
    figure = Figure(figsize=(17, 10.5))
    panels = figure.subplots(2, 3)
    alphas = np.linspace(0, 1, POINTS)
    first, outcomes = next(iter(found.items()))
    for axes, (optimizer, outcome) in zip(panels[0], outcomes.items(), strict=True):
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(rates[optimizer])))
        for i, rate in enumerate(rates[optimizer]):
            counted = outcome.loss[i][outcome.trained[i]]
            if len(counted):
                lower, median, upper = quantile_band(counted)
                axes.plot(alphas, median, color=colours[i], label=f"{rate:g}")
                axes.fill_between(alphas, lower, upper, color=colours[i], alpha=0.25, lw=0)
        axes.set(yscale="log", xlabel="share of the way, alpha", ylabel="training loss (nats)")
        axes.set_title(f"{first}, {NAMES[optimizer]}")
        if axes.lines:
            axes.legend(title="learning rate")
    for axes, (network, outcomes) in zip(panels[1], found.items(), strict=False):
        for optimizer, outcome in outcomes.items():
            places, shares, ends = [], [], []
            for i, rate in enumerate(rates[optimizer]):
                if len(good := outcome.monotonic[i][outcome.trained[i]]):
                    places.append(rate)
                    shares.append(100 * good.mean())
                    ends.append(np.abs(100 * np.asarray(wilson_ci(int(good.sum()), len(good))) - shares[-1]))
            if places:
                colour, marker = STYLES[optimizer]
                spread = np.asarray(ends).T
                axes.errorbar(places, shares, spread, color=colour, marker=marker, capsize=4, label=NAMES[optimizer])
        axes.set(xscale="log", ylim=(-4, 104), xlabel="learning rate", ylabel="monotonic lines (%)", title=network)
        if axes.lines:
            axes.legend(loc="lower left")
    for axes in panels[1, len(found) : 2]:
        axes.set_axis_off()
    for marker, (network, outcomes) in zip("o^", found.items(), strict=False):
        for optimizer, outcome in outcomes.items():
            counted = outcome.trained
            height = np.maximum(outcome.barrier[counted], MONOTONIC / 10)
            panels[1, 2].scatter(
                outcome.distance[counted], height, s=30, c=STYLES[optimizer][0], marker=marker, alpha=0.5, lw=0
            )
        panels[1, 2].scatter([], [], s=40, c="#777777", marker=marker, label=network)
    panels[1, 2].axhline(MONOTONIC, color="#777777", ls="--", lw=1.6)
    panels[1, 2].set(xscale="log", yscale="log", xlabel="distance from the start, in units of its length")
    panels[1, 2].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1, 2].xaxis.set_minor_locator(NullLocator())
    panels[1, 2].xaxis.set_major_formatter("{x:g}")
    panels[1, 2].set_ylabel(f"barrier, least Delta (nats), or {MONOTONIC / 10:g} if less")
    panels[1, 2].set_title("colours as on the left; monotonic below the line")
    panels[1, 2].legend(loc="upper left")
    seeds = next(iter(outcomes.values())).distance.shape[1]
    figure.suptitle(
        f"{seeds} seeds; above: median of those trained to a loss of {TRAINED:g} and band of the central 95 % of them; "
        "below: shares with Wilson's 95 % interval"
    )
    return figure


def settle(
    dataset: Dataset,
    widths: Sequence[tuple[int, ...]],
    rates: Mapping[OptimizerName, Sequence[float]],
    seeds: int,
    epochs: int,
    out: Path,
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    found, claims = {}, []
    for model in map(MLP, widths):
        found[model.name] = {name: train(dataset, model, name, rates[name], seeds, epochs) for name in rates}
        claims += claims_of(model.name, rates, found[model.name])
    (out / "linear_interpolation.png").write_bytes(png(draw(rates, found)))
    untrained = {
        f"{network}, {NAMES[name]} at {rate:g}": int((~outcome.trained[i]).sum())
        for network, outcomes in found.items()
        for name, outcome in outcomes.items()
        for i, rate in enumerate(rates[name])
        if not outcome.trained[i].all()
    }
    return claims, {"data": dataset.name, "epochs": epochs, "points": POINTS, "not trained": untrained}


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is the deep network alone, at two rates each."""
    dataset = load("mnist5k")
    if quick:
        return settle(dataset, WIDTHS[1:], QUICK_RATES, seeds, 20, out)
    return settle(dataset, WIDTHS, RATES, seeds, 30, out)


if __name__ == "__main__":
    run_experiment("linear_interpolation", __doc__, body, full_seeds=32, quick_seeds=4)
