"""Which hyperparameters matter, beside the seed; and what of the seed it is that matters.

Claims: "Learning rate (LR), LR scheduler, initialization all effect training curves", and a list of what is chosen and
not learned: minibatch size, normalisation, epochs, hidden layers and units, learning rate, "(random seed, why?)", loss,
weighting terms, activation, regularisation, initialisation, optimizer. Source: STAT 453 (2025), L09, Parameters vs
Hyperparameters, and Diagnosing loss curves. Of all that chance decides, the data that a network is trained and tested
on makes its accuracy vary most, more than the initialisation and the order of the data. Source: Bouthillier et al.,
Accounting for Variance in Machine Learning Benchmarks, arXiv:2103.03098.

Protocol, knobs: 784-64-64-10, ReLU, He's start, Adam at 0.001, batch 128, 20 epochs on the 3,500 / 1,000 digits of
mnist5k. From this base point one knob at a time is turned to one to four other settings, with the same seeds at each;
settings that differ in a number alone are one compiled program. Optimizers have a usual learning rate each. Of every
knob: which part of the variation of the test error is the setting's, which the seed's, and which the seed's at some
settings and not at others (analysis of variance, seeds as blocks; shares with jackknife intervals; F-test, p by Holm
over the knobs). How far the worst setting is above the best: the two are chosen on four seeds of their own, and
compared on the others, paired. A training curve is log10 of the training loss, the mean over four looks, evenly spaced.

Protocol, seed: the base point with dropout 0.2, each network on half of the training digits, drawn by itself. Groups
of 128 networks in which a single source varies (initialisation, order, dropout or sample), and one in which all do. A
source that does not vary is one draw for all, so the variance of a group is that beside one draw of the others. All
networks have the same test digits: in the paper the test data vary, too.

Command: python experiments/hyperparameters.py
Wall time on two cores: 7 minutes (beside other work); --quick 40 s.

Expected: the base point errs on 6.75 % [6.43, 7.07] with a standard deviation of 0.47 points over seeds. Of all
settings together, 95 % of the variation is the setting's, 0.5 % the seed's and 4 % the seed's at some settings and
not at others. Most is at stake in the minibatch size (all digits at once: 15 points above the best), the scale of the
start (7), the learning rate (5), layers (4) and units (3); nothing in the loss, and little in the schedule (0.4).
Learning rate, schedule and initialiser change the training curve of every seed. Sources of chance that vary alone
give variances of 0.27 (the sample), 0.22 (initialisation), 0.12 (order) and 0.12 points squared (dropout), all
together 0.34: the sample matters more than the order; whether more than the initialisation stays undecided. The four
add up to twice as much as all together, because they interact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mlpjax import MLP, Dataset, Recipe, Trained, UserError, load, progress_bar, sweep, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.effects import REST, SEED, effects
from mlpjax.report.figures import BLUE, GREEN, SKY, STYLE, VERMILLION, png
from mlpjax.stats import holm, jackknife, mean_band

CHOOSERS = 4
"""Seeds that choose the best and the worst setting, and count for nothing else."""
UNITS, LAYERS, EPOCHS = 64, 2, 20
DROPOUT, GROUP = 0.2, 8
"""Of the seed's sources: the dropout, and the networks of a group for each seed of the knobs."""
CURVES = ("learning rate", "schedule", "initialiser")
"""Knobs that the deck says affect the training curve."""
SOURCES = {"initialisation": "init", "order": "order", "dropout": "dropout", "sample": "sample"}
ALL = "all"
SETTING = "setting"
PARTS = {SETTING: VERMILLION, SEED: BLUE, REST: SKY}
DECK = "STAT 453 (2025), L09, Diagnosing loss curves"
PAPER = "Bouthillier et al., arXiv:2103.03098"
TUNED = "The learning rate, its schedule and the initialiser all affect the training curve."
SAMPLED = {
    "initialisation": "Which digits it learns makes a network's test error vary more than its initialisation does.",
    "order": "Which digits it learns makes a network's test error vary more than their order does.",
}


class Knob(NamedTuple):
    """A hyperparameter and its settings."""

    field: str
    """Of the model or the recipe."""
    values: dict[str, Any]
    """By their labels."""
    base: str
    """The label of the base point's."""


class Turned(NamedTuple):
    """What became of networks at the settings of one knob: arrays [settings, CHOOSERS + seeds]."""

    error: np.ndarray
    """Test error, in %."""
    curve: np.ndarray
    """log10 of the training loss, the mean over the looks."""


def base_point(dataset: Dataset, epochs: int) -> tuple[MLP, Recipe]:
    """The network and the recipe about which the knobs are turned."""
    return MLP((dataset.features, *[UNITS] * LAYERS, dataset.classes)), Recipe(epochs=epochs, eval_every=epochs // 4)


def rescaled(make: Callable[..., Any], factor: float) -> Callable[[optax.Schedule], Any]:
    """An optimizer whose learning rate is that of the recipe times a factor."""
    return lambda rate: make(lambda step: factor * rate(step))


def knobs(dataset: Dataset, epochs: int) -> dict[str, Knob]:
    """Every hyperparameter of the deck's list, in its order."""

    def values(*settings: Any) -> dict[str, Any]:
        return {value if isinstance(value, str) else f"{value:g}": value for value in settings}

    def widths(*hidden: int) -> tuple[int, ...]:
        return dataset.features, *hidden, dataset.classes

    layers = {str(count): widths(*[UNITS] * count) for count in (0, 1, LAYERS, 4)}
    units = {str(count): widths(*[count] * LAYERS) for count in (16, UNITS, 256)}
    losses = {
        "cross-entropy": "cross_entropy",
        "one against the rest": "binary_cross_entropy",
        "squared error": "squared_error",
    }
    optimizers = {
        "SGD at 0.1": rescaled(optax.sgd, 100),
        "momentum at 0.01": rescaled(lambda rate: optax.sgd(rate, momentum=0.9), 10),
        "RMSprop": "rmsprop",
        "Adam": "adam",
    }
    return {
        "minibatch size": Knob("batch_size", values(32, 128, 512) | {"all": None}, "128"),
        "normalisation": Knob("normalisation", values("range", "feature", "channel"), "range"),
        "epochs": Knob("epochs", values(epochs // 4, epochs, 4 * epochs), f"{epochs}"),
        "hidden layers": Knob("widths", layers, f"{LAYERS}"),
        "hidden units": Knob("widths", units, f"{UNITS}"),
        "learning rate": Knob("learning_rate", values(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), "0.001"),
        "schedule": Knob("schedule", values("constant", "step", "cosine", "one-cycle", "warm-up"), "constant"),
        "loss": Knob("loss", losses, "cross-entropy"),
        "ridge": Knob("ridge", values(0.0, 1e-4, 1e-3, 1e-2), "0"),
        "label smoothing": Knob("label_smoothing", values(0.0, 0.1, 0.3), "0"),
        "dropout": Knob("dropout", values(0.0, 0.2, 0.5), "0"),
        "activation": Knob("activation", values("sigmoid", "tanh", "relu", "leaky_relu"), "relu"),
        "initialiser": Knob("initializer", values("torch", "lecun", "glorot", "he"), "he"),
        "scale of the start": Knob("scale", values(0.1, 0.3, 1.0, 3.0), "1"),
        "optimizer": Knob("optimizer", optimizers, "Adam"),
    }


def test_error(trained: Trained) -> np.ndarray:
    """Of every network at the end, in %."""
    trained.require_finite()
    return trained.error()[:, -1]


def training_curve(trained: Trained) -> np.ndarray:
    """log10 of the training loss, the mean over all looks but that at the start."""
    return np.log10(trained.history["train_loss"][:, 1:].astype(float)).mean(axis=1)


def turn(dataset: Dataset, epochs: int, turned: Mapping[str, Knob], seeds: int) -> dict[str, Turned]:
    """Train the base point, and every other setting of each knob, from the same seeds."""
    (model, recipe), all_seeds = base_point(dataset, epochs), range(CHOOSERS + seeds)
    with progress_bar("base point", "looks") as on_progress:
        base = train_many(model, recipe, dataset, all_seeds, on_progress=on_progress)
    found = {}
    for name, knob in turned.items():
        others = {knob.field: [value for label, value in knob.values.items() if label != knob.base]}
        with progress_bar(name, "looks") as on_progress:
            networks = sweep(model, recipe, dataset, all_seeds, others, on_progress=on_progress).trained
        networks.insert([*knob.values].index(knob.base), base)
        found[name] = Turned(np.stack([*map(test_error, networks)]), np.stack([*map(training_curve, networks)]))
    return found


def by_source(dataset: Dataset, model: MLP, recipe: Recipe, networks: int) -> dict[str, np.ndarray]:
    """Test errors, in %, of groups in which one source of chance varies, or all."""
    found = {}
    for name in (*SOURCES, ALL):
        freeze = [key for source, key in SOURCES.items() if name not in (source, ALL)]
        with progress_bar(f"varies: {name}", "looks") as on_progress:
            trained = train_many(model, recipe, dataset, range(networks), freeze=freeze, on_progress=on_progress)
        found[name] = test_error(trained)
    return found


def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The settings with the highest and the lowest mean, chosen on the first seeds, on the others: [seeds] each."""
    chosen, rest = values[:, :CHOOSERS].mean(axis=1), values[:, CHOOSERS:]
    return rest[chosen.argmax()], rest[chosen.argmin()]


def shares(values: np.ndarray) -> dict[str, np.ndarray]:
    """Parts of the variation, in %, as jackknife values of the seeds; `values` is [settings, seeds]."""

    def share(part: str) -> Callable[[np.ndarray], float]:
        return lambda some: 100 * next(effect.share for effect in effects(some, [SETTING]) if effect.name == part)

    return {part: jackknife(share(part), values) for part in PARTS}


def corrected(found: Mapping[str, Turned]) -> dict[str, float]:
    """The p-value of each knob by the F-test on the test error, corrected by Holm's method for their number."""
    return dict(zip(found, holm([effects(t.error[:, CHOOSERS:], [SETTING])[0].p for t in found.values()]), strict=True))


def deviations(values: np.ndarray) -> np.ndarray:
    """Squared deviations times n / (n - 1): their mean is the variance."""
    return (values - values.mean()) ** 2 * len(values) / (len(values) - 1)


def every_setting(found: Mapping[str, Turned], turned: Mapping[str, Knob]) -> np.ndarray:
    """Test errors of the base point and, once each, of all other settings, [settings, seeds]."""
    others = [
        error[CHOOSERS:]
        for name, knob in turned.items()
        for label, error in zip(knob.values, found[name].error, strict=True)
        if label != knob.base
    ]
    return np.stack([base_error(found, turned), *others])


def base_error(found: Mapping[str, Turned], turned: Mapping[str, Knob]) -> np.ndarray:
    """Test error of the base point, in %."""
    name, knob = next(iter(turned.items()))
    return found[name].error[[*knob.values].index(knob.base), CHOOSERS:]


def knob_claims(found: Mapping[str, Turned], turned: Mapping[str, Knob]) -> list[Claim]:
    """What the settings of each knob do to the error and to the curve, beside what the seed does."""
    base, affects = base_error(found, turned), {"published": 0, "relation": "above", "source": DECK}
    claims = [
        Claim.mean("base point: test error", base, unit="%"),
        Claim.mean("base point: variance of the test error over seeds", deviations(base), unit="points²"),
    ]
    for name, (error, _) in found.items():
        claims.append(Claim.difference(f"{name}: test error, worst setting above best", *spread(error), unit="points"))
        part = shares(error[:, CHOOSERS:])[SETTING]
        claims.append(Claim.mean(f"{name}: share of the setting in the test error's variation", part, unit="%"))
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = {name: spread(found[name].curve) for name in CURVES}
    claims += [
        Claim.difference(f"{name}: training curve, highest setting above lowest", *pair, unit="decades", **affects)
        for name, pair in curves.items()
    ]
    least = np.min([high - low for high, low in curves.values()], axis=0)
    name = f"training curve, highest setting above lowest: the least of {', '.join(CURVES)}"
    claims.append(Claim.mean(name, least, unit="decades", **affects, settles=TUNED))
    names = {
        SETTING: "the setting",
        SEED: "the seed at all settings alike",
        REST: "the seed at some settings and not at others",
    }
    return claims + [
        Claim.mean(f"all settings: share of {names[part]} in the test error's variation", values, unit="%")
        for part, values in shares(every_setting(found, turned)).items()
    ]


def source_claims(errors: Mapping[str, np.ndarray]) -> list[Claim]:
    """How much each source of chance makes the test error vary, and whether these variances add up."""
    parts = {name: deviations(values) for name, values in errors.items()}
    sample = parts["sample"]
    return [
        *(
            Claim.mean(f"{name} varies: variance of the test error", part, unit="points²")
            for name, part in parts.items()
        ),
        *(
            Claim.difference(
                f"variance of the test error: sample varies, above {name} varies",
                sample,
                parts[name],
                paired=False,
                unit="points²",
                published=0,
                relation="above",
                source=PAPER,
                settles=SAMPLED.get(name, ""),
            )
            for name in SOURCES
            if name != "sample"
        ),
        # Paired: a network of each group shares the draw of its source with that network where all vary.
        Claim.difference(
            "variance of the test error: the sum of the four sources' above that where all vary",
            np.sum([parts[name] for name in SOURCES], axis=0),
            parts[ALL],
            unit="points²",
        ),
    ]


def draw_settings(axes: Axes, rows: Sequence[str], found: Mapping[str, Turned], turned: Mapping[str, Knob]) -> None:
    """Mean test error of every setting, a row for each knob; the lowest and the highest with their labels."""
    beyond: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 11}
    ticks = []
    for height, name in enumerate(rows):
        knob, (low, mean, high) = turned[name], mean_band(found[name].error[:, CHOOSERS:].T)
        labels, reach = [*knob.values], np.array([mean - low, high - mean])
        for place, colour in enumerate(mpl.colormaps["viridis"](np.linspace(0, 0.9, len(labels)))):
            style: dict[str, Any] = {"color": colour, "marker": "D" if labels[place] == knob.base else "o", "ms": 8}
            axes.errorbar(mean[place], height, xerr=reach[:, [place]], capsize=4, **style)
        least, most = mean.argmin(), mean.argmax()
        axes.annotate(labels[least], (low.min(), height), (-8, 0), ha="right", **beyond)
        axes.annotate(labels[most], (high.max(), height), (8, 0), ha="left", **beyond)
        ticks.append(f"{name}\n{', '.join(labels)}")
    base = base_error(found, turned)
    axes.axvspan(base.mean() - base.std(ddof=1), base.mean() + base.std(ddof=1), color="black", alpha=0.12, lw=0)
    axes.set_yticks(range(len(rows)), labels=ticks, fontsize=11)
    axes.set(xscale="log", xlabel="test error (%)", ylabel="hyperparameter, and its settings from dark to light")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.3)
    axes.set_title(
        "mean of each setting, with its 95 % interval\ndiamonds: base point; band: one sd of its seeds", fontsize=12
    )


def draw_parts(axes: Axes, rows: Sequence[str], found: Mapping[str, Turned]) -> None:
    """The parts of the variation of each knob, as bars that add up to 100 %, with the p-value of the settings."""
    parts = [{part.name: 100 * part.share for part in effects(found[n].error[:, CHOOSERS:], [SETTING])} for n in rows]
    left = np.zeros(len(rows))
    for (part, colour), name in zip(PARTS.items(), (SETTING, SEED, "seed at some settings"), strict=True):
        widths = np.array([found[part] for found in parts])
        axes.barh(range(len(rows)), widths, left=left, color=colour, label=name)
        left += widths
    for height, p in enumerate(map(corrected(found).get, rows)):
        axes.annotate("p < 0.001" if p < 0.001 else f"p = {p:.2g}", (103, height), va="center", fontsize=11)
    axes.set(xlim=(0, 140), xticks=range(0, 101, 25), xlabel="share of the variation (%)", ylabel="hyperparameter")
    axes.set_yticks(range(len(rows)), labels=[])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def draw_sources(axes: Axes, errors: Mapping[str, np.ndarray]) -> None:
    """Variance of the test error by its source; beside that of all together, the sum of the four."""
    parts = {name: deviations(values) for name, values in errors.items()}
    parts["sum of\nthe four"] = np.sum([parts[name] for name in SOURCES], axis=0)
    low, mean, high = mean_band(np.stack([*parts.values()], axis=1))
    colours = [*[BLUE] * len(SOURCES), VERMILLION, GREEN]
    for place, colour in enumerate(colours):
        reach = [[mean[place] - low[place]], [high[place] - mean[place]]]
        axes.errorbar(place, mean[place], reach, color=colour, marker="o", ms=9, capsize=5)
    axes.set_xticks(range(len(parts)), labels=parts, rotation=40, ha="right")
    axes.set(xlabel="what varies", ylabel="variance of the test error (points²)", ylim=(0, None))
    axes.set_title(f"the seed, by source: {len(errors[ALL])} networks each,\nwith 95 % intervals", fontsize=12)


@mpl.rc_context(STYLE)
def draw(found: Mapping[str, Turned], turned: Mapping[str, Knob], errors: Mapping[str, np.ndarray]) -> Figure:
    """Every setting of every knob, the parts of the variation, and the sources of the seed's."""
    figure = Figure(figsize=(20, 3 + 0.62 * max(len(found), 6)))
    left, middle, right = figure.subplots(1, 3, width_ratios=[2, 1, 1])
    rows = sorted(found, key=lambda name: np.ptp(found[name].error[:, CHOOSERS:].mean(axis=1)))
    draw_settings(left, rows, found, turned)
    draw_parts(middle, rows, found)
    draw_sources(right, errors)
    for axes in (left, middle):
        axes.set_ylim(-0.7, len(rows) - 0.3)
    return figure


def settle(
    dataset: Dataset, epochs: int, names: Sequence[str], seeds: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 3:
        raise UserError(f"--seeds {seeds}: give at least 3; the interval of a share leaves out one after the other")
    every = knobs(dataset, epochs)
    turned = {name: every[name] for name in names or every}
    found = turn(dataset, epochs, turned, seeds)
    model, recipe = base_point(dataset, epochs)
    chance = replace(model, dropout=(DROPOUT,)), replace(recipe, sample_size=len(dataset.train.y) // 2)
    errors = by_source(dataset, *chance, GROUP * seeds)
    (out / "hyperparameters.png").write_bytes(png(draw(found, turned, errors)))
    p = corrected(found)
    without = ", ".join(name for name in found if p[name] >= 0.05)
    told = f"By the F-test with Holm's correction for {len(found)} hyperparameters, the test error depends on "
    config = {
        "data": dataset.name,
        "epochs": epochs,
        "notes": [told + (f"all but {without} (p at least 0.05)." if without else "every one of them (p < 0.05).")],
        "standard deviation over seeds at the base point, in points": float(base_error(found, turned).std(ddof=1)),
        "knobs": {
            name: {
                "settings": [*turned[name].values],
                "base": turned[name].base,
                "mean test error": error[:, CHOOSERS:].mean(axis=1).tolist(),
                "parts": {part.name: part.share for part in effects(error[:, CHOOSERS:], [SETTING])},
                "p": p[name],
            }
            for name, (error, _) in found.items()
        },
    }
    return [*knob_claims(found, turned), *source_claims(errors)], config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(load("mnist5k"), 4 if quick else EPOCHS, CURVES if quick else (), seeds, out)


if __name__ == "__main__":
    shared = "one split of mnist5k, 1,000 test digits, and in a group of the seed's sources one draw of what is frozen"
    run_experiment("hyperparameters", __doc__, body, full_seeds=16, quick_seeds=4, shared=shared)
