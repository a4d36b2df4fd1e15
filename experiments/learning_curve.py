"""More data helps: how the test error falls with the number of training examples, of a network and of linear models.

Claims: ten times as many examples make a network more accurate, in every seed; its error falls as a power of their
number, a n^-b (Hestness et al., arXiv:1712.00409; no exponent is published for MNIST that we know of); with few
examples the simpler model is at least as good, and with many the network is better (James, Witten, Hastie and
Tibshirani, An Introduction to Statistical Learning, 2nd edition (2021), sections 2.4 and 10.6).

Protocol: full MNIST, pixels in [0, 1], 50 to 50,000 training digits of 55,000, the published 10,000 to test. Each seed
draws its own digits, the fewer among the more (of 50,000 two seeds share ten in eleven), the same for all methods. MLP:
784-256-128-10, ReLU, Adam at 0.001; multinomial logistic regression: the same without hidden layers, at 0.003; ridge
regression on one-hot targets, in closed form, with an intercept. Networks take 2,000 steps, or 20 epochs where these
are more, at batch 100 (50 of 50), the rate down to 0 as a cosine; the MLP comes to fit its digits. A network stops
early, at the lowest validation loss of the start and ten moments; of the penalties on sum w^2, three for the MLP, four
for logistic and five for ridge regression, each seed takes that of its lowest validation error. The 5,000 digits to
choose on are neither trained nor tested on. They are the same however few are trained on, at n = 50 a gift to all
three, so that curves tell what is fitted and not how well it is chosen.

The law ln error = ln(a n^-b + c) is fitted to every seed by least squares. The floor c is 0 unless, fitted on
n <= 10,000, its interval over seeds lies above 0. The law of those n foretells the error at 50,000,
and holds if this lies within its 95 % prediction interval; what it says of 60,000 digits is fitted on all n.
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
TABLE, LECUN = "ISLR, 2nd edition, table 10.1", "LeCun, Bottou, Bengio and Haffner (1998), section III"
WHOLE, PUBLISHED = 60_000, {NETWORK: (2.3, TABLE), LOGISTIC: (7.2, TABLE), RIDGE: (12.0, LECUN)}
"""Test errors of one run each on so many digits, in %: ISLR's network with a ridge, and LeCun's linear classifier."""
HESTNESS = "arXiv:1712.00409"
FEW_SOURCE, MANY_SOURCE = "ISLR, 2nd edition, exercise 2.4.1", "ISLR, 2nd edition, section 10.6"
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
QUICK = Size((50, 100, 200, 500, 2500), (64, 32), 200, 500)


class Found(NamedTuple):
    """What one method came to: arrays [examples, seeds]."""

    error: np.ndarray
    """On the test digits, in %."""
    penalty: np.ndarray
    """That was chosen."""
    fit: np.ndarray
    """Training error, in %; of networks at the end, under the penalty that fits best."""
    diverged: np.ndarray


class Law(NamedTuple):
    """error = a n^-b + c, fitted in logarithms."""

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
    y, least = np.log(error), error.min()
    slope, log_a = np.polyfit(np.log(n), y, 1)
    start, low, high = (log_a, np.clip(-slope, 0.01, 2.9), least / 2), (-np.inf, 0, -least), (np.inf, 3, least)
    count = 2 + floor
    parameters, covariance = scipy.optimize.curve_fit(log_law, n, y, start[:count], bounds=(low[:count], high[:count]))
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
        if len(above) and above[-1] == len(n) - 1:
            found[seed] = np.inf
        elif len(above):
            last = above[-1]
            share = values[last] / (values[last] - values[last + 1])
            found[seed] = n[last] * (n[last + 1] / n[last]) ** share
    return found


def hold_out(dataset: Dataset, size: int) -> Dataset:
    """Digits to choose on, taken from the training split."""
    kept, held = stratified_holdout(np.asarray(dataset.train.y), size, seed=0)
    train, valid = (Split(dataset.train.x[rows], dataset.train.y[rows]) for rows in (kept, held))
    return replace(dataset, train=train, valid=valid)


def recipe(size: Size, method: str, n: int) -> Recipe:
    """How networks are trained on so many examples."""
    batch = min(n, BATCH)
    epochs = max(EPOCHS, size.steps * batch // n)
    return Recipe(learning_rate=RATES[method], schedule="cosine", batch_size=batch, epochs=epochs,
        eval_every=epochs // MOMENTS, sample_size=n)  # fmt: skip


def train(size: Size, method: str, dataset: Dataset, seeds: int) -> Found:
    """Networks at every number of examples, stopped early, each seed with the penalty of its least validation error."""
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
            stop = swept.stack(lambda trained: trained.best_evaluation)[..., None]
            valid, test = (np.take_along_axis(swept.error(of), stop, axis=2)[..., 0] for of in ("valid", "test"))
            best, fit = valid.argmin(axis=0), swept.error("train")[..., -1].min(axis=0)
            chosen = test[best, range(seeds)], np.array(penalties)[best]
            found.append(Found(*chosen, fit, np.any(swept.diverged, axis=0)))
    return Found(*(np.stack(parts) for parts in zip(*found, strict=True)))


def linear_errors(fitted: Split, others: Sequence[Split], classes: int) -> np.ndarray:
    """Ridge regression of the classes' indicators on pixels: share of each split's digits, in %, whose own output is
    not the largest, [penalties, splits]."""
    x, indicators = np.asarray(fitted.x), np.eye(classes, dtype=np.float32)[np.asarray(fitted.y)]
    centre, intercept = x.mean(axis=0), indicators.mean(axis=0)
    found = []
    for penalty in PENALTIES[RIDGE]:
        weights = ridge_fit(x - centre, indicators - intercept, penalty)
        outputs = [(np.asarray(split.x) - centre) @ weights + intercept for split in others]
        found.append([100 * np.mean(of.argmax(axis=1) != split.y) for of, split in zip(outputs, others, strict=True)])
    return np.array(found)


def regress(size: Size, dataset: Dataset, seeds: int) -> Found:
    """Ridge regression on the digits that the networks of each seed draw."""
    splits = dataset.train, dataset.valid, dataset.test
    train, valid, test = (Split(np.reshape(x, (len(x), -1)) / np.float32(255), y) for x, y in splits)
    error, penalty, fit = np.zeros((3, len(size.examples), seeds))
    with progress_bar(RIDGE, "fits") as on_progress:
        for place, seed in np.ndindex(error.shape):
            rows = sampled_rows(make_keys(seed), len(train.y), size.examples[place])
            own = Split(train.x[rows], train.y[rows])
            errors = linear_errors(own, (own, valid, test), dataset.outputs)
            best = errors[:, 1].argmin()
            penalty[place, seed] = PENALTIES[RIDGE][best]
            fit[place, seed], _, error[place, seed] = errors[best]
            on_progress(place * seeds + seed + 1, error.size)
    return Found(error, penalty, fit, np.zeros_like(error, bool))


def below_zero(source: str, settles: str = "") -> Any:
    """That a difference is below 0."""
    return {"published": 0, "relation": "below", "source": source, "settles": settles, "unit": "points"}


def more_claims(method: str, n: Sequence[int], error: np.ndarray, among: np.ndarray) -> list[Claim]:
    """The error at every number of digits, whether each step lowers it, and whether ten times as many always do."""
    claims = [
        Claim.mean(f"{method}, {size:,} digits: test error", values, unit="%", among=among)
        for size, values in zip(n, error, strict=True)
    ]
    claims += [
        Claim.difference(f"{method}: test error, {n[place + 1]:,} above {n[place]:,} digits", error[place + 1],
            error[place], among=among, **below_zero(HESTNESS))
        for place in range(len(n) - 1)
    ]  # fmt: skip
    tenfold = [(place, n.index(10 * fewer)) for place, fewer in enumerate(n) if 10 * fewer in n]
    hits = np.all([error[more] < error[fewer] for fewer, more in tenfold], axis=0)
    told = f"{method}: lower test error with ten times as many digits, wherever there are"
    return [*claims, Claim.every(told, hits, among=among, source=HESTNESS, settles=HELPS * (method == NETWORK))]


def rival_claims(
    rival: str, n: Sequence[int], network: np.ndarray, error: np.ndarray, among: np.ndarray
) -> list[Claim]:
    """The MLP beside a linear model at both ends, and where it crosses."""
    headlines = (FEW, MANY) if rival == LOGISTIC else ("", "")
    found = crossing(n, network - error)
    crosses, below = np.isfinite(found) & (found > 0), f"{NETWORK} below {rival}"
    return [
        Claim.difference(f"{n[0]:,} digits: test error, {rival} above {NETWORK}", error[0], network[0], among=among,
            **below_zero(FEW_SOURCE, headlines[0])),
        Claim.difference(f"{n[-1]:,} digits: test error, {NETWORK} above {rival}", network[-1], error[-1], among=among,
            **below_zero(MANY_SOURCE, headlines[1])),
        Claim.share(f"{below} at all numbers of digits", found == 0, among=among),
        Claim.share(f"{below} from some later number on", crosses, among=among),
        Claim.median(f"{below} for good, of the seeds that cross: from", found, unit="digits", among=among & crosses),
    ]  # fmt: skip


def needs_floor(n: np.ndarray, error: np.ndarray) -> bool:
    """Whether the interval over seeds of the fitted c lies above 0."""
    ends = mean_ci(np.array([fit_law(n, values, True).parameters[2] for values in error.T]))
    return ends is not None and ends[0] > 0


def law_claims(method: str, size: Size, error: np.ndarray, among: np.ndarray, floor: bool) -> list[Claim]:
    """What the law of few digits says of the most, the exponent, and what is published of all of MNIST."""
    n = np.array(size.examples)
    few = n <= size.fitted
    laws = [fit_law(n, values, floor) for values in error.T]
    early = [fit_law(n[few], values, floor) for values in error[few].T]
    told, reach = np.array([foretell(law, n[-1]) for law in early]).T
    ratio, within = error[-1] / np.exp(told), abs(np.log(error[-1]) - told) <= reach
    name, form = f"{method}, law", "a n^-b + c" if floor else "a n^-b"
    last = f"{name} of {n[0]} to {size.fitted:,} digits: test error at {n[-1]:,}"
    held: Any = {"published": 1, "relation": "about", "source": HESTNESS, "settles": POWER_LAW * (method == NETWORK)}
    held["tolerance"] = float(1 - np.exp(-reach[among].mean()))
    held["tolerance_source"] = "the shorter arm of a seed's 95 % prediction interval, in the mean"
    claims = [
        Claim.mean(f"{last}, measured over foretold", ratio, among=among, **held),
        Claim.share(f"{last} in the 95 % prediction interval", within, among=among),
        *(
            Claim.mean(f"{name} {form}: exponent b, {n[0]} to {most:,} digits",
                np.array([law.parameters[1] for law in fitted]), among=among)
            for most, fitted in ((size.fitted, early), (n[-1], laws))
        ),
        Claim.mean(f"{name}: R² of ln error", np.array([law.determination for law in laws]), among=among),
    ]  # fmt: skip
    if floor:
        floors = np.array([law.parameters[2] for law in laws])
        claims.append(Claim.mean(f"{name}: floor c", floors, unit="%", among=among))
    if size == FULL:
        whole = np.exp([foretell(law, WHOLE)[0] for law in laws])
        published, source = PUBLISHED[method]
        stated: Any = {"unit": "%", "among": among, "published": published, "source": source}
        name = f"{name}: test error at {WHOLE:,} digits"
        if method == NETWORK:
            claims.append(Claim.mean(name, whole, relation="at most", **stated))
        else:
            claims.append(Claim.reproduces(name, whole, last_digit=0.1, **stated))
    return claims


@mpl.rc_context(STYLE)
def draw(size: Size, found: Mapping[str, Found], floors: Mapping[str, bool], among: np.ndarray) -> Figure:
    """Test error by number of examples with the laws; and how far the linear models are above the MLP."""
    figure = Figure(figsize=(17, 6.5))
    (curve, gaps), n = figure.subplots(1, 2), np.array(size.examples)
    few, dense = n <= size.fitted, np.geomspace(n[0], 1.2 * n[-1], 200)
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
                height = np.interp(np.log(at), np.log(n), np.log(network.mean(axis=1)))
                curve.plot(at, np.exp(height), "X", color=colour, mec="black", ms=12, zorder=3)
                gaps.plot(at, 0, "X", color=colour, mec="black", ms=12, label=f"{NETWORK} crosses {name}")
    curve.axvspan(size.fitted, dense[-1], color="black", alpha=0.06, lw=0)
    curve.set(yscale="log", ylabel="test error (%)", title=f"dashed: laws up to n = {size.fitted:,}; X: crossings")
    curve.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    curve.yaxis.set_minor_locator(NullLocator())
    curve.yaxis.set_major_formatter("{x:g}")
    gaps.axhline(0, color="black", lw=1)
    gaps.set(ylabel="difference in test error (points)", title="the same digits for all three, seed by seed")
    for axes, corner in ((curve, "lower left"), (gaps, "best")):
        axes.set(xscale="log", xlabel="training examples n")
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.legend(loc=corner, frameon=True)
    figure.suptitle(f"mean over {among.sum()} seeds, with 95 % intervals")
    return figure


def operations(size: Size, method: str, dataset: Dataset) -> float:
    """Of the networks of one seed, in products, evaluations included."""
    widths = (dataset.features, *(size.hidden if method == NETWORK else ()), dataset.outputs)
    forward = 2 * sum(one * other for one, other in pairwise(widths))
    total = 0
    for n in size.examples:
        how = recipe(size, method, n)
        evaluated = (how.evaluations + 1) * (n + len(dataset.valid.y) + len(dataset.test.y))
        total += n * how.epochs * flops_per_example(widths) + evaluated * forward
    return float(total * len(PENALTIES[method]))


def settle(size: Size, dataset: Dataset, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2; an interval over seeds tells whether a law has a floor")
    rate, begin = float32_rate(), time.perf_counter()
    found = {method: train(size, method, dataset, seeds) for method in RATES}
    seconds = time.perf_counter() - begin
    found[RIDGE] = regress(size, dataset, seeds)
    among = ~np.any([group.diverged for group in found.values()], axis=(0, 1))
    few = np.array(size.examples) <= size.fitted
    n = np.array(size.examples)[few]
    floors = {method: needs_floor(n, group.error[few][:, among]) for method, group in found.items()}
    (out / "learning_curve.png").write_bytes(png(draw(size, found, floors, among)))
    work = sum(operations(size, method, dataset) for method in RATES) * seeds / 1e9
    networks = sum(len(PENALTIES[method]) for method in RATES) * len(size.examples) * seeds
    chosen = {method: np.median(of.penalty, axis=1).tolist() for method, of in found.items()}
    fits = {method: of.fit[:, among].max(axis=1).round(2).tolist() for method, of in found.items()}
    config = {
        "data": dataset.name,
        "networks": networks,
        "diverged": int((~among).sum()),
        "examples": [*size.examples],
        "penalty that was chosen, median over seeds": chosen,
        "training error, the worst of the seeds (%)": fits,
        "notes": [
            f"{networks:,} networks, {seconds / networks:.2f} s each: {work:,.0f} GFLOP in products, evaluations "
            f"included, {100 * work / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, compiling "
            f"included. Beside them {found[RIDGE].error.size:,} ridge regressions.",
            "A seed of which any network diverged is left out.",
        ],
    }
    claims = []
    for method, group in found.items():
        claims += more_claims(method, size.examples, group.error, among)
        claims += law_claims(method, size, group.error, among, floors[method])
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
    run_experiment("learning_curve", __doc__, body, full_seeds=16, quick_seeds=3, needs=MNIST, shared=shared)
