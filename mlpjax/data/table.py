"""A CSV of one's own: numbers with a class or a target, or the names of images with a class."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from mlpjax.data.dataset import Dataset
from mlpjax.data.entries import list_files
from mlpjax.data.files import PARTS, Files, Labelled, make_dataset, read_labelled, some
from mlpjax.errors import UserError, require_choice

FILE_COLUMNS = ("file name", "filename", "file", "filepath", "file path", "path", "image", "image name", "image path")
LABEL_COLUMNS = ("class label", "label", "labels", "class", "target", "category", "species", "y")
SPLIT_COLUMNS = ("split", "subset", "part")
"""What columns are usually called, in lower case and with blanks for _ and -."""
SEPARATORS = ",;\t|"


def read_csv(source: str | Path, files: Files = Files()) -> Dataset:
    """A table of one's own, in one CSV or in one for each split.

    With a column that names images it is a table of images; else every column but one is a feature, and that one the
    class, or the target. A column called split says train, valid or test.

    Args:
        source: a CSV with a row of names at its head; or a folder with one for each split, with train, valid or test
            in its name.
        files: how to read it.

    Returns:
        uint8 pixels of images, or float32 features.

    Raises:
        UserError: no such file, or no table in UTF-8; a column that is not there; a feature that is no number; an image
            that is not there, or stands there twice, with its line; and what `make_dataset` and `read_labelled` refuse.
    """
    source = Path(source).expanduser()
    name = f"csv:{source}"
    paths = _paths(source)
    tables = {part: _table(path) for part, path in paths.items()}
    columns = list(tables["train"].columns)
    for part, table in tables.items():
        if list(table.columns) != columns:
            raise UserError(f"{name}: {part} has other columns than train; give all splits the same")
    words = [column for column in columns if not pd.api.types.is_numeric_dtype(tables["train"][column])]
    file = _column("file_column", files.file_column, FILE_COLUMNS, columns, words)
    split = _column("split", "", SPLIT_COLUMNS, columns, words)
    label = _column("label_column", files.label_column, LABEL_COLUMNS, columns, columns)
    label = label or next((column for column in reversed(columns) if column not in (file, split)), None)
    if label is None:
        raise UserError(f"{name}: has no column for the class; add one")
    if split and len(tables) == 1:
        tables = _split(source, tables["train"], split)
        paths = dict.fromkeys(tables, source)
    targets = {part: _targets(paths[part], table[label], files.regression) for part, table in tables.items()}
    if file:
        named = {part: (paths[part], table[file], targets[part]) for part, table in tables.items()}
        return _read_images(name, source, named, files)
    features = [column for column in columns if column not in (label, split)]
    pairs = {part: (_numbers(paths[part], table[features]), targets[part]) for part, table in tables.items()}
    return make_dataset(name, f"{len(features)} columns of {source}; {label!r} is what is learned", pairs, files)


def _paths(source: Path) -> dict[str, Path]:
    if source.is_file():
        return {"train": source}
    if not source.is_dir():
        raise UserError(f"csv:{source}: no such file; give a CSV, or a folder with one for each split")
    found: dict[str, Path] = {}
    for path in sorted(source.glob("*.csv")):
        for part in {PARTS[word] for word in re.split(r"[\W_\d]+", path.stem.lower()) if word in PARTS}:
            if part in found:
                raise UserError(f"csv:{source}: both {found[part].name} and {path.name} are {part}; leave one")
            found[part] = path
    if "train" not in found:
        raise UserError(f"csv:{source}: no CSV in it has train in its name; name the file itself, or rename one")
    return found


def _table(path: Path) -> pd.DataFrame:
    """Cells as numbers or words; the row labels are the lines of the file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as CSV in UTF-8") from None
    head = text[: text.find("\n")] if "\n" in text else text
    separator = max(SEPARATORS, key=head.count)
    if separator not in head:
        raise UserError(f"{path}: its first line has one column; separate columns by a comma, semicolon, tab or |")
    names = next(csv.reader([head.strip()], delimiter=separator))
    bare = all(map(_is_number, names))
    if not bare and (twice := sorted({name for name in names if names.count(name) > 1})):
        raise UserError(f"{path}: two columns are called {twice[0]!r}; rename one")
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None if bare else 0,
            skipinitialspace=True,
            skip_blank_lines=False,
            index_col=False,
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}; mend that line") from None
    table.columns = [f"column {place + 1}" if bare else str(name).strip() for place, name in enumerate(table.columns)]
    table.index = table.index + (1 if bare else 2)
    while len(table) and table.iloc[-1].isna().all():  # blank lines at the end
        table = table.iloc[:-1]
    if not len(table):
        raise UserError(f"{path}: has no rows")
    return table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column(field: str, given: str, usual: Sequence[str], columns: Sequence[str], among: Sequence[str]) -> str | None:
    if given:
        require_choice(field, given, columns)
        return given
    plain = {column.lower().replace("_", " ").replace("-", " "): column for column in reversed(among)}
    return next((plain[name] for name in usual if name in plain), None)


def _split(path: Path, table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    parts = table[column].astype(str).str.strip().str.lower().map(PARTS)
    if parts.isna().any():
        line = parts.index[parts.isna()][0]
        raise UserError(f"{path}, line {line}: {column} is {table[column][line]!r}; want train, valid or test")
    return {str(part): table[parts == part] for part in parts.unique()}


def _targets(path: Path, cells: pd.Series, regression: bool) -> np.ndarray:
    if (missing := cells.index[cells.isna()]).size:
        raise UserError(f"{path}, line {missing[0]}: nothing in column {cells.name!r}; mend or drop the line")
    numbers = pd.to_numeric(cells, errors="coerce")
    if regression:
        if (words := cells.index[numbers.isna()]).size:
            raise UserError(f"{path}, line {words[0]}: {cells.name!r} is {cells[words[0]]!r}, which is no number")
        return numbers.to_numpy(np.float32)
    if numbers.isna().any():
        return cells.astype(str).to_numpy(str)
    if (broken := cells.index[numbers != numbers.round()]).size:
        raise UserError(
            f"{path}, line {broken[0]}: {cells.name!r} is {cells[broken[0]]}, which is no class; "
            "for targets that are numbers set regression"
        )
    return numbers.to_numpy(np.int64)


def _numbers(path: Path, table: pd.DataFrame) -> np.ndarray:
    for column in table.columns:
        if pd.api.types.is_numeric_dtype(table[column]):
            continue
        words = table.index[pd.to_numeric(table[column], errors="coerce").isna()]
        raise UserError(
            f"{path}, line {words[0]}: {column!r} is {table[column][words[0]]!r}, which is no number; "
            "features are numbers, with a point before decimals"
        )
    return table.to_numpy(np.float32)


def _read_images(
    name: str, source: Path, named: Mapping[str, tuple[Path, pd.Series, np.ndarray]], files: Files
) -> Dataset:
    """Images by the cells that name them, each with its label, by split."""
    if files.regression:
        raise UserError(f"{name}: images with targets that are numbers cannot be read yet; leave regression out")
    folder = source if source.is_dir() else source.parent
    root = Path(files.image_folder).expanduser() if files.image_folder else folder
    there = None if root.is_dir() else set(list_files(root))
    lines: dict[str, str] = {}
    images, missing = [], []
    for part, (path, cells, labels) in named.items():
        inner = "" if files.image_folder or not (folder / path.stem).is_dir() else path.stem
        for line, cell, label in zip(cells.index, cells, labels, strict=True):
            where = f"{path}, line {line}"
            image = (PurePosixPath(inner) / str(cell).strip().replace("\\", "/")).as_posix()
            if pd.isna(cell) or image.startswith("/") or ".." in PurePosixPath(image).parts or ":" in image:
                raise UserError(
                    f"{where}: {cell!r} is no name of an image within {root / inner}; mend it, or set image_folder"
                )
            if image in lines:
                raise UserError(f"{where}: {cell} stands there already, in {lines[image]}; drop one of the two lines")
            lines[image] = where
            if image in there if there is not None else _lies_in(root, image):
                images.append(Labelled(image, str(label), part))
            else:
                missing.append(f"{image}, of {where}")
    if missing and not (files.skip_bad and images):
        raise UserError(
            f"{name}: {len(missing):,} images are not in {root}, first {missing[0]}; put them there, set image_folder, "
            "or leave such lines out (skip_bad)"
        )
    return read_labelled(name, root, images, files, some("are not there and left out", missing))


def _lies_in(root: Path, image: str) -> bool:
    path = root / image
    return path.is_file() and path.resolve().is_relative_to(root.resolve())
