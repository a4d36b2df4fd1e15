"""Look at your actual data: what networks get wrong, what all of them get wrong, and whether the labels are to blame.

Claim: "When diagnosing: look at your actual data!", with a gallery of "failure cases of a ~93% accuracy (not very good,
but beside the point) 2-layer (1-hidden layer) MLP on MNIST (where t=target class and p=predicted class)". Source:
STAT 453 (2025), L09. People confirmed 15 wrong labels in MNIST's test set, among 100 that confident learning had found.
Source: Northcutt, Athalye and Mueller, arXiv:2103.14749, and its repository cleanlab/label-errors, where the rows are.

Protocol: full MNIST, 60,000 / 10,000, pixels in [0, 1], batch 128. Two networks, from the same seeds: a poor one,
784-100-10 with sigmoid units, two epochs of SGD at 0.5; and a good one, 784-256-128-10 with ReLU, four epochs of
one-cycle Adam with its peak at 0.003. Their confusions, and the test images that every seed of both gets wrong. Labels
are ranked by doubt: one less the mean probability that networks give to the label. To know how well that finds wrong
ones, 1 % of the training labels, drawn at random, are replaced by one of the other nine. For each such draw 16 good
networks are trained, each on half of the examples, which it draws itself; a label is judged by those alone that did not
see it. Beside them stand the judgement of one such network, and of those that were trained on the label. The unit is
the draw, with its networks: a draw for every four seeds.

Command: python experiments/failure_gallery.py --data idx:DIR, where DIR holds the four files of MNIST in idx format,
.gz or not, or --data tfds:mnist; or set MLPJAX_MNIST to either.
Wall time on two cores: 10 minutes (a part of it beside other work); --quick 30 s, on mnist5k.

Expected: the poor network errs on 7.1 % and the good one on 1.74 % of the test images, four in five of which the poor
one gets wrong, too. All 64 poor networks are wrong on the same 354 images, all 64 good ones on the same 32, and all 128
on the same 27. Ten of the fifteen wrong labels that people confirmed are among the hundred that a good network doubts
most. As many candidates as were planted hold 92 % of the planted labels; average precision is 0.970, 0.016 above that
of one network, and 0.003 above that of networks trained on the label.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    Variables,
    load,
    make_keys,
    make_task,
    map_seeds,
    progress_bar,
    sampled_rows,
    train_many,
)
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.dataset import with_label_noise
from mlpjax.data.mnist import load_mnist
from mlpjax.findings.mistakes import draw_mistakes
from mlpjax.labels import confusion_matrix, doubt, precision_recall, votes
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band
from mlpjax.typing import Params

POOR, GOOD = "poor network", "good network"
UNSEEN, ONE, SEEN = "all networks that did not see it", "one of these alone", "all networks trained on it"
COLOURS = {UNSEEN: BLUE, ONE: VERMILLION, SEEN: GREEN}
SHARE, JUDGES, FIRST_JUDGE = 0.01, 16, 10_000
CANDIDATES = 2.0 ** np.linspace(-4, 4, 33)
"""At which precision and recall are drawn, in as many as were planted."""
SHOWN = 18
DECK, OURS = "STAT 453 (2025), L09", "ours, before any run"
CONFIRMED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)
"""Rows of the test set, in the order of the idx file, whose label fewer than three of five people saw in the image."""
PEOPLE = "Northcutt et al., arXiv:2103.14749"
NOTES = [
    "The seeds of what is planted are draws of the wrong labels, with 16 networks of their own each.",
    "The recipe of the poor network was chosen, on six other seeds, for its error of 7 %. The good network had five "
    "epochs in a first trial, of four seeds, and has four to save time.",
    "The wrong labels that people confirmed are those that another method had found before: how many there are that "
    "neither finds is not known. Wrong labels that MNIST has of its own count as not planted.",
]


class Judged(NamedTuple):
    """What networks say of examples, [networks, examples]."""

    predicted: np.ndarray
    confidence: np.ndarray
    """The probability that they give to the label."""


class Found(NamedTuple):
    """How well planted labels are found."""

    average_precision: np.ndarray
    planted: np.ndarray
    """Share of the planted, in %, among as many candidates as were planted."""
    precision: np.ndarray
    """In %, at as many candidates as `CANDIDATES` says; so is the recall."""
    recall: np.ndarray


class Planting(NamedTuple):
    """What became of the labels of one draw."""

    found: dict[str, Found]
    """By who judges."""
    doubted: np.ndarray
    """Precision and recall, in %, of the labels to which networks that did not see them give less than 1/2."""
    confidence: np.ndarray
    """The mean probability that those networks give to each label; NaN where it was planted."""
    votes: np.ndarray
    """How many of them give an example each class, [examples, classes]."""


def networks(dataset: Dataset, epochs: Sequence[int]) -> dict[str, tuple[MLP, Recipe]]:
    """The two that are compared."""
    poor, good = epochs
    return {
        POOR: (
            MLP((dataset.features, 100, dataset.outputs), activation="sigmoid", initializer="glorot"),
            Recipe(optimizer="sgd", learning_rate=0.5, epochs=poor, eval_every=poor),
        ),
        GOOD: (
            MLP((dataset.features, 256, 128, dataset.outputs)),
            Recipe(learning_rate=3e-3, schedule="one-cycle", epochs=good, eval_every=good),
        ),
    }


def train(name: str, model: MLP, recipe: Recipe, dataset: Dataset, seeds: Sequence[int], judged: Split) -> Judged:
    """Train from every seed, and ask each network about the examples."""
    with progress_bar(name, "networks") as on_progress:
        trained = train_many(model, recipe, dataset, seeds, on_progress=on_progress)
    trained.require_finite()
    task = make_task(model, recipe)

    def judge(params: Params, split: Split) -> tuple[jax.Array, jax.Array]:
        probability = jax.nn.softmax(task.predict(Variables(params), task.prepare(split.x)))
        label = jnp.take_along_axis(probability, jnp.asarray(split.y)[:, None], axis=1)
        return probability.argmax(axis=1), label[:, 0]

    return Judged(*map_seeds(judge, trained.params, judged))


def found(planted: np.ndarray, score: np.ndarray) -> Found:
    """What a ranking finds."""
    curve = precision_recall(planted, score)
    places = np.array([curve.at(round(factor * curve.wanted)) for factor in CANDIDATES])
    return Found(np.array(curve.average_precision), 100 * np.array(curve.at(curve.wanted)[1]), *100 * places.T)


def plant(dataset: Dataset, model: MLP, recipe: Recipe, draw: int) -> Planting:
    """Plant wrong labels, train networks on halves of the examples, and rank the labels by their doubt."""
    noisy = with_label_noise(dataset, SHARE, seed=draw)
    y, size = noisy.train.y, len(noisy.train.y) // 2
    seeds = np.arange(JUDGES, dtype=np.int32) + FIRST_JUDGE + draw * JUDGES
    half = replace(recipe, sample_size=size)
    predicted, confidence = train(f"wrong labels, draw {draw + 1}", model, half, noisy, seeds.tolist(), noisy.train)
    unseen = np.ones(confidence.shape, bool)
    np.put_along_axis(unseen, map_seeds(lambda seed: sampled_rows(make_keys(seed), len(y), size), seeds), False, axis=1)
    planted, doubted = y != dataset.train.y, doubt(confidence, unseen)
    alone = [found(planted[rows], 1 - own[rows]) for own, rows in zip(confidence, unseen, strict=True)]
    ways = {
        UNSEEN: found(planted, doubted),
        ONE: jax.tree.map(lambda *values: np.mean(values, axis=0), *alone),
        SEEN: found(planted, doubt(confidence, ~unseen)),
    }
    cut = precision_recall(planted, doubted).at(int((doubted > 0.5).sum()))
    counted = votes(predicted, unseen, dataset.outputs)
    return Planting(ways, 100 * np.array(cut), np.where(planted, np.nan, 1 - doubted), counted)


def claims_of(
    judged: dict[str, Judged], y: np.ndarray, plantings: Planting, published: bool, rows: Sequence[int]
) -> list[Claim]:
    """What is wrong, what is wrong for all, and how many of the wrong labels are found."""
    wrong = {name: of.predicted != y for name, of in judged.items()}
    error = {name: 100 * each.mean(axis=1) for name, each in wrong.items()}
    always = {name: each.all(axis=0) for name, each in wrong.items()}
    own, seeds = wrong[GOOD].sum(axis=1), len(wrong[GOOD])
    deck: dict[str, Any] = {"published": 7, "relation": "about", "tolerance": 0.5, "source": DECK}
    deck["tolerance_source"] = "half of the last digit"
    half: dict[str, Any] = {"unit": "%", "published": 50, "relation": "above", "source": OURS}
    better: dict[str, Any] = {"published": 0, "relation": "above", "source": OURS}
    precision = {name: of.average_precision for name, of in plantings.found.items()}
    claims = [
        Claim.mean(f"{POOR}: test error", error[POOR], unit="%", **(deck if published else {})),
        Claim.mean(f"{GOOD}: test error", error[GOOD], unit="%"),
        *(Claim.exact(f"{name}: test images that all {seeds} get wrong", int(always[name].sum())) for name in wrong),
        Claim.exact(f"test images that all {2 * seeds} networks get wrong", int((always[POOR] & always[GOOD]).sum())),
        Claim.mean(
            f"{GOOD}: its errors that all {seeds} make", 100 * (wrong[GOOD] & always[GOOD]).sum(axis=1) / own, unit="%"
        ),
        Claim.mean(
            f"{GOOD}: its errors that the poor one of the same seed makes, too",
            100 * (wrong[GOOD] & wrong[POOR]).sum(axis=1) / own,
            **half,
            settles="Most of the images that a good network gets wrong, a poor network gets wrong, too.",
        ),
    ]
    if rows:
        confirmed, confidence = np.isin(np.arange(len(y)), rows), judged[GOOD].confidence
        alone = [100 * precision_recall(confirmed, 1 - each).at(100)[1] for each in confidence]
        every = doubt(confidence, np.ones(confidence.shape, bool))
        claims += [
            Claim.mean(
                f"wrong labels of the test set that people confirmed: among the 100 that one {GOOD} doubts most",
                np.array(alone),
                **half | {"source": f"{PEOPLE}, for the labels; the border: {OURS}"},
                settles="Of the wrong labels that people confirmed in MNIST's test set, most are among the hundred "
                "that a good network doubts most.",
            ),
            Claim.exact(
                f"wrong labels of the test set that people confirmed: among the 100 that all {seeds} doubt most",
                100 * precision_recall(confirmed, every).at(100)[1],
                unit="%",
            ),
        ]
    return [
        *claims,
        Claim.mean("planted labels: average precision", precision[UNSEEN]),
        Claim.mean(
            "planted labels: found among as many candidates",
            plantings.found[UNSEEN].planted,
            unit="%",
            published=80,
            relation="at least",
            source=OURS,
            settles="Of one per cent of wrong labels, four in five are found where networks that never saw them doubt "
            "the label most.",
        ),
        Claim.mean("planted labels: precision where doubt is above 1/2", plantings.doubted[:, 0], unit="%"),
        Claim.mean("planted labels: recall where doubt is above 1/2", plantings.doubted[:, 1], unit="%"),
        Claim.difference(
            "planted labels: average precision, all networks that did not see the label above one of them",
            precision[UNSEEN],
            precision[ONE],
            **better,
            settles="Many networks together find wrong labels better than one does.",
        ),
        Claim.difference(
            "planted labels: average precision, all networks that did not see the label above those trained on it",
            precision[UNSEEN],
            precision[SEEN],
            **better,
            settles="Networks that never saw a label find out better whether it is wrong than networks trained on it.",
        ),
    ]


def draw_confusions(axes: Axes, judged: Judged, y: np.ndarray, classes: int) -> None:
    """How many test images a network gives a wrong class, on average."""
    counts = sum(confusion_matrix(y, each, classes) for each in judged.predicted) / len(judged.predicted)
    shown = np.where(np.eye(classes, dtype=bool), np.nan, counts)
    top = np.nanmax(shown)
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=top)
    for (row, column), count in np.ndenumerate(shown):
        if np.isnan(count):
            axes.text(column, row, f"{counts[row, row]:.0f}", ha="center", va="center", color="#888888", fontsize=9)
        elif count >= 0.05:
            colour = "white" if count > top / 2 else "black"
            axes.text(column, row, f"{count:.2g}", ha="center", va="center", color=colour, fontsize=10)
    axes.set(xlabel="predicted class", ylabel="true class", xticks=range(classes), yticks=range(classes))
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, label="test images of a network, mean over seeds", shrink=0.8)


@mpl.rc_context(STYLE)
def draw(judged: dict[str, Judged], y: np.ndarray, plantings: Planting, classes: int) -> Figure:
    """The confusions of both networks, and precision against recall of the planted labels."""
    figure = Figure(figsize=(20, 6))
    *panels, last = figure.subplots(1, 3, width_ratios=[1.15, 1.15, 1])
    for axes, (name, of) in zip(panels, judged.items(), strict=True):
        draw_confusions(axes, of, y, classes)
        axes.set_title(f"{name}: error {100 * (of.predicted != y).mean():.2f} %")
    for name, colour in COLOURS.items():
        low, mean, high = mean_band(plantings.found[name].precision)
        recall = plantings.found[name].recall.mean(axis=0)
        last.plot(recall, mean, color=colour, label=name)
        last.fill_between(recall, low, high, color=colour, alpha=0.25, lw=0)
    last.set(xlabel="recall of planted labels (%)", ylabel="precision (%)", xlim=(0, 101), ylim=(0, 101))
    last.set_title(f"mean over {len(plantings.doubted)} draws of wrong labels, 95 % interval", fontsize=12)
    last.legend(loc="lower left", title="label judged by")
    return figure


def draw_gallery(split: Split, rows: np.ndarray, counted: np.ndarray, title: str) -> Figure:
    """The first of these examples, with the class that most networks give them in place of their label."""
    rows = rows[:SHOWN]
    true, against = split.y[rows], counted[rows].astype(float)
    share = 1 - against[np.arange(len(rows)), true] / against.sum(axis=1)
    against[np.arange(len(rows)), true] = -1
    figure = draw_mistakes(split.x[rows], true, against.argmax(axis=1), share)
    figure.suptitle(title)
    return figure


def settle(
    dataset: Dataset, epochs: Sequence[int], seeds: int, draws: int, out: Path, published: bool, rows: Sequence[int]
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figures and state the claims."""
    test, pair = dataset.test, networks(dataset, epochs)
    judged = {name: train(name, *how, dataset, range(seeds), test) for name, how in pair.items()}
    each = [plant(dataset, *pair[GOOD], draw) for draw in range(draws)]
    plantings = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    everyone = Judged(*map(np.concatenate, zip(*judged.values(), strict=True)))
    asked = np.ones(everyone.predicted.shape, bool)
    counted, doubted = votes(everyone.predicted, asked, dataset.outputs), doubt(everyone.confidence, asked)
    always = np.flatnonzero((everyone.predicted != test.y).all(axis=0))
    always = always[np.argsort(-doubted[always], kind="stable")]
    own = np.argsort(-doubt(plantings.confidence, ~np.isnan(plantings.confidence)), kind="stable")
    figures = {
        "": draw(judged, test.y, plantings, dataset.outputs),
        "_wrong": draw_gallery(test, always, counted, f"Test images that all {2 * seeds} networks get wrong"),
        "_candidates": draw_gallery(
            dataset.train,
            own,
            plantings.votes.sum(axis=0),
            "Labels of the training set that are doubted most, by networks that did not see them",
        ),
    }
    for name, figure in figures.items():
        (out / f"failure_gallery{name}.png").write_bytes(png(figure))
    config = {
        "examples": len(dataset.train.y),
        "epochs": epochs,
        "draws": draws,
        "rows of test images that all get wrong": always.tolist(),
        "rows of training labels doubted most": own[:100].tolist(),
        "notes": NOTES,
    }
    return claims_of(judged, test.y, plantings, published, rows), config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; the rows that people confirmed are in the order of the idx file."""
    draws = max(2, seeds // 4)
    if quick:
        return settle(load("mnist5k"), (20, 8), seeds, draws, out, published=False, rows=())
    rows = CONFIRMED if data.startswith("idx:") else ()
    return settle(load_mnist(data), (2, 4), seeds, draws, out, published=True, rows=rows)


if __name__ == "__main__":
    shared = "MNIST's own split and images, 10,000 test digits"
    run_experiment("failure_gallery", __doc__, body, full_seeds=64, quick_seeds=8, needs=MNIST, shared=shared)
