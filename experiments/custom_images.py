"""Images of one's own, named in a table: the course's digits as PNG and CSV, read without a line of code.

Claim: 784-100-10 with sigmoid units, trained on 256 digits that a CSV names, has 91.80 % training, 74.61 % validation
and 75.00 % test accuracy. Source: S. Raschka, STAT 453 (2021), L09, notebook custom-dataloader/train_model, one run.

Protocol: the course's 256 / 256 / 256 digits are training digits of MNIST; custom_images.csv names their rows in the
idx files. They are written as PNG files with three CSVs, "Class Label" and "File Name", and read back from there with
`csv:DIR`, as anyone's own images are. Pixels in [0, 1], PyTorch's start, cross-entropy, SGD at 0.1, batch 64, 100
epochs.

Command: python experiments/custom_images.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz
or not; or set MLPJAX_MNIST to it.
Wall time on two cores: 42 s, beside other work; --quick 15 s, on mnist5k.

Expected: all three figures reproduce: 91.2 % [91.0, 91.3] training, 74.6 % [74.4, 74.8] validation and 75.5 %
[75.2, 75.7] test accuracy, within what another run of the course's would give.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from mlpjax import MLP, Dataset, Recipe, Split, Trained, UserError, load, progress_bar, train_many
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.mnist import load_mnist
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import quantile_band

ROWS = Path(__file__).with_suffix(".csv")
EACH = 256
"""Digits in each split."""
PUBLISHED = {"train": 91.80, "valid": 74.61, "test": 75.00}
SOURCE = "STAT 453 (2021), L09, notebook custom-dataloader/train_model, one run"
COLOURS = {"train": BLUE, "valid": GREEN, "test": VERMILLION}
SETTLES = "A network learns from anyone's own images, which a table names, as well as the course's does."


def course_digits(digits: Split) -> dict[str, Split]:
    """The course's digits among MNIST's training digits, in its order.

    Raises:
        UserError: they are not in the order of the idx files.
    """
    rows = pd.read_csv(ROWS)
    if (digits.y[rows["row"]] != rows["label"]).any():
        raise UserError("these are not the digits of MNIST's own idx files, in their order: give --data idx:DIR")
    places = {part: np.asarray(rows["row"][rows["split"] == part]) for part in PUBLISHED}
    return {part: Split(digits.x[at], digits.y[at]) for part, at in places.items()}


def write_files(splits: dict[str, Split], folder: Path) -> None:
    """Digits as PNG files in a folder for each split, with a CSV beside it that names them."""
    first = 0
    for part, split in splits.items():
        images = folder / f"mnist_{part}"
        images.mkdir(parents=True, exist_ok=True)
        names = [f"{first + k}.png" for k in range(len(split.y))]
        for name, pixels in zip(names, split.x, strict=True):
            Image.fromarray(pixels).save(images / name)
        pd.DataFrame({"Class Label": split.y, "File Name": names}).to_csv(images.with_suffix(".csv"), index=False)
        first += len(split.y)


def same_digits(splits: dict[str, Split], found: Dataset) -> np.ndarray:
    """Whether each image, with its label, is read as it was written, split after split."""
    pairs = [(split, getattr(found, part)) for part, split in splits.items()]
    return np.concatenate([(read.x == written.x).all(axis=(1, 2)) & (read.y == written.y) for written, read in pairs])


def claims_of(trained: Trained, same: np.ndarray, published: bool) -> list[Claim]:
    """Accuracies beside the published ones; and that nothing was lost on the way through the files."""
    accuracies = {part: 100 - trained.error(part)[:, -1] for part in PUBLISHED}
    names = {part: f"{part} accuracy" for part in PUBLISHED}
    claims = [
        Claim.reproduces(
            names[part],
            values,
            unit="%",
            published=PUBLISHED[part],
            last_digit=0.01,
            source=SOURCE,
            settles=SETTLES if part == "test" else "",
        )
        if published
        else Claim.mean(names[part], values, unit="%")
        for part, values in accuracies.items()
    ]
    what = "images read as they were written, with their labels"
    return [*claims, Claim.every(what, same, source="PNG is lossless (ISO/IEC 15948)", theorem=True)]


@mpl.rc_context(STYLE)
def draw(trained: Trained, published: bool) -> Figure:
    """Accuracy on each split against epochs."""
    figure = Figure(figsize=(8.5, 5.2))
    axes = figure.subplots()
    for part, colour in COLOURS.items():
        lower, median, upper = quantile_band(100 - trained.error(part))
        epochs = np.arange(len(median))
        axes.plot(epochs, median, color=colour, label=part)
        axes.fill_between(epochs, lower, upper, color=colour, alpha=0.3, lw=0)
        if published:
            axes.plot(epochs[-1], PUBLISHED[part], "D", color=colour, mfc="none", ms=9, mew=2, clip_on=False)
    if published:
        axes.plot([], [], "D", color="black", mfc="none", ms=9, mew=2, label="published, one run")
    axes.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    axes.set_title(f"median over {len(trained.seeds)} seeds, and band of the central 95 % of them", fontsize=12)
    axes.legend(loc="lower right")
    return figure


def settle(splits: dict[str, Split], epochs: int, seeds: int, out: Path, published: bool) -> Any:
    """Write and read the files, train, draw the figure and state the claims."""
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2; one run does not tell how far runs lie apart")
    write_files(splits, out / "files")
    dataset = load(f"csv:{out / 'files'}")
    model = MLP((dataset.features, 100, dataset.outputs), activation="sigmoid", initializer="torch", bias="same")
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=64, epochs=epochs)
    with progress_bar("digits of a table") as on_progress:
        trained = train_many(model, recipe, dataset, range(seeds), on_progress=on_progress)
    (out / "custom_images.png").write_bytes(png(draw(trained, published)))
    config = {"examples": len(dataset.train.y), "epochs": epochs}
    return claims_of(trained, same_digits(splits, dataset), published), config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on other digits, of which nothing was published."""
    if quick:
        digits = load("mnist5k").train
        places = [slice(k * EACH, (k + 1) * EACH) for k in range(3)]
        splits = {part: Split(digits.x[at], digits.y[at]) for part, at in zip(PUBLISHED, places, strict=True)}
        return settle(splits, 20, seeds, out, published=False)
    return settle(course_digits(load_mnist(data).train), 100, seeds, out, published=True)


if __name__ == "__main__":
    shared = "the course's 768 digits"
    run_experiment("custom_images", __doc__, body, full_seeds=64, quick_seeds=8, needs=MNIST, shared=shared)
