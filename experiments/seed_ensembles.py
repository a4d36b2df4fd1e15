"""How far apart are the functions that seeds learn, and what is that worth?

Claims: two networks of other seeds disagree on as many test examples as each gets wrong, where they fit the training
data. Source: Jiang et al., arXiv:2106.13799. The order of examples alone makes networks as unlike as order and start
together. Source: Summers and Dinneen, arXiv:2103.04514. An ensemble, the mean of what networks hold likely, is better
than each of them, better calibrated, and has most of its gain from five. Source: Lakshminarayanan et al.,
arXiv:1612.01474. Weights of several networks can be averaged ("soup") once their units are matched. Source: Ainsworth
et al., arXiv:2209.04836; soups: Wortsman et al., arXiv:2203.05482.

Protocol: MNIST-1D (3,600 examples to train on, 5,000 to test; 40-100-100-10, Adam at 0.003, batch 100, 40 epochs) and
mnist5k (3,500 and 1,000; 784-64-10, Adam at 0.002, batch 50, 15 epochs), ReLU, He's start; trained until they fit, and
as they were after three epochs. Seeds differ in start and order; in groups of five also in one of both alone, with the
start of the group's first seed, or its order. Ensembles and groups are disjoint. Matching is to the first network of a
group. Calibration error: 15 equal bins of the largest probability (Guo et al., arXiv:1706.04599).

Brier's score is exact: for M networks its mean over seeds is bias^2 and noise + variance / M. The curve is predicted by
40 networks, their mean and variance alone, and compared with ensembles of 40 others.

Command: python experiments/seed_ensembles.py
Wall time on two cores: 7 minutes for 2,950 networks, with tests beside it; --quick 25 s.

Expected: on MNIST-1D two networks that fit disagree on 38.8 % of the test examples and err on 39.9 %, nearly as many;
on digits on 3.6 and 6.6 %, so the equality is one of data that leave networks this free. An ensemble of ten has fewer
errors than its networks on average in all of 250 groups (7.7 points on MNIST-1D, 0.6 on digits), and is better
calibrated where networks fit and are too sure (24.9 to 2.2 %); where they were stopped early it is worse. Brier's
score is bias, noise and variance / M to 0.001, foretold by single networks; five have 73 to 83 % of what 40 gain.
Another start alone makes networks as unlike as both on MNIST-1D, another order alone by 0.7 to 0.8 of it. Mean weights
of other seeds are useless (87, 45 and 24 % wrong); matched they come closer the wider the network is, to 24, 1.9 and
0.7 points above one network, and stay worse than the ensemble.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
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
from mlpjax.report.figures import BLUE, GREEN, GREY, ORANGE, SKY, STYLE, VERMILLION, png
from mlpjax.stats import jackknife, mean_band

BLOCK, SIZES, ENSEMBLE, GROUP = 40, (1, 2, 5, 10, 20, 40), 10, 5
"""Networks of a replicate, of the ensembles in it, of those whose calibration is judged, and of those that share."""
BINS, PERCENT = 15, (3, 5, 10, 20, 50)
"""Of the calibration error; on the axes of errors."""
FIT, EARLY = "fit", "stopped early"
BOTH, ORDER, START = "order and start", "order alone", "start alone"
SINGLE, ENSEMBLED, NAIVE, MATCHED, SHARED = "one network", "ensemble", "soup", "soup, matched", "soup, one start"
SCORES = ("test error", "cross-entropy", "Brier's score")
JIANG, SUMMERS, DEEP, REBASIN = "arXiv:2106.13799", "arXiv:2103.04514", "arXiv:1612.01474", "arXiv:2209.04836"
ABOVE: Any = {"published": 0, "relation": "above", "unit": "points"}
BELOW: Any = {"published": 0, "relation": "below", "unit": "points"}
ABOUT: Any = {"relation": "about", "tolerance_source": "ours, before the run"}
ONE: Any = ABOUT | {"published": 1, "tolerance": 0.1}
AS_MANY = "Two networks of other seeds disagree on as many test examples as each gets wrong"
CALIBRATED = "An ensemble of ten is better calibrated than one of its networks"
AS_UNLIKE = "alone makes networks as unlike as another order and another start together"
BETTER = "In every group of ten networks the ensemble has fewer errors than they have on average"
EXACT = "Brier's score of M averaged networks is bias, noise and variance / M, told by single networks alone."
FIVE = "Five networks have most of what an ensemble gains."
NO_SOUP = "The mean of the weights of five networks of other seeds is worse than one of them"
SOUP = "Once the units are matched, the mean of the weights of five networks is better than without"
WORSE = "The mean of the weights of five matched networks is worse than their ensemble"


class Setting(NamedTuple):
    """What networks learn, and how."""

    name: str
    model: MLP
    recipe: Recipe
    dataset: Dataset


class Size(NamedTuple):
    """How much is trained."""

    test: int
    epochs: tuple[int, int]
    """On MNIST-1D and on digits."""
    early: int
    groups: int
    wide: int
    """Units of the wide networks, of which there are half as many groups."""


FULL = Size(test=5000, epochs=(40, 15), early=3, groups=20, wide=512)
QUICK = Size(test=1000, epochs=(4, 4), early=1, groups=4, wide=128)


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
    one, other = size.epochs
    fields = Recipe(learning_rate=0.003, batch_size=100, epochs=one, eval_every=one)
    digits = Recipe(learning_rate=0.002, batch_size=50, epochs=other, eval_every=other)
    dataset = make_mnist1d(4000 + size.test, 4000 / (4000 + size.test))
    return (
        Setting("MNIST-1D", MLP((40, 100, 100, 10)), fields, dataset),
        Setting("digits", MLP((784, 64, 10)), digits, load("mnist5k")),
    )


def train(setting: Setting, what: str, seeds: Sequence[int], **options: Any) -> Trained:
    """Train networks, none of which may diverge."""
    with progress_bar(f"{setting.name}, {what}", "networks") as on_progress:
        trained = train_many(*setting[1:], seeds, on_progress=on_progress, **options)
    trained.require_finite()
    return trained


def pick(params: PyTree, networks: Any) -> PyTree:
    """Some of the networks."""
    return jax.tree.map(lambda leaf: leaf[networks], params)


def starts(model: MLP, seeds: np.ndarray) -> PyTree:
    """The parameters that networks of these seeds start with."""
    return jax.tree.map(np.asarray, jax.vmap(lambda seed: model.init(make_keys(seed).init).params)(seeds))


def train_alone(setting: Setting, groups: int) -> dict[str, PyTree]:
    """Groups that share their start, and groups that share their order: those of the first seed of the group."""
    seeds = np.arange(groups * GROUP, dtype=np.int32)
    first = seeds // GROUP * GROUP
    start = starts(setting.model, np.concatenate([first, seeds]))
    params = train(setting, f"{ORDER}, {START}", [*seeds.tolist(), *first.tolist()], start=start).params
    return {ORDER: pick(params, slice(len(seeds))), START: pick(params, slice(len(seeds), None))}


def probabilities(setting: Setting, params: PyTree) -> np.ndarray:
    """What networks hold likely of the test examples, [networks, examples, classes]."""
    task = make_task(setting.model, setting.recipe, setting.dataset.train)

    def ask(params: PyTree, x: Array) -> Array:
        return jax.nn.softmax(task.predict(Variables(params), task.prepare(x)))

    return np.asarray(map_seeds(ask, params, setting.dataset.test.x))


def averaged(values: np.ndarray, size: int) -> np.ndarray:
    """The mean of each so many networks."""
    mean: np.ndarray = values.reshape(-1, size, *values.shape[1:]).mean(axis=1)
    return mean


def scores(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Test error (%), cross-entropy (nats) and Brier's score, sum_k (p_k - [y = k])^2, [3, networks]."""
    own = p[..., np.arange(len(y)), y]
    surprise = -np.log(np.maximum(own, np.finfo(np.float32).tiny))
    brier = 1 - 2 * own + (p**2).sum(axis=-1)
    return np.stack([part.mean(axis=-1) for part in (100 * (p.argmax(axis=-1) != y), surprise, brier)])


def disagreement(predicted: np.ndarray, group: int) -> np.ndarray:
    """Share of the examples, in %, on which two networks of a group differ, over all its pairs, [groups]."""
    grouped = predicted.reshape(-1, group, predicted.shape[-1])
    pairs = [(grouped[:, one] != grouped[:, other]).mean(axis=1) for one, other in combinations(range(group), 2)]
    return 100 * np.mean(pairs, axis=0)


def calibration_error(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """sum_b |sum_(i in b) (largest probability_i - [right_i])| / n over equal bins b of it, in %, [networks]."""
    largest = p.max(axis=-1)
    gaps, place = largest - (p.argmax(axis=-1) == y), np.minimum((BINS * largest).astype(int), BINS - 1)
    return 100 * np.sum([abs(np.where(place == b, gaps, 0).sum(axis=-1)) for b in range(BINS)], axis=0) / len(y)


def look(p: np.ndarray, y: np.ndarray) -> Look:
    """Errors, disagreement and calibration of networks [networks, examples, classes] and of ensembles."""
    many, told = averaged(p, ENSEMBLE), disagreement(p.argmax(axis=-1), 2)
    return Look(scores(p, y)[0], told, calibration_error(p, y), scores(many, y)[0], calibration_error(many, y))


def by_size(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean scores of the ensembles of every size in each block of networks, [3, sizes, blocks]."""
    blocks = p.reshape(-1, BLOCK, *p.shape[1:])
    return np.transpose([[scores(averaged(block, size), y).mean(axis=1) for size in SIZES] for block in blocks])


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
    forecast: np.ndarray = apart + spread / np.array(sizes)
    return forecast


def ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Jackknife values of the ratio of two means over the same seeds."""
    return jackknife(lambda rows: float(rows[0].mean() / rows[1].mean()), np.stack([one, other]))


def matched(setting: Setting, params: PyTree, networks: int) -> PyTree:
    """Every network with its units in the order that suits the first one of its group."""
    moved = []
    with progress_bar(f"{setting.name}, matching", "networks") as on_progress:
        for place in range(networks):
            first, own = (pick(params, number) for number in (place // GROUP * GROUP, place))
            element = match(setting.model, first, own, jax.random.key(place)).element
            moved.append(jax.tree.map(np.asarray, act(element, own)))
            on_progress(place + 1, networks)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *moved)


def cook(setting: Setting, params: Mapping[str, PyTree], networks: int) -> dict[str, np.ndarray]:
    """Test error, in %, by group: one network, the ensemble, and the networks of the mean weights."""
    y, p = setting.dataset.test.y, probabilities(setting, params[BOTH])
    found = {SINGLE: averaged(scores(p, y)[0], GROUP), ENSEMBLED: scores(averaged(p, GROUP), y)[0]}
    parts = {NAIVE: params[BOTH], MATCHED: matched(setting, params[BOTH], networks)}
    for name, part in (parts | {SHARED: params[ORDER]} if ORDER in params else parts).items():
        soup = jax.tree.map(lambda leaf: averaged(leaf, GROUP), part)
        found[name] = scores(probabilities(setting, soup), y)[0]
    return found


def look_claims(name: str, when: str, found: Look) -> list[Claim]:
    """Disagreement beside the error, and the ensemble of ten beside its networks."""
    pairs, own, average = averaged(found.error, 2), *(averaged(v, ENSEMBLE) for v in (found.calibration, found.error))
    where, least = f"{name}, {when}", found.error.reshape(-1, ENSEMBLE).min(axis=1)
    as_many = ONE | {"source": JIANG, "settles": f"{AS_MANY} ({where})."} if when == FIT else {}
    claims = [
        Claim.mean(f"{where}: test error", pairs, unit="%"),
        Claim.mean(f"{where}: disagreement of two networks", found.disagreement, unit="%"),
        Claim.mean(f"{where}: disagreement over test error", ratio(found.disagreement, pairs), **as_many),
        Claim.mean(f"{where}: calibration error of one network", own, unit="%"),
        Claim.difference(f"{where}: calibration error, ensemble of ten above one network", found.together_calibration,
            own, **BELOW, source=DEEP, settles=f"{CALIBRATED} ({where})."),
    ]  # fmt: skip
    if when == EARLY:
        return claims
    ten = f"{where}: ensemble of ten with fewer errors than"
    return [
        *claims,
        Claim.every(f"{ten} its networks on average", found.together < average, source=DEEP,
            settles=f"{BETTER} ({name})."),
        Claim.share(f"{ten} each of its networks", found.together < least),
        Claim.difference(f"{where}: test error, ensemble of ten above one network", found.together, average, **BELOW,
            source=DEEP),
    ]  # fmt: skip


def alone_claims(name: str, arms: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[Claim]:
    """Whether order or start alone does what both do; arms: disagreement in a group and error of its ensemble."""
    claims = []
    for alone in (ORDER, START):
        (told, error), (both, than) = arms[alone], arms[BOTH]
        settles = f"Another {alone.removesuffix(' alone')} {AS_UNLIKE} ({name})."
        claims += [
            Claim.mean(f"{name}: disagreement, {alone} over {BOTH}", ratio(told, both), **ONE, source=SUMMERS,
                settles=settles),
            Claim.difference(f"{name}: error of an ensemble of five, {alone} above {BOTH}", error, than, unit="points"),
        ]  # fmt: skip
    return claims


def size_claims(curves: np.ndarray, forecasts: np.ndarray) -> list[Claim]:
    """Brier's score beside what other networks tell; and what five networks gain; forecasts [sizes, other blocks]."""
    brier = curves[2, :, 1::2]
    near = ABOUT | {"published": 0, "tolerance": brier[0].mean() / 100, "source": "bias and variance", "theorem": True}
    near["tolerance_source"] += ": a hundredth of one network's"
    name = "MNIST-1D: Brier's score of {} networks, above the forecast of others"
    claims = [
        Claim.difference(name.format(size), brier[place], forecasts[place], paired=False, **near,
            settles=EXACT * (size == ENSEMBLE))
        for place, size in enumerate(SIZES)
    ]  # fmt: skip
    five = SIZES.index(5)
    for what, values in zip(SCORES, curves, strict=True):
        most: Any = {"published": 50, "relation": "above", "source": DEEP, "settles": FIVE * (what == SCORES[0])}
        gained = 100 * ratio(values[0] - values[five], values[0] - values[-1])
        claims.append(Claim.mean(f"MNIST-1D: {what}, what five gain of what {BLOCK} do", gained, unit="%", **most))
    return claims


def soup_claims(name: str, found: Mapping[str, np.ndarray]) -> list[Claim]:
    """Mean weights beside mean probabilities."""
    claims = [Claim.mean(f"{name}: test error, {what}", values, unit="%") for what, values in found.items()]
    compared: list[tuple[str, str, Any]] = [
        (NAIVE, SINGLE, ABOVE | {"source": REBASIN, "settles": f"{NO_SOUP} ({name})."}),
        (MATCHED, NAIVE, BELOW | {"source": REBASIN, "settles": f"{SOUP} ({name})."}),
        (MATCHED, ENSEMBLED, ABOVE | {"source": REBASIN, "settles": f"{WORSE} ({name})."}),
        (MATCHED, SINGLE, {"unit": "points"}),
        (SHARED, SINGLE, {"unit": "points"}),
    ]
    return claims + [
        Claim.difference(f"{name}: test error, {one} above {other}", found[one], found[other], **said)
        for one, other, said in compared
        if one in found
    ]


def dot(axes: Axes, place: float, values: np.ndarray, **style: Any) -> None:
    """The mean with its 95 % interval."""
    (low,), (mean,), (high,) = mean_band(values[:, None])
    axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", capsize=4, **style)


@mpl.rc_context(STYLE)
def draw(
    looks: Mapping[str, Look], curves: np.ndarray, forecasts: np.ndarray, soups: Mapping[str, Mapping[str, np.ndarray]]
) -> Figure:
    """A panel for each question."""
    figure = Figure(figsize=(15, 11.5))
    (equal, calibrated), (brier, soup) = figure.subplots(2, 2)
    for place, (name, found) in enumerate(looks.items()):
        colour, label = (BLUE, SKY, VERMILLION, ORANGE)[place], {} if place else {"label": "one network"}
        pairs = averaged(found.error, 2)
        equal.plot(pairs, found.disagreement, ".", color=colour, ms=3, alpha=0.3)
        equal.plot(pairs.mean(), found.disagreement.mean(), "o", color=colour, mec="black", ms=11, label=name)
        dot(calibrated, place, averaged(found.calibration, ENSEMBLE), color=VERMILLION, **label)
        dot(calibrated, place, found.together_calibration, color=BLUE, label="" if place else "ensemble of ten")
    equal.axline((5, 5), (50, 50), color=GREY, ls="--", lw=1.5, label="equal")
    equal.set(xscale="log", yscale="log", title="do two networks disagree as often as they err?")
    equal.set(xlabel="test error of the two (%)", ylabel="test examples they disagree on (%)")
    equal.set_yticks(PERCENT, map(str, PERCENT))
    calibrated.set_yticks(range(len(looks)), [name.replace(", ", ",\n") for name in looks])
    calibrated.invert_yaxis()
    calibrated.set(xlabel="calibration error (%)", ylabel="networks", title="is an ensemble better calibrated?")
    low, mean, high = mean_band(curves[2].T)
    brier.errorbar(SIZES, mean, [mean - low, high - mean], fmt="o", color=BLUE, capsize=4, label="ensembles")
    brier.plot(SIZES, forecasts.mean(axis=1), color="black", lw=1.4, label="told by single networks")
    brier.set(xscale="log", xlabel="networks M of the ensemble", ylabel="Brier's score")
    brier.set_title("MNIST-1D: bias, noise and variance / M")
    colours = {SINGLE: GREY, ENSEMBLED: BLUE, NAIVE: VERMILLION, MATCHED: GREEN, SHARED: ORANGE}
    for (place, errors), (shift, kind) in product(enumerate(soups.values()), enumerate(colours)):
        if kind in errors:
            dot(soup, place + 0.12 * (shift - 2), errors[kind], color=colours[kind], label="" if place else kind)
    soup.set_yticks(range(len(soups)), [name.replace(", ", ",\n") for name in soups])
    soup.invert_yaxis()
    soup.set(xscale="log", xlabel="test error (%)", ylabel="networks")
    soup.set_title("five networks: mean weights or mean answers?")
    for axes, ticks in ((brier, SIZES), (equal, PERCENT), (soup, PERCENT)):
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
    for axes in figure.axes:
        axes.legend(fontsize=10.5)
    figure.suptitle("networks that differ in nothing but their seed; means with 95 % intervals")
    return figure


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    few, shared = seeds // 4, size.groups * GROUP
    if seeds % (2 * BLOCK) or few < shared:
        raise UserError(f"--seeds {seeds}: give a multiple of {2 * BLOCK}, at least {4 * shared}")
    rate, begin = float32_rate(), time.perf_counter()
    claims, fits, looks, soups = [], {}, {}, {}
    fields, digits = settings(size)
    for setting, main in ((fields, seeds), (digits, few)):
        y, trained = setting.dataset.test.y, train(setting, BOTH, range(main), snapshots=(size.early,))
        fits[setting.name] = round(float(trained.error("train")[:, -1].mean()), 3)
        for when, params in ((FIT, trained.params), (EARLY, pick(trained.snapshots, (slice(few), 0)))):
            p, where = probabilities(setting, params), f"{setting.name}, {when}"
            looks[where] = look(p, y)
            claims += look_claims(setting.name, when, looks[where])
            if setting is fields and when == FIT:
                curves = by_size(p, y)
                tellers = p.reshape(-1, 2, BLOCK, *p.shape[1:])[:, 0]
                forecasts = np.stack([brier_forecast(block, y, SIZES) for block in tellers], axis=1)
                claims += size_claims(curves, forecasts)
        groups = {BOTH: pick(trained.params, slice(shared))} | train_alone(setting, size.groups)
        told = {name: probabilities(setting, params) for name, params in groups.items()}
        arms = {
            name: (disagreement(p.argmax(axis=-1), GROUP), scores(averaged(p, GROUP), y)[0]) for name, p in told.items()
        }
        claims += alone_claims(setting.name, arms)
        soups[f"{setting.name}, {setting.model.name}"] = cook(setting, groups, shared)
    wide = digits._replace(model=MLP((784, size.wide, 10)))
    of_wide = size.groups // 2 * GROUP
    soups[f"{wide.name}, {wide.model.name}"] = cook(wide, {BOTH: train(wide, "wide", range(of_wide)).params}, of_wide)
    for name, found in soups.items():
        claims += soup_claims(name, found)
    seconds = time.perf_counter() - begin
    (out / "seed_ensembles.png").write_bytes(png(draw(looks, curves, forecasts, soups)))
    counts = ((fields, seeds + 2 * shared), (digits, few + 2 * shared), (wide, of_wide))
    flops = sum(
        count * flops_per_example(of.model.widths) * len(of.dataset.train.y) * of.recipe.epochs for of, count in counts
    )
    networks = sum(count for _, count in counts)
    config = {
        "networks": networks,
        "train error (%)": fits,
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {flops / 1e12:,.1f} TFLOP in products, {seconds:.0f} s: "
            f"{flops / 1e7 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, with compiling and "
            "matching."
        ],
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of examples of MNIST-1D, and one split of mnist5k"
    run_experiment("seed_ensembles", __doc__, body, full_seeds=2000, quick_seeds=160, shared=shared)
