"""A person's own files: how they are to be read, and labelled images made a data set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpjax.data.dataset import HELD_OUT, Dataset, some_rows
from mlpjax.data.entries import Entries, entries_in
from mlpjax.data.images import read_images
from mlpjax.errors import UserError

PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""What people call the splits, in lower case."""
NAMED = 5
"""Files that a note names; of more it says how many there are."""


@dataclass(frozen=True)
class Files:
    """How to read files of one's own, csv:FILE, folder:DIR and npz:FILE, and sets that others prepared, tfds:NAME.

    Raises:
        UserError: a number outside its range.
    """

    image_size: tuple[int, int] | None = None
    """Height and width that all images get, in pixels. None: they have one size already."""
    class_names: tuple[str, ...] = ()
    """The classes, in the order of their numbers. None given: those that occur in any split, numbers in ascending and
    words in alphabetical order."""
    label_pattern: str = ""
    """Regular expression whose first group is the class, searched in the names of a folder's files. Empty: the name of
    the folder an image is in, or the letters that its own name starts with (cat of cat.12.jpg)."""
    label_column: str = ""
    """Column of a CSV with classes or targets. Empty: one of a usual name (label, class, target ...), or the last."""
    file_column: str = ""
    """Column of a CSV that names images. Empty: one of a usual name (file, path, image ...), if any."""
    image_folder: str = ""
    """Folder or archive with the images that a CSV names. Empty: the CSV's own folder, or in it one of its name."""
    regression: bool = False
    """The numbers in the label column are targets, not classes."""
    valid_share: float | int = HELD_OUT
    """Share of the training rows that validates, in [0, 1), where the files have no such split."""
    test_share: float | int = HELD_OUT
    """Share of the training rows that tests, in [0, 1), where the files have no such split."""
    split_seed: int = 0
    """Seed of that draw; of every class it takes the same share."""
    skip_bad: bool = False
    """Leave out images that cannot be used and say which, in place of refusing all."""

    def __post_init__(self) -> None:
        if self.image_size and min(self.image_size) < 1:
            raise UserError(f"image_size {self.image_size}: give height and width, at least 1 pixel each")
        for field in ("valid_share", "test_share"):
            if not 0 <= getattr(self, field) < 1:
                raise UserError(f"{field} {getattr(self, field)}: must be at least 0 and below 1")
        if self.valid_share + self.test_share >= 1:
            raise UserError("valid_share and test_share: must leave something to train on")
        try:
            groups = re.compile(self.label_pattern).groups
        except re.error as error:
            raise UserError(f"label_pattern {self.label_pattern!r}: {error}; give a regular expression") from None
        if self.label_pattern and not groups:
            raise UserError(f"label_pattern {self.label_pattern!r}: put the part that is the class in parentheses")
        if self.split_seed < 0:
            raise UserError(f"split_seed {self.split_seed}: must be at least 0")


class Labelled(NamedTuple):
    """An image file."""

    name: str
    """In its folder or archive."""
    label: str
    part: str
    """Its split: train, valid or test."""


def make_dataset(
    name: str, source: str, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], files: Files, notes: Sequence[str] = ()
) -> Dataset:
    """A data set of the splits there are; those that there are not are drawn from the training rows.

    Args:
        name: of the data set.
        source: one line: where it comes from.
        pairs: (x, y) by split.
        files: how to number the classes and to draw.
        notes: what else the user should know.

    Raises:
        UserError: no training rows, and what `Dataset.from_arrays` refuses.
    """
    if "train" not in pairs:
        raise UserError(f"{name}: has {', '.join(pairs)} but no train; give rows to train on")
    return Dataset.from_arrays(
        *pairs["train"],
        valid=pairs.get("valid", files.valid_share),
        test=pairs.get("test", files.test_share),
        name=name,
        class_names=files.class_names,
        seed=files.split_seed,
        source=source,
        notes=notes,
    )


def read_labelled(name: str, source: Path, images: Sequence[Labelled], files: Files, notes: Sequence[str]) -> Dataset:
    """Decode labelled images of a folder or an archive, and make a data set of them.

    Args:
        name: of the data set.
        source: the folder or archive that the images are in.
        images: at least one.
        files: how to read them.
        notes: what else the user should know.

    Returns:
        uint8 pixels, grey where all images are; modes, sizes and files left out are noted.

    Raises:
        UserError: a class of `files` without images, and what `decode_labelled` and `make_dataset` refuse.
    """
    if empty := [label for label in files.class_names if label not in {image.label for image in images}]:
        raise UserError(f"{name}: no image is of class {empty[0]}; add some, or take it out of class_names")
    pairs, more = decode_labelled(entries_in(source), images, files)
    return make_dataset(name, f"images in {source}", pairs, files, [*notes, *more])


def decode_labelled(
    entries: Entries, images: Sequence[Labelled], files: Files
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """Decode labelled images, wherever they are.

    Args:
        entries: where they are.
        images: at least one.
        files: how to read them.

    Returns:
        (x, y) by split, as `make_dataset` takes them, and notes of modes, sizes and files left out.

    Raises:
        UserError: what `read_images` refuses.
    """
    found = read_images(entries, [image.name for image in images], files.image_size, files.skip_bad)
    labels = np.array([images[row].label for row in found.kept])
    part_of = np.array([images[row].part for row in found.kept])
    pairs = {}
    for part in dict.fromkeys(part_of.tolist()):
        rows = np.flatnonzero(part_of == part)
        pairs[part] = some_rows(found.pixels, rows), labels[rows]
    notes = some("cannot be used and left out", [f"{name} {reason}" for name, reason in found.bad.items()])
    if len(found.sizes) > 1:
        notes.append(f"sizes differed before they were made one: {_counts(found.sizes)}")
    if len(found.modes) > 1:
        notes.append(f"modes of the files: {_counts(found.modes)}")
    return pairs, notes


def some(what: str, names: Sequence[str]) -> list[str]:
    """A note of files, or none where there are none."""
    if not names:
        return []
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return [f"{len(names):,} files {what}: {'; '.join(names[:NAMED])}{rest}"]


def _counts(found: Mapping[str, int]) -> str:
    ordered = sorted(found.items(), key=lambda item: -item[1])
    rest = [f"{len(ordered) - NAMED:,} more"] if len(ordered) > NAMED else []
    return ", ".join([f"{name} ({count:,})" for name, count in ordered[:NAMED]] + rest)
