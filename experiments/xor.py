"""A linear network stays at chance on XOR; one hidden layer solves it.

Blobs: 750 points in four Gaussian blobs, generated with the moments of the course's file, anew for every seed; a 2-50-2
network, softmax cross-entropy, 25 steps of full-batch SGD at 0.1. The notebook prints the cost that a step starts from,
so its last figure is the loss after 24 steps. Source: S. Raschka, STAT 453 (2021), L09, xor-problem; one seed of each
network on one set of points.

Four points: the corners of the unit square, a 2-2-1 network of sigmoids, squared error, full-batch momentum 0.9 at
0.5, weights and biases from U[-0.5, 0.5], at most 5,000 epochs. Source: a secondary report that 25 of 30 runs solve it,
after a median of 730 epochs. The original was not found, so the scale of its error and what it counts as solved are not
known: here, every output within 0.4 of its target (Fahlman, 1988), where a network stops; and every usual scale of the
error, which only multiplies the step.

Command: python experiments/xor.py    (100,000 seeds of the four points with the mean error, a tenth of all else)
Wall time on two cores: 130 s; --quick 17 s.

Expected: the linear network stays at ln 2 = 0.6931 nats, less 0.0002, and 50 %, although the best of all lines gets
74 %. ReLU ends near 0.38 nats and 98.3 %; the quadrant rule gets 99 %. On the course's own 750 points, which are not
part of this project, 1,000 seeds of these networks end at 0.69269 and 0.3770 [0.3748, 0.3793] nats. About 93 % of the
four-point networks succeed at every scale of the error: just past Wilson's interval of 25 in 30, 66.4 to 92.7 %, so
that claim fails, narrowly (30 runs at our rate give 25 or fewer one time in 20). The median follows the scale: 470
epochs with the mean error, 870 with half of it, the only one that agrees with 730. A stricter idea of solved would need
more epochs as well.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import scipy  # loads scipy.stats, which is slow, when it is first used
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Moment,
    Recipe,
    Split,
    Task,
    Trained,
    load,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, published_rate, run_experiment
from mlpjax.report import figures
from mlpjax.stats import wilson_ci

BLOB_RECIPE = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=None, epochs=25)
BLOB_MODELS = {
    "linear": MLP((2, 50, 2), activation="identity", initializer="torch", bias="same"),
    "ReLU": MLP((2, 50, 2), activation="relu", initializer="torch", bias="same"),
}
BLOB_POINTS = 750
# A stored example is only a number; what stands behind it is every network's own.
NUMBERS = np.stack([np.arange(BLOB_POINTS), np.zeros(BLOB_POINTS)], axis=1).astype(np.float32)
PRINTED = 24
"""Steps behind the last cost that the notebook prints."""
PUBLISHED_LOSS = {"linear": 0.6927, "ReLU": 0.3594}
"""The last cost of either network, in the notebook's output."""
COURSE = "STAT 453 (2021), L09, xor-problem, epoch 25, one run on the course's points"
PLANAR = "Minsky and Papert (1969): a line gets three of four"

CORNERS = Split(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0], np.int32))
POINTS = Dataset("four points", CORNERS, Split(CORNERS.x[:0], CORNERS.y[:0]), CORNERS, 2, repeats_expected=True)
POINTS_MODEL = MLP((2, 2, 1), "sigmoid", output_activation="sigmoid", initializer="uniform", scale=0.5, bias="same")
RATE, MOMENTUM, EPOCHS = 0.5, 0.9, 5000
SCALES = {"half the mean": 0.5, "the mean": 1.0, "half the sum": 2.0, "the sum": 4.0}
WITHIN = 0.4
PUBLISHED_SOLVED, PUBLISHED_RUNS = 25, 30
PUBLISHED_MEDIAN = 730.0
"""Epochs, over the runs that solved it."""
REPORT = "secondary report, 30 runs"
NOTES = [
    "Every network on the blobs has its own draw of the 750 points, with the moments of the course's file; what is "
    "published is of one set of points and one seed.",
    "The original of the secondary report was not found: the scale of the error and what counts as solved are ours.",
]
CHUNK = 256  # of 32 to 16,384, 256 to 1,024 are the fastest: their state stays in a core's cache


def solved(moment: Moment) -> jax.Array:
    """Whether every output is within 0.4 of its target."""
    x, y = moment.data.train
    outputs = moment.task.predict(moment.state.variables, moment.task.prepare(x))
    return jnp.all(jnp.abs(outputs[:, 0] - y.astype(outputs.dtype)) < WITHIN)


def race(seeds: list[int], rates: np.ndarray, epochs: int = EPOCHS) -> Trained:
    """Train on the four points, each network at its own rate, until it solves them."""
    recipe = Recipe("squared_error", "momentum", momentum=MOMENTUM, batch_size=None, epochs=epochs, eval_every=epochs)
    sweep = {"learning_rate": rates}
    with progress_bar("Four points", "networks") as on_progress:
        return train_many(
            POINTS_MODEL, recipe, POINTS, seeds, sweep=sweep, stop=solved, chunk=CHUNK, on_progress=on_progress
        )


def best_line(split: Split, directions: int = 720) -> float:
    """Accuracy (%) of the best linear classifier, from every threshold along each of many directions."""
    angles = np.arange(directions) * np.pi / directions
    along = np.asarray(split.x) @ np.stack([np.cos(angles), np.sin(angles)])
    labels = np.asarray(split.y)[np.argsort(along, axis=0)]
    gained = np.vstack([np.zeros(directions), np.cumsum(1 - 2 * labels, axis=0)])
    hits = labels[:, 0].sum() + gained  # with class 1 above each threshold; below it, all others are hits
    return 100 * float(max(hits.max(), len(labels) - hits.min())) / len(labels)


def quadrant_rule(split: Split) -> float:
    """Accuracy (%) of saying class 1 where the two features have different signs."""
    return 100 * float(np.mean((np.prod(split.x, axis=1) < 0) == split.y))


def on_own_points(model: MLP, recipe: Recipe, train: Split, points: jax.Array) -> Task:
    """The task on points that belong to one network alone."""
    own = jnp.asarray(points)
    return make_task(model, recipe, train)._replace(prepare=lambda x: own[jnp.asarray(x)[:, 0].astype(jnp.int32)])


def train_blobs(name: str, splits: list[Split]) -> Trained:
    """Train a network from every seed, on the points of the seed's own draw."""
    numbered = Split(NUMBERS, splits[0].y)  # in every draw the classes have the same order
    dataset = Dataset("blobs", numbered, Split(NUMBERS[:0], numbered.y[:0]), numbered, 2, repeats_expected=True)
    points = np.stack([split.x for split in splits])
    with progress_bar(f"Blobs, {name}") as on_progress:
        return train_many(
            BLOB_MODELS[name],
            BLOB_RECIPE,
            dataset,
            range(len(splits)),
            task=on_own_points,
            own=points,
            on_progress=on_progress,
        )


def blobs(seeds: int, lines: int, out: Path) -> list[Claim]:
    """Both networks on the blobs; a line and the quadrant rule on the points of the first seeds."""
    splits = [load("xor", n=BLOB_POINTS, seed=seed).train for seed in range(seeds)]
    trained = {name: train_blobs(name, splits) for name in BLOB_MODELS}
    losses = {name: found.history["train_loss"][:, PRINTED] for name, found in trained.items()}
    accuracies = {name: 100 * found.history["train_accuracy"][:, -1] for name, found in trained.items()}
    draw_regions(splits[0], trained, out / "xor_regions.png")
    draw_losses(losses, out / "xor_loss.png")
    line, quadrant = np.array([[best_line(split), quadrant_rule(split)] for split in splits[:lines]]).T
    chance = {
        "published": 50.0,
        "relation": "about",
        "tolerance": 100 / math.sqrt(BLOB_POINTS),
        "tolerance_source": "two standard deviations of the share that guessing gets right",
        "source": "chance",
    }
    return [
        *(
            Claim.reproduces(
                f"blobs: {name} network, loss",
                values,
                unit="nats",
                published=PUBLISHED_LOSS[name],
                last_digit=1e-4,
                source=COURSE,
            )
            for name, values in losses.items()
        ),
        Claim.mean("blobs: linear network, accuracy", accuracies["linear"], unit="%", **chance),
        Claim.mean(
            "blobs: ReLU network, accuracy",
            accuracies["ReLU"],
            unit="%",
            published=75.0,
            relation="above",
            source=PLANAR,
        ),
        Claim.mean("blobs: best line, accuracy", line, unit="%"),
        Claim.mean("blobs: quadrant rule, accuracy", quadrant, unit="%"),
        Claim.difference(
            "blobs: accuracy, ReLU network above the best line",
            accuracies["ReLU"][:lines],
            line,
            unit="points",
            published=0.0,
            relation="above",
            source=PLANAR,
            settles="A linear network stays at chance on XOR, and one hidden layer does better than any line can.",
        ),
    ]


def median_reach(epochs: np.ndarray) -> float:
    """Half of the range that holds 95 % of the medians of as many runs as solved it in the report.

    The median of 2m - 1 runs is the m-th in order: the share of all runs below it has the distribution Beta(m, m).
    """
    if not len(epochs):
        return 0.0
    middle = (PUBLISHED_SOLVED + 1) / 2
    return float(np.ptp(np.quantile(epochs, scipy.stats.beta.ppf([0.025, 0.975], middle, middle)))) / 2


def four_points(seeds: int, others: int, out: Path) -> tuple[list[Claim], float]:
    """How many networks solve the four points, and when, at every scale of the error; microseconds per seed-step."""
    counts = [seeds if name == "the mean" else others for name in SCALES]
    rates = np.repeat([scale * RATE for scale in SCALES.values()], counts)
    trained = race([seed for count in counts for seed in range(count)], rates)
    solved_at = dict(zip(SCALES, np.split(trained.stopped_at, np.cumsum(counts)[:-1]), strict=True))
    draw_epochs(solved_at, out / "xor_epochs.png")

    claims = []
    for name, epochs in solved_at.items():
        solved, group = epochs > 0, f"four points, error is {name}"
        beside: dict[str, Any] = {**published_rate(PUBLISHED_SOLVED, PUBLISHED_RUNS), "source": REPORT}
        if name == "the mean":
            beside["settles"] = "Of small networks of sigmoids five in six learn the four points of XOR."
        claims.append(Claim.share(f"{group}: seeds that solve it", solved, **beside))
        beside = {"published": PUBLISHED_MEDIAN, "relation": "about", "tolerance": median_reach(epochs[solved])}
        beside["tolerance_source"] = "half of what holds 95 % of the medians of 25 of our runs"
        claims.append(
            Claim.median(f"{group}: median of these", epochs, among=solved, unit="epochs", source=REPORT, **beside)
        )
    return claims, 1e6 * float(trained.history["seconds"].sum()) / (len(rates) * EPOCHS)


@mpl.rc_context(figures.STYLE)
def draw_regions(points: Split, trained: dict[str, Trained], path: Path) -> None:
    """Where the seeds say class 1, the border that the median seed draws, and the points of the first seed."""
    figure = Figure(figsize=(12, 5.6))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    side = np.linspace(-2.7, 2.7, 65, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    for axes, (name, networks) in zip(panels, trained.items(), strict=True):
        model, losses = BLOB_MODELS[name], networks.history["train_loss"][:, -1]

        def lead(params: Any, x: jax.Array, model: MLP = model) -> jax.Array:
            outputs = model.activations(params, x)[-1]
            return outputs[:, 1] - outputs[:, 0]

        leads = map_seeds(lead, networks.params, grid, chunk=16)
        votes = 100 * (leads > 0).mean(axis=0)
        levels = np.linspace(0, 100, 11)
        shown = axes.contourf(side, side, votes.reshape(65, 65), levels=levels, cmap="cividis")
        median = leads[np.argsort(losses)[len(losses) // 2]]
        axes.contour(side, side, median.reshape(65, 65), levels=[0], colors="white")
        for label, marker, colour in ((0, "o", figures.SKY), (1, "^", figures.VERMILLION)):
            x = points.x[points.y == label]
            name_of = f"class {label}, the first seed's points"
            axes.plot(*x.T, marker, color=colour, mec="black", mew=0.5, ms=5, label=name_of)
        accuracy = 100 * networks.history["train_accuracy"][:, -1].mean()
        axes.set(title=f"{name} network: {accuracy:.1f} % right (mean)", xlabel="feature 1")
        axes.grid(False)
    panels[0].set_ylabel("feature 2")
    panels[0].plot([], [], color="white", label="border of the median seed")
    figure.colorbar(shown, ax=panels, label=f"share of {len(losses):,} seeds that say class 1 (%)")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, frameon=True, facecolor="#aaaaaa")
    path.write_bytes(figures.png(figure))


@mpl.rc_context(figures.STYLE)
def draw_losses(losses: dict[str, np.ndarray], path: Path) -> None:
    """The loss that each seed ended at, beside the published one."""
    label = f"loss after {PRINTED} steps (nats)"
    figure = figures.final_distribution({f"{name} network: {label}": values for name, values in losses.items()})
    for axes, published in zip(figure.axes, PUBLISHED_LOSS.values(), strict=True):
        axes.axvline(
            published, color="black", ls="--", label=f"published, one seed on the course's points: {published}"
        )
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    path.write_bytes(figures.png(figure))


@mpl.rc_context(figures.STYLE)
def draw_epochs(solved_at: dict[str, np.ndarray], path: Path) -> None:
    """When the seeds solved the four points, at every scale of the error."""
    figure = Figure(figsize=(10, 6))
    axes = figure.subplots()
    bins = np.geomspace(50, EPOCHS, 61).tolist()
    for name, epochs in solved_at.items():
        share = np.full(len(epochs), 100 / len(epochs))
        low, high = (100 * end for end in wilson_ci(int(np.sum(epochs > 0)), len(epochs)))
        label = f"{name}: {share[epochs > 0].sum():.1f} % [{low:.1f}, {high:.1f}] of {len(epochs):,}"
        axes.hist(epochs, bins=bins, weights=share, histtype="step", lw=2.2, label=label)
    axes.axvline(PUBLISHED_MEDIAN, color="black", ls="--", label=f"published median: {PUBLISHED_MEDIAN:.0f} epochs")
    axes.set(xscale="log", xlabel=f"first epoch with every output within {WITHIN} of its target")
    axes.set(xticks=(ticks := [50, 100, 200, 500, 1000, 2000, 5000]), xticklabels=[f"{tick:,}" for tick in ticks])
    axes.set_ylabel("share of seeds per bin (%)")
    title = "error of the four points: seeds that solve them, with 95 % interval"
    figure.legend(title=title, loc="outside upper center", ncols=2)
    path.write_bytes(figures.png(figure))


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Both protocols; the blobs and the other scales of the four points' error take a tenth of the seeds."""
    tenth = max(2, seeds // 10)
    blob_claims = blobs(tenth, 10 if quick else 100, out)
    points_claims, microseconds = four_points(seeds, tenth, out)
    config = {"four points, microseconds per seed-step": microseconds, "chunk": CHUNK, "solved within": WITHIN}
    return blob_claims + points_claims, config | {"notes": NOTES}


if __name__ == "__main__":
    run_experiment("xor", __doc__, body, full_seeds=100_000, quick_seeds=4000)
