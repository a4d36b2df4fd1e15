"""How many seeds does a comparison need, and whose is the variance of the test error over seeds?

Claims: a difference between two settings shows in so many seeds as often as the power of the t-test says; where there
is none, one shows in 5 % of all comparisons. Source: Cohen, Statistical Power Analysis for the Behavioral Sciences
(1988), chapter 2. The variance of the test error over seeds is nearly all that of a finite test set; of two classes it
is error / (2 examples). Source: Jordan, arXiv:2304.01910.

Protocol, power: MNIST-1D (3,600 examples to train on, 5,000 to test; 40-100-100-10, ReLU, He's start, Adam, batch 100,
40 epochs) with two learning rates, 0.003 and 0.002, the same seeds. These networks stand for all: comparisons of n
seeds are drawn from them, with replacement, so that the true difference is known, and judged by the t-test, by the
permutation test and by the interval (both of `stats.difference`). Under no difference both sides are of one rate, with
other seeds. A comparison is what is counted there.

Variance: classes 0 to 4 against 5 to 9, on MNIST-1D as above at 0.003 and on mnist5k (3,500 and 1,000; 784-64-2, Adam
at 0.002, batch 50, 15 epochs). On an example that a share q of the networks gets wrong, a network errs by chance, with
variance q (1 - q): that is the test set's part. What the errors on two halves of the test set have in common is the
networks' own, and would remain on a test set without end. Intervals are over tens of networks.

Command: python experiments/seed_variance.py
Wall time on two cores: 7 minutes for 3,500 networks, with tests beside it; --quick 20 s.

Expected: the t-test's power is right to 2 points at every number of seeds, paired and unpaired, and 5 % of comparisons
show a difference where there is none. The same seeds on both sides leave a third of the variance: a difference of 1.1
points shows with 80 % in 6 pairs, or 10 seeds each. The permutation test comes to that power from 8 pairs on, shows
nothing in 4 and less in 6 (78 and not 91 %); the interval of `stats.difference` is made for skewed values, and asks
for more seeds still. The variance of the error is not error / (2 examples) but 0.87 of it on MNIST-1D and 0.48 on
digits, whose networks disagree on fewer examples than they err on. Of what is there with 1,000 test examples 92 and 88
% are the test set's: on all examples that there could be the networks differ by 0.3 and 0.1 points (standard
deviation).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import scipy
from jaxtyping import Array, PyTree
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    Trained,
    UserError,
    Variables,
    load,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.generated import make_mnist1d
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREY, STYLE, VERMILLION, png
from mlpjax.stats import jackknife, mean_quantile, power, seeds_to_show

NUMBERS = (4, 8, 16, 32)
"""Seeds of a comparison."""
TESTED, LEFT_OUT = 1000, 10
"""Test examples for which variances are stated; networks that the jackknife leaves out at once."""
FASTER, SLOWER = 0.003, 0.002
"""Learning rates that are compared."""
T_TEST, PERMUTATION, INTERVAL = "t-test", "permutation test", "interval"
PAIRINGS = {"paired": True, "unpaired": False}
JORDAN = "arXiv:2304.01910"
COHEN = "Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2"
ABOUT: Any = {"relation": "about", "tolerance_source": "ours, before the run"}
ONE: Any = ABOUT | {"published": 1, "tolerance": 0.1}
DRAWN = 3
"""Points, twice the Monte-Carlo error of 4,000 comparisons (95 %)."""
POWERFUL = "How often a difference shows in so many seeds is what the power of the t-test says"
HALF = "The variance over seeds of the error on a test set is error / (2 examples)"
NOISE = "Nearly all of the variance of the test error over seeds is that of a finite test set"


class Setting(NamedTuple):
    """What networks learn, and how."""

    name: str
    model: MLP
    recipe: Recipe
    dataset: Dataset


class Size(NamedTuple):
    """How much is trained and drawn."""

    test: int
    epochs: tuple[int, int]
    """On MNIST-1D and on digits."""
    draws: int
    """Comparisons that the t-test and the interval judge."""
    few: int
    """Those that the permutation test judges, too."""


FULL = Size(test=5000, epochs=(40, 15), draws=4000, few=500)
QUICK = Size(test=1000, epochs=(4, 4), draws=400, few=40)


class Powers(NamedTuple):
    """How often comparisons of so many seeds show a difference, and how often they should."""

    shown: dict[tuple[str, str, int], np.ndarray]
    """By pairing, test and seeds."""
    false: dict[tuple[str, str, int], np.ndarray]
    """The same where there is no difference."""
    told: dict[tuple[str, int], float]
    """Power, in %, by pairing and seeds."""
    enough: dict[str, int]
    """Seeds that show the difference with 80 %."""


def settings(size: Size) -> tuple[Setting, Setting]:
    """Both tasks of ten classes."""
    one, other = size.epochs
    fields = Recipe(learning_rate=FASTER, batch_size=100, epochs=one, eval_every=one)
    digits = Recipe(learning_rate=0.002, batch_size=50, epochs=other, eval_every=other)
    dataset = make_mnist1d(4000 + size.test, 4000 / (4000 + size.test))
    return (
        Setting("MNIST-1D", MLP((40, 100, 100, 10)), fields, dataset),
        Setting("digits", MLP((784, 64, 10)), digits, load("mnist5k")),
    )


def binary(setting: Setting) -> Setting:
    """Whether the class is one of the upper five."""
    data = setting.dataset
    train, valid, test = (Split(x, (y >= 5).astype(y.dtype)) for x, y in (data.train, data.valid, data.test))
    data = replace(data, train=train, valid=valid, test=test, classes=2)
    return Setting(setting.name, MLP((*setting.model.widths[:-1], 2)), setting.recipe, data)


def train(setting: Setting, what: str, seeds: Sequence[int], **options: Any) -> Trained:
    """Train networks, none of which may diverge."""
    with progress_bar(f"{setting.name}, {what}", "networks") as on_progress:
        trained = train_many(*setting[1:], seeds, on_progress=on_progress, **options)
    trained.require_finite()
    return trained


def mistakes(setting: Setting, params: PyTree) -> np.ndarray:
    """Which test examples networks get wrong, [examples, networks]."""
    task, test = make_task(setting.model, setting.recipe, setting.dataset.train), setting.dataset.test

    def ask(params: PyTree, x: Array) -> Array:
        return task.predict(Variables(params), task.prepare(x))

    wrong: np.ndarray = np.asarray(map_seeds(ask, params, test.x)).argmax(axis=-1) != np.asarray(test.y)
    return wrong.T


def rejections(one: np.ndarray, other: np.ndarray, paired: bool, few: int) -> dict[str, np.ndarray]:
    """Which comparisons [draws, seeds] show a difference at 5 %; the permutation test judges the first few.

    The t-test is what `stats.power` is of; the others are those of `stats.difference`, with 1,999 permutations, or all.
    """
    if paired:
        student = welch = scipy.stats.ttest_rel(one, other, axis=1)
    else:
        student, welch = (scipy.stats.ttest_ind(one, other, axis=1, equal_var=equal) for equal in (True, False))
    freedom = np.broadcast_to(welch.df, len(one)).astype(int)
    turned = scipy.stats.permutation_test(
        (one[:few], other[:few]),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        axis=1,
        n_resamples=1999,
        batch=100,
        rng=np.random.default_rng(0),
    )
    beyond = abs(welch.statistic) > np.array([mean_quantile(df + 1) for df in freedom.tolist()])
    return {T_TEST: student.pvalue <= 0.05, PERMUTATION: turned.pvalue <= 0.05, INTERVAL: beyond}


def compare(one: np.ndarray, other: np.ndarray, size: Size) -> Powers:
    """Draw comparisons of errors of the same seeds; where there is no difference, of the first with other seeds."""
    rng, n = np.random.default_rng(0), len(one)
    gap = one.mean() - other.mean()
    spread = {"paired": (one - other).std(), "unpaired": np.sqrt((one.var() + other.var()) / 2)}
    found = Powers({}, {}, {}, {})
    for pairing, paired in PAIRINGS.items():
        found.enough[pairing] = seeds_to_show(gap, spread[pairing], paired=paired)
        for seeds in sorted({*NUMBERS, min(found.enough[pairing], n // 2)}):
            mine = rng.integers(n, size=(size.draws, seeds))
            theirs = mine if paired else rng.integers(n, size=mine.shape)
            apart = rng.random((size.draws, n)).argsort(axis=1)
            shown = rejections(one[mine], other[theirs], paired, size.few)
            false = rejections(one[apart[:, :seeds]], one[apart[:, seeds : 2 * seeds]], paired, size.few)
            for into, hits in ((found.shown, shown), (found.false, false)):
                into.update({(pairing, test, seeds): rejected for test, rejected in hits.items()})
            found.told[pairing, seeds] = 100 * power(gap, spread[pairing], seeds, paired=paired)
    return found


def variance_parts(wrong: np.ndarray) -> tuple[float, float]:
    """What the variance over seeds of the error on n test examples is made of: own / n + (1 - 1 / n) shared.

    With q_i the chance that a network errs on example i, own is the mean of q_i (1 - q_i), and shared the mean
    covariance of the errors on two examples: what two halves of a test set have in common, over all halves at once, and
    the variance on a test set without end. Both are estimated without bias.

    Two networks disagree on an example of a binary task with a chance of 2 q_i (1 - q_i): own is half of that. Suppose
    that where a share r of the networks says 1, 1 is right in a share r of all cases (calibrated). Then their error
    there is r (1 - r) + (1 - r) r = 2 q (1 - q), too, and own half of the error: with nothing shared the variance is
    error / (2 n).

    Args:
        wrong: [examples, networks].

    Returns:
        own and shared, as fractions squared.

    Source: Jordan, arXiv:2304.01910.
    """
    n, networks = wrong.shape
    q = wrong.mean(axis=1)
    own = networks / (networks - 1) * (q * (1 - q)).mean()
    return float(own), float((n * wrong.mean(axis=0).var(ddof=1) - own) / (n - 1))


def power_claims(one: np.ndarray, other: np.ndarray, found: Powers) -> list[Claim]:
    """How often each test shows a difference, and shows one where there is none."""
    shared = jackknife(lambda rows: float((rows[0] - rows[1]).var() / rows.var(axis=1).sum()), np.stack([one, other]))
    claims = [
        Claim.difference(f"test error, learning rate {FASTER:g} above {SLOWER:g}", one, other, unit="points"),
        Claim.mean("variance of the difference of two rates, same seeds over other seeds", shared),
    ]
    near = ABOUT | {"tolerance": DRAWN, "source": COHEN}
    for pairing in PAIRINGS:
        told = {seeds: value for (kind, seeds), value in found.told.items() if kind == pairing}
        sharpest = min(told, key=lambda seeds: abs(told[seeds] - 80))
        claims.append(Claim.exact(f"{pairing}: seeds that show the difference with 80 %", found.enough[pairing]))
        for seeds, test in product(told, (T_TEST, PERMUTATION, INTERVAL)):
            as_told: Any = near | {"published": told[seeds]} if test == T_TEST else {}
            settles = f"{POWERFUL} ({pairing})." if (seeds, test) == (sharpest, T_TEST) else ""
            rarely: Any = {"published": 5 + DRAWN, "relation": "at most", "source": "5 %; the 3 points are ours"}
            shown, false = (hits[pairing, test, seeds] for hits in (found.shown, found.false))
            what = f"{pairing}, {seeds} seeds, {test}: shows"
            claims += [
                Claim.share(f"{what} the difference", shown, **as_told, settles=settles),
                Claim.share(f"{what} one where there is none", false, **rarely),
            ]
    return claims


def variance_claims(name: str, wrong: np.ndarray) -> list[Claim]:
    """The variance of the error over seeds beside the formula, and how much of it is the test set's."""
    n, tens = min(TESTED, len(wrong)), wrong.reshape(len(wrong), LEFT_OUT, -1)

    def values(of: Callable[[float, float, float], float]) -> np.ndarray:
        """Of the error, the variance on n examples, and the test set's part in it: what each ten networks add."""

        def told(tens: np.ndarray) -> float:
            own, shared = variance_parts(tens.reshape(len(tens), -1))
            return of(float(tens.mean()), own / n + (1 - 1 / n) * shared, own / n)

        return jackknife(told, tens)

    where = f"{name}, two classes, {n:,} test examples:"
    nearly: Any = {"published": 90, "relation": "at least", "source": f"{JORDAN}; the 90 % are ours, before the run"}
    return [
        Claim.mean(f"{where} error", 100 * wrong.mean(axis=0), unit="%"),
        Claim.mean(f"{where} variance of the error over error / (2 examples)",
            values(lambda error, variance, _: variance / (error / (2 * n))), **ONE, source=JORDAN,
            settles=f"{HALF} ({name})."),
        Claim.mean(f"{where} share of the variance that is the test set's",
            values(lambda _, variance, own: 100 * own / variance), unit="%", **nearly, settles=f"{NOISE} ({name})."),
        Claim.mean(f"{where} variance of the error between networks on all test examples there could be",
            values(lambda _, variance, own: 1e4 * (variance - own) / (1 - 1 / n)), unit="points^2"),
    ]  # fmt: skip


@mpl.rc_context(STYLE)
def draw(powers: Powers, wrongs: Mapping[str, np.ndarray]) -> Figure:
    """How often a difference shows, and the standard deviation of the error by test examples."""
    figure = Figure(figsize=(15, 6.2))
    chance, variance = figure.subplots(1, 2)
    for pairing, colour in {"paired": BLUE, "unpaired": VERMILLION}.items():
        told = {seeds: value for (kind, seeds), value in powers.told.items() if kind == pairing}
        chance.plot(*zip(*sorted(told.items()), strict=True), color=colour, label=f"power, {pairing}")
        for test, marker in {T_TEST: "o", PERMUTATION: "^", INTERVAL: "x"}.items():
            label = {} if pairing == "unpaired" else {"label": test}
            for hits, alpha in ((powers.shown, 1), (powers.false, 0.35)):
                rates = [100 * hits[pairing, test, seeds].mean() for seeds in told]
                chance.plot([*told], rates, marker, color=colour, alpha=alpha, ms=8, **(label if alpha == 1 else {}))
    chance.axhline(5, color=GREY, ls="--", lw=1.5)
    chance.set(xscale="log", xlabel="seeds of each setting", ylabel="comparisons that show a difference (%)")
    chance.set_title("is a difference shown? pale: where there is none")
    chance.set_xticks(NUMBERS, map(str, NUMBERS))
    chance.minorticks_off()
    examples = np.geomspace(100, 1e5, 40)
    for (name, wrong), colour in zip(wrongs.items(), (BLUE, VERMILLION), strict=True):
        own, between = variance_parts(wrong)
        total = np.maximum(own / examples + (1 - 1 / examples) * between, 0)
        variance.plot(examples, 100 * np.sqrt(total), color=colour, label=name)
        variance.plot(examples, 100 * np.sqrt(wrong.mean() / (2 * examples)), color=colour, ls="--")
        variance.plot(len(wrong), 100 * wrong.mean(axis=0).std(ddof=1), "o", color=colour, mec="black", ms=10)
    variance.plot([], [], "--", color="black", label="sqrt(error / (2 examples))")
    variance.set(xscale="log", yscale="log", xlabel="test examples", ylabel="sd of the error over seeds (points)")
    variance.set_title("two classes: whose is the variance?")
    for axes in figure.axes:
        axes.legend(fontsize=10.5)
    return figure


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds % (2 * LEFT_OUT) or seeds < 2 * max(NUMBERS):
        raise UserError(f"--seeds {seeds}: give a multiple of {2 * LEFT_OUT}, at least {2 * max(NUMBERS)}")
    rate, begin = float32_rate(), time.perf_counter()
    fields, digits = settings(size)
    rates = np.repeat([FASTER, SLOWER], seeds)
    trained = train(fields, "two learning rates", [*range(seeds)] * 2, sweep={"learning_rate": rates})
    one, other = np.split(trained.error()[:, -1], 2)
    powers = compare(one, other, size)
    claims, wrongs, counts = power_claims(one, other, powers), {}, [(fields, 2 * seeds)]
    for setting, count in ((binary(fields), seeds), (binary(digits), seeds // 2)):
        wrongs[setting.name] = mistakes(setting, train(setting, "two classes", range(count)).params)
        claims += variance_claims(setting.name, wrongs[setting.name])
        counts.append((setting, count))
    seconds = time.perf_counter() - begin
    (out / "seed_variance.png").write_bytes(png(draw(powers, wrongs)))
    flops = sum(
        count * flops_per_example(of.model.widths) * len(of.dataset.train.y) * of.recipe.epochs for of, count in counts
    )
    networks = sum(count for _, count in counts)
    config = {
        "networks": networks,
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {flops / 1e12:,.1f} TFLOP in products, {seconds:.0f} s: "
            f"{flops / 1e7 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, with compiling and all "
            "comparisons.",
            f"Comparisons are draws from {seeds:,} networks of each learning rate, no new networks.",
        ],
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of examples of MNIST-1D, and one split of mnist5k"
    run_experiment("seed_variance", __doc__, body, full_seeds=1000, quick_seeds=80, shared=shared)
