"""What a data set is: three splits of examples and targets, kept as NumPy arrays on the host."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Array, Float32, Int, Int32, Shaped, UInt8
from numpy.typing import ArrayLike

from mlpjax.data.classes import number_classes
from mlpjax.errors import UserError

HELD_OUT = 0.15
"""Share of the rows that validate, and that test, where nothing else is said."""
COPIED = 1024
"""Rows that are copied at a time."""
Part: TypeAlias = "tuple[ArrayLike, ArrayLike] | float | int"
"""(x, y) of a split, or the share of the training rows that it gets."""


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
        class_names: what each class is called, in the order of their numbers; empty where they are just numbers.
        notes: what else the user should know of where the data come from, one line each.
        repeats_expected: the same row may stand in several splits without being a leak, because the
            population has only finitely many points (noiseless XOR).
    """

    name: str
    train: Split
    valid: Split
    test: Split
    classes: int | None = None
    source: str = ""
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    repeats_expected: bool = False

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        valid: Part = HELD_OUT,
        test: Part = HELD_OUT,
        *,
        name: str = "arrays",
        class_names: Sequence[str] = (),
        seed: int = 0,
        source: str = "",
        notes: Sequence[str] = (),
    ) -> "Dataset":
        """Examples and targets of one's own.

        Args:
            x: one example a row, of any shape: pixels 0..255 as uint8; other numbers become float32.
            y: words or whole numbers, which are classes, or floats: targets of a regression, [n] or [n, outputs].
            valid, test: each a pair (x, y) of its own, or a share in [0, 1) of the rows of `x`, drawn at random, of
                classes each in proportion.
            name: of the data set.
            class_names: of the classes in the order of their numbers; empty: those that occur in any split, numbers in
                ascending and words in alphabetical order.
            seed: of the draw, >= 0.
            source: one line: where they come from.
            notes: what else the user should know of them.

        Returns:
            The data set; `check` tells what is in it.

        Raises:
            UserError: what cannot be an example or a target, a label that is no class, or a share outside its range.
        """
        given: dict[str, Part] = {"train": (x, y), "valid": valid, "test": test}
        arrays = {part: pair for part, pair in given.items() if isinstance(pair, tuple)}
        shares = {part: share for part, share in given.items() if not isinstance(share, tuple)}
        for part, share in shares.items():
            if not 0 <= share < 1:
                raise UserError(f"{name}, {part} {share}: give a share of the rows, from 0 to below 1")
        examples = {part: _examples(f"{name}, {part}", values) for part, (values, _) in arrays.items()}
        targets = {part: np.asarray(values) for part, (_, values) in arrays.items()}
        for part, values in targets.items():
            if len(values) != len(examples[part]):
                raise UserError(f"{name}, {part}: {len(examples[part])} rows in x but {len(values)} in y")
        names: tuple[str, ...] = ()
        if targets["train"].dtype.kind == "f":
            targets = {part: values.reshape(len(values), -1).astype(np.float32) for part, values in targets.items()}
        else:
            names, targets = number_classes(targets, class_names, name)
        splits = {part: Split(examples[part], targets[part]) for part in arrays}
        if shares:
            splits |= _hold_out(
                splits["train"], {part: shares[part] for part in ("test", "valid") if part in shares}, seed
            )
        train, valid_split, test_split = (splits[part] for part in ("train", "valid", "test"))
        words = names if names != tuple(map(str, range(len(names)))) else ()
        return cls(name, train, valid_split, test_split, len(names) or None, source, words, tuple(notes))

    def class_name(self, label: int) -> str:
        """What a class is called: its number where it has no other name."""
        return self.class_names[label] if self.class_names else str(label)

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


def _examples(where: str, x: ArrayLike) -> np.ndarray:
    values = np.asanyarray(x)
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where}: x holds {values.dtype}; give numbers")
    return values if values.dtype == np.uint8 else values.astype(np.float32)


def _hold_out(split: Split, shares: Mapping[str, float | int], seed: int) -> dict[str, Split]:
    """One part after the other, each drawn from what the last one left; what is left in the end trains."""
    x, y = map(np.asanyarray, split)
    labels = y if y.ndim == 1 else np.zeros(len(y), np.int32)
    rows = {"train": np.arange(len(y))}
    for part, share in shares.items():
        kept, held = stratified_holdout(labels[rows["train"]], round(share * len(y)), seed)
        rows |= {part: rows["train"][held], "train": rows["train"][kept]}
    return {part: Split(some_rows(x, chosen), y[chosen]) for part, chosen in rows.items()}


def some_rows(x: Shaped[np.ndarray, "n *features"], rows: Int[np.ndarray, " k"]) -> Shaped[np.ndarray, "k *features"]:
    """Some examples. What is mapped from a file stays on the disk, in a file that is gone with the array.

    Args:
        x: examples.
        rows: which, in rising order.
    """
    if not isinstance(x, np.memmap) or not len(rows):
        return x[rows]
    if rows[-1] - rows[0] == len(rows) - 1:
        return x[rows[0] : rows[-1] + 1]
    with tempfile.TemporaryFile(dir=Path(str(x.filename)).parent) as file:
        chosen = np.memmap(file, x.dtype, "w+", shape=(len(rows), *x.shape[1:]))
    for start in range(0, len(rows), COPIED):
        chosen[start : start + COPIED] = x[rows[start : start + COPIED]]
    return chosen


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


def without_validation(dataset: Dataset) -> Dataset:
    """The data set whose validation examples are trained on, too: they follow the others, and none are left."""
    x, y = (np.concatenate(parts) for parts in zip(dataset.train, dataset.valid, strict=True))
    return replace(dataset, train=Split(x, y), valid=Split(x[:0], y[:0]))


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
