"""Data checked at the door: what cannot be trained on is refused, what looks odd is said."""

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Int, Shaped

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
        image_shape: (height, width) or (height, width, channels), or None where rows are not images.
        dtype: of the features, "uint8" or "float32".
        low: smallest feature value of the training rows.
        high: largest feature value of the training rows.
        constant: number of features that have one value in all training rows.
        classes: number of classes; None in regression.
        class_names: what the classes are called, in the order of their numbers, where they are more than numbers.
        outputs: number of classes, or of targets.
        balance: (rows of the rarest class, rows of the commonest class) by split that has rows.
        absent: classes without rows by split that has rows.
        repeated: rows identical to some training row, by other split that has rows.
        notes: what looks odd, one line each, with what to do.
    """

    name: str
    source: str
    rows: dict[str, int]
    features: int
    image_shape: tuple[int, ...] | None
    dtype: str
    low: float
    high: float
    constant: int
    classes: int | None
    class_names: tuple[str, ...]
    outputs: int
    balance: dict[str, tuple[int, int]]
    absent: dict[str, tuple[int, ...]]
    repeated: dict[str, int]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Whether anything looks wrong, and what to do."""
        if not self.notes:
            return "nothing looks wrong"
        return "read the note below first" if len(self.notes) == 1 else f"read the {len(self.notes)} notes below first"

    def table(self) -> list[tuple[str, str]]:
        """The facts as (label, text) rows, for the terminal and the report."""
        image = f" = {' x '.join(map(str, self.image_shape))} pixels" if self.image_shape else ""
        targets = [("targets", f"{self.outputs:,}")]
        if self.classes is not None:
            per_class = ", ".join(f"{s} {a:,} to {b:,}" for s, (a, b) in self.balance.items())
            named = ", ".join(f"{number} {name}" for number, name in enumerate(self.class_names))
            targets = [
                ("classes", f"{self.classes:,}" + f": {named}" * bool(named)),
                ("rows per class", per_class),
            ]
        return [
            ("verdict", self.verdict),
            ("data", self.name),
            ("source", self.source),
            ("rows", ", ".join(f"{split} {n:,}" for split, n in self.rows.items())),
            ("features", f"{self.features:,}{image}, {self.dtype}"),
            ("values in train", f"{self.low:.4g} to {self.high:.4g}; {self.constant:,} features constant"),
            *targets,
            ("rows also in train", ", ".join(f"{split} {n:,}" for split, n in self.repeated.items())),
            *(("note", note) for note in self.notes),
        ]


_FOUND: WeakKeyDictionary[Dataset, Facts] = WeakKeyDictionary()
"""What is known of the data sets that are in use."""


def check(dataset: Dataset) -> Facts:
    """Refuse data that cannot be trained on, and say what the rest is.

    Args:
        dataset: of any size; costs one pass over the bytes of each split, the first time that it is asked about, and
            nothing after that: its arrays must not have changed.

    Returns:
        The facts. A note is made of rows that stand in train and in another split as well (compared byte by
        byte, labels apart), of classes with no rows in a split, and of training classes more than twice as
        common as others.

    Raises:
        UserError: what `require_usable` refuses.
    """
    if dataset not in _FOUND:
        require_usable(dataset)
        _FOUND[dataset] = _facts(dataset)
    return _FOUND[dataset]


def _facts(dataset: Dataset) -> Facts:
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    counts: dict[str, Int[np.ndarray, classes]] = {}
    if dataset.classes is not None:
        counts = {p: np.bincount(s.y, minlength=dataset.classes) for p, s in splits.items() if len(s.y)}
    x = {part: np.asarray(split.x) for part, split in splits.items()}  # rows of a file mapped to memory come slowly
    seen = {hash(row.tobytes()): place for place, row in enumerate(x["train"])}

    def stands_in_train(row: Shaped[np.ndarray, " *features"]) -> bool:
        place = seen.get(hash(row.tobytes()))
        return place is not None and np.array_equal(x["train"][place], row)

    repeated = {
        part: sum(map(stands_in_train, x[part])) for part, split in splits.items() if part != "train" and len(split.y)
    }
    absent = {part: tuple(np.flatnonzero(count == 0).tolist()) for part, count in counts.items()}
    low, high = x["train"].min(axis=0), x["train"].max(axis=0)
    notes = _repeats({part: (n, len(splits[part].y)) for part, n in repeated.items()})
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
        class_names=dataset.class_names,
        outputs=dataset.outputs,
        balance={part: (int(count.min()), int(count.max())) for part, count in counts.items()},
        absent=absent,
        repeated=repeated,
        notes=(*dataset.notes, *(() if dataset.repeats_expected else notes), *_imbalances(counts, absent)),
    )


def require_usable(dataset: Dataset) -> None:
    """Refuse data that cannot be trained on.

    Raises:
        UserError: what is no data set; or naming the split and the first offending row: wrong rank or type, x and y of
            different length, features that differ between splits, no train or no test rows, NaN or infinity, a label
            outside the classes, all training rows of one class.
    """
    if not isinstance(dataset, Dataset):
        raise UserError(f"dataset: is {type(dataset).__name__}; give what load or Dataset.from_arrays makes")
    for part, split in (("train", dataset.train), ("valid", dataset.valid), ("test", dataset.test)):
        _refuse_bad(f"{dataset.name}, {part}", split, dataset.classes)
        if split.x.shape[1:] != dataset.train.x.shape[1:]:
            one, other = (" x ".join(map(str, s.x.shape[1:])) for s in (split, dataset.train))
            raise UserError(
                f"{dataset.name}, {part}: {one} features but train has {other}; all splits need the same ones"
            )
        if split.y.shape[1:] != dataset.train.y.shape[1:]:
            raise UserError(
                f"{dataset.name}, {part}: {split.y.shape[1]} targets but train has {dataset.train.y.shape[1]}"
            )
        if part != "valid" and len(split.y) == 0:
            raise UserError(f"{dataset.name}, {part}: no rows; give at least one")
    if dataset.classes is not None and len(np.unique(dataset.train.y)) < 2:
        raise UserError(f"{dataset.name}, train: all labels are {dataset.train.y[0]}; give at least two classes")


def _refuse_bad(where: str, split: Split, classes: int | None) -> None:
    x, y = split
    if x.ndim < 2:
        raise UserError(f"{where}: x has {x.ndim} dimensions; want rows, and features or pixels")
    if x.dtype not in (np.uint8, np.float32):
        raise UserError(f"{where}: x is {x.dtype}; want uint8 or float32")
    if 0 in x.shape[1:]:
        raise UserError(f"{where}: no features; give at least one")
    if len(x) != len(y):
        raise UserError(f"{where}: {len(x)} rows in x but {len(y)} in y; want one label or target a row")
    if classes is None and (y.ndim != 2 or y.dtype != np.float32):
        raise UserError(
            f"{where}: y is {y.dtype} with {y.ndim} dimensions and there are no classes; for regression give float32 "
            "targets [rows, outputs], for classification the number of classes"
        )
    if classes is not None and (y.ndim != 1 or y.dtype != np.int32):
        raise UserError(f"{where}: y is {y.dtype} with {y.ndim} dimensions; want int32 labels, one a row")
    for name, values in (("feature", x), ("target", y)):
        if values.dtype == np.float32 and not np.isfinite(values).all():
            row, *place = np.argwhere(~np.isfinite(values))[0]
            at = ", ".join(map(str, place))
            raise UserError(f"{where}: row {row}, {name} {at} is {values[(row, *place)]}; mend or drop the row")
    if classes is None:
        return
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if outside.size:
        raise UserError(
            f"{where}: row {outside[0]} has label {y[outside[0]]}, outside the {classes} classes "
            f"0..{classes - 1}; number the classes from 0 without gaps, or mend the label"
        )


def _repeats(repeated: dict[str, tuple[int, int]]) -> Iterator[str]:
    for part, (n, rows) in repeated.items():
        if n:
            yield (
                f"{n:,} of {rows:,} {part} rows are identical to a training row: take them out of one of the two, or "
                f"the {part} error is too low"
            )


def _imbalances(counts: dict[str, Int[np.ndarray, "classes"]], absent: dict[str, tuple[int, ...]]) -> Iterator[str]:
    if not counts:
        return
    for part, classes in absent.items():
        if classes:
            yield f"{part} has no rows of class {', '.join(map(str, classes))}: add some, or leave the class out"
    present = counts["train"][counts["train"] > 0]
    if (ratio := present.max() / present.min()) > IMBALANCE_NOTED:
        yield (
            f"the commonest training class has {ratio:.1f} times the rows of the rarest: an error means little until "
            "it is well below that of naming the commonest"
        )
