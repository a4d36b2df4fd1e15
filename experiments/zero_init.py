"""All-zero weights are a trap: hidden units that start equal stay equal. How little noise sets them free?

Claim: with all weights zero, or all equal, every hidden unit of a layer gets the same gradient, so the units
stay one unit for ever, however many there are. Source: Goodfellow, Bengio and Courville, Deep Learning (2016),
section 8.4: the initial parameters need to "break symmetry" between different units.

Protocol: 784-32-10 with ReLU, tanh or sigmoid hidden units, softmax cross-entropy, batch 128, 20 epochs on the
3,500 / 1,000 digits of mnist5k. The start is He's, times a noise level from 1 down to 1e-8, and 0: no noise.
Beside it: all weights equal to one constant (0.001, 0.01, 0.1), and as control a network with one hidden unit and
a random start. SGD with momentum (0.1, 0.9) and not Adam, which divides by the size of the gradient and so blows
up any difference, however small.

Command: python experiments/zero_init.py
Wall time on two cores: 220 s; --quick 30 s.

Expected: zero ReLU and tanh networks train their output biases and nothing else: 90 % error for ever. Zero
sigmoid networks train, but as one unit, and so do equal constants: above 60 % error, like the network that has
one unit, where 32 free units come below 12 %. Equal units stay equal to the last bit on the machine this was
written on: rounding breaks no tie. Noise of 1e-8 does, and costs only time. Most with sigmoid units: from their
common 1/2 they first all learn the same, which drowns a small difference, and grow apart later; after 5 epochs
they need a tenth of He's scale or more to be as good as from He's start, after 20 about 1e-4 of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Recipe, load, map_seeds, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.models import ActivationName, InitializerName
from mlpjax.progress import progress_bar
from mlpjax.report.figures import STYLE, png
from mlpjax.stats import bootstrap_ci, quantile_band

ACTIVATIONS: tuple[ActivationName, ...] = ("relu", "tanh", "sigmoid")
UNITS = 32
NOISE = (0.0, *(10.0**power for power in range(-8, 1)))
CONSTANTS = (1e-3, 1e-2, 1e-1)
CLOSE = 1.0
"""An error counts as that of He's start where their means over seeds are so many percentage points apart."""
THEORY = "chain rule: every gradient but the output bias's has a factor of zero"
SYMMETRY = "Goodfellow, Bengio and Courville, Deep Learning, section 8.4"


class Outcome(NamedTuple):
    """What became of networks: an array [scales, seeds] of everything."""

    error: np.ndarray
    """Test error in %."""
    distinct: np.ndarray
    """Distinct hidden units, to a relative tolerance of 1e-3."""
    unequal: np.ndarray
    """The same without tolerance: units that differ in their last bit are distinct."""
    weight: np.ndarray
    """Largest absolute weight into the hidden layer."""
    diverged: np.ndarray


def train(
    dataset: Dataset,
    activation: ActivationName,
    initializer: InitializerName,
    scales: Sequence[float],
    seeds: int,
    epochs: int,
    units: int = UNITS,
) -> Outcome:
    """Train networks from every seed at every scale of their start, as one compiled program."""
    model = MLP((dataset.features, units, dataset.classes), activation, initializer=initializer)
    recipe = Recipe(optimizer="momentum", learning_rate=0.1, epochs=epochs, eval_every=epochs)
    with progress_bar(f"{model.name} {activation}, {initializer}, {epochs} epochs", "networks") as on_progress:
        trained = train_many(
            model,
            recipe,
            dataset,
            [*range(seeds)] * len(scales),
            sweep={"scale": np.repeat(scales, seeds)},
            on_progress=on_progress,
        )
    found = (
        100 * (1 - trained.history["test_accuracy"][:, -1].astype(float)),
        *map_seeds(lambda params: (distinct_units(params), distinct_units(params, 0.0)), trained.params, chunk=64),
        np.abs(trained.params["dense_0"]["kernel"]).max(axis=(1, 2)),
        trained.diverged,
    )
    return Outcome(*(values.reshape(len(scales), seeds) for values in found))


def lowest(noise: np.ndarray, good: np.ndarray) -> float:
    """The lowest noise level from which on all levels, listed in rising order, are good; the last always is."""
    return float(noise[max(np.flatnonzero(~good), default=-1) + 1])


def lowest_noise(name: str, noise: np.ndarray, values: np.ndarray, limit: float) -> Claim:
    """The lowest noise from which on the mean over seeds is at most `limit` above He's; resamples the seeds."""

    def statistic(seeds: np.ndarray) -> float:
        mean = values[:, seeds.astype(int)].mean(axis=1)
        return lowest(noise, mean <= mean[-1] + limit)

    seeds = np.arange(values.shape[1])
    return Claim(name, "of He's scale", statistic(seeds), bootstrap_ci(seeds, statistic), len(seeds))


def mean(name: str, unit: str, values: np.ndarray, *published: Any) -> Claim:
    """The mean over seeds, beside what theory says, if anything."""
    return Claim(name, unit, float(values.mean()), bootstrap_ci(values), len(values), *published)


def claims_of(name: str, noise: np.ndarray, he: dict[int, Outcome], equal: Outcome, one: Outcome) -> list[Claim]:
    """What is claimed of one activation: He's start at rising noise by epochs, equal constants, one hidden unit."""
    late = he[max(he)]
    if name == "sigmoid":
        claims = [
            mean("sigmoid, zero start: distinct hidden units", "", late.distinct[0], 1, "about", 0, SYMMETRY),
            mean("sigmoid, zero start: test error", "%", late.error[0]),
        ]
    else:
        # 90 % is exact: one answer for all of ten classes of one size. The tolerance is float32's rounding.
        claims = [
            mean(f"{name}, zero start: largest hidden weight", "", late.weight[0], 0, "about", 0, THEORY),
            mean(f"{name}, zero start: test error", "%", late.error[0], 90, "about", 1e-4, THEORY),
        ]
    units = f"{name}, equal constants: distinct hidden units"
    claims += [
        mean(units, "", equal.distinct.max(axis=0), 1, "about", 0, SYMMETRY),
        mean(f"{units} to the last bit", "", equal.unequal.max(axis=0)),
        mean(f"{name}, equal constants: lowest test error of any", "%", equal.error.min(axis=0)),
        mean(f"{name}, one hidden unit: test error", "%", one.error[0]),
        mean(f"{name}, He's start: test error", "%", late.error[-1]),
    ]
    for epochs, outcome in he.items():
        lowest = f"{name}, {epochs} epochs: lowest noise"
        claims += [
            lowest_noise(f"{lowest} with {UNITS} distinct units", noise, UNITS - outcome.distinct, 0),
            lowest_noise(f"{lowest} as good as He's", noise, outcome.error, CLOSE),
        ]
    return claims


@mpl.rc_context(STYLE)
def draw(noise: np.ndarray, he: dict[str, dict[int, Outcome]], one: dict[str, Outcome]) -> Figure:
    """Distinct hidden units and test error against the noise, after few epochs (above) and after all (below)."""
    figure = Figure(figsize=(14, 9))
    zero = noise[1] / 30  # where a log axis puts no noise at all
    for panels, epochs in zip(figure.subplots(2, 2, sharex=True), next(iter(he.values())), strict=True):
        for axes, (field, label) in zip(
            panels, (("distinct", "distinct hidden units"), ("error", "test error (%)")), strict=True
        ):
            for (name, outcomes), marker, aside in zip(he.items(), "osD", (0.8, 1, 1.25), strict=False):
                lower, median, upper = quantile_band(getattr(outcomes[epochs], field).T)
                (line,) = axes.plot(noise[1:] * aside, median[1:], marker=marker, label=name)
                colour = line.get_color()
                axes.fill_between(noise[1:] * aside, lower[1:], upper[1:], color=colour, alpha=0.2, lw=0)
                spread = [median[:1] - lower[:1], upper[:1] - median[:1]]
                axes.errorbar([zero * aside], median[:1], spread, color=colour, marker=marker, capsize=4)
                if (field, epochs) == ("error", max(outcomes)):
                    axes.axhline(np.median(one[name].error), color=colour, ls=":", lw=1.6)
            axes.set_xscale("log")
            axes.set_xticks([zero, *noise[1::2]], ["0", *(f"$10^{{{np.log10(n):.0f}}}$" for n in noise[1::2])])
            axes.minorticks_off()
            axes.set(ylabel=label, title=f"after {epochs} epochs")
            axes.set_ylim(0, 35 if field == "distinct" else 95)
            axes.axvline(np.sqrt(zero * noise[1]), color="#777777", lw=1, ls="--")
    for axes in panels:
        axes.set_xlabel("noise, in units of He's scale")
    axes.plot([], [], ":", color="#777777", lw=1.6, label="one hidden unit, random start")
    seeds = next(iter(one.values())).error.shape[1]
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        title=f"median over {seeds} seeds, and the central 95 % of them; left of the dashed line: no noise at all",
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
    """Train everything, draw the figure and state the claims."""
    he, one, claims, diverged = {}, {}, [], 0
    for name in activations:
        he[name] = {e: train(dataset, name, "he", noise, seeds, e) for e in epochs}
        equal = train(dataset, name, "constant", CONSTANTS, seeds, max(epochs))
        one[name] = train(dataset, name, "he", [1.0], seeds, max(epochs), units=1)
        claims += claims_of(name, noise, he[name], equal, one[name])
        diverged += sum(int(group.diverged.sum()) for group in (*he[name].values(), equal, one[name]))
    (out / "zero_init.png").write_bytes(png(draw(noise, he, one)))
    config = {"data": dataset.name, "epochs": epochs, "noise": list(noise), "constants": CONSTANTS}
    return claims, config | {"diverged": diverged}


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    dataset = load("mnist5k")
    if quick:
        return settle(dataset, ("tanh", "sigmoid"), np.array((0.0, 1e-8, 1e-4, 1.0)), seeds, (2, 6), out)
    return settle(dataset, ACTIVATIONS, np.array(NOISE), seeds, (5, 20), out)


if __name__ == "__main__":
    run_experiment("zero_init", __doc__, body, full_seeds=32, quick_seeds=3)
