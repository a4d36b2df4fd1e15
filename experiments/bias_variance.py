"""Bias and variance over training sets and seeds: does a wider network vary more, or less, or both in turn?

Claims: bias falls and variance rises with the number of hidden units, and with the time of training; more examples
lower the variance, and weight decay lowers it at the price of bias. Source: Geman, Bienenstock and Doursat, Neural
networks and the bias/variance dilemma, Neural Computation 4 (1992). Variance falls with the width: Neal et al.,
arXiv:1810.08591. It rises and falls again: Yang et al., arXiv:2002.11328.

Definitions: a network f_ds is trained on set d of D, drawn anew, from seed s of S, which no other network has: it gives
the start and the order of the examples. With f* the target, <> the mean over test points and r_ds = f_ds - f*,

    error <r_ds^2> = bias^2 <(E r)^2> + variance over sets <Var_d E_s r> + variance over seeds <E_d Var_s r>.

Unbiased for any D and S: products of the residuals of two networks of other sets have the mean bias^2; of the same set
and other seeds, bias^2 and the variance over sets; of one network, all three. With S seeds of its own each training set
is a draw of all that chance decides: intervals are over sets, by the jackknife. (With the same S seeds in all sets they
would be conditional on these seeds.) The squares are summed over the outputs; on digits f* is the one-hot label, and
its noise a part of the bias. For 0-1 loss: Domingos, A unified bias-variance decomposition, ICML (2000). The main
prediction is what most networks say; bias: it is wrong; variance: a network says otherwise, which costs where the main
prediction is right, and helps where it is wrong and the network is right: error = bias + cost - help.

Protocol, regression: Friedman's first function of five inputs, standardised, with noise of 0.5; 200 examples for each
set out of a pool of 50,000, one hidden layer, ReLU, full batches, 3,000 steps of Adam at 0.01. Measured errors are on
targets with noise of their own for each set. Digits: 1,000 for each set out of MNIST's 60,000, 2,000 to test, one
hidden layer, ReLU, batch 50, 1,500 steps of Adam at 0.003, with cross-entropy, whose softmax is held against the labels
as in Neal et al., and with squared error, as in Yang et al. All start as in PyTorch. At a width of 64 also over the
epochs, over examples with as many steps, and over ridge penalties. Sets and seeds are the same at all settings.

Where a claim is of every step of an axis, half of the sets choose the two places that speak most against it, and the
others judge; the peak over widths is chosen likewise.

Command: python experiments/bias_variance.py --data idx:DIR
Wall time on two cores: 16 minutes for 5,632 networks, with tests and trials beside it; --quick 25 s.

Expected: the parts add up to the measured error (0.1 % [-0.8, 0.9] of it apart). Bias falls with the width. The total
variance is unimodal in all three cases: it rises to a peak, at 32 units in regression, 4 with cross-entropy and 16
with squared error, and falls again by 0.34, 0.12 and 0.20, most of it. So both papers are right of what they looked
at: from the peak on it falls (Neal et al.), and narrower networks, which cannot fit their examples, are needed to see
it rise (Yang et al.). At the peak training errors have come below 10 %. Most of the fall is that of the variance over
seeds; over sets it stays near its highest in regression and with cross-entropy, and halves with squared error. More
examples lower the variance of digits at every step; in regression there is a peak, too, at 200. Training for longer
trades bias for variance, and weight decay variance for bias.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from mlpjax import MLP, Dataset, Moment, Observe, Recipe, Split, UserError, load, progress_bar, sweep
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.dataset import without_validation
from mlpjax.data.mnist import load_mnist
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import jackknife, mean_band

NOISE, INPUTS = 0.5, 5
"""Of the regression."""
LOOKS = 8
"""Epochs after which networks are looked at."""
FITS = 2
"""Training error, in %, from which on networks count as fitting; in regression, the share of the noise's variance."""
TOLERANCE = 2
"""In %, of the sum of the parts."""
GEMAN = "Geman, Bienenstock and Doursat, Neural Computation 4 (1992)"
NEAL, YANG = "arXiv:1810.08591", "arXiv:2002.11328"
DOMINGOS = "Domingos, A unified bias-variance decomposition, ICML (2000)"
REGRESSION, DIGITS, SQUARED = "regression", "digits, cross-entropy", "digits, squared error"
WIDTH, EXAMPLES, EPOCHS, RIDGE = "hidden units", "training examples", "epochs", "ridge penalty"
BIAS, SETS, SEEDS, VARIANCE, ERROR = "bias²", "variance over sets", "variance over seeds", "variance", "error"
WRONG_BIAS, WRONG_VARIANCE, WRONG = "0-1 bias", "0-1 variance", "0-1 error"
SQUARED_PARTS, ZERO_ONE = (ERROR, BIAS, SETS, SEEDS), (WRONG, WRONG_BIAS, WRONG_VARIANCE)
COLOURS = dict(zip(SQUARED_PARTS, ("black", BLUE, VERMILLION, ORANGE), strict=True))
COLOURS |= dict(zip(ZERO_ONE, ("black", BLUE, VERMILLION), strict=True))
FALLS = "Variance falls with the width, from the narrowest network on"
UNIMODAL = "Variance rises with the width and falls again"
SETTLES = {
    (EXAMPLES, VARIANCE): "More training examples lower the variance.",
    (EPOCHS, BIAS): "Training for longer lowers the bias.",
    (EPOCHS, VARIANCE): "Training for longer raises the variance.",
    (RIDGE, BIAS): "Weight decay raises the bias.",
    (RIDGE, VARIANCE): "Weight decay lowers the variance.",
}
"""Of digits with cross-entropy."""
ADDS_UP = "Noise, bias and variance over sets and seeds add up to the error on new examples."


class Case(NamedTuple):
    """Examples to draw training sets from, and how networks learn them."""

    name: str
    dataset: Dataset
    recipe: Recipe
    steps: int
    """Of every training."""
    target: np.ndarray
    """What is predicted at the test points, without noise: [points, outputs]."""
    widths: Sequence[int]
    examples: Sequence[int]
    ridges: Sequence[float]
    """Above 0; none at all: only without."""
    width: int
    size: int
    """Hidden units and examples where another axis is looked along."""


class Seen(NamedTuple):
    """What is kept of the predictions of the networks of D training sets at one setting."""

    seeds: int
    """S, of each training set."""
    pairs: np.ndarray
    """Mean over test points of the product of the mean residuals of two sets, [D, D]."""
    error: np.ndarray
    """Mean squared residual, [D]."""
    measured: np.ndarray
    """The same against targets with noise, [D]."""
    votes: np.ndarray
    """How many of a set's networks say each class, [D, points, classes]."""
    labels: np.ndarray
    """[points]"""
    fit: np.ndarray
    """Training error in %; in regression the training loss, in % of the noise's variance: [D]."""

    def pick(self, rows: np.ndarray) -> "Seen":
        """Some of the training sets."""
        kept = [values[rows] for values in (self.error, self.measured, self.votes)]
        return Seen(self.seeds, self.pairs[np.ix_(rows, rows)], *kept, self.labels, self.fit[rows])


class Axis(NamedTuple):
    """Networks of one case along one axis."""

    case: str
    name: str
    places: Sequence[float]
    seen: Sequence[Seen]
    """At each place."""

    def values(self, part: str, rows: np.ndarray) -> np.ndarray:
        """Jackknife values of a part over some of the training sets, [places, sets]."""
        return np.stack([part_of(seen.pick(rows), part) for seen in self.seen])

    @property
    def sets(self) -> np.ndarray:
        """All training sets; the first half of them chooses where to look, the second judges."""
        return np.arange(len(self.seen[0].error))


def see(outputs: np.ndarray, target: np.ndarray, labels: np.ndarray, fit: np.ndarray, noise: float) -> Seen:
    """What is kept of predictions [D, S, points, outputs]; `fit` is [D * S]."""
    sets, seeds, points, classes = outputs.shape
    residuals = outputs.astype(float) - target
    means = residuals.mean(axis=1).reshape(sets, -1)
    drawn = [noise * np.random.default_rng((1, number)).standard_normal(target.shape) for number in range(sets)]
    noisy = residuals - np.stack(drawn)[:, None]
    said = outputs.argmax(axis=3)
    votes = np.stack([(said == label).sum(axis=1) for label in range(classes)], axis=2)
    return Seen(
        seeds,
        means @ means.T / points,
        (residuals**2).sum(axis=3).mean(axis=(1, 2)),
        (noisy**2).sum(axis=3).mean(axis=(1, 2)),
        votes,
        labels,
        fit.reshape(sets, seeds).mean(axis=1),
    )


def part_of(seen: Seen, part: str) -> np.ndarray:
    """A part of the error as jackknife values of the training sets, [D]; of the squared error their mean is unbiased.

    With m_d the mean residual of set d: bias^2 = mean over d != e of <m_d m_e>, which the jackknife makes of the mean
    over all pairs; products of two networks of one set, within_d = (S <m_d^2> - error_d) / (S - 1), exceed it by the
    variance over sets; and error_d exceeds within_d by that over seeds. Of the 0-1 loss the mean is the plain figure: a
    vote's bias is of no known order, and stays.
    """
    rows = np.arange(len(seen.error))
    if part in ZERO_ONE:
        values = jackknife(lambda rows: zero_one(seen, rows)[part], rows)
        return values - values.mean() + zero_one(seen, rows)[part]
    bias = jackknife(lambda rows: float(seen.pairs[np.ix_(rows, rows)].mean()), rows)
    within = (seen.seeds * np.diag(seen.pairs) - seen.error) / (seen.seeds - 1)
    found = {BIAS: bias, SETS: within - bias, SEEDS: seen.error - within, VARIANCE: seen.error - bias}
    return (found | {ERROR: seen.error})[part]


def zero_one(seen: Seen, rows: np.ndarray) -> dict[str, float]:
    """Domingos's parts of the 0-1 loss of some training sets, and the loss itself, in % of the test points."""
    shares = seen.votes[rows].sum(axis=0) / (len(rows) * seen.seeds)
    main, points = shares.argmax(axis=1), np.arange(len(shares))
    found = {
        WRONG_BIAS: main != seen.labels,
        WRONG_VARIANCE: 1 - shares[points, main],
        WRONG: 1 - shares[points, seen.labels],
    }
    return {name: 100 * float(values.mean()) for name, values in found.items()}


def friedman(x: np.ndarray) -> np.ndarray:
    """10 sin(pi x_1 x_2) + 20 (x_3 - 1/2)^2 + 10 x_4 + 5 x_5, less its mean over its deviation: [points, 1]."""
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return ((y - 14.41) / 4.88)[:, None].astype(np.float32)


def regression(pool: int, test: int, **size: Any) -> Case:
    """Friedman's function, uniform inputs, with noise in the training targets."""
    rng = np.random.default_rng(0)
    x = rng.random((pool + test, INPUTS), np.float32)
    y = friedman(x) + NOISE * rng.standard_normal((pool + test, 1), np.float32)
    splits = Split(x[:pool], y[:pool]), Split(x[:0], y[:0]), Split(x[pool:], y[pool:])
    recipe = Recipe("squared_error", learning_rate=0.01, batch_size=None, normalisation="feature")
    return Case(REGRESSION, Dataset("friedman", *splits), recipe, target=friedman(x[pool:]), **size)


def digits(name: str, dataset: Dataset, test: int, **size: Any) -> Case:
    """Digits, of which some evenly spread are for testing."""
    rows = np.linspace(0, len(dataset.test.y) - 1, test).astype(int)
    held = Split(dataset.test.x[rows], dataset.test.y[rows])
    data = replace(without_validation(dataset), test=held)
    loss = "squared_error" if name == SQUARED else "cross_entropy"
    return Case(name, data, Recipe(loss, learning_rate=0.003, batch_size=50), target=np.eye(10)[held.y], **size)


def train(
    case: Case,
    sets: int,
    seeds: int,
    on_progress: Callable[[int, int], None],
    *,
    width: int,
    size: int,
    ridges: Sequence[float],
) -> tuple[list[int], list[list[Seen]]]:
    """Train S networks on each of D training sets under every penalty: [ridges][epochs looked at]."""
    model = MLP((case.dataset.features, width, case.target.shape[1]), initializer="torch", bias="same")
    epochs = case.steps * (case.recipe.batch_size or size) // size
    looks = np.unique(np.geomspace(1, epochs, LOOKS).astype(int)).tolist()
    recipe = replace(case.recipe, epochs=epochs, eval_every=epochs, sample_size=size)

    def outputs(moment: Moment) -> Array:
        found = moment.task.predict(moment.state.variables, moment.task.prepare(moment.data.test.x))
        return jax.nn.softmax(found) if recipe.loss == "cross_entropy" else found

    swept = sweep(
        model,
        recipe,
        case.dataset,
        range(sets * seeds),
        {"ridge": ridges},
        freeze={"sample": np.arange(sets * seeds) // seeds},
        observe={"outputs": Observe(outputs, epochs=looks)},
        on_progress=on_progress,
    )
    found = []
    for trained in swept.trained:
        trained.require_finite()
        if case.name == REGRESSION:
            fit, labels, noise = 100 * trained.history["train_loss"][:, -1] / NOISE**2, np.zeros(0, int), NOISE
        else:
            fit, labels, noise = trained.error("train")[:, -1], case.dataset.test.y, 0.0
        shown = trained.observed["outputs"].reshape(sets, seeds, len(looks), *case.target.shape)
        found.append([see(shown[:, :, at], case.target, labels, fit, noise) for at in range(len(looks))])
    return looks, found


def settings(case: Case) -> list[dict[str, Any]]:
    """What is trained; the networks of other penalties and of other examples have one width."""
    widths = [
        {"width": width, "size": case.size, "ridges": (0.0, *case.ridges) if width == case.width else (0.0,)}
        for width in case.widths
    ]
    others = [size for size in case.examples if size != case.size]
    return widths + [{"width": case.width, "size": size, "ridges": (0.0,)} for size in others]


def axes_of(case: Case, sets: int, seeds: int) -> dict[str, Axis]:
    """Train along every axis; where two cross the networks are the same, and trained once."""
    seen: dict[tuple[int, int], list[list[Seen]]] = {}
    networks = [sets * seeds * len(setting["ridges"]) for setting in settings(case)]
    with progress_bar(case.name, "networks") as on_progress:
        for place, setting in enumerate(settings(case)):

            def on_setting(done: int, _: int, before: int = sum(networks[:place])) -> None:
                on_progress(before + done, sum(networks))

            looks, found = train(case, sets, seeds, on_setting, **setting)
            seen[setting["width"], setting["size"]] = found
            if (setting["width"], setting["size"]) == (case.width, case.size):
                times = looks
    base = seen[case.width, case.size]
    made = [
        Axis(case.name, WIDTH, case.widths, [seen[width, case.size][0][-1] for width in case.widths]),
        Axis(case.name, EXAMPLES, case.examples, [seen[case.width, size][0][-1] for size in case.examples]),
        Axis(case.name, EPOCHS, times, base[0]),
        Axis(case.name, RIDGE, (0.0, *case.ridges), [rows[-1] for rows in base]),
    ]
    return {axis.name: axis for axis in made if len(axis.places) > 1}


def compare(
    axis: Axis, part: str, high: int, low: int, rows: np.ndarray, told: str, relation: str, source: str, settles: str
) -> Claim:
    """A part at one place of an axis above that at another, over some training sets."""
    values = axis.values(part, rows)
    name = f"{axis.case}: {part}, {axis.places[high]:,g} above {axis.places[low]:,g} {axis.name}{told}"
    stated: Any = {"published": 0, "relation": relation, "source": source, "settles": settles}
    return Claim.difference(name, values[high], values[low], unit="points" * (part in ZERO_ONE), **stated)


def ends(axis: Axis, part: str, relation: str, source: str, settles: str = "") -> Claim:
    """Whether a part is higher (above) or lower (below) at the last place than at the first."""
    return compare(axis, part, len(axis.places) - 1, 0, axis.sets, "", relation, source, settles)


def everywhere(axis: Axis, part: str, relation: str, source: str, settles: str = "") -> Claim:
    """Whether a part rises (above) or falls (below) from every place to every later one: the pair most against it."""
    choosers, judges = np.split(axis.sets, [len(axis.sets) // 2])
    mean = axis.values(part, choosers).mean(axis=1)
    against = (mean[None] - mean[:, None]) * (1 if relation == "below" else -1)
    against[np.tril_indices(len(mean))] = -np.inf
    low, high = map(int, np.unravel_index(against.argmax(), against.shape))
    told = f", the pair most against a {'fall' if relation == 'below' else 'rise'}"
    return compare(axis, part, high, low, judges, told, relation, source, settles)


def peaks(axis: Axis, part: str, settles: str = "") -> list[Claim]:
    """Whether a part is higher somewhere inside than at both ends of an axis; the end that is higher settles it."""
    choosers, judges = np.split(axis.sets, [len(axis.sets) // 2])
    mean = axis.values(part, choosers).mean(axis=1)
    peak, last = 1 + int(mean[1:-1].argmax()), len(mean) - 1
    higher = 0 if mean[0] > mean[-1] else last
    told = ", the highest inside"
    return [compare(axis, part, peak, end, judges, told, "above", YANG, settles * (end == higher)) for end in (0, last)]


def width_claims(axis: Axis) -> list[Claim]:
    """What is said of bias and variance against the width, and whether networks fit their training sets."""
    main, fit = axis.case == DIGITS, np.stack([seen.fit for seen in axis.seen])
    fitness = "training loss, of the noise" if axis.case == REGRESSION else "training error"
    claims = [
        ends(axis, BIAS, "below", GEMAN, "Bias falls with the width." * main),
        everywhere(axis, BIAS, "below", YANG),
        everywhere(axis, VARIANCE, "above", GEMAN, "Variance rises with the width." * main),
        everywhere(axis, VARIANCE, "below", NEAL, f"{FALLS}: {axis.case}."),
        *peaks(axis, VARIANCE, f"{UNIMODAL}: {axis.case}."),
        *(claim for part in (SETS, SEEDS) for claim in peaks(axis, part)),
        Claim.mean(f"{axis.case}: {fitness}, {axis.places[-1]} hidden units", fit[-1], unit="%"),
    ]
    wide = np.flatnonzero(fit.mean(axis=1) <= FITS)
    if len(wide) > 1:
        fitting = axis._replace(places=[axis.places[at] for at in wide], seen=[axis.seen[at] for at in wide])
        claims += [ends(fitting, part, "below", NEAL) for part in (VARIANCE, SETS, SEEDS)]
    if axis.case != REGRESSION:
        claims += [ends(axis, WRONG_BIAS, "below", DOMINGOS), everywhere(axis, WRONG_VARIANCE, "below", DOMINGOS)]
        claims += peaks(axis, WRONG_VARIANCE)
    return claims


def other_claims(axis: Axis) -> list[Claim]:
    """What is said of bias and variance along another axis: from end to end, and at every step."""
    claims = []
    for part in (BIAS, VARIANCE):
        relation = "above" if (axis.name, part) in ((EPOCHS, VARIANCE), (RIDGE, BIAS)) else "below"
        settles = SETTLES.get((axis.name, part), "") * (axis.case == DIGITS)
        claims += [ends(axis, part, relation, GEMAN, settles), everywhere(axis, part, relation, GEMAN)]
    return claims


def sum_claim(axis: Axis) -> Claim:
    """The sum of the parts beside the error on targets with noise of their own, the mean over places, in %."""
    sums = NOISE**2 + sum(axis.values(part, axis.sets) for part in (BIAS, SETS, SEEDS))
    measured = np.stack([seen.measured for seen in axis.seen])
    off = (100 * (sums - measured) / measured.mean(axis=1, keepdims=True)).mean(axis=0)
    stated: Any = {"published": 0, "relation": "about", "tolerance": TOLERANCE, "theorem": True, "settles": ADDS_UP}
    stated |= {"tolerance_source": "ours, before any run", "source": GEMAN}
    return Claim.mean(f"{axis.case}: noise, bias² and variance above the measured error", off, unit="%", **stated)


def panel(axes: Axes, axis: Axis, parts: Sequence[str], title: str = "") -> None:
    """Some parts along an axis, with their 95 % intervals over training sets."""
    for part in parts:
        low, mean, high = mean_band(axis.values(part, axis.sets).T)
        axes.plot(axis.places, mean, color=COLOURS[part], label=part, marker="o", ms=4)
        axes.fill_between(axis.places, low, high, color=COLOURS[part], alpha=0.25, lw=0)
    scale(axes, axis)
    axes.set(ylabel="share of test digits (%)" if parts == ZERO_ONE else "squared error", title=axis.case + title)
    axes.set_ylim(bottom=0)


def scale(axes: Axes, axis: Axis) -> None:
    """A logarithmic axis of places, that of penalties with its 0."""
    axes.set_xscale("symlog", linthresh=axis.places[1]) if axis.name == RIDGE else axes.set_xscale("log")
    if axis.name != RIDGE:
        axes.xaxis.set_major_locator(FixedLocator(axis.places) if axis.name == WIDTH else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(axis.name)


@mpl.rc_context(STYLE)
def draw_widths(found: Mapping[str, Mapping[str, Axis]], title: str) -> Figure:
    """The parts of both errors by the width, and how well networks fit."""
    figure = Figure(figsize=(19, 11))
    top, (fits, *bottom) = figure.subplots(2, 3)
    for axes, case in zip(top, found.values(), strict=True):
        panel(axes, case[WIDTH], SQUARED_PARTS)
    for axes, name in zip(bottom, (DIGITS, SQUARED), strict=True):
        panel(axes, found[name][WIDTH], ZERO_ONE, ": 0-1 loss")
    for (case, axis), colour in zip(found.items(), (GREEN, BLUE, VERMILLION), strict=True):
        fit = [seen.fit.mean() for seen in axis[WIDTH].seen]
        fits.plot(axis[WIDTH].places, fit, marker="o", ms=4, color=colour, label=case)
    scale(fits, found[REGRESSION][WIDTH])
    fits.set(ylabel="error (%); regression: loss / noise (%)", title="on the training sets")
    for axes in (top[0], fits, bottom[0]):
        axes.legend()
    figure.suptitle(title)
    return figure


@mpl.rc_context(STYLE)
def draw_others(found: Mapping[str, Mapping[str, Axis]], title: str) -> Figure:
    """The parts of the squared error by examples, epochs and penalty."""
    figure = Figure(figsize=(19, 11))
    for row, case in zip(figure.subplots(2, 3), (REGRESSION, DIGITS), strict=True):
        for axes, name in zip(row, (EXAMPLES, EPOCHS, RIDGE), strict=True):
            panel(axes, found[case][name], SQUARED_PARTS)
        row[1].legend()
    figure.suptitle(title)
    return figure


def work(case: Case, setting: dict[str, Any]) -> float:
    """Operations in products of training one network."""
    widths = case.dataset.features, setting["width"], case.target.shape[1]
    return flops_per_example(widths) * case.steps * (case.recipe.batch_size or setting["size"])


def settle(cases: Sequence[Case], sets: int, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if sets < 6:
        raise UserError(f"--seeds {sets}: give at least 6 training sets; half of them choose what the others are asked")
    rate, begin = float32_rate(), time.perf_counter()
    found = {case.name: axes_of(case, sets, seeds) for case in cases}
    seconds = time.perf_counter() - begin
    title = f"mean over {sets} training sets with {seeds} seeds each, with 95 % intervals over training sets"
    (out / "bias_variance.png").write_bytes(png(draw_widths(found, title)))
    (out / "bias_variance_others.png").write_bytes(png(draw_others(found, title)))
    claims = [sum_claim(found[REGRESSION][WIDTH])]
    for axes in found.values():
        claims += width_claims(axes[WIDTH])
        claims += [claim for axis in axes.values() if axis.name != WIDTH for claim in other_claims(axis)]
    trained = [(case, setting) for case in cases for setting in settings(case)]
    networks = sets * seeds * sum(len(setting["ridges"]) for _, setting in trained)
    operations = sets * seeds * sum(len(setting["ridges"]) * work(case, setting) for case, setting in trained)
    config = {
        "data": [case.dataset.name for case in cases],
        "networks": networks,
        "seeds of a training set": seeds,
        "widths": {case.name: [*case.widths] for case in cases},
        "training error by width (%; regression: loss, % of the noise's variance)": {
            name: [float(seen.fit.mean()) for seen in axes[WIDTH].seen] for name, axes in found.items()
        },
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {operations / 1e9:,.0f} GFLOP in products, "
            f"{operations / 1e7 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s over the whole of "
            "the time, compiling and evaluating included.",
        ],
    }
    return claims, config


def body(sets: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k."""
    whole = load("mnist5k") if quick else load_mnist(data)
    widths: Any = (2, 16, 64) if quick else (1, 2, 4, 8, 16, 32, 64, 128, 256)
    of_digits: Any = {"widths": widths, "width": 64, "size": 200 if quick else 1000, "steps": 200 if quick else 1500}
    of_digits |= {"test": 500 if quick else 2000}
    examples, ridges = ((100, 200), (1e-3,)) if quick else ((250, 500, 1000, 2000, 4000), (1e-5, 1e-4, 1e-3, 1e-2))
    made = regression(
        pool=50_000,
        test=4000,
        steps=400 if quick else 3000,
        widths=widths if quick else (*widths, 512),
        width=64,
        size=200,
        examples=(100, 200) if quick else (50, 100, 200, 400, 800),
        ridges=ridges,
    )
    cases = [
        made,
        digits(DIGITS, whole, examples=examples, ridges=ridges, **of_digits),
        digits(SQUARED, whole, examples=(of_digits["size"],), ridges=(), **of_digits),
    ]
    return settle(cases, sets, 3 if quick else 8, out)


if __name__ == "__main__":
    shared = "the test points, and the pools of 50,000 examples and of MNIST's 60,000 digits that training sets are of"
    run_experiment("bias_variance", __doc__, body, full_seeds=16, quick_seeds=6, needs=MNIST, shared=shared)
