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
set out of a pool of 50,000, one hidden layer, ReLU, full batches, 4,000 steps of Adam at 0.01. Measured errors are on
targets with noise of their own for each set. Digits: 1,000 for each set out of MNIST's 60,000, 2,000 to test, one
hidden layer, ReLU, batch 50, 2,000 steps of Adam at 0.003, with cross-entropy, whose softmax is held against the labels
as in Neal et al., and with squared error, as in Yang et al. All start as in PyTorch. At a width of 64 also over the
epochs, over examples with as many steps, and over ridge penalties. Sets and seeds are the same at all settings.

Where a claim is of every step of an axis, half of the sets choose the two places that speak most against it, and the
others judge; the peak over widths is chosen likewise.

Command: python experiments/bias_variance.py --data idx:DIR
Wall time on two cores: TODO

Expected: TODO
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

from mlpjax import MLP, Dataset, Moment, Observe, Recipe, Split, UserError, load, progress_bar, sweep
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.mnist import load_mnist
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import jackknife, mean_band

NOISE, INPUTS = 0.5, 5
"""Of the regression."""
LOOKS = 8
"""Epochs after which networks are looked at."""
FITS = 1
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
COLOURS = {BIAS: BLUE, SETS: VERMILLION, SEEDS: ORANGE, ERROR: "black", WRONG_BIAS: BLUE, WRONG_VARIANCE: VERMILLION}
COLOURS |= {WRONG: "black", VARIANCE: GREEN}
FALLS = "Variance falls with the width, from the narrowest network on"
UNIMODAL = "Variance rises with the width and falls again"
SETTLES = {
    (WIDTH, BIAS): "Bias falls with the width.",
    (EXAMPLES, VARIANCE): "More training examples lower the variance.",
    (EPOCHS, BIAS): "Training for longer lowers the bias.",
    (EPOCHS, VARIANCE): "Training for longer raises the variance.",
    (RIDGE, BIAS): "Weight decay raises the bias.",
    (RIDGE, VARIANCE): "Weight decay lowers the variance.",
}
"""Of digits with cross-entropy."""
RISES = "Variance rises with the width."
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
    """None: the axes but that of widths are left out."""
    ridges: Sequence[float]
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
    """Networks along one axis."""

    name: str
    places: Sequence[float]
    seen: list[Seen]
    """At each place."""

    def values(self, part: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Jackknife values of a part over training sets, all or some of them: [places, sets]."""
        return np.stack([parts(seen if rows is None else seen.pick(rows))[part] for seen in self.seen])


def see(outputs: np.ndarray, target: np.ndarray, labels: np.ndarray, fit: np.ndarray, noise: float) -> Seen:
    """What is kept of predictions [D, S, points, outputs]; `fit` is [D * S]."""
    sets, seeds, points, classes = outputs.shape
    residuals = outputs.astype(float) - target
    means = residuals.mean(axis=1).reshape(sets, -1)
    drawn = [noise * np.random.default_rng(number).standard_normal(target.shape) for number in range(sets)]
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


def parts(seen: Seen) -> dict[str, np.ndarray]:
    """The parts of the error as jackknife values of the training sets, whose means are unbiased: [D] each.

    With m_d the mean residual of set d: bias^2 = mean over d != e of <m_d m_e>; products of two networks of one set,
    within_d = (S <m_d^2> - error_d) / (S - 1), exceed it by the variance over sets; and error_d exceeds within_d by
    that over seeds.
    """
    rows = np.arange(len(seen.error))
    within = (seen.seeds * np.diag(seen.pairs) - seen.error) / (seen.seeds - 1)

    def bias(rows: np.ndarray) -> float:
        pairs = seen.pairs[np.ix_(rows, rows)]
        return float((pairs.sum() - np.trace(pairs)) / (len(rows) * (len(rows) - 1)))

    squared = jackknife(bias, rows)
    found = {BIAS: squared, SETS: within - squared, SEEDS: seen.error - within}
    found |= {VARIANCE: seen.error - squared, ERROR: seen.error}
    if seen.votes.shape[2] > 1:
        wrong = {
            name: jackknife(lambda rows, name=name: votes(seen, rows)[name], rows) for name in (*votes(seen, rows),)
        }
        found |= wrong
    return found


def votes(seen: Seen, rows: np.ndarray) -> dict[str, float]:
    """Domingos's parts of the 0-1 loss of some training sets, in %."""
    counts = seen.votes[rows].sum(axis=0)
    networks = len(rows) * seen.seeds
    main = counts.argmax(axis=1)
    points = np.arange(len(main))
    agree, right = counts[points, main] / networks, counts[points, seen.labels] / networks
    return {
        WRONG_BIAS: 100 * float((main != seen.labels).mean()),
        WRONG_VARIANCE: 100 * float((1 - agree).mean()),
        WRONG: 100 * float((1 - right).mean()),
    }


def friedman(x: np.ndarray) -> np.ndarray:
    """10 sin(pi x_1 x_2) + 20 (x_3 - 1/2)^2 + 10 x_4 + 5 x_5, less its mean over its deviation: [points, 1]."""
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return ((y - 14.41) / 4.87)[:, None].astype(np.float32)


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
    every = len(dataset.test.y) // test
    x, y = (np.concatenate(pair) for pair in zip(dataset.train, dataset.valid, strict=True))
    held = Split(dataset.test.x[::every], dataset.test.y[::every])
    data = replace(dataset, train=Split(x, y), valid=Split(x[:0], y[:0]), test=held)
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
    ridges: Sequence[float] = (0.0,),
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


def axes_of(case: Case, sets: int, seeds: int) -> dict[str, Axis]:
    """Train along every axis; where two cross the networks are the same, and trained once."""
    others = [size for size in case.examples if size != case.size]
    settings: list[dict[str, Any]] = [{"width": width, "size": case.size} for width in case.widths]
    settings += [{"width": case.width, "size": size} for size in others]
    settings += [{"width": case.width, "size": case.size, "ridges": case.ridges}] * bool(case.ridges)
    found = []
    networks = [sets * seeds * len(setting.get("ridges", [0])) for setting in settings]
    with progress_bar(case.name, "networks") as on_progress:
        for place, setting in enumerate(settings):

            def on_setting(done: int, _: int, before: int = sum(networks[:place])) -> None:
                on_progress(before + done, sum(networks))

            found.append(train(case, sets, seeds, on_setting, **setting))
    wide, rest = found[: len(case.widths)], found[len(case.widths) :]
    looks, (base,) = wide[case.widths.index(case.width)]
    made = [Axis(WIDTH, case.widths, [rows[0][-1] for _, rows in wide]), Axis(EPOCHS, looks, base)]
    if others:
        by_size = {case.size: base[-1]} | {size: rows[0][-1] for size, (_, rows) in zip(others, rest, strict=False)}
        made.append(Axis(EXAMPLES, case.examples, [by_size[size] for size in case.examples]))
    if case.ridges:
        made.append(Axis(RIDGE, (0.0, *case.ridges), [base[-1], *(rows[-1] for rows in rest[-1][1])]))
    return {axis.name: axis for axis in made}


def halves(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """The training sets that choose, and those that judge."""
    sets = len(axis.seen[0].error)
    return np.arange(sets // 2), np.arange(sets // 2, sets)


def beside_zero(part: str, relation: str, source: str, settles: str = "") -> Any:
    """That a difference is above or below 0."""
    unit = "points" if part in (WRONG_BIAS, WRONG_VARIANCE) else ""
    return {"published": 0, "relation": relation, "source": source, "settles": settles, "unit": unit}


def told(case: str, axis: Axis, part: str, high: int, low: int) -> str:
    """What is compared."""
    return f"{case}: {part}, {axis.places[high]:,g} above {axis.places[low]:,g} {axis.name}"


def ends(case: str, axis: Axis, part: str, relation: str, source: str, settles: str = "") -> Claim:
    """A part at the last place of an axis above that at the first."""
    first, *_, last = axis.values(part)
    return Claim.difference(told(case, axis, part, -1, 0), last, first, **beside_zero(part, relation, source, settles))


def everywhere(case: str, axis: Axis, part: str, relation: str, source: str, settles: str = "") -> Claim:
    """That a part rises (above) or falls (below) from every place to every later one: the pair most against it."""
    choosers, judges = halves(axis)
    mean = axis.values(part, choosers).mean(axis=1)
    against = (mean[None] - mean[:, None]) * (1 if relation == "below" else -1)
    against[np.tril_indices(len(mean))] = -np.inf
    low, high = map(int, np.unravel_index(against.argmax(), against.shape))
    values = axis.values(part, judges)
    name = f"{told(case, axis, part, high, low)}, the pair most against it"
    return Claim.difference(name, values[high], values[low], **beside_zero(part, relation, source, settles))


def peak_claims(case: str, axis: Axis, part: str, settles: str = "") -> list[Claim]:
    """Whether a part is higher inside than at both ends of an axis; the end that is higher settles it."""
    choosers, judges = halves(axis)
    mean = axis.values(part, choosers).mean(axis=1)
    peak, last = 1 + int(mean[1:-1].argmax()), len(mean) - 1
    values, higher = axis.values(part, judges), 0 if mean[0] > mean[-1] else last
    return [
        Claim.difference(f"{told(case, axis, part, peak, end)}, the highest inside", values[peak], values[end],
            **beside_zero(part, "above", YANG, settles * (end == higher)))
        for end in (0, last)
    ]  # fmt: skip


def width_claims(case: str, axis: Axis) -> list[Claim]:
    """What is said of bias and variance against the width, and whether networks fit their training sets."""
    main = case == DIGITS
    fit = np.stack([seen.fit for seen in axis.seen])
    claims = [
        ends(case, axis, BIAS, "below", GEMAN, SETTLES[WIDTH, BIAS] * main),
        everywhere(case, axis, BIAS, "below", YANG),
        everywhere(case, axis, VARIANCE, "below", NEAL, f"{FALLS}: {case}."),
        everywhere(case, axis, VARIANCE, "above", GEMAN, RISES * main),
        *peak_claims(case, axis, VARIANCE, f"{UNIMODAL}: {case}."),
        *(claim for part in (SETS, SEEDS) for claim in peak_claims(case, axis, part)),
        Claim.mean(f"{case}: training error with {axis.places[-1]} hidden units", fit[-1], unit="%"),
    ]
    wide = np.flatnonzero(fit.mean(axis=1) <= FITS)
    if len(wide) > 1:
        fitting = Axis(axis.name, [axis.places[at] for at in wide], [axis.seen[at] for at in wide])
        claims += [ends(case, fitting, part, "below", NEAL) for part in (VARIANCE, SETS, SEEDS)]
    if case != REGRESSION:
        claims += [everywhere(case, axis, WRONG_VARIANCE, "below", DOMINGOS), *peak_claims(case, axis, WRONG_VARIANCE)]
        claims.append(ends(case, axis, WRONG_BIAS, "below", DOMINGOS))
    return claims


def axis_claims(case: str, axis: Axis) -> list[Claim]:
    """What is said of bias and variance along another axis: from end to end, and at every step."""
    up = {(EPOCHS, VARIANCE), (RIDGE, BIAS)}
    claims = []
    for part in (BIAS, VARIANCE):
        settles = SETTLES.get((axis.name, part), "") * (case == DIGITS)
        relation = "above" if (axis.name, part) in up else "below"
        claims += [make(case, axis, part, relation, GEMAN, settles * (make is ends)) for make in (ends, everywhere)]
    return claims


def sum_claim(case: Case, axis: Axis) -> Claim:
    """The sum of the parts beside the error on targets with noise of their own, the mean over settings, in %."""
    sums = NOISE**2 + sum(axis.values(part) for part in (BIAS, SETS, SEEDS))
    measured = np.stack([seen.measured for seen in axis.seen])
    off = (100 * (sums - measured) / measured.mean(axis=1, keepdims=True)).mean(axis=0)
    stated: Any = {"published": 0, "relation": "about", "tolerance": TOLERANCE, "theorem": True, "settles": ADDS_UP}
    stated |= {"tolerance_source": "ours, before any run", "source": GEMAN}
    return Claim.mean(f"{case.name}: noise, bias² and variance above the measured error", off, unit="%", **stated)


def band(axes: Axes, axis: Axis, part: str, **look: Any) -> None:
    """A part at every place, with its 95 % interval over training sets."""
    low, mean, high = mean_band(axis.values(part).T)
    axes.plot(axis.places, mean, color=COLOURS[part], label=part, marker="o", ms=4, **look)
    axes.fill_between(axis.places, low, high, color=COLOURS[part], alpha=0.25, lw=0)


def panel(axes: Axes, axis: Axis, parts: Sequence[str], title: str) -> None:
    """Some parts along an axis."""
    for part in parts:
        band(axes, axis, part)
    if axis.name == RIDGE:
        axes.set_xscale("symlog", linthresh=axis.places[1])
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
    axes.set(xlabel=axis.name, ylabel="share of digits (%)" if WRONG in parts else "squared error", title=title)
    axes.set_ylim(bottom=0)


@mpl.rc_context(STYLE)
def draw(found: Mapping[str, Mapping[str, Axis]], sets: int, seeds: int) -> Figure:
    """Bias, variance over sets and over seeds, and error, along every axis."""
    figure = Figure(figsize=(22, 15))
    grid = figure.subplots(3, 4)
    squared = (ERROR, BIAS, SETS, SEEDS)
    for row, case in zip(grid, (REGRESSION, DIGITS), strict=False):
        for axes, name in zip(row, (WIDTH, EXAMPLES, EPOCHS, RIDGE), strict=True):
            panel(axes, found[case][name], squared, case)
    panel(grid[2, 0], found[SQUARED][WIDTH], squared, SQUARED)
    panel(grid[2, 1], found[SQUARED][EPOCHS], squared, SQUARED)
    for axes, case in zip(grid[2, 2:], (DIGITS, SQUARED), strict=True):
        panel(axes, found[case][WIDTH], (WRONG, WRONG_BIAS, WRONG_VARIANCE), f"{case}: 0-1 loss")
    for axes in (grid[0, 0], grid[2, 2]):
        axes.legend()
    figure.suptitle(f"mean over {sets} training sets with {seeds} seeds each, with 95 % intervals over training sets")
    return figure


def work(case: Case) -> float:
    """Operations in products of training the networks of one training set and seed along all axes."""
    outputs = case.target.shape[1]

    def cost(width: int, size: int) -> int:
        return (
            flops_per_example((case.dataset.features, width, outputs)) * case.steps * (case.recipe.batch_size or size)
        )

    settings = [(width, case.size) for width in case.widths] + [(case.width, case.size)] * len(case.ridges)
    settings += [(case.width, size) for size in case.examples if size != case.size]
    return sum(cost(*setting) for setting in settings)


def settle(cases: Sequence[Case], sets: int, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if sets < 6:
        raise UserError(f"--seeds {sets}: give at least 6 training sets; half of them choose what the others are asked")
    rate, begin = float32_rate(), time.perf_counter()
    found = {case.name: axes_of(case, sets, seeds) for case in cases}
    seconds = time.perf_counter() - begin
    (out / "bias_variance.png").write_bytes(png(draw(found, sets, seeds)))
    claims = [sum_claim(cases[0], found[REGRESSION][WIDTH])]
    for name, axes in found.items():
        claims += width_claims(name, axes[WIDTH])
        if name != SQUARED:
            claims += [claim for axis in (EPOCHS, EXAMPLES, RIDGE) for claim in axis_claims(name, axes[axis])]
    operations = sets * seeds * sum(map(work, cases))
    networks = (
        sets
        * seeds
        * sum(len({*case.widths}) + len({*case.examples} - {case.size}) + len(case.ridges) for case in cases)
    )
    config = {
        "data": [case.dataset.name for case in cases],
        "networks": networks,
        "seeds of a training set": seeds,
        "training error (%; regression: loss, % of the noise's variance)": {
            name: {
                str(width): float(seen.fit.mean())
                for width, seen in zip(axes[WIDTH].places, axes[WIDTH].seen, strict=True)
            }
            for name, axes in found.items()
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
    of_digits: Any = {"widths": widths, "width": 64, "size": 200 if quick else 1000, "steps": 200 if quick else 2000}
    of_digits |= {"test": 500 if quick else 2000}
    examples, ridges = ((100, 200), (1e-3,)) if quick else ((250, 500, 1000, 2000, 4000), (1e-5, 1e-4, 1e-3, 1e-2))
    made = regression(
        pool=50_000,
        test=4000,
        steps=400 if quick else 4000,
        widths=widths,
        width=64,
        size=200,
        examples=(100, 200) if quick else (50, 100, 200, 400, 800, 1600),
        ridges=ridges,
    )
    cases = [
        made,
        digits(DIGITS, whole, examples=examples, ridges=ridges, **of_digits),
        digits(SQUARED, whole, examples=(), ridges=(), **of_digits),
    ]
    return settle(cases, sets, 3 if quick else 8, out)


if __name__ == "__main__":
    shared = "the test points, and the pools of 50,000 examples and of MNIST's 60,000 digits that training sets are of"
    run_experiment("bias_variance", __doc__, body, full_seeds=16, quick_seeds=6, needs=MNIST, shared=shared)
