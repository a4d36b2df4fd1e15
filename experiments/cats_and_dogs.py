"""Cats and dogs: how well does a small VGG16 tell them apart on two processor cores, and what is each ingredient worth?

Claim: VGG16 tells cats from dogs with 88.28 % test accuracy after 100 epochs, 306 minutes on a graphics card; the loss
of its first minibatch is 1,137. Source: S. Raschka, STAT 453 (2021), L14, notebook vgg16-cats-dogs, one run. (It is a
VGG19 by its 19 layers; weights drawn from N(0, 0.05^2), Adam at 0.001, batch 128, no batch norm, rotation by 5 degrees,
flips, crops of at least 96 % of the area.) The project's own aim: at least 90 % in at most an hour a seed on two cores.

Protocol: 25,000 photographs of 64 x 64 pixels, split by their numbers as in the course: up to 9999 of either kind
train, up to 11249 validate, the others test. Channels standardised by the training split. VGG16 with a quarter of the
published channels and batch norm, without dropout; AdamW, one-cycle with its peak at 0.006, decay 0.02, batch 128 in
microbatches of 16; every minibatch mirrored, turned by up to 5 degrees and cropped to at least 75 % of the area inside
the compiled step. Then from the same seeds, for fewer epochs, networks of half that width: as it is, without batch
norm, without augmentation, at a constant rate of 0.001, at half that width again; VGG11; and 12288-256-128-2, an MLP.
The first loss is that of the course's network at full width, on a minibatch of 128, as drawn and with He's weights.

Command: python experiments/cats_and_dogs.py --data folder:DIR, where DIR is the folder or the archive of the
photographs, cat.0.jpg to dog.12499.jpg of "Dogs vs. Cats", of any size, or --data tfds:cats_vs_dogs, split by chance as
its files have no numbers; or set MLPJAX_CATS_AND_DOGS to either. A run that was killed goes on where it was.
Wall time on two cores: two to two and a half hours; --quick 45 s, on pictures of its own. The committed results were
made in several sittings, with other work beside them at times: their minutes are an upper bound.

Expected: 90.9 % [89.5, 92.3] test accuracy, above the published 88.28 %; all four seeds are above 90 %, after 24
minutes each, but four are too few to say so of the mean. Dogs are told in 95.4 %, cats in 86.4 % of the photographs.
In four epochs a network of half the width reaches 80.7 %, an MLP 55.1 %. There batch norm is worth 4 to 32 points
(two of four seeds do not learn without it), the schedule and the width a few points that four seeds do not tell from
none; and augmentation costs 1 to 3 points at every seed, as so short a training does not overfit. The course's first
loss is one that sixteen draws of its start give: 8,647 on average, and widely scattered; theory has the spread of the
pixels grow 8,395-fold through its layers, and it does. With He's weights the first loss is 1.5.
"""

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    VGG,
    Checkpoints,
    Dataset,
    Deformation,
    Files,
    Recipe,
    Split,
    Trained,
    UserError,
    augmented,
    load,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, Needs, run_experiment
from mlpjax.data.entries import list_files
from mlpjax.findings.mistakes import draw_mistakes
from mlpjax.findings.subject import in_batches
from mlpjax.labels import confusion_matrix, votes
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band
from mlpjax.typing import Variables

PHOTOGRAPHS = Needs(
    "the photographs of cats and dogs",
    "MLPJAX_CATS_AND_DOGS",
    "folder",
    "--data folder:DIR, with DIR the folder or archive of cat.0.jpg to dog.12499.jpg, or pip install '.[tfds]' and "
    "give --data tfds:cats_vs_dogs",
)
SIDE = 64
LAST_TRAIN, LAST_VALID = 9999, 11249
"""The largest numbers of photographs of either kind in the course's training and validation splits."""
AUGMENT = Deformation(rotation=5, crop=0.75, flip=True)
RECIPE = Recipe(
    optimizer="adamw",
    learning_rate=6e-3,
    schedule="one-cycle",
    weight_decay=0.02,
    batch_size=128,
    microbatch=16,
    normalisation="channel",
)
MAIN, REFERENCE, PERCEPTRON = "VGG16", "VGG16 of half the width", "MLP"
WITHOUT_NORM = "without batch norm"
COLOURS = {"train": BLUE, "valid": GREEN, "test": VERMILLION}
SEEDS = 4
SHOWN = 18
"""Photographs in the gallery of mistakes."""
ASKED = 100
"""Photographs that a network is asked at a time."""
FIRST_DRAWS, FIRST_BATCH, COURSE_SCALE = 16, 128, 0.05
AIM_ACCURACY = 90.0
COURSE = "STAT 453 (2021), L14, notebook vgg16-cats-dogs, one run"
AIM = "this project's own aim, which nobody published"
FIRST_SETTLES = "Weights drawn from N(0, 0.05^2) start a VGG of 19 layers at a loss in the thousands."
NOTES = [
    "The recipe was chosen on the validation split, in trials of one seed; test photographs played no part.",
    "What an ingredient is worth is measured in shorter trainings than the network's own, to save time.",
    "Two networks are trained at a time, one on each core; a network's minutes are half of those of such a pair.",
]


class Kind(NamedTuple):
    """A network and how it is trained."""

    model: MLP | VGG
    recipe: Recipe
    augment: Deformation | None = AUGMENT


class Sizes(NamedTuple):
    """How much is trained; little for a quick look."""

    depth: int = 16
    width: float = 0.25
    epochs: int = 15
    eval_every: int = 3
    short_epochs: int = 4
    mlp_hidden: tuple[int, ...] = (256, 128)
    course: tuple[int, float] = (19, 1.0)
    """Depth and width of the course's network."""
    compared: Sequence[str] = (
        WITHOUT_NORM,
        "without augmentation",
        "at a constant rate",
        "at a quarter of the width",
        "VGG11",
        PERCEPTRON,
    )


class First(NamedTuple):
    """The loss of the first minibatch, a draw of the network for each."""

    course: np.ndarray
    he: np.ndarray
    growth: float
    """By what factor theory lets the pixels' spread grow on the way to the outputs, at the course's start."""
    measured: np.ndarray
    """The spread of the outputs there."""


QUICK, QUICK_SIDE = 400, 32
QUICK_SIZES = Sizes(11, 1 / 16, 4, 4, 4, (8,), (11, 1 / 32), (PERCEPTRON,))


def load_photographs(spec: str, tables: Path) -> Dataset:
    """The photographs in the course's splits; those of TensorFlow Datasets in splits by chance.

    Args:
        spec: `folder:DIR`, a folder or an archive, or `tfds:cats_vs_dogs`.
        tables: a folder for the tables that name the photographs of each split.

    Raises:
        UserError: another spec, or photographs without numbers.
    """
    size = (SIDE, SIDE)
    if spec == "tfds:cats_vs_dogs":
        return load(spec, files=Files(image_size=size, valid_share=0.1, test_share=0.1))
    kind, _, where = spec.partition(":")
    if kind != "folder" or not where:
        raise UserError(f"photographs from {spec!r}: give folder:DIR, or tfds:cats_vs_dogs")
    source = Path(where).expanduser()
    rows = [
        (int(found[2]), found[1], name)
        for name in list_files(source)
        if (found := re.fullmatch(r"(?:.*/)?(cat|dog)\.(\d+)\.jpe?g", name))
    ]
    named = pd.DataFrame(sorted(rows), columns=["number", "label", "file"])
    parts = pd.cut(named["number"], [-1, LAST_TRAIN, LAST_VALID, np.inf], labels=["train", "valid", "test"])
    absent = {"train", "valid", "test"} - set(parts)
    if absent:
        raise UserError(f"{source}: no photograph of the {min(absent)} split; give all of cat.0.jpg to dog.12499.jpg")
    tables.mkdir(parents=True, exist_ok=True)
    for part, table in named.groupby(parts, observed=True):
        table[["file", "label"]].to_csv(tables / f"{part}.csv", index=False)
    return load(f"csv:{tables}", files=Files(image_size=size, image_folder=str(source.resolve())))


def kinds_of(sizes: Sizes, dataset: Dataset) -> dict[str, Kind]:
    """Every network that is trained, by name."""
    vgg = VGG(sizes.depth, dataset.outputs, sizes.width, batch_norm=True, dropout=(0.0,))
    short = replace(RECIPE, epochs=sizes.short_epochs, eval_every=sizes.short_epochs)
    constant = replace(short, schedule="constant", learning_rate=1e-3)
    mlp = MLP((dataset.features, *sizes.mlp_hidden, dataset.outputs), dropout=(0.5,))
    small = replace(vgg, width=sizes.width / 2)
    others = {
        WITHOUT_NORM: Kind(replace(small, batch_norm=False), short),
        "without augmentation": Kind(small, short, None),
        "at a constant rate": Kind(small, constant),
        "at a quarter of the width": Kind(replace(small, width=small.width / 2), short),
        "VGG11": Kind(replace(small, depth=11), short),
        PERCEPTRON: Kind(mlp, short),
    }
    long = replace(RECIPE, epochs=sizes.epochs, eval_every=sizes.eval_every)
    return {MAIN: Kind(vgg, long), REFERENCE: Kind(small, short)} | {name: others[name] for name in sizes.compared}


def train(name: str, kind: Kind, dataset: Dataset, seeds: int, out: Path) -> Trained:
    """Train one kind of network from every seed, and keep what is done."""

    def task(*parts: Any) -> Any:
        made = make_task(*parts)
        return augmented(made, kind.augment) if kind.augment else made

    store = Checkpoints(out / "checkpoints" / name.replace(" ", "-"))
    with progress_bar(name, "evaluations") as on_progress:
        trained = train_many(
            kind.model, kind.recipe, dataset, range(seeds), task=task, store=store, on_progress=on_progress
        )
    trained.require_finite()
    return trained


def answers(kind: Kind, trained: Trained, dataset: Dataset) -> np.ndarray:
    """The class that every network gives each test photograph, [seeds, photographs]."""
    task = make_task(kind.model, kind.recipe, dataset.train)

    def ask(variables: Variables, test: Split) -> jax.Array:
        answered: jax.Array = in_batches(
            lambda rows: task.predict(variables, task.prepare(rows.x)).argmax(axis=-1), test, ASKED
        )
        return answered

    return np.asarray(map_seeds(ask, trained.variables, dataset.test))


def first_losses(dataset: Dataset, depth: int, width: float) -> First:
    """Draw the course's network many times, and take the loss of a minibatch each."""
    x, y = dataset.train.x[:FIRST_BATCH], dataset.train.y[:FIRST_BATCH]
    course = VGG(depth, dataset.outputs, width, dropout=(0.0,), initializer="normal", scale=COURSE_SCALE)

    def look(model: VGG, key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        task = make_task(model, RECIPE, dataset.train)
        outputs = task.predict(task.init(key, x), task.prepare(x))
        return task.losses(outputs, y).mean(), outputs.std()

    keys = jax.random.split(jax.random.key(0), FIRST_DRAWS)
    losses, spreads = map_seeds(partial(look, course), keys, x, y)
    he, _ = map_seeds(partial(look, replace(course, initializer="he", scale=1.0)), keys, x, y)
    form = jax.eval_shape(make_task(course, RECIPE, dataset.train).init, keys[0], x).params
    inputs = [math.prod(layer["kernel"].shape[:-1]) for layer in form.values()]
    # A layer multiplies the mean square by sigma^2 n, and ReLU behind it halves it; the last has none.
    growth = math.prod(COURSE_SCALE * math.sqrt(n / 2) for n in inputs) * math.sqrt(2)
    return First(losses, he, growth, spreads)


def claims_of_network(trained: Trained, published: bool) -> list[Claim]:
    """How well the network tells cats from dogs, and what it took."""
    accuracy = 100 - trained.error()[:, -1]
    minutes = trained.history["seconds"].sum(axis=1) / 60
    name, time = f"{MAIN}: test accuracy", f"{MAIN}: training of one seed, two at a time"
    if not published:
        return [Claim.mean(name, accuracy, unit="%"), Claim.mean(time, minutes, unit="minutes")]
    course = "A VGG16 of a quarter of the width tells cats from dogs at least as well as the course's of full width."
    aim = f"Two processor cores train a VGG16 to {AIM_ACCURACY:g} % on cats and dogs within an hour a seed."
    return [
        Claim.mean(
            name, accuracy, unit="%", published=88.28, relation="at least", source=f"{COURSE} (VGG19)", settles=course
        ),
        Claim.every(f"{name} of at least {AIM_ACCURACY:g} %", accuracy >= AIM_ACCURACY, source=AIM),
        Claim.mean(
            f"{name}, beside the project's aim",
            accuracy,
            unit="%",
            published=AIM_ACCURACY,
            relation="at least",
            source=AIM,
            settles=aim,
        ),
        Claim.mean(time, minutes, unit="minutes", published=60, relation="at most", source=AIM),
        Claim.mean(f"{MAIN}: training accuracy", 100 - trained.error("train")[:, -1], unit="%"),
        Claim.mean(f"{MAIN}: validation accuracy", 100 - trained.error("valid")[:, -1], unit="%"),
    ]


def claims_of_ingredients(accuracies: dict[str, np.ndarray]) -> list[Claim]:
    """What each ingredient and each network is worth, beside the same from the same seeds."""
    own = accuracies[REFERENCE]
    claims = [Claim.mean(f"shorter: {REFERENCE}: test accuracy", own, unit="%")]
    for name, values in accuracies.items():
        if name not in (MAIN, REFERENCE):
            claims += [
                Claim.mean(f"shorter: {name}: test accuracy", values, unit="%"),
                Claim.difference(f"shorter: {REFERENCE} above {name}: test accuracy", own, values, unit="points"),
            ]
    return claims


def claims_of_first(first: First, published: bool) -> list[Claim]:
    """The first loss at the course's start, what theory forecasts, and what it is with He's weights."""
    name = "course's network: loss of the first minibatch"
    ratio = first.measured / first.growth
    return [
        Claim.reproduces(name, first.course, published=1137.0, last_digit=1.0, source=COURSE, settles=FIRST_SETTLES)
        if published
        else Claim.mean(name, first.course),
        Claim.mean(f"{name}, with He's weights", first.he),
        Claim.exact("course's network: growth of the spread of the pixels, in theory", first.growth),
        Claim.mean("course's network: spread of the outputs over what theory says", ratio),
    ]


def settle(
    dataset: Dataset, sizes: Sizes, seeds: int, out: Path, published: bool
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figures and state the claims."""
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2; one does not tell how far they lie apart")
    first = first_losses(dataset, *sizes.course)
    kinds = kinds_of(sizes, dataset)
    trained = {name: train(name, kind, dataset, seeds, out) for name, kind in kinds.items()}
    accuracies = {name: 100 - of.error()[:, -1] for name, of in trained.items()}
    given = answers(kinds[MAIN], trained[MAIN], dataset)
    counts = sum(confusion_matrix(np.asarray(dataset.test.y), labels, dataset.outputs) for labels in given)
    confusion = 100 * counts / counts.sum(axis=1, keepdims=True)
    names = [dataset.class_name(label) for label in range(dataset.outputs)]
    epochs = range(sizes.eval_every, sizes.epochs + 1, sizes.eval_every)
    (out / "cats_and_dogs.png").write_bytes(png(draw(trained[MAIN], epochs, accuracies, confusion, names)))
    (out / "cats_and_dogs_mistakes.png").write_bytes(png(draw_worst(given, dataset)))
    shutil.rmtree(out / "checkpoints")
    claims = [
        *claims_of_network(trained[MAIN], published),
        *claims_of_ingredients(accuracies),
        *claims_of_first(first, published),
    ]
    config = {
        "examples": {part: len(getattr(dataset, part).y) for part in COLOURS},
        "parameters": {name: sum(leaf[0].size for leaf in jax.tree.leaves(of.params)) for name, of in trained.items()},
        "sizes": sizes._asdict(),
        "augmentation": str(AUGMENT),
        "notes": NOTES,
    }
    return claims, config


@mpl.rc_context(STYLE)
def draw(
    trained: Trained,
    epochs: Sequence[int],
    accuracies: dict[str, np.ndarray],
    confusion: np.ndarray,
    names: Sequence[str],
) -> Figure:
    """Accuracy against epochs, what each ingredient is worth, and how often which is taken for which."""
    figure = Figure(figsize=(19, 6), layout="constrained")
    curves, worth, matrix = figure.subplots(1, 3, width_ratios=(1.1, 1.3, 0.9))
    for split, colour in COLOURS.items():
        low, mean, high = mean_band(100 - trained.error(split)[:, 1:])
        curves.plot(epochs, mean, color=colour, label=split)
        curves.fill_between(epochs, low, high, color=colour, alpha=0.3, lw=0)
    curves.set(xlabel="epoch", ylabel="accuracy (%)", title=MAIN, xlim=(0, None))
    curves.legend(loc="lower right")
    own = accuracies[REFERENCE]
    others = [name for name in accuracies if name not in (MAIN, REFERENCE)]
    for place, name in enumerate(others):
        gains = accuracies[name] - own
        low, mean, high = (end.item() for end in mean_band(gains[:, None]))
        worth.plot(gains, np.full(len(gains), place + 0.2), "|", color=BLUE, ms=10, mew=1.2)
        worth.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=BLUE, ms=8, capsize=5)
    worth.axvline(0, color="black", lw=1)
    worth.set_yticks(range(len(others)), others)
    worth.invert_yaxis()
    worth.set(
        xlabel="test accuracy less that of the network with all of it (points)",
        title="shorter trainings of half the width",
    )
    matrix.imshow(confusion, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(confusion):
        colour = "white" if share > 50 else "black"
        matrix.text(column, row, f"{share:.1f} %", ha="center", va="center", color=colour, fontsize=14)
    matrix.set_xticks(range(len(names)), names)
    matrix.set_yticks(range(len(names)), names)
    matrix.set(xlabel="predicted", ylabel="true", title=f"{MAIN}, mean over seeds")
    matrix.grid(False)
    figure.suptitle("mean over seeds with its 95 % interval, and every seed", fontsize=12)
    return figure


def draw_worst(given: np.ndarray, dataset: Dataset) -> Figure:
    """The test photographs that most seeds get wrong."""
    y = np.asarray(dataset.test.y)
    wrong = (given != y).mean(axis=0)
    rows = np.argsort(-wrong, kind="stable")[:SHOWN]
    rows = rows[wrong[rows] > 0]
    names = np.array([dataset.class_name(label) for label in range(dataset.outputs)])
    usual = votes(given, given != y, dataset.outputs).argmax(axis=1)
    return draw_mistakes(np.asarray(dataset.test.x[rows]), names[y[rows]], names[usual[rows]], wrong[rows])


def drawn_photographs(seed: int) -> Dataset:
    """Pictures for a quick look: stripes that lie or stand, in noise, of any colour."""
    rng = np.random.default_rng(seed)
    y = np.arange(QUICK) % 2
    rows, columns = np.indices((QUICK_SIDE, QUICK_SIDE))
    along = np.where(y[:, None, None] == 1, rows, columns)
    waves = np.sin(along * rng.uniform(0.4, 1.2, (QUICK, 1, 1)) + rng.uniform(0, 6, (QUICK, 1, 1)))
    colours = rng.uniform(0.2, 1, (QUICK, 1, 1, 3))
    x = 128 + 60 * waves[..., None] * colours + rng.normal(0, 40, (QUICK, QUICK_SIDE, QUICK_SIDE, 3))
    words = np.where(y == 1, "lying", "standing")
    return Dataset.from_arrays(x.clip(0, 255).astype(np.uint8), words, name="stripes", source="generated")


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on stripes, of which nothing was published."""
    if quick:
        return settle(drawn_photographs(0), QUICK_SIZES, seeds, out, published=False)
    return settle(load_photographs(data, out / "tables"), Sizes(), seeds, out, published=True)


if __name__ == "__main__":
    shared = "one split of the photographs"
    run_experiment("cats_and_dogs", __doc__, body, full_seeds=SEEDS, quick_seeds=2, needs=PHOTOGRAPHS, shared=shared)
