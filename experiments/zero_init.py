"""All-zero weights are a trap: hidden units that start equal stay equal. How little noise sets them free, and when?

Claim: with all weights zero, or all equal, every hidden unit of a layer gets the same gradient, so the units
stay one unit for ever, however many there are. Source: Goodfellow, Bengio and Courville, Deep Learning (2016),
section 8.4: the initial parameters need to "break symmetry" between different units.

Protocol: 784-32-10 with ReLU, tanh or sigmoid hidden units, softmax cross-entropy, batch 128, 20 epochs on the
3,500 / 1,000 digits of mnist5k. The start is He's, times a noise level from 1 down to 1e-8, and 0: no noise.
Beside it: all weights equal to one constant (0.001, 0.01, 0.1), and as control a network with one hidden unit and
a random start. SGD with momentum (0.1, 0.9) and not Adam, which divides by the size of the gradient and so blows
up any difference, however small. The rank of the hidden layer is that of its activations over 500 test digits, to a
relative 1e-3. From the zero start, gradients that are exactly zero are counted in the first two minibatches.

Units have parted at the first step after which their root mean square distance from their mean is a tenth of that
of He's start; whether they are distinct would not do, as noise around zero is distinct from the start. Near zero the
noise should grow by a constant factor per step, so that the steps depend on log(1 / noise): the slope is fitted by
least squares for every seed, over the noise levels at which the units of all seeds part, and not at once, and again
over the lower and the higher half of these, which agree if the law holds (to a tenth). For tanh the linear theory of
the saddle at zero gives the slope: the largest singular value of C = mean_i x_i (y_i - 1/10)' sets the rate. It
leaves out the minibatches and all that follows when the noise is no longer small, so a tenth is its tolerance.

Command: python experiments/zero_init.py
Wall time on two cores: about 310 s (390 s with other work on the machine); --quick 40 s.

Expected: zero ReLU and tanh networks train their output biases and nothing else: 90 % error for ever. Zero
sigmoid networks train, the output kernel first and the hidden layer a step later, but as one unit, of rank 1, and so
do equal constants: above 60 % error, like the network that has one unit, where 32 free units come below 12 %. Equal
units stay equal to the last bit on the machine this was written on: rounding breaks no tie. Noise of 1e-8 does, and
costs only time: some 12 steps for each tenth of noise with ReLU and tanh units, as the theory says. Most with sigmoid
units: from their common 1/2 they first all learn the same, which drowns a small difference, and grow apart later, at a
rate that rises as they learn, so that the logarithm does not fit: some 45 steps for each tenth of high noise, 37 of
low. After 5 epochs they need a tenth of He's scale or more to be as good as from He's start, after 20 about 1e-4 of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Moment,
    Observe,
    Recipe,
    Split,
    evaluate,
    load,
    progress_bar,
    steps_per_epoch,
    train_many,
)
from mlpjax.activations import ActivationName
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.landscape.symmetry_breaking import ranks, spread
from mlpjax.models import InitializerName, dense_layers
from mlpjax.report.figures import STYLE, png
from mlpjax.stats import bootstrap_ci, quantile_band

ACTIVATIONS: tuple[ActivationName, ...] = ("relu", "tanh", "sigmoid")
UNITS = 32
NOISE = (0.0, *(10.0**power for power in range(-8, 1)))
CONSTANTS = (1e-3, 1e-2, 1e-1)
CLOSE = 1.0
"""An error counts as that of He's start where their means over seeds are so many percentage points apart."""
PARTED = 0.1
"""Units have parted where their spread is this share of that of He's start."""
PARTING_EPOCHS = 14
"""Training after which all units have parted that start from noise of 1e-8 or more."""
LOOKED_AT = 500
"""Test digits over which the rank of the hidden layer is taken."""
RATE, MOMENTUM, BATCH = 0.1, 0.9, 128
THEORY = "chain rule: every gradient but the output bias's has a factor of zero"
SYMMETRY = "Goodfellow, Bengio and Courville, Deep Learning, section 8.4"
LINEAR = "linear theory of the saddle at zero"
LOGARITHM = "exponential growth: time = log(1 / noise) / rate"


class Outcome(NamedTuple):
    """What became of networks: an array [scales, seeds] of everything."""

    error: np.ndarray
    """Test error in %."""
    distinct: np.ndarray
    """Distinct hidden units, to a relative tolerance of 1e-3."""
    unequal: np.ndarray
    """The same without tolerance: units that differ in their last bit are distinct."""
    rank: np.ndarray
    """Numerical rank of the hidden activations over test digits."""
    weight: np.ndarray
    """Largest absolute weight into the hidden layer."""


class Group(NamedTuple):
    """Networks from one kind of start, at several scales of it."""

    after: dict[int, Outcome]
    """By epochs."""
    spread: np.ndarray
    """How far apart the units are at the start and after every step, [scales, seeds, steps + 1]."""
    diverged: int


def train(
    dataset: Dataset,
    activation: ActivationName,
    initializer: InitializerName,
    scales: Sequence[float],
    seeds: int,
    epochs: Sequence[int],
    units: int = UNITS,
    parting: int = 0,
) -> Group:
    """Train networks from every seed at every scale of their start, and follow their units for `parting` epochs."""
    model = MLP((dataset.features, units, dataset.classes), activation, initializer=initializer)
    recipe = Recipe(
        optimizer="momentum",
        learning_rate=RATE,
        momentum=MOMENTUM,
        batch_size=BATCH,
        epochs=max(epochs),
        eval_every=max(epochs),
    )

    def look(moment: Moment) -> Outcome:
        params, test = moment.state.params, moment.data.test
        return Outcome(
            evaluate(moment.task, moment.state.variables, test)["accuracy"],
            distinct_units(params)[0],
            distinct_units(params, 0.0)[0],
            ranks(model, params, moment.task.prepare(test.x[:LOOKED_AT])).activations[0],
            jnp.max(jnp.abs(params["dense_0"]["kernel"])),
        )

    steps = parting * steps_per_epoch(len(dataset.train.y), BATCH)
    with progress_bar(f"{model.name} {activation}, {initializer}", "networks") as on_progress:
        trained = train_many(
            model,
            recipe,
            dataset,
            [*range(seeds)] * len(scales),
            sweep={"scale": np.repeat(scales, seeds)},
            observe={
                "outcome": Observe(look, epochs=epochs),
                "spread": Observe(lambda moment: spread(moment.state.params)[0], steps=range(steps + 1)),
            },
            on_progress=on_progress,
        )
    seen: Outcome = trained.observed["outcome"]
    seen = seen._replace(error=100 * (1 - seen.error.astype(float)))
    after = {
        count: Outcome(*(values[:, place].reshape(len(scales), seeds) for values in seen))
        for place, count in enumerate(sorted(epochs))
    }
    return Group(after, trained.observed["spread"].reshape(len(scales), seeds, -1), int(trained.diverged.sum()))


def lowest(noise: np.ndarray, good: np.ndarray) -> float:
    """The lowest noise level from which on all levels, listed in rising order, are good; the last always is."""
    return float(noise[max(np.flatnonzero(~good), default=-1) + 1])


def lowest_noise(name: str, noise: np.ndarray, values: np.ndarray, limit: float) -> Claim:
    """The lowest noise from which on the mean over seeds is at most `limit` above He's; resamples the seeds."""

    def statistic(seeds: np.ndarray) -> float:
        mean = values[:, seeds.astype(int)].mean(axis=1)
        return lowest(noise, mean <= mean[-1] + limit)

    return Claim.of(name, np.arange(values.shape[1]), statistic, unit="of He's scale")


def claims_of(name: str, noise: np.ndarray, he: dict[int, Outcome], equal: Outcome, one: Outcome) -> list[Claim]:
    """What is claimed of one activation: He's start at rising noise by epochs, equal constants, one hidden unit."""
    late = he[max(he)]
    one_unit = {"published": 1, "relation": "about", "tolerance": 0, "source": SYMMETRY}
    still = {"published": 0, "relation": "about", "tolerance": 0, "source": THEORY}
    # 90 % is exact: one answer for all of ten classes of one size. The tolerance is float32's rounding.
    guess = {"published": 90, "relation": "about", "tolerance": 1e-4, "source": THEORY}
    if name == "sigmoid":
        claims = [
            Claim.mean("sigmoid, zero start: distinct hidden units", late.distinct[0], **one_unit),
            Claim.mean("sigmoid, zero start: rank of the hidden layer", late.rank[0], **one_unit),
            Claim.mean("sigmoid, zero start: test error", late.error[0], unit="%"),
        ]
    else:
        claims = [
            Claim.mean(f"{name}, zero start: largest hidden weight", late.weight[0], **still),
            Claim.mean(f"{name}, zero start: rank of the hidden layer", late.rank[0], **still),
            Claim.mean(f"{name}, zero start: test error", late.error[0], unit="%", **guess),
        ]
    units = f"{name}, equal constants: distinct hidden units"
    claims += [
        Claim.mean(units, equal.distinct.max(axis=0), **one_unit),
        Claim.mean(f"{units} to the last bit", equal.unequal.max(axis=0)),
        Claim.mean(f"{name}, equal constants: rank of the hidden layer", equal.rank.max(axis=0), **one_unit),
        Claim.mean(f"{name}, equal constants: lowest test error of any", equal.error.min(axis=0), unit="%"),
        Claim.mean(f"{name}, one hidden unit: test error", one.error[0], unit="%"),
        Claim.mean(f"{name}, He's start: test error", late.error[-1], unit="%"),
        Claim.mean(f"{name}, He's start: rank of the hidden layer", late.rank[-1]),
    ]
    for epochs, outcome in he.items():
        lowest = f"{name}, {epochs} epochs: lowest noise"
        claims += [
            lowest_noise(f"{lowest} with {UNITS} distinct units", noise, UNITS - outcome.distinct, 0),
            lowest_noise(f"{lowest} as good as He's", noise, outcome.error, CLOSE),
        ]
    return claims


def steps_to_part(spreads: np.ndarray) -> np.ndarray:
    """The first step after which the units have parted; -1 where they never do."""
    parted = spreads > PARTED
    return np.where(parted.any(axis=-1), parted.argmax(axis=-1), -1)


def predicted_growth(split: Split) -> float:
    """Steps in which the noise of a tanh network near zero grows tenfold, by the linear theory of that saddle.

    There f = x' W_1 W_2 + const, and with C = mean_i x_i (y_i - 1/K)' the gradient is -C W_2' for W_1 and -W_1' C for
    W_2: both grow together, at the rate sigma, the largest singular value of C. Momentum m and learning rate eta make
    it a factor r per step, the larger root of (r - 1) (r - m) = eta sigma r.
    """
    x, y = split.x.reshape(len(split.y), -1) / 255, np.eye(10)[split.y]
    sigma = np.linalg.norm(x.T @ (y - y.mean(axis=0)) / len(y), 2)
    trace = 1 + MOMENTUM + RATE * sigma
    factor = (trace + np.sqrt(trace**2 - 4 * MOMENTUM)) / 2
    return float(np.log(10) / np.log(factor))


def kept_gradient() -> optax.GradientTransformation:
    """Leaves a gradient as it is; its state is the last one."""
    return optax.GradientTransformation(optax.tree.zeros_like, lambda gradient, _last, _params: (gradient, gradient))


def zero_gradients(dataset: Dataset, activation: ActivationName, seeds: int, units: int = UNITS) -> list[Any]:
    """Share (%) of gradients that an all-zero start leaves exactly zero, by leaf, in every seed's first two steps."""
    model = MLP((dataset.features, units, dataset.classes), activation, initializer="zeros")
    recipe = Recipe(
        optimizer=lambda rate: optax.chain(kept_gradient(), optax.sgd(rate, momentum=MOMENTUM)),
        learning_rate=RATE,
        batch_size=BATCH,
        epochs=1,
    )

    def look(moment: Moment) -> Any:
        gradient, *_ = moment.state.opt_state
        return jax.tree.map(lambda leaf: jnp.sum(leaf == 0, dtype=jnp.int32), gradient)

    observe = {"zeros": Observe(look, steps=(1, 2))}
    trained = train_many(model, recipe, dataset, range(seeds), observe=observe)
    zeros = jax.tree.map(lambda count, leaf: 100 * count / leaf[0].size, trained.observed["zeros"], trained.params)
    return [jax.tree.map(lambda share, step=step: share[:, step], zeros) for step in range(2)]


def gradient_claims(name: str, zeros: list[Any]) -> list[Claim]:
    """What theory says of gradients at zero: the output bias moves, with sigmoids the output kernel too; then all."""
    learns = 0 if name == "sigmoid" else 100
    (hidden, output), (later, _) = (dense_layers(part) for part in zeros)
    rows = [
        ("zero start: zero gradients of output bias", output["bias"], 0),
        ("zero start: zero gradients of output kernel", output["kernel"], learns),
        ("zero start: zero gradients of hidden bias", hidden["bias"], 100),
        ("zero start: zero gradients of hidden kernel", hidden["kernel"], 100),
        ("after a step: zero gradients of hidden bias", later["bias"], learns),
    ]
    return [
        Claim.mean(f"{name}, {what}", share, unit="%", published=still, relation="about", tolerance=0, source=THEORY)
        for what, share, still in rows
    ]


def parting_claims(name: str, noise: np.ndarray, parted: np.ndarray, theory: float | None) -> list[Claim]:
    """How the steps until the units part depend on the noise: steps per decade, and whether the decades agree.

    Only noise at which every seed's units part, and not at the start, is counted.
    """
    counted = (parted > 0).all(axis=1)
    if not counted.any():
        return []
    noise, steps = noise[counted], parted[counted]
    claims = [Claim.mean(f"{name}: steps until the units part, from noise of {noise[0]:.0e}", steps[0], unit="steps")]
    if len(noise) < 4:
        return claims
    decades = -np.log10(noise)
    half = len(decades) // 2
    slopes = [np.polyfit(decades[rows], steps[rows], 1)[0] for rows in (slice(None), slice(half), slice(half, None))]
    published = {}
    if theory is not None:
        published = {"published": theory, "relation": "about", "tolerance": 0.1 * theory, "source": LINEAR}
    constant = {"published": 1, "relation": "about", "tolerance": 0.1, "source": LOGARITHM}
    return [
        *claims,
        Claim.mean(f"{name}: steps to part, for each tenth of noise", slopes[0], unit="steps", **published),
        Claim.mean(f"{name}: the same at low noise, to that at high noise", slopes[1] / slopes[2], **constant),
    ]


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
        parted = steps_to_part(values)
        counted = (parted > 0).all(axis=1)
        means = parted[counted].mean(axis=1)
        ends = np.array([bootstrap_ci(row) for row in parted[counted]]).reshape(-1, 2).T
        last.errorbar(noise[counted], means, np.abs(ends - means), marker=marker, capsize=4, label=name)
    last.set(xscale="log", xlabel="noise, in units of He's scale", ylabel="steps until the units part", title="to part")
    last.set_ylim(bottom=0)
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
    he, one, spreads, claims, diverged = {}, {}, {}, [], 0
    last = max(epochs)
    # He's weights have a variance of 2 / inputs, of which the mean over the units takes a share of 1 / units.
    apart = np.sqrt(2 * (1 - 1 / UNITS))
    for name in activations:
        from_he = train(dataset, name, "he", noise, seeds, epochs, parting=min(PARTING_EPOCHS, last))
        equal = train(dataset, name, "constant", CONSTANTS, seeds, [last])
        single = train(dataset, name, "he", [1.0], seeds, [last], units=1)
        he[name], one[name], spreads[name] = from_he.after, single.after[last], from_he.spread[1:] / apart
        claims += claims_of(name, noise, he[name], equal.after[last], one[name])
        claims += gradient_claims(name, zero_gradients(dataset, name, seeds))
        theory = predicted_growth(dataset.train) if name == "tanh" else None
        claims += parting_claims(name, noise[1:], steps_to_part(spreads[name]), theory)
        diverged += sum(group.diverged for group in (from_he, equal, single))
    (out / "zero_init.png").write_bytes(png(draw(noise, he, one)))
    (out / "zero_init_parting.png").write_bytes(png(draw_parting(noise[1:], spreads)))
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
