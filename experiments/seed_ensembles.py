"""How far apart are the functions that seeds learn, and what is that worth?

Claims: two networks of other seeds disagree on as many test examples as each gets wrong, where they fit the training
data. Source: Jiang et al., arXiv:2106.13799. The order of examples alone makes networks as unlike as order and start
together. Source: Summers and Dinneen, arXiv:2103.04514. An ensemble, the mean of what networks hold likely, is better
than each of them, better calibrated, and has most of its gain from five. Source: Lakshminarayanan et al.,
arXiv:1612.01474. Weights of several networks can be averaged ("soup") once their units are matched. Source: Ainsworth et
al., arXiv:2209.04836; soups: Wortsman et al., arXiv:2203.05482. The variance of the test error over seeds is nearly all
that of a finite test set; of two classes it is error / (2 examples). Source: Jordan, arXiv:2304.01910.

Protocol: MNIST-1D (3,600 examples to train on, 5,000 to test; 40-100-100-10, Adam at 0.003, batch 100, 40 epochs) and
mnist5k (3,500 and 1,000; 784-64-10, Adam at 0.001, batch 50, 30 epochs), ReLU, He's start; trained until they fit, and
as they were after a few epochs. Seeds differ in start and order; in groups of five also in one of both alone, with the
start of the group's first seed, or its order. The binary tasks are classes 0 to 4 against 5 to 9. Ensembles and groups
are disjoint. Matching is to the first network of a group. Calibration error: 15 equal bins of the largest probability
(Guo et al., arXiv:1706.04599).

Brier's score is exact: for M networks its mean over seeds is bias^2 and noise + variance / M. The curve is predicted by
40 networks, their mean and variance alone, and compared with ensembles of 40 others.

Power: MNIST-1D with two learning rates, 0.003 and 0.002, the same seeds. These networks stand for all: comparisons of n
seeds are drawn from them, with replacement, so that the true difference is known, and judged by the t-test, by the
permutation test and by the interval (both of `stats.difference`). Under no difference both sides are of one rate, with
other seeds. A comparison is what is counted there; everywhere else it is a network, a pair or a group.

Command: python experiments/seed_ensembles.py
Wall time on two cores: TODO
Expected: TODO
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
import scipy
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes
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
    make_keys,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.generated import make_mnist1d
from mlpjax.landscape.matching import match
from mlpjax.landscape.symmetries import act
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, STYLE, VERMILLION, png
from mlpjax.stats import jackknife, mean_band, mean_ci, mean_quantile, power, seeds_to_show

BLOCK, SIZES, ENSEMBLE, GROUP = 40, (1, 2, 5, 10, 20, 40), 10, 5
"""Networks of a replicate, of the ensembles in it, of those whose calibration is judged, and of those that share."""
BINS, TESTED, NUMBERS = 15, 1000, (4, 8, 16, 32)
"""Of the calibration error; test examples for which variances are stated; seeds of a comparison."""
RATES = (0.003, 0.002)
"""Learning rates that are compared."""
FIT, EARLY = "trained until they fit", "stopped early"
BOTH, ORDER, START = "order and start", "order alone", "start alone"
T_TEST, PERMUTATION, INTERVAL = "t-test", "permutation test", "interval"
SINGLE, ENSEMBLED, NAIVE = "one network", "ensemble", "soup"
MATCHED, SHARED = "soup, matched", "soup, one start"
SCORES = {"test error": "%", "cross-entropy": "nats", "Brier's score": ""}
JIANG, SUMMERS, DEEP, REBASIN, JORDAN = (
    f"arXiv:{number}" for number in ("2106.13799", "2103.04514", "1612.01474", "2209.04836", "2304.01910")
)
COHEN = "Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2"
TENTH: Any = {
    "published": 1,
    "relation": "about",
    "tolerance": 0.1,
    "tolerance_source": "ours, before the run: a tenth",
}
AS_MANY = "Two networks of other seeds disagree on as many test examples as each gets wrong"
CALIBRATED = "An ensemble of ten is better calibrated than one of its networks"
AS_UNLIKE = "alone makes networks as unlike as another order and another start together"
BETTER = "In every group of ten networks the ensemble has fewer errors than they have on average."
EXACT = "Brier's score of M averaged networks is bias, noise and variance / M, told by single networks alone."
FIVE = "Five networks have most of what an ensemble gains."
NO_SOUP = "The mean of the weights of networks of other seeds is much worse than each of them"
SOUP = "Once the units are matched, the mean of the weights is better than without, but worse than the ensemble"
POWERFUL = "How often a difference shows in so many seeds is what the t-test's power says"
HALF = "The variance over seeds of the error on a test set is error / (2 examples)"
NOISE = "Nearly all of the variance of the test error over seeds is that of a finite test set"


class Setting(NamedTuple):
    """What networks learn, and how."""

    name: str
    model: MLP
    recipe: Recipe
    dataset: Dataset

    @property
    def flops(self) -> float:
        """Of the training of one network, in products."""
        return flops_per_example(self.model.widths) * len(self.dataset.train.y) * self.recipe.epochs


class Size(NamedTuple):
    """How much is trained and drawn."""

    test: int
    epochs: tuple[int, int]
    """On MNIST-1D and on digits."""
    early: int
    groups: int
    wide: int
    """Units of the wide networks, of which there are half as many groups."""
    draws: int
    """Comparisons that the t-test and the interval judge."""
    few: int
    """Those that the permutation test judges, too."""


FULL = Size(5000, (40, 30), 4, 20, 512, 4000, 500)
QUICK = Size(1000, (4, 4), 1, 4, 128, 400, 40)


class Look(NamedTuple):
    """What became of networks of one kind, in %."""

    error: np.ndarray
    """Of each network."""
    disagreement: np.ndarray
    """Of each pair."""
    calibration: np.ndarray
    """Calibration error of each network."""
    together: np.ndarray
    """Error of each ensemble of ten."""
    together_calibration: np.ndarray


def settings(size: Size) -> tuple[Setting, Setting]:
    """Both tasks of ten classes."""
    fields, digits = make_mnist1d(4000 + size.test, 4000 / (4000 + size.test)), load("mnist5k")
    one, other = size.epochs
    return (
        Setting("MNIST-1D", MLP((40, 100, 100, 10)), Recipe("cross_entropy", learning_rate=RATES[0], batch_size=100,
            epochs=one, eval_every=one), fields),
        Setting("digits", MLP((784, 64, 10)), Recipe(batch_size=50, epochs=other, eval_every=other), digits),
    )  # fmt: skip


def binary(setting: Setting) -> Setting:
    """Whether the class is one of the upper five."""
    splits = {
        name: Split(split.x, (split.y >= 5).astype(split.y.dtype))
        for name in ("train", "valid", "test")
        for split in (getattr(setting.dataset, name),)
    }
    model = replace(setting.model, widths=(*setting.model.widths[:-1], 2))
    return Setting(f"{setting.name}, two classes", model, setting.recipe, replace(setting.dataset, classes=2, **splits))


def train(setting: Setting, what: str, seeds: Sequence[int], **options: Any) -> Trained:
    """Train networks, none of which may diverge."""
    with progress_bar(f"{setting.name}, {what}", "networks") as on_progress:
        trained = train_many(*setting[1:], seeds, on_progress=on_progress, **options)
    trained.require_finite()
    return trained


def starts(model: MLP, seeds: np.ndarray) -> PyTree:
    """The parameters that networks of these seeds start with."""
    return jax.tree.map(np.asarray, jax.vmap(lambda seed: model.init(make_keys(seed).init).params)(seeds))


def train_alone(setting: Setting, groups: int) -> dict[str, PyTree]:
    """Groups that share their start, and groups that share their order: those of the first seed of the group."""
    seeds = np.arange(groups * GROUP, dtype=np.int32)
    first = seeds // GROUP * GROUP
    start = starts(setting.model, np.concatenate([first, seeds]))
    params = train(setting, f"{ORDER}, {START}", [*seeds.tolist(), *first.tolist()], start=start).params
    halves = (slice(len(seeds)), slice(len(seeds), None))
    return {
        name: jax.tree.map(lambda leaf, half=half: leaf[half], params) for name, half in zip((ORDER, START), halves)
    }


def probabilities(setting: Setting, params: PyTree) -> np.ndarray:
    """What networks hold likely of the test examples, [networks, examples, classes]."""
    task = make_task(setting.model, setting.recipe, setting.dataset.train)

    def ask(params: PyTree, x: np.ndarray) -> Array:
        return jax.nn.softmax(task.predict(Variables(params), task.prepare(x)))

    return np.asarray(map_seeds(ask, params, setting.dataset.test.x))


def averaged(values: np.ndarray, size: int) -> np.ndarray:
    """The mean of each so many networks."""
    return values.reshape(-1, size, *values.shape[1:]).mean(axis=1)


def scores(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Test error (%), cross-entropy (nats) and Brier's score, sum_k (p_k - [y = k])^2, [3, networks]."""
    own = p[..., np.arange(len(y)), y]
    likelihood = -np.log(np.maximum(own, np.finfo(np.float32).tiny))
    brier = 1 - 2 * own + (p**2).sum(axis=-1)
    return np.stack([100 * (p.argmax(axis=-1) != y).mean(axis=-1), *(s.mean(axis=-1) for s in (likelihood, brier))])


def disagreement(predicted: np.ndarray, group: int) -> np.ndarray:
    """Share of the examples, in %, on which two networks of a group differ, over all its pairs, [groups]."""
    grouped = predicted.reshape(-1, group, predicted.shape[-1])
    pairs = [(grouped[:, one] != grouped[:, other]).mean(axis=1) for one, other in combinations(range(group), 2)]
    return 100 * np.mean(pairs, axis=0)


def calibration_error(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """sum_b |sum_(i in b) (largest probability_i - [right_i])| / n over equal bins b of it, in %, [networks]."""
    largest = p.max(axis=-1)
    gaps, place = largest - (p.argmax(axis=-1) == y), np.minimum((BINS * largest).astype(int), BINS - 1)
    return 100 * sum(abs(np.where(place == b, gaps, 0).sum(axis=-1)) for b in range(BINS)) / len(y)


def look(p: np.ndarray, y: np.ndarray) -> Look:
    """Errors, disagreement and calibration of networks [networks, examples, classes] and of ensembles."""
    many = averaged(p, ENSEMBLE)
    told = disagreement(p.argmax(axis=-1), 2)
    return Look(scores(p, y)[0], told, calibration_error(p, y), scores(many, y)[0], calibration_error(many, y))


def by_size(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean scores of the ensembles of every size in each block of networks, [3, sizes, blocks]."""
    blocks = [[scores(averaged(part, size), y).mean(axis=1) for size in SIZES] for part in np.split(p, len(p) // BLOCK)]
    return np.transpose(blocks)


def brier_forecast(p: np.ndarray, y: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Brier's score of ensembles of every size, told by single networks.

    E |mean of M networks - e_y|^2 = |mu - e_y|^2 + v / M, mu the mean over seeds and v the variance, summed over
    classes. Of n networks with mean m and variance s (over n - 1), |m - e_y|^2 - s / n is unbiased for the first part,
    which is bias^2 and noise, and s for v.

    Args:
        p: probabilities, [networks, examples, classes], of two networks or more.
        y: labels.
        sizes: M.

    Returns:
        The mean over the examples, [sizes].
    """
    spread = p.var(axis=0, ddof=1, dtype=float).sum(axis=-1).mean()
    apart = scores(p.mean(axis=0, dtype=float), y)[2] - spread / len(p)
    return apart + spread / np.array(sizes)


def ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Jackknife values of the ratio of two means over the same seeds."""
    return jackknife(lambda rows: float(rows[0].mean() / rows[1].mean()), np.stack([one, other]))


def soups(setting: Setting, params: Mapping[str, PyTree]) -> dict[str, np.ndarray]:
    """Test error, in %, by group: one network, the ensemble, and the networks of the mean weights."""
    y, both = setting.dataset.test.y, params[BOTH]
    p = probabilities(setting, both)
    found = {SINGLE: averaged(scores(p, y)[0], GROUP), ENSEMBLED: scores(averaged(p, GROUP), y)[0]}
    cooked = {NAIVE: both, MATCHED: matched(setting, both)} | ({SHARED: params[ORDER]} if ORDER in params else {})
    for name, parts in cooked.items():
        mean = jax.tree.map(lambda leaf: averaged(leaf, GROUP), parts)
        found[name] = scores(probabilities(setting, mean), y)[0]
    return found


def matched(setting: Setting, params: PyTree) -> PyTree:
    """Every network with its units in the order that suits the first one of its group."""
    networks = [jax.tree.map(lambda leaf, place=place: leaf[place], params) for place in range(rows(params))]
    moved = []
    with progress_bar(f"{setting.name}, matching", "networks") as on_progress:
        for place, network in enumerate(networks):
            first = networks[place // GROUP * GROUP]
            element = match(setting.model, first, network, jax.random.key(place)).element
            moved.append(jax.tree.map(np.asarray, act(element, network)))
            on_progress(place + 1, len(networks))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *moved)


def rows(params: PyTree) -> int:
    """How many networks."""
    return len(jax.tree.leaves(params)[0])


def rejections(one: np.ndarray, other: np.ndarray, paired: bool, few: int) -> dict[str, np.ndarray]:
    """Which comparisons [draws, seeds] show a difference at 5 %; the permutation test judges the first few."""
    n = one.shape[1]
    if paired:
        student = welch = scipy.stats.ttest_rel(one, other, axis=1)
    else:
        student, welch = (scipy.stats.ttest_ind(one, other, axis=1, equal_var=equal) for equal in (True, False))
    freedom = np.broadcast_to(welch.df, len(one)).astype(int)
    reach = {df: mean_quantile(df + 1) for df in np.unique(freedom).tolist()}
    turned = scipy.stats.permutation_test(
        (one[:few], other[:few]),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        axis=1,
        n_resamples=1999,
        batch=max(1, 10**6 // (few * n)),
        rng=np.random.default_rng(0),
    )
    return {
        T_TEST: student.pvalue <= 0.05,
        PERMUTATION: turned.pvalue <= 0.05,
        INTERVAL: abs(welch.statistic) > np.array([reach[df] for df in freedom.tolist()]),
    }


def variance_parts(wrong: np.ndarray) -> tuple[float, float]:
    """What the variance over seeds of the error on n test examples is made of: own / n + (1 - 1 / n) shared.

    With q_i the chance that a network errs on example i, own is the mean of q_i (1 - q_i), and shared the mean
    covariance of errors on two examples: the variance on a test set without end, between networks that differ in
    truth, and what two halves of a test set have in common. Both are unbiased, shared over all halves at once.

    In a binary task two networks differ on example i in 2 q_i (1 - q_i) of all cases: own is half their disagreement.
    Where a share q of networks is wrong on q of the examples on which they are so divided (calibrated), the mean of
    2 q (1 - q) is the mean error: on examples with a share r for one class, the error is r (1 - r) + (1 - r) r. So with
    nothing shared the variance is error / (2 n).

    Args:
        wrong: [examples, networks].

    Returns:
        own and shared, as fractions squared.

    Source: Jordan, arXiv:2304.01910.
    """
    n = len(wrong)
    own = wrong.var(axis=1, ddof=1).mean()
    return float(own), float((n * wrong.mean(axis=0).var(ddof=1) - own) / (n - 1))


def variance_of(wrong: np.ndarray, examples: int) -> float:
    """Over seeds, of the error on so many of the examples, the mean over all that could be chosen."""
    own, shared = variance_parts(wrong)
    return own / examples + (1 - 1 / examples) * shared


def look_claims(name: str, when: str, found: Look) -> list[Claim]:
    """Disagreement beside the error, and the ensemble of ten beside its networks."""
    pairs, own = averaged(found.error, 2), averaged(found.calibration, ENSEMBLE)
    where, fit = f"{name}, {when}", when == FIT
    as_many = TENTH | {"source": JIANG, "settles": f"{AS_MANY} ({name})."} if fit else {}
    least = found.error.reshape(-1, ENSEMBLE).min(axis=1)
    average, settles = averaged(found.error, ENSEMBLE), BETTER if fit and name == "MNIST-1D" else ""
    return [
        Claim.mean(f"{where}: test error", pairs, unit="%"),
        Claim.mean(f"{where}: disagreement of two networks", found.disagreement, unit="%"),
        Claim.mean(f"{where}: disagreement over test error", ratio(found.disagreement, pairs), **as_many),
        Claim.mean(f"{where}: calibration error of one network", own, unit="%"),
        Claim.difference(f"{where}: calibration error, ensemble of ten above one network", found.together_calibration,
            own, unit="points", published=0, relation="below", source=DEEP, settles=f"{CALIBRATED} ({where})."),
        Claim.every(f"{where}: ensemble of ten with fewer errors than its networks on average",
            found.together < average, source=DEEP, settles=settles),
        Claim.share(f"{where}: ensemble of ten with fewer errors than each of its networks", found.together < least),
        Claim.difference(f"{where}: test error, ensemble of ten above one network", found.together, average,
            unit="points", published=0, relation="below", source=DEEP),
    ]  # fmt: skip


def alone_claims(name: str, predicted: Mapping[str, np.ndarray], together: Mapping[str, np.ndarray]) -> list[Claim]:
    """Whether order or start alone does what both do."""
    both, claims = disagreement(predicted[BOTH], GROUP), []
    for alone in (ORDER, START):
        told = f"Another {alone.removesuffix(' alone')} {AS_UNLIKE} ({name})."
        values = ratio(disagreement(predicted[alone], GROUP), both)
        what = f"{name}, {FIT}: disagreement, {alone} over {BOTH}"
        claims += [
            Claim.mean(what, values, **TENTH, source=SUMMERS, settles=told),
            Claim.difference(f"{name}, {FIT}: error of the ensemble of five, {alone} above {BOTH}", together[alone],
                together[BOTH], unit="points"),
        ]  # fmt: skip
    return claims


def size_claims(curves: np.ndarray, forecasts: np.ndarray) -> list[Claim]:
    """Brier's score beside what single networks tell; and what five networks gain; forecasts [sizes, other blocks]."""
    brier, claims = curves[2], []
    for place, size in enumerate(SIZES):
        claims.append(
            Claim.difference(f"MNIST-1D: Brier's score of {size} networks, above the forecast of {BLOCK} others",
                brier[place], forecasts[place], paired=False, published=0, relation="about", theorem=True,
                tolerance=brier[0].mean() / 100, tolerance_source="ours, before the run: a hundredth of one network's",
                source="bias and variance", settles=EXACT * (size == ENSEMBLE))
        )  # fmt: skip
    five = SIZES.index(5)
    for what, values in zip(SCORES, curves, strict=True):
        gained = 100 * ratio(values[0] - values[five], values[0] - values[-1])
        most = {"settles": FIVE * (what == "test error"), "published": 50, "relation": "above", "source": DEEP}
        claims.append(Claim.mean(f"MNIST-1D: {what}, share of the gain of {BLOCK} that five have", gained, unit="%",
            **most))  # fmt: skip
    return claims


def soup_claims(name: str, found: Mapping[str, np.ndarray]) -> list[Claim]:
    """Mean weights beside mean probabilities."""
    claims = [
        Claim.mean(f"{name}, five networks: test error, {what}", values, unit="%") for what, values in found.items()
    ]
    compared = [
        (NAIVE, SINGLE, "above", f"{NO_SOUP} ({name})."),
        (MATCHED, NAIVE, "below", ""),
        (MATCHED, ENSEMBLED, "above", f"{SOUP} ({name})."),
        (MATCHED, SINGLE, "", ""),
        (SHARED, SINGLE, "", ""),
    ]
    for one, other, relation, settles in compared:
        if one in found:
            said = {"published": 0, "relation": relation, "source": REBASIN, "settles": settles} if relation else {}
            told = f"{name}, five networks: test error, {one} above {other}"
            claims.append(Claim.difference(told, found[one], found[other], unit="points", **said))
    return claims


class Powers(NamedTuple):
    """How often comparisons of so many seeds show a difference, and how often they should."""

    shown: dict[tuple[str, str, int], np.ndarray]
    """By pairing, test and seeds."""
    false: dict[tuple[str, str, int], np.ndarray]
    """The same where there is no difference."""
    told: dict[tuple[str, int], float]
    """Power by pairing and seeds."""


PAIRINGS = {"paired": True, "unpaired": False}


def compare(one: np.ndarray, other: np.ndarray, size: Size) -> tuple[Powers, list[Claim]]:
    """Draw comparisons of the errors of networks with two learning rates, which share the first seeds."""
    rng, n = np.random.default_rng(0), len(other)
    gap, pooled = one[:n].mean() - other.mean(), np.sqrt((one[:n].var() + other.var()) / 2)
    spread = {"paired": float((one[:n] - other).std()), "unpaired": float(pooled)}
    found, claims = Powers({}, {}, {}), []
    for pairing, paired in PAIRINGS.items():
        enough = seeds_to_show(gap, spread[pairing], paired=paired)
        claims.append(Claim.exact(f"{pairing}: seeds that show the difference with 80 %", enough))
        for seeds in sorted({*NUMBERS, enough}):
            mine = rng.integers(n, size=(size.draws, seeds))
            theirs = mine if paired else rng.integers(n, size=mine.shape)
            apart = rng.random((size.draws, len(one))).argsort(axis=1)[:, : 2 * seeds]
            told = found.told[pairing, seeds] = power(gap, spread[pairing], seeds, paired=paired)
            shown = rejections(one[mine], other[theirs], paired, size.few)
            false = rejections(one[apart[:, :seeds]], one[apart[:, seeds:]], paired, size.few)
            for into, values in ((found.shown, shown), (found.false, false)):
                into |= {(pairing, test, seeds): hits for test, hits in values.items()}
            near: Any = {"relation": "about", "tolerance": 3, "tolerance_source": "ours, before the run: twice the "
                "Monte-Carlo error of 4,000 comparisons"}  # fmt: skip
            what = f"{pairing}, {seeds} seeds:"
            settles = f"{POWERFUL} ({pairing})." if seeds == enough else ""
            claims += [
                Claim.share(f"{what} the t-test shows the difference", shown[T_TEST], published=100 * told, **near,
                    source=COHEN, settles=settles),
                Claim.share(f"{what} the t-test shows one where there is none", false[T_TEST], published=5, **near,
                    source=COHEN),
            ]  # fmt: skip
            for test in (PERMUTATION, INTERVAL):
                at_most: Any = {
                    "published": 5 + near["tolerance"],
                    "relation": "at most",
                    "source": "5 %, and 3 points",
                }
                claims += [
                    Claim.share(f"{what} the {test} shows the difference", shown[test]),
                    Claim.share(f"{what} the {test} shows one where there is none", false[test], **at_most),
                ]
    shared = jackknife(lambda rows: float((rows[0] - rows[1]).var() / (rows[0].var() + rows[1].var())),
        np.stack([one[:n], other]))  # fmt: skip
    told = "variance of the difference, the same seeds over other seeds"
    return found, [
        Claim.difference(f"test error, learning rate {RATES[0]:g} above {RATES[1]:g}", one[:n], other, unit="points"),
        Claim.mean(told, shared),
        *claims,
    ]


def variance_claims(name: str, wrong: np.ndarray) -> list[Claim]:
    """The variance of the error over seeds beside the formula, and how much of it is the test set's."""
    n = min(TESTED, len(wrong))

    def over_formula(wrong: np.ndarray) -> float:
        return variance_of(wrong, n) / (wrong.mean() / (2 * n))

    def noise(wrong: np.ndarray) -> float:
        return 100 * variance_parts(wrong)[0] / n / variance_of(wrong, n)

    where = f"{name}, {n:,} test examples:"
    nearly: Any = {"published": 90, "relation": "at least", "source": f"{JORDAN}; the 90 % are ours, before the run"}
    return [
        Claim.mean(f"{name}: test error", 100 * wrong.mean(axis=0), unit="%"),
        Claim.mean(f"{name}: disagreement over test error", jackknife(
            lambda wrong: 2 * variance_parts(wrong)[0] / float(wrong.mean()), wrong)),
        Claim.mean(f"{where} variance of the error over error / (2 examples)", jackknife(over_formula, wrong), **TENTH,
            source=JORDAN, settles=f"{HALF} ({name})."),
        Claim.mean(f"{where} share of the variance that is the test set's", jackknife(noise, wrong), unit="%", **nearly,
            settles=f"{NOISE} ({name})."),
        Claim.mean(f"{name}: variance of the error on a test set without end", jackknife(
            lambda wrong: 1e4 * variance_parts(wrong)[1], wrong), unit="points^2"),
    ]  # fmt: skip


def dot(axes: Axes, place: float, values: np.ndarray, **look: Any) -> None:
    """The mean with its 95 % interval."""
    low, high = mean_ci(values) or (values.mean(),) * 2
    mean = values.mean()
    axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", capsize=4, **look)


@mpl.rc_context(STYLE)
def draw(
    looks: Mapping[str, Look],
    alone: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    curves: np.ndarray,
    forecasts: np.ndarray,
    cooked: Mapping[str, Mapping[str, np.ndarray]],
    powers: Powers,
    wrongs: Mapping[str, np.ndarray],
) -> Figure:
    """A panel for each question."""
    figure = Figure(figsize=(20, 11))
    ((equal, calibrated, brier), (soup, chance, variance)) = figure.subplots(2, 3)
    colours = dict(zip(looks, (BLUE, ORANGE, VERMILLION, PURPLE), strict=True))
    for name, found in looks.items():
        pairs = averaged(found.error, 2)
        equal.plot(pairs, found.disagreement, ".", color=colours[name], ms=3, alpha=0.3)
        equal.plot(pairs.mean(), found.disagreement.mean(), "o", color=colours[name], mec="black", ms=11, label=name)
    for name, arms in alone.items():
        for (arm, (error, told)), marker in zip(arms.items(), "^v", strict=True):
            label = arm if name == [*alone][-1] else None
            equal.plot(error.mean(), told.mean(), marker, color="white", mec="black", ms=9, label=label)
    ends = [min(equal.get_xlim()[0], 2), 80]
    equal.plot(ends, ends, color=GREY, ls="--", lw=1.5, label="equal")
    equal.set(xscale="log", yscale="log", xlabel="test error of the two (%)", ylabel="examples they disagree on (%)")
    equal.set_title("do two networks disagree as often as they err?")
    equal.legend(fontsize=10)
    for place, (name, found) in enumerate(looks.items()):
        own = averaged(found.calibration, ENSEMBLE)
        dot(calibrated, place, own, color=VERMILLION, label="one network" if not place else None)
        dot(calibrated, place, found.together_calibration, color=BLUE, label="ensemble of ten" if not place else None)
    calibrated.set_yticks(range(len(looks)), [name.replace(", ", ",\n") for name in looks])
    calibrated.set_ylim(len(looks) - 0.5, -0.5)
    calibrated.set(xlabel="calibration error (%)", ylabel="networks", title="is an ensemble better calibrated?")
    calibrated.legend()
    low, mean, high = mean_band(curves[2].T)
    brier.errorbar(SIZES, mean, [mean - low, high - mean], fmt="o", color=BLUE, capsize=4, label="ensembles")
    brier.plot(SIZES, forecasts.mean(axis=1), color="black", lw=1.4, label=f"told by {BLOCK} other single networks")
    brier.set(
        xscale="log",
        xlabel="networks of the ensemble",
        ylabel="Brier's score",
        title="MNIST-1D: bias, noise and variance / M",
    )
    brier.set_xticks(SIZES, map(str, SIZES))
    brier.minorticks_off()
    brier.legend()
    kinds = {SINGLE: GREY, ENSEMBLED: BLUE, NAIVE: VERMILLION, MATCHED: GREEN, SHARED: ORANGE}
    for place, (name, errors) in enumerate(cooked.items()):
        for shift, (kind, colour) in enumerate(kinds.items()):
            if kind in errors:
                dot(soup, place + 0.12 * (shift - 2), errors[kind], color=colour, label=None if place else kind)
    soup.set_yticks(range(len(cooked)), cooked)
    soup.invert_yaxis()
    soup.set(
        xscale="log", xlabel="test error (%)", ylabel="networks", title="five networks: mean of weights or of answers?"
    )
    soup.legend()
    for (pairing, colour), marker in zip({"paired": BLUE, "unpaired": VERMILLION}.items(), "os", strict=True):
        told = {seeds: value for (kind, seeds), value in sorted(powers.told.items()) if kind == pairing}
        chance.plot([*told], [100 * value for value in told.values()], color=colour, label=f"power, {pairing}")
        for test, face in ((T_TEST, colour), (PERMUTATION, "white"), (INTERVAL, "none")):
            look: Any = {"color": colour, "mfc": face, "marker": "x" if test == INTERVAL else marker, "ls": "", "ms": 8}
            chance.plot([*told], [100 * powers.shown[pairing, test, n].mean() for n in told], label=test, **look)
            chance.plot([*told], [100 * powers.false[pairing, test, n].mean() for n in told], alpha=0.4, **look)
    chance.axhline(5, color=GREY, ls="--", lw=1.5)
    chance.set(
        xscale="log",
        xlabel="seeds of each setting",
        ylabel="comparisons that show one (%)",
        title="is a difference shown? pale: there is none",
    )
    chance.set_xticks(NUMBERS, map(str, NUMBERS))
    chance.minorticks_off()
    chance.legend(fontsize=10, ncols=2)
    for (name, wrong), colour in zip(wrongs.items(), (BLUE, VERMILLION), strict=True):
        examples = np.geomspace(100, 1e5, 30)
        own, shared = variance_parts(wrong)
        measured = np.maximum(own / examples + (1 - 1 / examples) * shared, 0)
        variance.plot(examples, 100 * np.sqrt(measured), color=colour, label=name.removesuffix(", two classes"))
        variance.plot(examples, 100 * np.sqrt(wrong.mean() / (2 * examples)), color=colour, ls="--")
        variance.plot(len(wrong), 100 * wrong.mean(axis=0).std(ddof=1), "o", color=colour, mec="black", ms=10)
    variance.plot([], [], "--", color="black", label="formula for calibrated networks")
    variance.set(
        xscale="log",
        yscale="log",
        xlabel="test examples",
        ylabel="sd of the test error over seeds (points)",
        title="two classes: whose is the variance?",
    )
    variance.legend()
    figure.suptitle("networks that differ in their seed alone; means with 95 % intervals")
    return figure


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    few = seeds // 4
    if seeds % (2 * BLOCK) or few < size.groups * GROUP:
        raise UserError(f"--seeds {seeds}: give a multiple of {2 * BLOCK}, at least {4 * size.groups * GROUP}")
    rate, begin = float32_rate(), time.perf_counter()
    claims: list[Claim] = []
    looks: dict[str, Look] = {}
    alone: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    cooked: dict[str, dict[str, np.ndarray]] = {}
    wrongs: dict[str, np.ndarray] = {}
    trainings: list[tuple[Setting, int]] = []
    fields, digits = settings(size)
    for setting in (fields, digits):
        y, main = setting.dataset.test.y, seeds if setting is fields else few
        own, sweep = [*range(main)], {}
        if setting is fields:
            own += range(main // 2)
            sweep = {"sweep": {"learning_rate": np.repeat(RATES, (main, main // 2))}}
        trained = train(setting, BOTH, own, snapshots=(size.early,), **sweep)
        trainings.append((setting, len(own)))
        p = probabilities(setting, jax.tree.map(lambda leaf: leaf[:main], trained.params))
        early = probabilities(setting, jax.tree.map(lambda leaf: leaf[:few, 0], trained.snapshots))
        for when, values in ((FIT, p), (EARLY, early)):
            looks[f"{setting.name}, {when}"] = look(values, y)
            claims += look_claims(setting.name, when, looks[f"{setting.name}, {when}"])
        if setting is fields:
            curves, half = by_size(p, y), p.reshape(-1, 2, BLOCK, *p.shape[1:])
            forecasts = np.stack([brier_forecast(block, y, SIZES) for block in half[:, 0]], axis=1)
            claims += size_claims(curves[..., 1::2], forecasts)
            powers, of_power = compare(trained.error()[:main, -1], trained.error()[main:, -1], size)
            claims += of_power
        shared = size.groups * GROUP
        params = {BOTH: jax.tree.map(lambda leaf: leaf[:shared], trained.params)} | train_alone(setting, size.groups)
        trainings.append((setting, 2 * shared))
        told = {name: probabilities(setting, group) for name, group in params.items()}
        predicted = {name: values.argmax(axis=-1) for name, values in told.items()}
        together = {name: scores(averaged(values, GROUP), y)[0] for name, values in told.items()}
        claims += alone_claims(setting.name, predicted, together)
        alone[setting.name] = {
            name: (scores(told[name], y)[0], disagreement(predicted[name], GROUP)) for name in (ORDER, START)
        }
        cooked[f"{setting.name}, {setting.model.name}"] = soups(setting, params)
        two = binary(setting)
        ends = train(two, BOTH, range(few))
        trainings.append((two, few))
        wrongs[two.name] = two.dataset.test.y[:, None] != probabilities(two, ends.params).argmax(axis=-1).T
    wide = digits._replace(model=MLP((784, size.wide, 10)))
    groups = size.groups // 2
    params = {BOTH: train(wide, "wide", range(groups * GROUP)).params}
    trainings.append((wide, groups * GROUP))
    cooked[f"{wide.name}, {wide.model.name}"] = soups(wide, params)
    for name, errors in cooked.items():
        claims += soup_claims(name, errors)
    for name, wrong in wrongs.items():
        claims += variance_claims(name, wrong)
    seconds = time.perf_counter() - begin
    figure = draw(looks, alone, curves, forecasts, cooked, powers, wrongs)
    (out / "seed_ensembles.png").write_bytes(png(figure))
    networks = sum(count for _, count in trainings)
    operations = sum(count * setting.flops for setting, count in trainings)
    config = {
        "networks": networks,
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {operations / 1e12:,.1f} TFLOP in products, {seconds:.0f} s: "
            f"{operations / 1e7 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, with compiling, "
            "matching and all comparisons.",
            f"Comparisons of seeds are draws from {seeds // 2:,} networks of either rate, and no new networks.",
        ],
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of examples of MNIST-1D, and one split of mnist5k"
    run_experiment("seed_ensembles", __doc__, body, full_seeds=2000, quick_seeds=160, shared=shared)
