"""What a data set is: three splits of examples and targets, kept as NumPy arrays on the host."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float32, Int, Int32, UInt8

from mlpjax.errors import UserError


class Split(NamedTuple):
    """Examples and their targets, as a pytree.

    Args:
        x: one example a row, of any shape: pixels 0..255 as uint8, or float32 features as they are. Images are
            [n, height, width] in grey and [n, height, width, channels] in colour.
        y: the class of each example, 0..classes-1; or in regression its targets.
    """

    x: UInt8[np.ndarray | Array, "n *features"] | Float32[np.ndarray | Array, "n *features"]
    y: Int32[np.ndarray | Array, "n"] | Float32[np.ndarray | Array, "n outputs"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named task in three splits: classification, or regression where the targets are floats.

    Args:
        name: as the user asked for it ("mnist5k").
        train: what the networks are fitted to.
        valid: what choices are made on; may be empty (no rows).
        test: what errors are reported on.
        classes: number of classes, labels being 0..classes-1; None in regression.
        source: one line: where the data come from.
        repeats_expected: the same row may stand in several splits without being a leak, because the
            population has only finitely many points (noiseless XOR).
    """

    name: str
    train: Split
    valid: Split
    test: Split
    classes: int | None = None
    source: str = ""
    repeats_expected: bool = False

    @property
    def features(self) -> int:
        """Number of features of an example, the width of an MLP's input: of an image the pixels of all channels."""
        return math.prod(self.train.x.shape[1:])

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """(height, width) or (height, width, channels) where the examples are images, else None."""
        return self.train.x.shape[1:] if self.train.x.ndim in (3, 4) else None

    @property
    def outputs(self) -> int:
        """Outputs of a network that learns it: one for each class, or for each target."""
        return self.classes or self.train.y.shape[1]


def stratified_holdout(
    y: Int[np.ndarray, "n"], size: int, seed: int
) -> tuple[Int[np.ndarray, "kept"], Int[np.ndarray, "held"]]:
    """Choose rows to hold out at random so that each class keeps its share.

    Class c with n_c of the n rows gives size * n_c / n rows, rounded by largest remainder so that the
    sizes add up exactly.

    Args:
        y: label of each row, 0..classes-1.
        size: how many rows to hold out, 0..n.
        seed: of the random choice within each class.

    Returns:
        Row indices kept and held out, each in ascending order.
    """
    counts = np.bincount(y)
    share, remainder = np.divmod(size * counts, len(y))
    share[np.argsort(-remainder, kind="stable")[: size - share.sum()]] += 1
    rng = np.random.default_rng(seed)
    held = np.zeros(len(y), dtype=bool)
    for label, k in enumerate(share):
        held[rng.permutation(np.flatnonzero(y == label))[:k]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def with_label_noise(dataset: Dataset, share: float | int, seed: int = 0) -> Dataset:
    """The data set with some wrong labels in training and validation, and the test labels as they are.

    In either split round(share * n) rows, chosen at random, get a label drawn evenly from the other classes.

    Args:
        dataset: of classes.
        share: of the rows, in [0, 1].
        seed: of the draw, >= 0; with one seed the rows of a smaller share are among those of a larger one.

    Returns:
        The data set, its name with the share in it.

    Raises:
        UserError: a share outside its range, or targets that are no classes.
    """
    if dataset.classes is None:
        raise UserError(f"label noise: {dataset.name} has no classes to confuse")
    if not 0 <= share <= 1:
        raise UserError(f"label noise {share}: give a share from 0 to 1")

    def confused(split: Split, rng: np.random.Generator) -> Split:
        n, classes = len(split.y), dataset.classes or 0
        order, shift = rng.permutation(n), rng.integers(1, classes, n)
        y = np.array(split.y)
        rows = order[: round(share * n)]
        y[rows] = (y[rows] + shift[rows]) % classes
        return split._replace(y=y)

    train, valid = map(confused, (dataset.train, dataset.valid), np.random.default_rng(seed).spawn(2))
    return replace(dataset, name=f"{dataset.name}, {100 * share:g} % wrong labels", train=train, valid=valid)
