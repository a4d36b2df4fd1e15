"""Data checked at the door: what cannot be trained on is refused, what looks odd is said."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mlpjax.data.dataset import Dataset, Split
from mlpjax.errors import UserError

IMBALANCE_NOTED = 2.0


@dataclass(frozen=True)
class Facts:
    """What a data set is, as `check` found it; everything by split is keyed "train", "valid", "test".

    Args:
        name: of the data set.
        source: where it comes from.
        rows: number of rows by split.
        features: number of features.
        image_shape: (height, width) in pixels, or None where rows are not grey images.
        dtype: of the features, "uint8" or "float32".
        low: smallest feature value of the training rows.
        high: largest feature value of the training rows.
        constant: number of features that have one value in all training rows.
        classes: number of classes.
        balance: (rows of the rarest class, rows of the commonest class) by split that has rows.
        repeated: rows identical to some training row, by other split that has rows.
        notes: what looks odd, one line each.
    """

    name: str
    source: str
    rows: dict[str, int]
    features: int
    image_shape: tuple[int, int] | None
    dtype: str
    low: float
    high: float
    constant: int
    classes: int
    balance: dict[str, tuple[int, int]]
    repeated: dict[str, int]
    notes: tuple[str, ...]

    def table(self) -> list[tuple[str, str]]:
        """The facts as (label, text) rows, for the terminal and the report."""
        image = " = {} x {} pixels".format(*self.image_shape) if self.image_shape else ""
        return [
            ("data", self.name),
            ("source", self.source),
            ("rows", ", ".join(f"{split} {n:,}" for split, n in self.rows.items())),
            ("features", f"{self.features:,}{image}, {self.dtype}"),
            ("values in train", f"{self.low:.4g} to {self.high:.4g}; {self.constant:,} features constant"),
            ("classes", f"{self.classes:,}"),
            ("rows per class", ", ".join(f"{s} {a:,} to {b:,}" for s, (a, b) in self.balance.items())),
            ("rows also in train", ", ".join(f"{split} {n:,}" for split, n in self.repeated.items())),
            *(("note", note) for note in self.notes),
        ]


def check(dataset: Dataset) -> Facts:
    """Refuse data that cannot be trained on, and say what the rest is.

    Args:
        dataset: of any size; costs one pass over the bytes of each split.

    Returns:
        The facts. A note is made of rows that stand in train and in another split as well (compared byte by
        byte, labels apart), of classes with no rows in a split, and of training classes more than twice as
        common as others.

    Raises:
        UserError: naming the split and the first offending row: wrong rank or type, x and y of different
            length, features that differ between splits, no train or no test rows, NaN or infinity, a label
            outside the classes, all training rows of one class.
    """
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    for part, split in splits.items():
        _refuse_bad(f"{dataset.name}, {part}", split, dataset.classes)
        if split.x.shape[1] != dataset.features:
            raise UserError(
                f"{dataset.name}, {part}: {split.x.shape[1]} features but train has {dataset.features}; "
                "all splits need the same ones"
            )
        if part != "valid" and len(split.y) == 0:
            raise UserError(f"{dataset.name}, {part}: no rows; give at least one")
    counts = {p: np.bincount(s.y, minlength=dataset.classes) for p, s in splits.items() if len(s.y)}
    if np.count_nonzero(counts["train"]) < 2:
        raise UserError(f"{dataset.name}, train: all labels are {dataset.train.y[0]}; give at least two classes")

    seen = {row.tobytes() for row in dataset.train.x}
    repeated = {part: sum(row.tobytes() in seen for row in splits[part].x) for part in counts if part != "train"}
    low, high = dataset.train.x.min(axis=0), dataset.train.x.max(axis=0)
    return Facts(
        name=dataset.name,
        source=dataset.source,
        rows={part: len(split.y) for part, split in splits.items()},
        features=dataset.features,
        image_shape=dataset.image_shape,
        dtype=str(dataset.train.x.dtype),
        low=float(low.min()),
        high=float(high.max()),
        constant=int(np.count_nonzero(low == high)),
        classes=dataset.classes,
        balance={part: (int(count.min()), int(count.max())) for part, count in counts.items()},
        repeated=repeated,
        notes=tuple(_notes(counts, {} if dataset.repeats_expected else repeated)),
    )


def _refuse_bad(where: str, split: Split, classes: int) -> None:
    x, y = split
    if x.ndim != 2 or y.ndim != 1:
        raise UserError(f"{where}: x has {x.ndim} dimensions and y has {y.ndim}; want 2 (rows, features) and 1 (rows)")
    if x.shape[1] == 0:
        raise UserError(f"{where}: no features; give at least one")
    if x.dtype not in (np.uint8, np.float32) or y.dtype != np.int32:
        raise UserError(f"{where}: x is {x.dtype} and y is {y.dtype}; want uint8 or float32, and int32")
    if len(x) != len(y):
        raise UserError(f"{where}: {len(x)} rows in x but {len(y)} labels in y; want one label a row")
    if x.dtype == np.float32 and not np.isfinite(x).all():
        row, feature = np.argwhere(~np.isfinite(x))[0]
        raise UserError(f"{where}: row {row}, feature {feature} is {x[row, feature]}; mend or drop the row")
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if outside.size:
        raise UserError(
            f"{where}: row {outside[0]} has label {y[outside[0]]}, outside the {classes} classes "
            f"0..{classes - 1}; number the classes from 0 without gaps, or mend the label"
        )


def _notes(counts: dict[str, Int[np.ndarray, "classes"]], repeated: dict[str, int]) -> Iterator[str]:
    for part, n in repeated.items():
        if n:
            yield f"{n:,} of {counts[part].sum():,} {part} rows are identical to a training row"
    for part, count in counts.items():
        absent = np.flatnonzero(count == 0)
        if absent.size:
            yield f"{part} has no rows of class {', '.join(map(str, absent))}"
    present = counts["train"][counts["train"] > 0]
    if (ratio := present.max() / present.min()) > IMBALANCE_NOTED:
        yield f"the commonest training class has {ratio:.1f} times the rows of the rarest"
