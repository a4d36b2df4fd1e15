"""Double descent: does a test error that rose with width, time or data fall again?

Claims: as a network gets wider, its test error falls, rises to a peak where the network just fits the training data,
and falls again, below all before. Source: Belkin, Hsu, Ma and Mandal, arXiv:1812.11118. Over the epochs and over the
number of examples, too: Nakkiran et al., arXiv:1912.02292; not with the right weight decay: Nakkiran et al.,
arXiv:2003.01897. The published curves: MNIST-1D's repository, notebooks/deep-double-descent.ipynb, one network a width.

Protocol, width: the notebook's. MNIST-1D, 4,000 examples to train on and 12,000 to test; 40-h-h-10, ReLU, PyTorch's
start, SGD at 0.01 with momentum 0.9, batch 100, 500 epochs, the nineteen widths from 2 to 300. None of the training
labels are wrong, or 13.5 %: the notebook draws 15 % anew from all ten, of which a tenth come out right. The seeds of
all widths are the same. With the wrong labels also under three ridge penalties.

Epochs: the widest network, looked at after each. Examples: 20,000 steps at batch 100, which are 500 epochs of 4,000
examples, on 500 to 12,000 examples that each network draws for itself of 12,000, with 12,000 others to test.

Belkin's: 4,000 digits of mnist5k to train on and 1,000 to test, 784-H-10, ReLU, squared loss, Glorot's start, batch
100, Adam at 0.001 down to 0 as a cosine, 500 epochs (there SGD with momentum, up to 6,000: in 500 it does not come to
fit). There are as many parameters as targets, 40,000, at H = 50. A network is drawn anew, or begins with the weights of
the next narrower one, trained, and those of the new units from N(0, 0.01), at every width or up to the threshold.

Command: python experiments/double_descent.py
Wall time on two cores: 81 minutes for 2,208 networks, in a run that other work slowed after the 14 minutes of the
curves over widths, and stopped for ten; alone it should be about 50; --quick 40 s.

Expected: the published curves, with intervals. With wrong labels the error falls to 48.9 % at 16 units, rises to 54.3 %
at 47 and falls to 45.0 % at 300, below all before; the loss has its peak of 5.9 nats at 47. With right labels the loss
has one, too (4.4 nats), and the error none. A ridge of 0.003 takes the peak away: 41 % at all widths from 27 on. Over
epochs the error of the widest network falls to 44 %, rises by 1.1 points while the last wrong labels are learned, and
stays there. More examples can raise a network's test loss, where it just fits them, and never raise its error. On MNIST
networks that are drawn anew have no peak at the threshold, and from 16 units on with weights used again each is worse
than the narrower one: a peak there is made by using them again up to the threshold and drawing anew beyond. A curve
takes 26.6 s a seed, not 25, at 69 % of the machine's rate of 174 GFLOP/s, of which the products alone ask for 18 s.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import PyTree
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mlpjax import MLP, Dataset, Recipe, Trained, UserError, load, progress_bar, sweep, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.dataset import with_label_noise, without_validation
from mlpjax.data.generated import make_mnist1d
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

WIDTHS = tuple(np.unique(np.geomspace(2, 300, 20, dtype=int)).tolist())
NARROW, PEAK, WIDEST = 16, 47, 300
"""Of the widths that the notebook has: before the peak with wrong labels, at it, and past it."""
RIDGES = (3e-4, 1e-3, 3e-3)
BATCH, EPOCHS = 100, 500
WANTED_SECONDS = 25
EXAMPLES, HIDDEN = (500, 1000, 2000, 3000, 4000, 6000, 8000, 12_000), (16, 27, 47)
"""Training examples, and the widths that are trained on them."""
UNITS, THRESHOLD = (4, 8, 16, 25, 38, 50, 66, 100, 160), 50
"""Of Belkin's networks, and where there are as many parameters as targets."""
SHARES = {"wrong labels": 0.135, "right labels": 0.0}
ERRORS = {"wrong labels": {16: 47.24, 47: 54.05, 300: 45.47}, "right labels": {27: 41.02, 47: 41.01, 230: 37.10}}
PEAKS = {"wrong labels": (61, 5.786), "right labels": (47, 4.415)}
"""Published: test errors by width, in %; and at which width the test loss is highest, and how high."""
NOTEBOOK = "MNIST-1D's repository, notebooks/deep-double-descent.ipynb"
BELKIN, NAKKIRAN, DECAY = (f"arXiv:{number}" for number in ("1812.11118", "1912.02292", "2003.01897"))
DESCENDS = "With wrong labels the test error falls, rises to a peak and falls again as a network gets wider."
LOWER = "Past the peak the test error falls below that of every narrower network."
LOSS_ONLY = "Without wrong labels the test loss has such a peak, and the test error has none."
TAMED = "The right ridge penalty takes the peak away: the error no longer rises with the width."
TIME = "The test error of a wide network falls, rises and falls again while it is trained."
DATA = {
    "error": "With more training examples the test error of one network can rise.",
    "loss": "With more training examples the test loss of one network can rise.",
}
FAST = "On two cores the curve of nineteen widths takes at most 25 s a seed."
ANEW, AGAIN, BELOW = "drawn anew", "used again", "used again up to the threshold"
PEAKS_AT = "On MNIST the test loss peaks where there are as many parameters as targets"
THRESHOLDS = {
    ANEW: f"{PEAKS_AT}, each network drawn anew.",
    AGAIN: f"{PEAKS_AT}, where each begins with the weights of a narrower one.",
    BELOW: f"{PEAKS_AT}, where each does so up to there, and is drawn anew beyond.",
}


class Size(NamedTuple):
    """How much of it all is trained."""

    train: int
    test: int
    widths: Sequence[int]
    epochs: int
    ridges: Sequence[float]
    hidden: Sequence[int]
    """Widths that are trained on several numbers of examples."""
    examples: Sequence[int]
    units: Sequence[int]


FULL = Size(4000, 12_000, WIDTHS, EPOCHS, RIDGES, HIDDEN, EXAMPLES, UNITS)
QUICK = Size(1000, 2000, (4, 16, 47), 20, (1e-3,), (16,), (500, 1000), (25, 38, 50, 66))


class Curves(NamedTuple):
    """Where networks ended at every setting: arrays [*grid, seeds]."""

    error: np.ndarray
    """On the test examples, in %."""
    loss: np.ndarray
    """Test loss."""
    fit: np.ndarray
    """Error on the training examples, in %."""
    diverged: np.ndarray


def network(width: int) -> MLP:
    """The notebook's: two hidden layers of one width, drawn as PyTorch draws them."""
    return MLP((40, width, width, 10), initializer="torch", bias="same")


def recipe(epochs: int, eval_every: int) -> Recipe:
    """The notebook's."""
    return Recipe(optimizer="momentum", learning_rate=0.01, batch_size=BATCH, epochs=epochs, eval_every=eval_every)


def mnist1d(train: int, test: int, wrong: float) -> Dataset:
    """So many examples of MNIST-1D, none to validate by, with a share of wrong labels in training."""
    return with_label_noise(without_validation(make_mnist1d(train + test, train / (train + test))), wrong)


def end(trained: Trained) -> Curves:
    """Where the networks of one setting ended, [seeds]."""
    last = trained.history["test_loss"][:, -1]
    return Curves(trained.error()[:, -1], last, trained.error("train")[:, -1], trained.diverged)


def curves(what: str, recipe: Recipe, dataset: Dataset, seeds: int, over: dict[str, Sequence[Any]]) -> Curves:
    """Train at every setting to the end."""
    with progress_bar(what, "networks") as on_progress:
        swept = sweep(network(2), recipe, dataset, range(seeds), over, on_progress=on_progress)
    return Curves(*swept.stack(end))


def over_widths(dataset: Dataset, widths: Sequence[int], ridges: Sequence[float], seeds: int, epochs: int) -> Curves:
    """Arrays [widths, ridges, seeds]."""
    over: dict[str, Sequence[Any]] = {"widths": [network(width).widths for width in widths], "ridge": ridges}
    return curves(f"over widths, {dataset.name}", recipe(epochs, epochs), dataset, seeds, over)


def over_epochs(dataset: Dataset, width: int, seeds: int, epochs: int) -> Trained:
    """One width, looked at after every epoch."""
    with progress_bar("over epochs", "networks") as on_progress:
        return train_many(network(width), recipe(epochs, 1), dataset, range(seeds), on_progress=on_progress)


def over_examples(dataset: Dataset, widths: Sequence[int], sizes: Sequence[int], seeds: int, steps: int) -> Curves:
    """As many steps on every number of examples: arrays [widths, sizes, seeds]."""
    shapes = [network(width).widths for width in widths]
    found = []
    for size in sizes:
        epochs = steps * BATCH // size
        own = replace(recipe(epochs, epochs), sample_size=size)
        found.append(curves(f"{size:,} examples", own, dataset, seeds, {"widths": shapes}))
    return Curves(*(np.stack(parts, axis=1) for parts in zip(*found, strict=True)))


def over_units(dataset: Dataset, units: Sequence[int], reuse: bool, seeds: int, epochs: int) -> Curves:
    """Belkin's: one hidden layer, each anew or with the weights of the narrower one; arrays [units, seeds]."""
    own = Recipe("squared_error", schedule="cosine", batch_size=BATCH, epochs=epochs, eval_every=epochs)
    ends: list[Curves] = []
    params: PyTree = None
    with progress_bar(f"units, weights {AGAIN if reuse else ANEW}", "networks") as on_progress:
        for place, width in enumerate(units):

            def on_width(done: int, all_here: int, place: int = place) -> None:
                on_progress(place * seeds + done * seeds // all_here, len(units) * seeds)

            model = MLP((dataset.features, width, 10), initializer="glorot")
            start = widened(params, width) if reuse and place else None
            trained = train_many(model, own, dataset, range(seeds), start=start, on_progress=on_width)
            params = trained.params
            ends.append(end(trained))
    return Curves(*(np.stack(parts) for parts in zip(*ends, strict=True)))


def widened(params: PyTree, width: int) -> PyTree:
    """Networks [seeds, ...] of one hidden layer with so many units, the new ones' weights drawn from N(0, 0.01)."""
    hidden, output = params["dense_0"], params["dense_1"]
    seeds, inputs, narrow = hidden["kernel"].shape
    draws = [np.random.default_rng((seed, width)) for seed in range(seeds)]
    more = width - narrow
    into = np.stack([0.1 * rng.standard_normal((inputs, more), np.float32) for rng in draws])
    out = np.stack([0.1 * rng.standard_normal((more, output["kernel"].shape[2]), np.float32) for rng in draws])
    bias = np.concatenate([hidden["bias"], np.zeros((seeds, more), np.float32)], axis=1)
    return {
        "dense_0": {"kernel": np.concatenate([hidden["kernel"], into], axis=2), "bias": bias},
        "dense_1": {"kernel": np.concatenate([output["kernel"], out], axis=1), "bias": output["bias"]},
    }


def width_claims(labels: str, widths: Sequence[int], found: Curves) -> list[Claim]:
    """The errors and the peak of the loss beside the published ones, and whether it is a double descent."""
    among = ~found.diverged.any(axis=0)
    error, loss = (dict(zip(widths, values, strict=True)) for values in (found.error, found.loss))
    published: Any = {"source": NOTEBOOK, "among": among}
    claims = [
        Claim.reproduces(f"{labels}, width {width}: test error", error[width], unit="%", published=value,
            last_digit=0.01, **published)
        for width, value in ERRORS[labels].items() if width in error
    ]  # fmt: skip
    width, height = PEAKS[labels]
    claims += [
        Claim.reproduces(f"{labels}: highest test loss", found.loss.max(axis=0), unit="nats", published=height,
            last_digit=0.001, **published),
        Claim.median(f"{labels}: width with the highest test loss", np.array(widths)[found.loss.argmax(axis=0)],
            unit="units", published=width, relation="about", tolerance=14,
            tolerance_source="ours, before any full run: the step between the published widths there", **published),
    ]  # fmt: skip
    if not {NARROW, PEAK, WIDEST} <= error.keys():
        return claims
    wrong = labels == "wrong labels"
    narrower = np.min([error[width] for width in widths if width < PEAK], axis=0)
    name, own = f"{labels}: test error", {"among": among}
    claims += [
        Claim.difference(f"{name}, width {PEAK} above width {NARROW}", error[PEAK], error[NARROW], **own,
            **beside_zero("above" if wrong else "below", NOTEBOOK)),
        Claim.difference(f"{name}, width {PEAK} above width {WIDEST}", error[PEAK], error[WIDEST], **own,
            **beside_zero("above", NOTEBOOK)),
        Claim.difference(f"{name}, width {WIDEST} above the best narrower than {PEAK}", error[WIDEST], narrower, **own,
            **beside_zero("below", BELKIN, LOWER * wrong)),
    ]  # fmt: skip
    peaks = {
        what: (values[PEAK] > values[NARROW]) & (values[PEAK] > values[WIDEST])
        for what, values in (("error", error), ("loss", loss))
    }
    told = f"higher at width {PEAK} than at {NARROW} and at {WIDEST}"
    if wrong:
        return [*claims, Claim.every(f"{name} {told}", peaks["error"], among=among, source=BELKIN, settles=DESCENDS)]
    hits = peaks["loss"] & ~peaks["error"]
    told = f"{labels}: test loss {told}, and test error not"
    return [*claims, Claim.every(told, hits, among=among, source=NOTEBOOK, settles=LOSS_ONLY)]


def judged(seeds: int) -> tuple[slice, np.ndarray]:
    """Half of the seeds choose what is looked at, and the other half is looked at."""
    return slice(seeds // 2), np.arange(seeds) >= seeds // 2


def beside_zero(relation: str, source: str, settles: str = "", unit: str = "points") -> Any:
    """That a difference is above or below 0."""
    return {"published": 0, "relation": relation, "source": source, "settles": settles, "unit": unit}


def ridge_claims(widths: Sequence[int], ridges: Sequence[float], found: Curves) -> list[Claim]:
    """Whether the error still rises with the width under each ridge; the best is chosen."""
    choosers, judges = judged(found.error.shape[2])
    best = int(found.error[..., choosers].mean(axis=(0, 2)).argmin())
    low, high = (widths.index(width) for width in (NARROW, PEAK))
    return [
        Claim.difference(
            f"wrong labels, ridge {ridge:g}: test error, width {PEAK} above width {NARROW}",
            found.error[high, row],
            found.error[low, row],
            among=judges & ~found.diverged[[low, high], row].any(axis=0),
            **beside_zero("below", DECAY, TAMED * (row == best)),
        )
        for row, ridge in enumerate(ridges)
    ]


def most_prominent(mean: np.ndarray) -> tuple[int, int, int]:
    """Places of the peak of a curve that stands highest above the lowest before it and after it, and of these two."""
    places = np.arange(1, len(mean) - 1)
    before = [int(mean[:place].argmin()) for place in places]
    after = [int(place + 1 + mean[place + 1 :].argmin()) for place in places]
    best = int((mean[places] - np.maximum(mean[before], mean[after])).argmax())
    return before[best], int(places[best]), after[best]


def epoch_claims(width: int, trained: Trained) -> list[Claim]:
    """Whether the error rises while a network is trained, and falls again."""
    choosers, judges = judged(len(trained.seeds))
    error, among = trained.error(), judges & ~trained.diverged
    low, peak, end = most_prominent(error[choosers].mean(axis=0))
    rises, falls = error[:, peak] > error[:, low], error[:, peak] > error[:, end]
    name, points = f"epochs, width {width}: test error after", beside_zero("above", NAKKIRAN) | {"among": among}
    return [
        Claim.difference(f"{name} {peak} epochs above that after {low}", error[:, peak], error[:, low], **points),
        Claim.difference(f"{name} {peak} epochs above that after {end}", error[:, peak], error[:, end], **points),
        Claim.difference(
            f"{name} {end} epochs above that after {low}",
            error[:, end],
            error[:, low],
            **beside_zero("below", NAKKIRAN) | {"among": among},
        ),
        Claim.every(f"{name} {peak} epochs above those after {low} and {end}", rises & falls, among=among,
            source=NAKKIRAN, settles=TIME),
    ]  # fmt: skip


def example_claims(widths: Sequence[int], sizes: Sequence[int], found: Curves) -> list[Claim]:
    """Whether error or loss rise from one number of examples to the next, at the width and the number where most."""
    choosers, judges = judged(found.error.shape[2])
    claims = []
    for what, values, unit in (("error", found.error, "points"), ("loss", found.loss, "nats")):
        rises = np.diff(values, axis=1)
        row, place = np.unravel_index(rises[..., choosers].mean(axis=-1).argmax(), rises.shape[:2])
        claims.append(
            Claim.difference(
                f"examples: test {what} of width {widths[row]}, {sizes[place + 1]:,} above {sizes[place]:,} examples",
                values[row, place + 1],
                values[row, place],
                among=judges & ~found.diverged[row].any(axis=0),
                **beside_zero("above", NAKKIRAN, DATA[what], unit),
            )
        )
    return claims


def unit_claims(scheme: str, units: Sequence[int], found: Curves) -> list[Claim]:
    """Whether Belkin's test loss peaks at the threshold: above that of half and of three times as many units."""
    among = ~found.diverged.any(axis=0)
    loss = dict(zip(units, found.loss, strict=True))
    name = f"weights {scheme}: test loss, {THRESHOLD} units above"
    stated = beside_zero("above", BELKIN, unit="") | {"among": among}
    sides = [units[units.index(THRESHOLD) - 2], units[-1]]
    claims = [Claim.difference(f"{name} {side}", loss[THRESHOLD], loss[side], **stated) for side in sides]
    peaks = np.all([loss[THRESHOLD] > loss[side] for side in sides], axis=0)
    told = f"weights {scheme}: test loss higher at {THRESHOLD} units than at {sides[0]} and at {sides[1]}"
    return [*claims, Claim.every(told, peaks, among=among, source=BELKIN, settles=THRESHOLDS[scheme])]


def band(axes: Axes, places: Sequence[float], values: np.ndarray, diverged: np.ndarray, **look: Any) -> None:
    """Mean over seeds [places, seeds] with its 95 % interval."""
    low, mean, high = mean_band(values[:, ~diverged.any(axis=0)].T)
    (line,) = axes.plot(places, mean, **look)
    axes.fill_between(places, low, high, color=line.get_color(), alpha=0.25, lw=0)


@mpl.rc_context(STYLE)
def draw(
    size: Size,
    found: Mapping[str, Curves],
    ridged: Curves,
    epochs: Trained,
    examples: Curves,
    schemes: Mapping[str, Curves],
) -> Figure:
    """Error and loss by width, under ridges, by epoch and by examples, and Belkin's loss by units."""
    figure = Figure(figsize=(19, 11))
    (errors, losses, tamed), (times, sampled, belkin) = figure.subplots(2, 3)
    for (labels, curves), colour in zip(found.items(), (VERMILLION, BLUE), strict=True):
        look = {"color": colour, "label": labels}
        band(errors, size.widths, curves.error, curves.diverged, **look)
        band(errors, size.widths, curves.fit, curves.diverged, color=colour, ls=":")
        band(losses, size.widths, curves.loss, curves.diverged, **look)
        errors.plot(*zip(*ERRORS[labels].items(), strict=True), "X", color=colour, mec="black", ms=10)
        losses.plot(*PEAKS[labels], "X", color=colour, mec="black", ms=10)
    errors.set(xlabel="units of a hidden layer", ylabel="error (%)", title="over widths: test error; dotted: training")
    losses.set(xlabel="units of a hidden layer", ylabel="test loss (nats)", title="over widths; crosses: published")
    plain = found["wrong labels"]
    band(tamed, size.widths, plain.error, plain.diverged, color=VERMILLION, label="none")
    for row, (ridge, colour) in enumerate(zip(size.ridges, (ORANGE, GREEN, BLUE), strict=False)):
        band(tamed, size.widths, ridged.error[:, row], ridged.diverged[:, row], color=colour, label=f"{ridge:g}")
    tamed.set(xlabel="units of a hidden layer", ylabel="test error (%)", title="wrong labels, by ridge penalty")
    tamed.legend()
    gone = epochs.diverged[None]
    for split, colour, label in (("test", VERMILLION, "test"), ("train", BLUE, "training")):
        band(times, epochs.epochs[1:], epochs.error(split).T[1:], gone, color=colour, label=label)
    title = f"wrong labels, over epochs: width {size.widths[-1]}"
    times.set(xlabel="epoch", ylabel="error (%)", title=title)
    times.legend()
    for width, values, gone, colour in zip(
        size.hidden, examples.error, examples.diverged, (GREEN, ORANGE, VERMILLION), strict=False
    ):
        band(sampled, size.examples, values, gone, color=colour, label=f"width {width}")
    sampled.set(xlabel="training examples", ylabel="test error (%)", title="wrong labels, over examples")
    sampled.legend()
    for (scheme, curves), look in zip(schemes.items(), (("-", BLUE), ("-", VERMILLION), (":", "black")), strict=True):
        band(belkin, size.units, curves.loss, curves.diverged, ls=look[0], color=look[1], label=f"weights {scheme}")
    belkin.axvline(THRESHOLD, color="black", ls="--", lw=1.2)
    belkin.set(xlabel="hidden units", ylabel="test loss (squared error)", title="MNIST; dashed: parameters = targets")
    belkin.legend()
    for axes in (errors, losses, tamed, times, sampled, belkin):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:,g}")
    errors.legend()
    figure.suptitle(f"mean over {plain.error.shape[1]} seeds, with 95 % intervals")
    return figure


def settle(digits: Dataset, size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 4:
        raise UserError(f"--seeds {seeds}: give at least 4; half of them choose what the others are asked")
    rate, begin = float32_rate(), time.perf_counter()
    data = {labels: mnist1d(size.train, size.test, share) for labels, share in SHARES.items()}
    found = {}
    for labels, dataset in data.items():
        whole = over_widths(dataset, size.widths, (0.0,), seeds, size.epochs)
        found[labels] = Curves(*(values[:, 0] for values in whole))
    seconds = (time.perf_counter() - begin) / (len(SHARES) * seeds)
    operations = sum(flops_per_example(network(width).widths) for width in size.widths) * size.train * size.epochs
    noisy = data["wrong labels"]
    ridged = over_widths(noisy, size.widths, size.ridges, seeds, size.epochs)
    epochs = over_epochs(noisy, size.widths[-1], seeds, size.epochs)
    more = mnist1d(size.examples[-1], size.test, SHARES["wrong labels"])
    steps = size.train * size.epochs // BATCH
    examples = over_examples(more, size.hidden, size.examples, seeds, steps)
    anew, again = (over_units(digits, size.units, reuse, seeds, size.epochs) for reuse in (False, True))
    below = (np.array(size.units) <= THRESHOLD)[:, None]
    both = Curves(*(np.where(below, narrow, wide) for narrow, wide in zip(again, anew, strict=True)))
    schemes = {ANEW: anew, AGAIN: again, BELOW: both}
    (out / "double_descent.png").write_bytes(png(draw(size, found, ridged, epochs, examples, schemes)))
    groups = (*found.values(), ridged, examples, anew, again)
    networks = seeds + sum(group.diverged.size for group in groups)
    share = 100 * operations / 1e9 / seconds / rate
    told = (
        f"{networks:,} networks in all. A curve of {len(size.widths)} widths takes {operations / 1e9:,.0f} GFLOP in "
        f"products, {share:.0f} % of the machine's rate of {rate:.0f} GFLOP/s over the whole of its time, "
        "compiling and evaluating included."
    )
    config = {
        "data": [noisy.name, digits.name],
        "networks": networks,
        "diverged": int(epochs.diverged.sum() + sum(group.diverged.sum() for group in groups)),
        "widths": [*size.widths],
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [told],
    }
    claims = [claim for labels, curves in found.items() for claim in width_claims(labels, size.widths, curves)]
    wanted: Any = {"published": WANTED_SECONDS, "relation": "at most", "settles": FAST}
    wanted["source"] = "ours, before any run; the notebook took 763 s"
    name = (
        f"wall time of a curve of {len(size.widths)} widths, {size.train:,} examples and {size.epochs} epochs, a seed"
    )
    timed = Claim.exact(name, seconds, unit="s", **wanted if size == FULL else {})
    claims += ridge_claims(size.widths, size.ridges, ridged)
    claims += epoch_claims(size.widths[-1], epochs) + example_claims(size.hidden, size.examples, examples)
    claims += [claim for name, curves in schemes.items() for claim in unit_claims(name, size.units, curves)]
    return [*claims, timed], config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(without_validation(load("mnist5k")), QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of examples of MNIST-1D, one draw of the wrong labels, and one split of mnist5k"
    run_experiment("double_descent", __doc__, body, full_seeds=16, quick_seeds=4, shared=shared)
