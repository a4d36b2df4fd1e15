"""A sweep as a job: networks at every setting of a grid, each from the same seeds, compared."""

import dataclasses
import inspect
import itertools
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax
import numpy as np
import pandas as pd
import tyro
from jaxtyping import Float
from rich.console import Console

from mlpjax.configuration import DATA_FIELDS, DEFORMATION_FIELDS, Configuration, deformed_task
from mlpjax.data import Dataset, check
from mlpjax.effects import effects
from mlpjax.errors import UserError, require_choice
from mlpjax.forecast import Forecast, load_of
from mlpjax.history import error_metric, summarise_group
from mlpjax.models import MLP
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.identity import plain
from mlpjax.plumbing.progress import progress_bar
from mlpjax.plumbing.runs import Checkpoints, RunFolder, open_run
from mlpjax.plumbing.terminal import print_table, say_how_to_go_on
from mlpjax.report.sweep_page import setting_rows, sweep_page
from mlpjax.report.words import counted, typed
from mlpjax.stats import lowest
from mlpjax.sweeps import Plan, Swept, carry_out, plan
from mlpjax.train import check_fit

HIDDEN = "hidden"
"""Swept in place of `widths`: units of every hidden layer of an MLP, whose other widths are those of the data."""


@dataclasses.dataclass(frozen=True)
class GridSweep(Configuration):
    """Train networks at every setting of some fields, each from the same seeds, and compare what they reach."""

    seeds: int = 16
    """Networks at every setting, each from a seed of its own; the seeds are the same at every setting."""
    over: Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction] = ()
    """A field and its values; given several times, every combination is trained. The field is any of the network, the
    recipe, the data and the deformation, such as learning_rate 0.001 0.01, activation relu tanh, label_noise 0 0.2 or
    rotation 0 15; several numbers in one value are joined by hyphens (widths 784-50-10 784-100-10). hidden: units of
    every hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.over):
            raise UserError("over: give a field and its values, such as --over learning_rate 0.001 0.01")
        names = [_field(given) for given in self.over]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"over {name}: stands there twice; give all of its values at once")
        if HIDDEN in names and "widths" in names:
            raise UserError("over hidden and widths: give one of them")

    def axes(self, dataset: Dataset) -> "list[Axis]":
        """What is swept, with its values.

        Args:
            dataset: as it is without a sweep; the widths of hidden layers are swept between its inputs and outputs.

        Raises:
            UserError: no such field, or a value that it cannot have.
        """
        parts = (self.recipe, self.model, self.files, self.deformation)
        hints = {name: hint for part in parts for name, hint in _hints(part).items()}
        hints |= {"data": str, "label_noise": float}
        if isinstance(self.model, MLP):
            hints[HIDDEN] = int
        axes = []
        for given in self.over:
            name = _field(given)
            require_choice("field to sweep", name, hints)
            values = [_parse(name, value, hints[name]) for value in given[1:]]
            if not values:
                raise UserError(f"over {name}: give at least one value")
            if name == HIDDEN:
                layers = len(self.model.widths) - 2 if isinstance(self.model, MLP) else 0
                if not layers:
                    raise UserError("over hidden: the network has no hidden layer; give --widths with one or more")
                ends = dataset.features, self.outputs(dataset)
                axes.append(Axis(name, values, "widths", [(ends[0], *[v] * layers, ends[1]) for v in values]))
            else:
                axes.append(Axis(name, values, name, values))
        return axes

    def load_at(self, **fields: Any) -> Dataset:
        """The data with some of its fields replaced."""
        own = {name: value for name, value in fields.items() if name in ("data", "label_noise")}
        files = dataclasses.replace(self.files, **{name: v for name, v in fields.items() if name not in own})
        return dataclasses.replace(self, files=files, **own).load()


class Axis(NamedTuple):
    """A field of a sweep."""

    name: str
    """As it was given."""
    values: list[Any]
    """As they were given."""
    field: str
    """Of the model, the recipe, the data or the deformation."""
    means: list[Any]
    """The values of that field."""

    def told(self, value: Any) -> float | int | str:
        """A value as it stands in a table: a number where all values are numbers or None, else text."""
        if all(value is None or isinstance(value, int | float) for value in self.values):
            return math.nan if value is None else value
        return typed(value)


def run_sweep(config: GridSweep, out: Path, command: Sequence[str], console: Console) -> dict[str, Any]:
    """Train at every setting and report; what the folder has already is not trained again.

    Args:
        config: what to do.
        out: the run's folder.
        command: what the user typed, for the report and to say how to go on.
        console: where to say what happens.

    Returns:
        The summary, as in `summary.json`: `seeds`, `seconds`, `over` (values by field), `settings` (for each its
        `setting`, `parameters` and what `summarise_group` says), `best` and `variation`.

    Raises:
        UserError: the data, a setting or the folder cannot be used.
        KeyboardInterrupt: after saving what is done, and saying how to go on.
    """
    dataset = config.load()
    config = config.fitted(dataset)
    axes = config.axes(dataset)
    settings = [dict(zip([a.name for a in axes], v, strict=True)) for v in itertools.product(*[a.values for a in axes])]
    planned = _plan(config, axes, dataset)
    facts = check(dataset).table()
    print_table(console, "The data", [], facts)
    console.print(
        f"{counted(len(settings), 'setting')} with {counted(config.seeds, 'seed')}: "
        f"{counted(len(settings) * config.seeds, 'network')}, {counted(len(planned.programs), 'program')} to compile"
    )
    with say_how_to_go_on(out, command, console), open_run(out, plain(config)) as run:
        swept = _train(config, planned, run, console)
        groups, frames = [], []
        for setting, trained in zip(settings, swept.trained, strict=True):
            size = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(trained.params))
            groups.append({"setting": setting, "parameters": size} | summarise_group(trained))
            frame = trained.to_frame()
            own = {axis.name: axis.told(setting[axis.name]) for axis in axes} | {"parameters": size}
            frames.append(frame.assign(**own)[[*own, *frame.columns]])
        summary = {
            "seeds": config.seeds,
            "seconds": sum(group["seconds"] for group in groups),
            "over": {axis.name: axis.values for axis in axes},
            "settings": groups,
            "best": _best(swept, groups),
            "variation": _variation(swept, groups, axes),
        }
        run.write("sweep.parquet", pd.concat(frames, ignore_index=True).to_parquet(index=False))
        with console.status("Drawing the report"):
            page, pictures = sweep_page(
                settings=plain(config),
                environment=environment(),
                command=shlex.join(command),
                dataset=dataset,
                facts=facts,
                summary=summary,
            )
        for name, content in pictures.items():
            run.write(f"figures/{name}", content)
        run.write("report.html", page.encode())
        run.write_json("summary.json", summary)
    header, rows = setting_rows(summary, ("test",))
    print_table(console, f"Over {counted(config.seeds, 'seed')} on {dataset.name}", header, rows)
    console.print(f"The report: {out / 'report.html'}", soft_wrap=True)
    return summary


def _plan(config: GridSweep, axes: Sequence[Axis], dataset: Dataset) -> Plan:
    """What to train; refuses settings that do not fit their data."""
    of_data, of_task = (
        [axis.field for axis in axes if axis.field in fields] for fields in (DATA_FIELDS, DEFORMATION_FIELDS)
    )
    over = {axis.field: axis.means for axis in axes}
    dataset_or_load = _with_fields(config.load_at, of_data) if of_data else dataset
    task = _with_fields(partial(deformed_task, config.deformation), of_task) if of_task else config.make_task
    planned = plan(config.model, config.recipe, dataset_or_load, over, task)
    for program in planned.programs:
        own = program.task(program.model, program.recipe, program.dataset.train)
        check_fit(program.model, program.recipe, own, program.dataset)
    return planned


def _with_fields(function: Callable[..., Any], fields: Sequence[str]) -> Callable[..., Any]:
    """The function with keyword-only arguments of these names, which a sweep looks for."""

    def called(*parts: Any, **given: Any) -> Any:
        return function(*parts, **given)

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in fields]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _train(config: GridSweep, planned: Plan, run: RunFolder, console: Console) -> Swept:
    loads = []
    for program in planned.programs:
        task = program.task(program.model, program.recipe, program.dataset.train)
        loads.append(load_of(task, program.recipe, program.dataset, len(program.places) * config.seeds))
    forecast = Forecast(loads, lambda said: console.print(said, highlight=False))
    with progress_bar("Training", console=console) as show:

        def on_progress(done: int, total: int) -> None:
            show(done, total)
            forecast.on_progress(done, total)

        return carry_out(
            planned,
            config.random_seeds,
            store=lambda name: Checkpoints(run.path / "checkpoints" / name),
            on_progress=on_progress,
            on_history=forecast.on_history,
            freeze=config.freeze,
            chunk=config.chunk,
            memory_budget=config.memory_budget,
        )


def _finals(swept: Swept, groups: Sequence[Mapping[str, Any]], split: str) -> Float[np.ndarray, "settings seeds"]:
    """The final error of every network, in regression its RMSE; NaN where it diverged."""
    metric = error_metric(groups[0])
    of = [t.error(split)[:, -1] if metric == "error" else t.history[f"{split}_{metric}"][:, -1] for t in swept.trained]
    lost = np.stack([trained.diverged for trained in swept.trained])
    return np.where(lost, np.nan, np.stack(of).astype(float))


def _best(swept: Swept, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The setting to choose, among those at which no network diverged; None where one did at each."""
    split = "valid" if all(group["valid_loss"] for group in groups if group["test_loss"]) else "test"
    values = _finals(swept, groups, split)
    stable = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(stable):
        return None
    found = lowest(values[stable])
    return {"place": int(stable[found.place]), "split": split, "among": len(stable), "doubt": found.doubt}


def _variation(swept: Swept, groups: Sequence[Mapping[str, Any]], axes: Sequence[Axis]) -> list[dict[str, Any]] | None:
    """What the test error depends on; None where some networks diverged, or there is one seed."""
    values = _finals(swept, groups, "test")
    if not np.isfinite(values).all() or values.shape[1] < 2:
        return None
    grid = values.reshape(*[len(axis.values) for axis in axes], -1)
    parts = [part._asdict() for part in effects(grid, [axis.name for axis in axes])]
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in part.items()} for part in parts]


def _field(given: Sequence[str]) -> str:
    return given[0].replace("-", "_") if given else ""


def _hints(configuration: Any) -> dict[str, Any]:
    return get_type_hints(type(configuration))


def _parse(name: str, given: str, hint: Any) -> Any:
    """A value from what was typed, by the type of its field."""
    kinds = {get_origin(kind) or kind: kind for kind in (hint, *get_args(hint)) if kind is not None}
    if given.lower() == "none" and NoneType in kinds:
        return None
    if bool in kinds and given.lower() in ("true", "false"):
        return given.lower() == "true"
    for kind in (int, float):
        if kind in kinds or (name == "dropout" and kind is float):
            try:
                return kind(given)
            except ValueError:
                pass
    if tuple in kinds and all(part.isdecimal() for part in given.split("-")):
        return tuple(map(int, given.split("-")))
    if Literal in kinds:
        require_choice(name, given, get_args(kinds[Literal]))
        return given
    if str in kinds:
        return given
    raise UserError(f"over {name}: {given!r} is no value of it")
