"""More data helps: how the test error falls with the number of training examples, of a network and of linear models.

Claims: ten times as many examples make a network more accurate, in every seed; its error falls as a power of their
number, a n^-b (Hestness et al., arXiv:1712.00409; no exponent is published for MNIST that we know of); with few
examples the simpler model is at least as good, and with many the network is better (James, Witten, Hastie and
Tibshirani, An Introduction to Statistical Learning, 2nd edition (2021), sections 2.4 and 10.6).

Protocol: full MNIST, pixels in [0, 1], 50 to 50,000 training digits of 55,000, the published 10,000 to test. Each seed
draws its own digits, the fewer among the more, and all three methods are given the same: 784-256-128-10, ReLU, Adam at
0.001; multinomial logistic regression, the same without hidden layers, at 0.003; ridge regression on one-hot targets,
in closed form, with an intercept. Networks take 2,000 steps, or 20 epochs where these are more, at batch 100 (50 of
50), the rate down to 0 as a cosine, and fit their digits. Each network chooses for itself the penalty on sum w^2, of
three (MLP) or four (logistic), and, of ten moments, when to stop; ridge regression one penalty of five: always by the
lowest validation loss, each its own, on 5,000 digits, which are neither trained nor tested on. These are the same
however few are trained on: at n = 50 a gift to all three, so that curves tell what is fitted, not how well it is
chosen.

The law ln error = ln(a n^-b + c) is fitted to every seed by least squares. The floor c is 0 unless, fitted on
n <= 10,000, its interval over seeds lies above 0. From there the law is held against n = 50,000, where it is right if
it is within its own 95 % prediction interval; its exponents, and what it says of 60,000 digits, are fitted on all n.
A network crosses a linear model where its error falls below for good, interpolated in log n.

Command: python experiments/learning_curve.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz
or not, or --data tfds:mnist; or set MLPJAX_MNIST to either.
Wall time on two cores: TODO

Expected: TODO
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import scipy
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mlpjax import MLP, Dataset, Recipe, Split, UserError, load, make_keys, progress_bar, sampled_rows, sweep
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.dataset import stratified_holdout
from mlpjax.data.mnist import load_mnist
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.shrinkage import ridge_fit
from mlpjax.stats import mean_band, mean_ci

NETWORK, LOGISTIC, RIDGE = "MLP", "logistic regression", "ridge regression"
COLOURS = {NETWORK: BLUE, LOGISTIC: VERMILLION, RIDGE: GREEN}
PENALTIES = {NETWORK: (1e-5, 1e-4, 1e-3), LOGISTIC: (1e-5, 1e-4, 1e-3, 1e-2), RIDGE: (0.01, 0.03, 0.1, 0.3, 1.0)}
RATES = {NETWORK: 1e-3, LOGISTIC: 3e-3}
BATCH, EPOCHS, MOMENTS, HELD_OUT = 100, 20, 10, 5000
WHOLE = 60_000
"""Digits that were trained on where figures are published."""
ISLR, LECUN, HESTNESS = "ISLR, 2nd edition, table 10.1", "LeCun et al. (1998), section III", "arXiv:1712.00409"
FLEXIBLE = {False: "ISLR, 2nd edition, exercise 2.4.1", True: "ISLR, 2nd edition, section 10.6"}
HELPS = "With ten times as many training examples a network makes fewer errors, in every seed."
POWER_LAW = "The test error of a network falls as a power of the number of training examples."
FEW = "With very few training examples a linear classifier is more accurate than a network."
MANY = "With very many training examples a network is more accurate than a linear classifier."


class Size(NamedTuple):
    """How much is trained."""

    examples: Sequence[int]
    hidden: tuple[int, ...]
    steps: int
    """At least."""
    fitted: int
    """The most examples from which the last error is foretold."""


FULL = Size((50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000), (256, 128), 2000, 10_000)
QUICK = Size((50, 100, 200, 500, 2500), (64, 32), 300, 500)


class Found(NamedTuple):
    """What one method came to: arrays [examples, seeds]."""

    error: np.ndarray
    """On the test digits, in %."""
    penalty: np.ndarray
    """That was chosen."""
    fit: np.ndarray
    """Least error on the training digits, in %, that any of its networks reached at the end."""
    diverged: np.ndarray


class Law(NamedTuple):
    """error = a n^-b + c, as it was fitted in logarithms."""

    parameters: np.ndarray
    """ln a, b and, where it has a floor, c in %."""
    covariance: np.ndarray
    rest: np.ndarray
    """Residuals of ln error."""
    determination: float
    """R^2 of ln error."""


def log_law(n: Any, log_a: float, b: float, c: float = 0.0) -> Any:
    """ln(a n^-b + c)."""
    return np.log(np.maximum(np.exp(log_a - b * np.log(n)) + c, 1e-9))


def fit_law(n: np.ndarray, error: np.ndarray, floor: bool) -> Law:
    """Least squares of ln error, one error above 0 for each n, at least two more than parameters; c may be negative."""
    y = np.log(error)
    slope, log_a = np.polyfit(np.log(n), y, 1)
    least = error.min()
    start, limits = [log_a, min(max(-slope, 0.01), 2.9)], [(-np.inf, np.inf), (0.0, 3.0)]
    if floor:
        start, limits = [*start, least / 2], [*limits, (-least, least)]
    low, high = zip(*limits, strict=True)
    parameters, covariance = scipy.optimize.curve_fit(log_law, n, y, start, bounds=(low, high))
    rest = y - log_law(n, *parameters)
    return Law(parameters, covariance, rest, float(1 - (rest**2).sum() / ((y - y.mean()) ** 2).sum()))


def foretell(law: Law, n: int) -> tuple[float, float]:
    """ln error at n, and half of its 95 % prediction interval: t sqrt(s^2 + g'Cg), g the law's gradient."""
    freedom = len(law.rest) - len(law.parameters)
    slope = scipy.optimize.approx_fprime(law.parameters, lambda parameters: log_law(n, *parameters))
    variance = (law.rest**2).sum() / freedom + slope @ law.covariance @ slope
    reach = scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    return float(log_law(n, *law.parameters)), float(reach)


def crossing(n: Sequence[int], gap: np.ndarray) -> np.ndarray:
    """The n at which a gap [examples, seeds] falls below 0 for good, linear in log n: [seeds].

    0 where it is below from the first n on, and infinite where it is not at the last.
    """
    found = np.zeros(gap.shape[1])
    for seed, values in enumerate(gap.T):
        above = np.flatnonzero(values >= 0)
        if len(above):
            last = above[-1]
            if last == len(n) - 1:
                found[seed] = np.inf
            else:
                share = values[last] / (values[last] - values[last + 1])
                found[seed] = n[last] * (n[last + 1] / n[last]) ** share
    return found


def hold_out(dataset: Dataset, size: int) -> Dataset:
    """Digits to choose on, taken from the training split."""
    kept, held = stratified_holdout(dataset.train.y, size, seed=0)
    train, valid = (Split(dataset.train.x[rows], dataset.train.y[rows]) for rows in (kept, held))
    return replace(dataset, train=train, valid=valid)


def recipe(size: Size, method: str, n: int) -> Recipe:
    """How networks are trained on so many examples."""
    batch = min(n, BATCH)
    epochs = max(EPOCHS, size.steps * batch // n)
    return Recipe(learning_rate=RATES[method], schedule="cosine", batch_size=batch, epochs=epochs,
        eval_every=epochs // MOMENTS, sample_size=n)  # fmt: skip


def choose(loss: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The setting and the error of every seed where its own validation loss is lowest; [settings, seeds, moments]."""
    flat_loss, flat_error = (values.swapaxes(0, 1).reshape(loss.shape[1], -1) for values in (loss, error))
    best = flat_loss.argmin(axis=1)
    return best // loss.shape[2], flat_error[range(len(best)), best]


def train(size: Size, method: str, dataset: Dataset, seeds: int) -> Found:
    """Networks at every number of examples, each with the penalty and at the moment that it chooses."""
    hidden = size.hidden if method == NETWORK else ()
    model, penalties = MLP((dataset.features, *hidden, dataset.outputs)), PENALTIES[method]
    found = []
    with progress_bar(method, "networks") as on_progress:
        for place, n in enumerate(size.examples):

            def on_size(done: int, total: int, place: int = place) -> None:
                networks = len(penalties) * seeds
                on_progress(place * networks + done * networks // total, len(size.examples) * networks)

            how = recipe(size, method, n)
            swept = sweep(model, how, dataset, range(seeds), {"ridge": penalties}, on_progress=on_size)
            setting, error = choose(swept.history["valid_loss"], swept.error())
            fit = swept.error("train")[..., -1].min(axis=0)
            found.append(Found(error, np.array(penalties)[setting], fit, swept.diverged.any(axis=0)))
    return Found(*(np.stack(parts) for parts in zip(*found, strict=True)))


def rows_of(dataset: Dataset, seed: int, n: int) -> np.ndarray:
    """The training digits that the networks of a seed draw."""
    return np.asarray(sampled_rows(make_keys(seed), len(dataset.train.y), n))


def regress(size: Size, dataset: Dataset, seeds: int) -> Found:
    """Ridge regression on the same digits, with the penalty of the lowest squared error on validation digits."""
    pixels = [
        split.x.reshape(len(split.x), -1) / np.float32(255) for split in (dataset.train, dataset.valid, dataset.test)
    ]
    targets = [np.eye(dataset.outputs, dtype=np.float32)[split.y] for split in (dataset.train, dataset.valid)]
    shape, penalties = (len(size.examples), seeds), PENALTIES[RIDGE]
    error, penalty, fit = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    with progress_bar(RIDGE, "fits") as on_progress:
        for place, seed in np.ndindex(shape):
            rows = rows_of(dataset, seed, size.examples[place])
            x, y = pixels[0][rows], targets[0][rows]
            centre, intercept = x.mean(axis=0), y.mean(axis=0)
            fits = [ridge_fit(x - centre, y - intercept, strength) for strength in penalties]

            def outputs(of: np.ndarray, weights: np.ndarray, centre=centre, intercept=intercept) -> np.ndarray:
                return (of - centre) @ weights + intercept

            losses = [((outputs(pixels[1], weights) - targets[1]) ** 2).mean() for weights in fits]
            best = int(np.argmin(losses))
            penalty[place, seed] = penalties[best]
            told = [outputs(of, fits[best]).argmax(axis=1) for of in (x, pixels[2])]
            fit[place, seed] = 100 * np.mean(told[0] != dataset.train.y[rows])
            error[place, seed] = 100 * np.mean(told[1] != dataset.test.y)
            on_progress(place * seeds + seed + 1, error.size)
    return Found(error, penalty, fit, np.zeros(shape, bool))


def digits(n: int) -> str:
    """A number of examples as claims name it."""
    return f"{n:,} digits"


def beside_zero(relation: str, source: str, settles: str = "") -> Any:
    """That a difference is above or below 0."""
    return {"published": 0, "relation": relation, "source": source, "settles": settles, "unit": "points"}


def more_claims(method: str, n: Sequence[int], error: np.ndarray, among: np.ndarray) -> list[Claim]:
    """The error at every number of examples, whether each step lowers it, and whether ten times as many always do."""
    claims = [
        Claim.mean(f"{method}, {digits(size)}: test error", values, unit="%", among=among)
        for size, values in zip(n, error, strict=True)
    ]
    claims += [
        Claim.difference(f"{method}: test error, {digits(more)} above {fewer:,}", error[place + 1], error[place],
            among=among, **beside_zero("below", HESTNESS))
        for place, (fewer, more) in enumerate(pairwise(n))
    ]  # fmt: skip
    tenfold = [(n.index(more), place) for place, fewer in enumerate(n) for more in n if more == 10 * fewer]
    hits = np.all([error[more] < error[fewer] for more, fewer in tenfold], axis=0)
    told = f"{method}: lower test error with ten times as many digits, at all {len(tenfold)} numbers"
    settles = HELPS * (method == NETWORK)
    return [*claims, Claim.every(told, hits, among=among, source=HESTNESS, settles=settles)]


def rival_claims(
    rival: str, n: Sequence[int], network: np.ndarray, error: np.ndarray, among: np.ndarray
) -> list[Claim]:
    """The MLP beside a linear model at both ends, and where it crosses."""
    claims = []
    for place, last in ((0, False), (-1, True)):
        settles = (MANY if last else FEW) * (rival == LOGISTIC)
        stated = beside_zero("below" if last else "above", FLEXIBLE[last], settles)
        told = f"{digits(n[place])}: test error, {NETWORK} above {rival}"
        claims.append(Claim.difference(told, network[place], error[place], among=among, **stated))
    found = crossing(n, network - error)
    crosses = np.isfinite(found) & (found > 0)
    below = f"{NETWORK} below {rival}"
    return [
        *claims,
        Claim.share(f"{below} at all numbers of digits", found == 0, among=among),
        Claim.share(f"{below} from some number of digits on", crosses, among=among),
        Claim.median(f"{below} for good, of the seeds that cross: from", found, unit="digits", among=among & crosses),
    ]


def laws_of(n: np.ndarray, error: np.ndarray, floor: bool) -> list[Law]:
    """Of every seed of errors [examples, seeds]."""
    return [fit_law(n, values, floor) for values in error.T]


def needs_floor(n: np.ndarray, error: np.ndarray) -> bool:
    """Whether the interval over seeds of the fitted c lies above 0."""
    ends = mean_ci(np.array([law.parameters[2] for law in laws_of(n, error, floor=True)]))
    return ends is not None and ends[0] > 0


def law_claims(method: str, size: Size, error: np.ndarray, among: np.ndarray, floor: bool) -> list[Claim]:
    """What the law says of the last number of examples and of the whole, and its exponent.

    Args:
        error: of the seeds among them, [examples, seeds].
        among: which seeds those are.
    """
    n = np.array(size.examples)

    def spread(values: Sequence[float]) -> np.ndarray:
        whole = np.full(len(among), np.nan)
        whole[among] = values
        return whole

    few = n <= size.fitted
    laws, early = laws_of(n, error, floor), laws_of(n[few], error[few], floor)
    told, reach = (np.array(values) for values in zip(*(foretell(law, n[-1]) for law in early), strict=True))
    ahead = np.log(error[-1]) - told
    name, form = f"{method}, law", "a n^-b + c" if floor else "a n^-b"
    within = float(1 - np.exp(-reach.mean()))
    last = f"{name} of at most {digits(size.fitted)}: test error at {n[-1]:,}"
    whole = np.exp([foretell(law, WHOLE)[0] for law in laws])
    held = {"published": 1, "relation": "about", "tolerance": within, "source": HESTNESS}
    claims = [
        Claim.mean(f"{last}, measured over foretold", spread(np.exp(ahead)), among=among, **held,
            tolerance_source="the shorter arm of the fits' 95 % prediction interval, mean over seeds",
            settles=POWER_LAW * (method == NETWORK)),
        Claim.share(f"{last} within the 95 % prediction interval", spread(abs(ahead) <= reach) == 1, among=among),
        Claim.mean(f"{name} {form}: exponent b", spread([law.parameters[1] for law in laws]), among=among),
        Claim.mean(f"{name}: exponent b of at most {digits(size.fitted)}",
            spread([law.parameters[1] for law in early]), among=among),
        Claim.mean(f"{name}: R² of ln error", spread([law.determination for law in laws]), among=among),
        Claim.mean(f"{name}: largest residual of ln error", spread([abs(law.rest).max() for law in laws]), among=among),
    ]  # fmt: skip
    if floor:
        floors = spread([law.parameters[2] for law in laws])
        claims.append(Claim.mean(f"{name}: floor c", floors, unit="%", among=among))
    if size == FULL:
        claims.append(beside_published(method, spread(whole), among))
    return claims


def beside_published(method: str, error: np.ndarray, among: np.ndarray) -> Claim:
    """What the law says of all of MNIST's training digits, beside one published run."""
    name = f"{method}, law: test error at {WHOLE:,} digits"
    if method == NETWORK:
        return Claim.mean(name, error, unit="%", among=among, published=2.3, relation="at most", source=ISLR)
    published, source = (7.2, ISLR) if method == LOGISTIC else (12.0, LECUN)
    return Claim.reproduces(name, error, unit="%", among=among, published=published, last_digit=0.1, source=source)


@mpl.rc_context(STYLE)
def draw(size: Size, found: Mapping[str, Found], floors: Mapping[str, bool], among: np.ndarray) -> Figure:
    """Test error by number of examples with the laws; and how far the linear models are above the MLP."""
    figure = Figure(figsize=(17, 6.5))
    curve, gaps = figure.subplots(1, 2)
    n = np.array(size.examples)
    few, dense = n <= size.fitted, np.geomspace(n[0], WHOLE if size == FULL else n[-1], 200)
    network = found[NETWORK].error[:, among]
    for name, colour in COLOURS.items():
        error = found[name].error[:, among]
        low, mean, high = mean_band(error.T)
        curve.plot(n, mean, "o", color=colour, label=name)
        curve.fill_between(n, low, high, color=colour, alpha=0.25, lw=0)
        a, b, *c = fit_law(n[few], mean[few], floors[name]).parameters
        told = f"{np.exp(a):.3g} n$^{{-{b:.2f}}}$" + "".join(f" + {value:.1f}" for value in c)
        curve.plot(dense, np.exp(log_law(dense, a, b, *c)), "--", color=colour, label=told)
        if name != NETWORK:
            low, mean, high = mean_band((error - network).T)
            gaps.plot(n, mean, "o-", color=colour, label=f"{name} above {NETWORK}")
            gaps.fill_between(n, low, high, color=colour, alpha=0.25, lw=0)
            (at,) = crossing(size.examples, -mean[:, None])
            if 0 < at < np.inf:
                for axes in (curve, gaps):
                    axes.axvline(at, color=colour, ls=":", label=f"{NETWORK} crosses {name}")
    curve.axvspan(size.fitted, dense[-1], color="black", alpha=0.06, lw=0)
    curve.set(yscale="log", ylabel="test error (%)", title=f"dashed: laws of n ≤ {size.fitted:,}; grey: foretold")
    curve.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    curve.yaxis.set_minor_locator(NullLocator())
    curve.yaxis.set_major_formatter("{x:g}")
    gaps.axhline(0, color="black", lw=1)
    gaps.set(ylabel="difference in test error (points)", title="the same digits for all three, seed by seed")
    for axes in (curve, gaps):
        axes.set(xscale="log", xlabel="training examples n")
        axes.xaxis.set_major_locator(LogLocator(subs=(1,)))
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.legend()
    figure.suptitle(f"mean over {among.sum()} seeds, with 95 % intervals")
    return figure


def operations(size: Size, method: str, dataset: Dataset) -> float:
    """Of all networks of one seed, in products, evaluations included."""
    widths = (dataset.features, *(size.hidden if method == NETWORK else ()), dataset.outputs)
    forward = 2 * sum(one * other for one, other in pairwise(widths))
    others = len(dataset.valid.y) + len(dataset.test.y)
    total = 0
    for n in size.examples:
        how = recipe(size, method, n)
        total += n * how.epochs * flops_per_example(widths) + (how.evaluations + 1) * (n + others) * forward
    return float(total * len(PENALTIES[method]))


def settle(size: Size, dataset: Dataset, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2; an interval over seeds tells whether a law has a floor")
    rate, begin = float32_rate(), time.perf_counter()
    found = {method: train(size, method, dataset, seeds) for method in (NETWORK, LOGISTIC)}
    seconds = time.perf_counter() - begin
    found[RIDGE] = regress(size, dataset, seeds)
    among = ~np.any([group.diverged for group in found.values()], axis=(0, 1))
    n = np.array(size.examples)
    few = n <= size.fitted
    floors = {method: needs_floor(n[few], group.error[few][:, among]) for method, group in found.items()}
    (out / "learning_curve.png").write_bytes(png(draw(size, found, floors, among)))
    work = sum(operations(size, method, dataset) for method in (NETWORK, LOGISTIC)) * seeds / 1e9
    networks = sum(len(PENALTIES[method]) for method in (NETWORK, LOGISTIC)) * len(n) * seeds
    kept = {
        method: {f"{number:,}": round(float(np.median(row)), 6) for number, row in zip(n, group.penalty, strict=True)}
        for method, group in found.items()
    }
    config = {
        "data": dataset.name,
        "networks": networks,
        "diverged": int((~among).sum()),
        "validation digits": len(dataset.valid.y),
        "penalty that was chosen, median over seeds": kept,
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {work:,.0f} GFLOP in products, evaluations included, in {seconds:,.0f} s: "
            f"{100 * work / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, compiling included; "
            f"{found[RIDGE].error.size:,} ridge regressions beside.",
            "The largest training error at the end of the least penalised, over all seeds and numbers of digits: "
            f"{NETWORK} {found[NETWORK].fit.max():.2f} %.",
            "A seed of which any network diverged is left out.",
        ],
    }
    claims = []
    for method, group in found.items():
        claims += more_claims(method, size.examples, group.error, among)
        claims += law_claims(method, size, group.error[:, among], among, floors[method])
    for rival in (LOGISTIC, RIDGE):
        claims += rival_claims(rival, size.examples, found[NETWORK].error, found[rival].error, among)
    return claims, config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k, of which nothing was published."""
    if quick:
        return settle(QUICK, load("mnist5k"), seeds, out)
    return settle(FULL, hold_out(load_mnist(data), HELD_OUT), seeds, out)


if __name__ == "__main__":
    shared = "55,000 digits from which all draw, 5,000 to choose on, 10,000 test digits"
    run_experiment("learning_curve", __doc__, body, full_seeds=16, quick_seeds=4, needs=MNIST, shared=shared)
