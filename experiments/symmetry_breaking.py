"""How little noise sets hidden units free that start at zero, and when?

Claim: the initial parameters need to break symmetry between different units. Source: Goodfellow, Bengio and Courville,
Deep Learning (2016), section 8.4. From all zeros the units stay one unit for ever (experiments/zero_init.py). Noise
grows by a constant factor per step, so that how little there is of it costs only the logarithm in time. Source: linear
theory of the saddle at zero, as of Saxe, McClelland and Ganguli, arXiv:1312.6120, for linear networks.

Protocol: 784-48-10 with ReLU, tanh or sigmoid hidden units, softmax cross-entropy, batch 128, 20 epochs on the
3,500 / 1,000 digits of mnist5k. The start is He's, times a noise level from 1 down to 1e-8, and 0: no noise. SGD with
momentum (0.1, 0.9) and not Adam, which divides by the size of the gradient and so blows up any difference, however
small.

Units have parted at the first step after which their root mean square distance from their mean is a tenth of that
of He's start; whether they are distinct would not do, as noise around zero is distinct from the start. The steps depend
on log(1 / noise): the slope is fitted by least squares for every seed, over the noise levels below a tenth, and again
over the lower and the higher half of these, which agree if the law holds (to a tenth). For tanh the theory gives the
slope: the largest singular value of C = mean_i x_i (y_i - 1/10)' sets the rate. It leaves out the minibatches and all
that follows when the noise is no longer small, so a tenth is its tolerance. What it misses is taken apart: the theory's
other eight directions, of which a random start has some as well (`linear_spread`, from every seed's own start); the
minibatches (the same training from noise of 1e-12, scaled up: it stays linear); and the end of the linear range.

A noise level is as good as He's start, in one seed, where its error and those of all higher levels are no more than a
point above the mean of He's; the median over seeds is claimed.

Command: python experiments/symmetry_breaking.py
Wall time on two cores: about 3 minutes (156 s); --quick 40 s.

Expected: noise of 1e-8 breaks the tie, and costs only time: some 12 steps for each tenth of noise with ReLU and tanh
units. The theory says 11.58; of the excess of 0.45 for tanh a half comes from its slower directions, a tenth from the
minibatches and two fifths from the end of the linear range. Most steps take sigmoid units: from their common 1/2 they
first all learn the same, which drowns a small difference, and grow apart later, at a rate that rises as they learn, so
that the logarithm does not fit: some 45 steps for each tenth of high noise, 37 of low. After 5 epochs units need a
tenth of He's scale or more to be as good as from He's start; after 20 epochs 1e-4 of it or less.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Moment,
    Observe,
    Recipe,
    evaluate,
    load,
    make_keys,
    progress_bar,
    steps_per_epoch,
    sweep,
)
from mlpjax.activations import ActivationName
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.landscape.symmetry_breaking import growth, linear_spread, saddle_at_zero, spread, steps_to_part
from mlpjax.models import dense_layers
from mlpjax.report.figures import STYLE, png
from mlpjax.stats import mean_band, quantile_band

ACTIVATIONS: tuple[ActivationName, ...] = ("relu", "tanh", "sigmoid")
UNITS = 48
NOISE = (0.0, *(10.0**power for power in range(-8, 1)))
CLOSE = 1.0
"""An error counts as that of He's start where it is no more percentage points above the mean of these."""
PARTED = 0.1
"""Units have parted where their spread is this share of that of He's start."""
PARTING_EPOCHS = 14
"""Training after which all units have parted that start from noise of 1e-8 or more."""
TINY = 1e-12
"""Noise that stays small while it grows by as much as 1e-8 must to part the units."""
RATE, MOMENTUM, BATCH = 0.1, 0.9, 128
SADDLE = "linear theory of the saddle at zero (Saxe et al., arXiv:1312.6120)"
LOGARITHM = "exponential growth: time = log(1 / noise) / rate"
OURS = "ours, before any run"
DOZEN = "Noise of any size sets equal units free: with a tenth of it they take a dozen steps more."


class Group(NamedTuple):
    """Networks of one activation at several scales of He's start."""

    error: dict[int, np.ndarray]
    """Test error in %, by epochs: [scales, seeds]."""
    distinct: dict[int, np.ndarray]
    """Distinct hidden units, to a relative tolerance of 1e-3."""
    spread: np.ndarray
    """How far apart the units are at the start and after every step, [scales, seeds, steps + 1]."""
    diverged: np.ndarray
    """[scales, seeds]."""


def train(
    dataset: Dataset,
    activation: ActivationName,
    scales: Sequence[float] | np.ndarray,
    seeds: int,
    epochs: Sequence[int],
    *,
    units: int = UNITS,
    parting: int,
) -> Group:
    """Train networks from every seed at every scale of their start, and follow their units for `parting` epochs."""
    model = MLP((dataset.features, units, dataset.classes), activation, initializer="he")
    recipe = Recipe(
        optimizer="momentum",
        learning_rate=RATE,
        momentum=MOMENTUM,
        batch_size=BATCH,
        epochs=max(epochs),
        eval_every=max(epochs),
    )

    def look(moment: Moment) -> Any:
        accuracy = evaluate(moment.task, moment.state.variables, moment.data.test)["accuracy"]
        return 100 * (1 - accuracy), distinct_units(moment.state.params)[0]

    steps = parting * steps_per_epoch(len(dataset.train.y), BATCH)
    with progress_bar(f"{model.name} {activation}", "networks") as on_progress:
        swept = sweep(
            model,
            recipe,
            dataset,
            range(seeds),
            {"scale": scales},
            observe={
                "outcome": Observe(look, epochs=epochs),
                "spread": Observe(lambda moment: spread(moment.state.params)[0], steps=range(steps + 1)),
            },
            on_progress=on_progress,
        )
    error, distinct = (
        {count: values[..., place] for place, count in enumerate(sorted(epochs))}
        for values in swept.observed["outcome"]
    )
    return Group(error, distinct, swept.observed["spread"], swept.diverged)


def lowest(noise: np.ndarray, good: np.ndarray) -> np.ndarray:
    """The lowest noise level, listed in rising order, from which on all are good, in every seed; the last counts so."""
    bad = ~good
    bad[-1] = False
    return noise[np.where(bad.any(axis=0), len(noise) - np.argmax(bad[::-1], axis=0), 0)]


def noise_claims(name: str, noise: np.ndarray, group: Group, counted: np.ndarray) -> list[Claim]:
    """What He's start comes to, and how little noise is as good, by epochs."""
    last = max(group.error)
    claims = [Claim.mean(f"{name}, He's start: test error", group.error[last][-1], unit="%", among=counted)]
    for epochs, error in group.error.items():
        as_good = error <= error[-1][counted].mean() + CLOSE if counted.any() else error < 0
        for what, good in (
            (f"with {UNITS} distinct units", group.distinct[epochs] == UNITS),
            ("as good as He's", as_good),
        ):
            levels, stated = lowest(noise, good), {"unit": "of He's scale", "among": counted}
            claims.append(Claim.median(f"{name}, {epochs} epochs: lowest noise {what}", levels, **stated))
    return claims


def slope(noise: np.ndarray, parted: np.ndarray) -> np.ndarray:
    """Steps to part for each tenth of noise, fitted in every seed."""
    return np.polyfit(-np.log10(noise), parted, 1)[0]


def parting_claims(
    name: str, noise: np.ndarray, parted: np.ndarray, theory: dict[str, Any] | None, counted: np.ndarray
) -> list[Claim]:
    """How the steps until the units part depend on the noise: steps per tenth, and whether the tenths agree.

    Args:
        name: of the activation.
        noise: levels in rising order, all below `PARTED`.
        parted: steps until the units part, [levels, seeds].
        theory: for tanh, the linear theory's slope and the steps that it foretells.
        counted: which seeds did not diverge.
    """
    done = counted & (parted > 0).all(axis=0)
    half = len(noise) // 2
    whole, low, high = (slope(noise[rows], parted[rows]) for rows in (slice(None), slice(half), slice(half, None)))
    tenth, unit = f"{name}: steps to part, for each tenth of noise", {"unit": "steps", "among": done}
    constant = {"published": 1, "relation": "about", "tolerance": 0.1, "tolerance_source": OURS, "source": LOGARITHM}
    claims = [
        Claim.mean(f"{name}: steps until the units part, from noise of {noise[0]:.0e}", parted[0], **unit),
        Claim.mean(
            f"{name}: the same at low noise, to that at high noise",
            low / np.where(done, high, np.nan),
            among=done,
            **constant,
        ),
    ]
    if theory is None:
        return [*claims, Claim.mean(tenth, whole, **unit)]
    top, directions, minibatches = theory["slope"], *(slope(noise, theory[kind]) for kind in ("directions", "limit"))
    beside = {"published": top, "relation": "about", "tolerance": 0.1 * top, "tolerance_source": OURS, "source": SADDLE}
    return [
        *claims,
        Claim.mean(tenth, whole, **unit, **beside, settles=DOZEN),
        Claim.mean(f"{tenth}, above the theory", whole - top, **unit),
        Claim.mean(f"{tenth}: of these by its slower directions", directions - top, **unit),
        Claim.difference(f"{tenth}: of these by minibatches", minibatches, directions, **unit),
        Claim.difference(f"{tenth}: of these by the end of the linear range", whole, minibatches, **unit),
    ]


def linear_theory(dataset: Dataset, noise: np.ndarray, seeds: int, apart: float, epochs: int) -> dict[str, Any]:
    """For tanh: the slope of the fastest direction; the steps to part of all directions, and of the linear limit."""
    targets = np.eye(dataset.classes)[dataset.train.y]
    saddle = saddle_at_zero(dataset.train.x.reshape(len(targets), -1) / 255, targets)
    model = MLP((dataset.features, UNITS, dataset.classes), "tanh", initializer="he")
    limit = train(dataset, "tanh", [TINY], seeds, [epochs], parting=epochs).spread[0].astype(float) / TINY
    steps = {"steps": limit.shape[1] - 1, "learning_rate": RATE, "momentum": MOMENTUM}
    starts = [dense_layers(model.init(make_keys(seed).init).params) for seed in range(seeds)]
    kernels = [[np.asarray(layer["kernel"], float) for layer in layers] for layers in starts]
    foretold = np.stack([linear_spread(saddle, *weights, **steps) for weights in kernels])
    return {
        "slope": np.log(10) / np.log(growth(saddle.rates[0], RATE, MOMENTUM)),
        "directions": np.stack([steps_to_part(foretold, PARTED * apart / level) for level in noise]),
        "limit": np.stack([steps_to_part(limit, PARTED * apart / level) for level in noise]),
    }


@mpl.rc_context(STYLE)
def draw_parting(noise: np.ndarray, spreads: dict[str, np.ndarray]) -> Figure:
    """How far apart the units are, step by step, from rising noise; and the steps until they part."""
    figure = Figure(figsize=(15, 5.4))
    *panels, last = figure.subplots(1, len(spreads) + 1)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(noise)))
    for axes, (name, values) in zip(panels, spreads.items(), strict=True):
        for colour, level, rows in zip(colours, noise, values, strict=True):
            lower, median, upper = quantile_band(rows)
            axes.plot(median, color=colour, lw=1.6, label=f"$10^{{{np.log10(level):.0f}}}$")
            axes.fill_between(np.arange(len(median)), lower, upper, color=colour, alpha=0.25, lw=0)
        axes.axhline(PARTED, color="black", ls="--", lw=1.2)
        axes.set(yscale="log", xlabel="step", title=name)
    panels[0].set_ylabel("distance of the units from their mean,\nas a share of He's start")
    for (name, values), marker in zip(spreads.items(), "osD", strict=False):
        parted = steps_to_part(values, PARTED)
        counted = (parted > 0).all(axis=1)
        label = f"{name}, {counted.sum()} of {len(noise)} levels"
        if not counted.any():
            last.plot([], [], marker=marker, label=label)
            continue
        low, means, high = mean_band(parted[counted].T)
        last.errorbar(noise[counted], means, [means - low, high - means], marker=marker, capsize=4, label=label)
    last.set(xscale="log", xlabel="noise, in units of He's scale", ylabel="steps until the units part")
    last.set_title("levels at which all part,\nbut not at once", fontsize=12)
    last.set_ylim(0, 1.4 * last.get_ylim()[1])  # room for the legend
    last.legend()
    seeds = values.shape[1]
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(noise),
        title=f"noise at the start; median and central 95 % of {seeds} seeds; right: mean and its 95 % interval",
    )
    return figure


@mpl.rc_context(STYLE)
def draw(noise: np.ndarray, groups: dict[ActivationName, Group]) -> Figure:
    """Distinct hidden units and test error against the noise, after few epochs (above) and after all (below)."""
    figure = Figure(figsize=(14, 9))
    zero = noise[1] / 30  # where a log axis puts no noise at all
    for panels, epochs in zip(figure.subplots(2, 2, sharex=True), next(iter(groups.values())).error, strict=True):
        for axes, (field, label) in zip(
            panels, (("distinct", "distinct hidden units"), ("error", "test error (%)")), strict=True
        ):
            for (name, group), marker, aside in zip(groups.items(), "osD", (0.8, 1, 1.25), strict=False):
                lower, mean, upper = mean_band(getattr(group, field)[epochs].T)
                (line,) = axes.plot(noise[1:] * aside, mean[1:], marker=marker, label=name)
                colour = line.get_color()
                axes.fill_between(noise[1:] * aside, lower[1:], upper[1:], color=colour, alpha=0.2, lw=0)
                ends = [mean[:1] - lower[:1], upper[:1] - mean[:1]]
                axes.errorbar([zero * aside], mean[:1], ends, color=colour, marker=marker, capsize=4)
            axes.set_xscale("log")
            axes.set_xticks([zero, *noise[1::2]], ["0", *(f"$10^{{{np.log10(n):.0f}}}$" for n in noise[1::2])])
            axes.minorticks_off()
            axes.set(ylabel=label, title=f"after {epochs} epochs")
            axes.set_ylim(0, 1.1 * UNITS if field == "distinct" else 95)
            axes.axvline(np.sqrt(zero * noise[1]), color="#777777", lw=1, ls="--")
    for axes in panels:
        axes.set_xlabel("noise, in units of He's scale")
    seeds = group.diverged.shape[1]
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        title=f"mean over {seeds} seeds, with its 95 % interval; left of the dashed line: no noise at all",
    )
    return figure


def settle(
    dataset: Dataset,
    activations: Sequence[ActivationName],
    noise: np.ndarray,
    seeds: int,
    epochs: tuple[int, int],
    out: Path,
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figures and state the claims."""
    groups, claims = {}, []
    # He's weights have a variance of 2 / inputs, of which the mean over the units takes a share of 1 / units.
    apart = np.sqrt(2 * (1 - 1 / UNITS))
    small = (noise > 0) & (noise < PARTED)
    parting = min(PARTING_EPOCHS, max(epochs))
    for name in activations:
        groups[name] = group = train(dataset, name, noise, seeds, epochs, parting=parting)
        counted = ~group.diverged.any(axis=0)
        claims += noise_claims(name, noise, group, counted)
        theory = linear_theory(dataset, noise[small], seeds, apart, parting) if name == "tanh" else None
        claims += parting_claims(
            name, noise[small], steps_to_part(group.spread[small], PARTED * apart), theory, counted
        )
    (out / "symmetry_breaking.png").write_bytes(png(draw(noise, groups)))
    spreads = {name: group.spread[noise > 0] / apart for name, group in groups.items()}
    (out / "symmetry_breaking_parting.png").write_bytes(png(draw_parting(noise[noise > 0], spreads)))
    diverged = sum(int(group.diverged.sum()) for group in groups.values())
    return claims, {"data": dataset.name, "epochs": epochs, "noise": list(noise), "diverged": diverged}


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    dataset = load("mnist5k")
    if quick:
        return settle(dataset, ("tanh", "sigmoid"), np.array((0.0, *NOISE[1::2])), seeds, (2, 6), out)
    return settle(dataset, ACTIVATIONS, np.array(NOISE), seeds, (5, 20), out)


if __name__ == "__main__":
    shared = "one split of mnist5k, 1,000 test digits"
    run_experiment("symmetry_breaking", __doc__, body, full_seeds=32, quick_seeds=3, shared=shared)
