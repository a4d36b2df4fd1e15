"""What the trained networks get wrong."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float, Int, Real, Shaped
from matplotlib.figure import Figure

from mlpjax.data import Split
from mlpjax.findings.finding import Finding, any_finite
from mlpjax.findings.subject import Subject, in_batches
from mlpjax.lift import OnProgress, silent
from mlpjax.losses import classes_of, correct
from mlpjax.report.figures import STYLE, pictures
from mlpjax.report.page import Picture, Table
from mlpjax.typing import Variables

GALLERY = 18
"""Misclassified images that are shown."""


class Mistakes(NamedTuple):
    """Test examples that a network or more gets wrong, those that most of them get wrong first."""

    rows: Int[np.ndarray, " examples"]
    true: Int[np.ndarray, " examples"]
    """Their classes."""
    predicted: Int[np.ndarray, " examples"]
    """The class that most networks see in it wrongly."""
    share: Float[np.ndarray, " examples"]
    """Share of the networks that get it wrong."""
    of: int
    """How many test examples there are."""
    images: np.ndarray | None
    """The first of them as images; None where they are none."""
    names: Shaped[np.ndarray, " classes"]
    """What the classes are called."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Mistakes:
    """The test examples that the networks get wrong, the hardest first.

    Hardest is what most networks get wrong, and among equals what costs the highest mean loss.
    """
    task, loss, test = subject.task, subject.recipe.loss, subject.dataset.test
    batch = subject.batch(len(test.y))

    def judge(network: Variables, split: Split) -> tuple[Array, Array, Array]:
        def judged(rows: Split) -> tuple[Array, Array, Array]:
            outputs, labels = task.predict(network, task.prepare(rows.x)), jnp.asarray(rows.y)
            return classes_of(outputs, loss), ~correct(outputs, labels, loss), task.losses(outputs, labels)

        return in_batches(judged, split, batch)

    own = subject.random.select(subject.finite).variables
    predicted, wrong, losses = subject.look("mistakes", judge, own, test, chunk=8, on_progress=on_progress)
    rows = np.lexsort((-losses.mean(axis=0), -wrong.sum(axis=0)))
    rows = rows[wrong[:, rows].any(axis=0)]
    usual = [np.bincount(predicted[wrong[:, row], row]).argmax() for row in rows]
    images = None if subject.dataset.image_shape is None else pictures(np.asarray(test.x[rows[:GALLERY]]))
    true, share = np.asarray(test.y)[rows], wrong[:, rows].mean(axis=0)
    names = np.array([subject.dataset.class_name(label) for label in range(subject.dataset.classes or 0)])
    return Mistakes(rows, true, np.asarray(usual, int), share, len(test.y), images, names)


def summarise(found: Mistakes) -> dict[str, Any]:
    """How many examples are wrong for some network and for all."""
    return {"for_one_or_more": len(found.rows), "for_all": int(np.count_nonzero(found.share == 1))}


def show(found: Mistakes) -> list[Table | Picture]:
    """A gallery of images; nothing where examples are no images."""
    if found.images is None:
        return []
    shown = slice(len(found.images))
    true, predicted = (found.names[labels[shown]] for labels in (found.true, found.predicted))
    return [
        Picture(
            "mistakes",
            "The test images that most networks get wrong",
            draw_mistakes(found.images, true, predicted, found.share[shown]),
            f"t: true class, p: what most of them see instead. {len(found.rows):,} of {found.of:,} test images are "
            f"wrong for at least one seed, {np.count_nonzero(found.share == 1):,} for all.",
            "A gallery of misclassified images",
        )
    ]


@mpl.rc_context(STYLE)
def draw_mistakes(
    images: Real[np.ndarray, "k height width *channels"],
    true: Shaped[np.ndarray, " k"],
    predicted: Shaped[np.ndarray, " k"],
    share: Real[np.ndarray, " k"],
) -> Figure:
    """A gallery of images that networks get wrong, each with its true (t) and its most predicted class (p).

    Args:
        images: in grey or in colour.
        true: class of each, by number or name.
        predicted: the wrong class that most seeds give it.
        share: of the seeds that are wrong about it, in [0, 1].

    Returns:
        One panel per image, six a row.
    """
    rows = max(1, -(-len(images) // 6))
    figure = Figure(figsize=(12, 2.7 * rows))
    panels = figure.subplots(rows, 6, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image, *labels, wrong in zip(panels, images, true, predicted, share, strict=False):
        axes.imshow(image, cmap="gray_r")
        axes.set_title("t: {}  p: {}".format(*labels) + f"\nwrong in {100 * wrong:.0f} %\nof seeds", fontsize=12)
    if len(images) == 0:
        figure.text(0.5, 0.5, "No image was misclassified.", ha="center", va="center")
    return figure


FINDING = Finding(
    name="mistakes",
    title="Misclassified examples",
    unit="networks",
    section="Misclassified examples",
    order=60,
    find=find,
    summarise=summarise,
    show=show,
    applies=lambda subject: subject.dataset.classes is not None and any_finite(subject),
)
