"""What networks reached, read from run folders, TensorBoard's event files, or anybody's table of runs and seeds."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from mlpjax.configuration import DATA_FIELDS
from mlpjax.errors import UserError
from mlpjax.events import EVENTS, PATTERN, Scalar, scalars

RUN_COLUMNS = ("run", "name", "model", "method", "algorithm", "optimizer", "setting", "config", "experiment", "variant")
"""Usual names of the column that tells runs apart, in lower case."""
SEED_COLUMNS = ("seed", "random_seed", "rng_seed", "trial", "repeat", "repetition", "replicate")
"""Usual names of the column of seeds, in lower case."""
SEED_IN_NAME = re.compile(rf"(?i)(?<![a-z])(?:{'|'.join(SEED_COLUMNS)})[ _=-]*(\d+)")
"""Where a folder's name names a seed, by one of these."""


class Recorded(NamedTuple):
    """One way to train, and what each of its seeds reached."""

    name: str
    data: str
    """Tells the data apart: runs are paired by seed only where it is the same."""
    values: Mapping[str, Float[np.ndarray, " seeds"]]
    """By metric, in the order of the seeds; NaN where a network diverged."""
    seeds: tuple[int | str, ...]


def read_runs(path: Path, run_column: str | None = None, seed_column: str | None = None) -> list[Recorded]:
    """The runs of a folder that `mlpjax study` or `mlpjax sweep` wrote, of TensorBoard's event files, or of a table.

    Args:
        path: a folder; for event files one with a folder for each network, named after its seed (`adam/seed_3`); or a
            .csv or .parquet file with a column for the run, one for the seed, and the rest metrics, one row for each
            network.
        run_column: of a table. None: one of a usual name, and if there is none the file is one run.
        seed_column: of a table. None: one of a usual name.

    Returns:
        A study is one run, a sweep one for each setting; a table as many as it names, in the order of their rows. Of a
        folder the figures are the final ones: losses, errors in %, in regression RMSE and R^2. Event files are one run
        for each path without its seed, and the last value of every tag is a figure; networks whose values end before
        those of others in their run count as diverged.

    Raises:
        UserError: there is nothing to read, or no column that it needs.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep=None, engine="python")
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    return _read_table(path, frame, run_column, seed_column)


def _read_folder(path: Path) -> list[Recorded]:
    tables = [path / name for name in ("metrics.parquet", "sweep.parquet") if (path / name).exists()]
    if not tables:
        return _read_events(path)
    frame = pd.read_parquet(tables[0])
    config = json.loads((path / "config.json").read_text())["config"]
    data = _data(config)
    fields = [given[0].replace("-", "_") for given in config.get("over", ())]
    name = path.name or path.resolve().name
    if not fields:
        return [_final(name, data, frame)]
    found = []
    for values, rows in frame.groupby(fields, sort=False, dropna=False):
        setting = {field: None if value != value else value for field, value in zip(fields, values, strict=True)}
        said = ", ".join(f"{field.replace('_', ' ')} {value}" for field, value in setting.items())
        own = {field: value for field, value in setting.items() if field in DATA_FIELDS}
        found.append(_final(f"{name}: {said}", f"{data} {own}", rows))
    return found


def _data(config: Mapping[str, Any]) -> str:
    return json.dumps({name: config.get(name) for name in ("data", "label_noise", "files")}, sort_keys=True)


def _read_events(path: Path) -> list[Recorded]:
    files = sorted(path.rglob(PATTERN))
    if not files:
        raise UserError(
            f"{path}: holds no metrics.parquet, no sweep.parquet and no event files of TensorBoard; give the folder of "
            "a finished run"
        )
    found: dict[str, dict[int, dict[str, Scalar]]] = {}
    for file in files:
        folder = file.parent.relative_to(path).as_posix()
        if seed := SEED_IN_NAME.search(folder):
            run = (folder[: seed.start()] + folder[seed.end() :]).strip("/ _-.,")
            last = found.setdefault(run, {}).setdefault(int(seed[1]), {})
            for scalar in scalars(file):
                if scalar.tag not in last or scalar.step >= last[scalar.tag].step:
                    last[scalar.tag] = scalar
    if not found:
        raise UserError(f"{path}: has event files, but no folder of them is named after a seed, such as seed_3")
    own = path.resolve()
    home = own.parent if own.name == EVENTS else own
    config = home / "config.json"
    data = _data(json.loads(config.read_text())["config"]) if config.exists() else str(home)
    several = len(found) > 1
    return [
        Recorded(": ".join(filter(None, (home.name, run * several))), data, _last(seeds), tuple(seeds))
        for run, seeds in found.items()
    ]


def _last(seeds: Mapping[int, Mapping[str, Scalar]]) -> dict[str, Float[np.ndarray, " seeds"]]:
    values = {}
    for tag in dict.fromkeys(tag for last in seeds.values() for tag in last):
        points = [last.get(tag) for last in seeds.values()]
        end = max(point.step for point in points if point)
        ends = [point.value if point and point.step == end else np.nan for point in points]
        values[tag.replace("/", "_")] = np.asarray(ends)
    return values


def _final(name: str, data: str, frame: pd.DataFrame) -> Recorded:
    last = frame[(frame["epoch"] == frame["epoch"].max()) & (frame["split"] != "")]
    table = last.assign(metric=last["split"] + "_" + last["metric"]).pivot(
        index="seed", columns="metric", values="value"
    )
    lost = ~np.isfinite(table.filter(like="_loss")).all(axis=1).to_numpy()
    values = {}
    for metric in table:
        figures = np.where(lost, np.nan, table[metric].to_numpy(float))
        error = metric.endswith("_accuracy")
        values[metric.replace("_accuracy", "_error")] = 100 * (1 - figures) if error else figures
    known = {metric: figures for metric, figures in values.items() if np.isfinite(figures).any() or lost.all()}
    return Recorded(name, data, known, tuple(table.index.tolist()))


def _read_table(path: Path, frame: pd.DataFrame, run_column: str | None, seed_column: str | None) -> list[Recorded]:
    seed = _column(path, frame, "seed", seed_column, SEED_COLUMNS)
    if seed is None:
        raise UserError(f"{path}: no column of seeds among {', '.join(frame.columns)}; name it with --seed-column")
    run = _column(path, frame, "run", run_column, RUN_COLUMNS)
    metrics = [c for c in frame.columns if c not in (run, seed) and pd.api.types.is_numeric_dtype(frame[c])]
    if not metrics:
        raise UserError(f"{path}: no column of numbers beside {', '.join(map(str, filter(None, (run, seed))))}")
    found = []
    for name, rows in frame.groupby(run, sort=False) if run else [(path.stem, frame)]:
        twice = rows[seed][rows[seed].duplicated()]
        if len(twice):
            raise UserError(
                f"{path}: seed {twice.iloc[0]} of {name} stands there twice; give one row for each network, or name "
                "the column that tells runs apart with --run-column"
            )
        values = {metric: rows[metric].to_numpy(float) for metric in metrics}
        found.append(Recorded(str(name), str(path.resolve()), values, tuple(rows[seed].tolist())))
    return found


def _column(path: Path, frame: pd.DataFrame, what: str, given: str | None, usual: tuple[str, ...]) -> str | None:
    if given is not None and given not in frame.columns:
        raise UserError(f"--{what}-column {given}: {path} has the columns {', '.join(map(str, frame.columns))}")
    known = {str(column).strip().lower().replace(" ", "_"): column for column in reversed(frame.columns)}
    return given or next((known[name] for name in usual if name in known), None)
