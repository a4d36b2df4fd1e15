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
SGD and Adam are compared at matched distance: each network of Adam with the network of SGD, with or without momentum,
of the same seed that travelled nearest as far, if the one went at most 1.25 times as far as the other; apart for those
that travelled less than the length of their start, and farther. Differences from Lucas et al.: a tenth of the data, no
batch normalisation, and one network a seed instead of one a configuration.

Command: python experiments/linear_interpolation.py
Wall time on two cores: about 15 minutes (1,925 s with other work on the machine); --quick 30 s.

Expected: with SGD the loss falls all the way at every rate that trains the network, also at 1 for 22 of 23 seeds, where
784-256-128-10 travels twice the length of its start. So it does with Adam up to 0.003, and the less often the larger
the rate: at 0.03 for 2 of 17. But what stands there is no obstacle on the way: the loss falls over 80 to 90 % of the
line, and from there rises by some thousandths of a nat to where training, its steps still large, happened to stop.
Momentum does so, too, from 0.15 on, and in the deeper network from 0.1. It goes with the distance: at the same distance
Adam is not worse, if anything better, and with 32 seeds that stays undecided. The largest rates do not train a network
at all; such networks are left out of every row, which says how many, and are counted in `not trained`.
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
from matplotlib.lines import Line2D
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
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, draw_shares, png
from mlpjax.stats import quantile_band
from mlpjax.typing import Params

WIDTHS = ((784, 256, 128, 10), (784, 64, 64, 64, 64, 10))
RATES: dict[OptimizerName, tuple[float, ...]] = {
    "sgd": (0.03, 0.3, 1.0),
    "momentum": (0.01, 0.03, 0.1, 0.15, 0.2),
    "adam": (1e-3, 3e-3, 5e-3, 7e-3, 1e-2, 3e-2),
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
"""The least Delta (nats) up to which a line counts as monotonic, as in the evaluation of Lucas et al."""
APART = 1.25
"""Networks are compared where one travelled at most so many times as far as the other."""
BANDS = {"less far than the length of its start": (0.0, 1.0), "farther than the length of its start": (1.0, np.inf)}
"""In units of the start's length."""
SETTLES = {
    "784-256-128-10, SGD at 0.3: monotonic": "Mostly the loss falls all the way on the straight line from a network's "
    "random start to where SGD took it.",
    "784-256-128-10: monotonic, SGD above Adam at the same distance, farther than the length of its start": "Where "
    "both took networks as far from their start, and farther than its length, the loss falls all the way more often "
    "with SGD than with Adam.",
    "784-256-128-10: rank correlation of barrier and distance": "The farther a network goes from its start, the higher "
    "is the barrier on the line.",
}
NOTES = [
    "SGD was first compared with Adam over all learning rates of either, whatever their networks' distance: it was "
    "above Adam by 24 [17, 32] points of monotonic lines on 784-256-128-10 (holds) and by 6 [-0.1, 12] on the deeper "
    "network (undecided), which depends on the rates that were chosen and on who was trained at all. Now momentum at "
    "0.15 and 0.2 and Adam at 0.005 and 0.007 are added, so that both have networks that went one to two lengths.",
]
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
        with np.errstate(invalid="ignore"):
            return np.max(self.loss - np.minimum.accumulate(self.loss, axis=2), axis=2)

    @property
    def lowest(self) -> np.ndarray:
        """The alpha from which the loss rises by that."""
        with np.errstate(invalid="ignore"):
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


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Several optimizers as one, [all their rates, seeds, ...]."""
    return Outcome(*(np.concatenate(parts) for parts in zip(*outcomes, strict=True)))


class Matched(NamedTuple):
    """Networks of Adam and of SGD that travelled as far, of each seed; NaN where it has none."""

    adam: np.ndarray
    """Share, in %, of its networks of Adam that are monotonic."""
    sgd: np.ndarray
    """Share of their partners that are; one may be the partner of several."""
    pairs: np.ndarray
    """How many networks of Adam have a partner."""


def match_distance(sgd: Outcome, adam: Outcome, least: float, most: float) -> Matched:
    """Give every trained network of Adam, gone from `least` to `most`, the trained one of SGD gone nearest as far."""
    counted = adam.trained & (adam.distance >= least) & (adam.distance < most)
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.log(adam.distance[:, None]) - np.log(sgd.distance[None]))
    apart = np.where(counted[:, None] & sgd.trained[None], apart, np.inf)
    partner = apart.argmin(axis=1)
    matched = apart.min(axis=1) <= np.log(APART)
    pairs = matched.sum(axis=0)
    shares = [
        100 * (monotonic & matched).sum(axis=0) / np.where(pairs, pairs, np.nan)
        for monotonic in (adam.monotonic, np.take_along_axis(sgd.monotonic, partner, axis=0))
    ]
    return Matched(*shares, pairs)


def claims_of(
    network: str, rates: Mapping[OptimizerName, Sequence[float]], found: Mapping[OptimizerName, Outcome]
) -> list[Claim]:
    """What is claimed of one network: shares by optimizer and rate, and what goes with a barrier, seed by seed."""
    claims = []
    for optimizer, outcome in found.items():
        for i, rate in enumerate(rates[optimizer]):
            counted, name = outcome.trained[i], f"{network}, {NAMES[optimizer]} at {rate:g}"
            half = {"published": 50, "relation": "above", "source": GOODFELLOW}
            mostly = {} if optimizer == "adam" else half | {"settles": SETTLES.get(f"{name}: monotonic", "")}
            claims += [
                Claim.share(f"{name}: monotonic", outcome.monotonic[i], among=counted, **mostly),
                Claim.mean(f"{name}: barrier", outcome.barrier[i], unit="nats", among=counted),
                Claim.mean(f"{name}: distance", outcome.distance[i], unit="lengths of the start", among=counted),
            ]
        rising = outcome.trained & ~outcome.monotonic
        first = np.where(rising, outcome.lowest, 0).sum(axis=0) / np.where(
            rising.any(axis=0), rising.sum(axis=0), np.nan
        )
        name = f"{network}, {NAMES[optimizer]}: alpha from which those that are not monotonic rise"
        claims.append(Claim.mean(name, first, among=rising.any(axis=0)))
    sgd = joined([found["sgd"], found["momentum"]])
    for far, band in BANDS.items():
        matched = match_distance(sgd, found["adam"], *band)
        name = f"{network}: monotonic, SGD above Adam at the same distance, {far}"
        claims += [
            Claim.difference(
                name,
                matched.sgd,
                matched.adam,
                unit="points",
                among=matched.pairs > 0,
                published=0,
                relation="above",
                source=LUCAS,
                settles=SETTLES.get(name, ""),
            ),
            Claim.mean(f"{network}: pairs of a seed at the same distance, {far}", matched.pairs),
        ]
    every = joined([*found.values()])
    ranks = np.array(
        [
            scipy.stats.spearmanr(every.distance[rows, seed], every.barrier[rows, seed]).statistic
            if rows.sum() > 2 and np.ptp(every.barrier[rows, seed]) > 0
            else np.nan  # nothing is trained, or no line has a barrier
            for seed, rows in enumerate(every.trained.T)
        ]
    )
    positive = {"published": 0, "relation": "above", "source": LUCAS}
    name = f"{network}: rank correlation of barrier and distance"
    settles = SETTLES.get(name, "")
    return [*claims, Claim.mean(name, ranks, among=np.isfinite(ranks), settles=settles, **positive)]


@mpl.rc_context(STYLE)
def draw(
    rates: Mapping[OptimizerName, Sequence[float]], found: Mapping[str, Mapping[OptimizerName, Outcome]]
) -> Figure:
    """Above: the lines of the first network; below: shares against the rate, and barriers against distance."""
    figure = Figure(figsize=(17, 11))
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
        for aside, (optimizer, outcome) in zip((0.94, 1.0, 1.06), outcomes.items(), strict=True):
            counts = {}
            for i, rate in enumerate(rates[optimizer]):
                if len(good := outcome.monotonic[i][outcome.trained[i]]):
                    counts[rate * aside] = int(good.sum()), len(good)
            if counts:
                colour, marker = STYLES[optimizer]
                draw_shares(axes, [*counts], [*counts.values()], color=colour, marker=marker, ms=8)
        axes.set(xscale="log", ylim=(-4, 104), xlabel="learning rate", ylabel="monotonic lines (%)", title=network)
    for axes in panels[1, len(found) : 2]:
        axes.set_axis_off()
    last = panels[1, 2]
    for fill, (network, outcomes) in zip(("full", "none"), found.items(), strict=False):
        for optimizer, outcome in outcomes.items():
            colour, marker = STYLES[optimizer]
            height = np.maximum(outcome.barrier[outcome.trained], MONOTONIC / 10)
            style = {"color": colour, "marker": marker, "ls": "none", "fillstyle": fill, "alpha": 0.6}
            last.plot(outcome.distance[outcome.trained], height, ms=5, **style)
        last.plot([], [], "o", ms=7, color="#777777", fillstyle=fill, label=network)
    last.axhline(MONOTONIC, color="#777777", ls="--", lw=1.6, label=f"{MONOTONIC:g}: monotonic up to here")
    last.set(xscale="log", yscale="log", xlabel="distance from the start, in lengths of the start")
    last.set_ylim(top=last.get_ylim()[1] * 20)  # room for the key
    last.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    last.xaxis.set_minor_locator(NullLocator())
    last.xaxis.set_major_formatter("{x:g}")
    last.set_ylabel(f"barrier, least Delta (nats), or {MONOTONIC / 10:g} if less")
    last.legend(loc="upper left")
    keys = [Line2D([], [], color=colour, marker=marker, ms=8) for colour, marker in STYLES.values()]
    seeds = next(iter(outcomes.values())).distance.shape[1]
    title = (
        f"{seeds} seeds; above: median of those trained to a loss of {TRAINED:g} and band of the central 95 % of them; "
        "below: shares with Wilson's 95 % interval, and every network that was trained"
    )
    figure.legend(keys, [*NAMES.values()], loc="outside upper center", ncols=3, title=title)
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
    config = {"data": dataset.name, "epochs": epochs, "points": POINTS, "not trained": untrained, "notes": NOTES}
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is the deep network alone, at two rates each."""
    dataset = load("mnist5k")
    if quick:
        return settle(dataset, WIDTHS[1:], QUICK_RATES, seeds, 20, out)
    return settle(dataset, WIDTHS, RATES, seeds, 30, out)


if __name__ == "__main__":
    shared = "one split of mnist5k with 3,500 training digits"
    run_experiment("linear_interpolation", __doc__, body, full_seeds=32, quick_seeds=4, shared=shared)
