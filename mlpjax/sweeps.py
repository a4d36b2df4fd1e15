"""A sweep: networks at every setting of some fields, from the same seeds at each, so that settings are paired."""

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree, Shaped

from mlpjax.data import Dataset
from mlpjax.errors import UserError, require_choice
from mlpjax.lift import OnProgress, Store, silent, tree_bytes
from mlpjax.models import Model
from mlpjax.plumbing.identity import describe
from mlpjax.recipe import Recipe
from mlpjax.seeds import Freeze, MakeTask, Trained, numbers_of, train_many
from mlpjax.task import make_task

Setting: TypeAlias = dict[str, Any]
"""A value for each field that is swept, by its name."""


@dataclasses.dataclass(frozen=True)
class Swept:
    """Every setting of a grid, each with every seed. In shapes, `grid` is one axis a field, in the order of `over`."""

    over: dict[str, list[Any]]
    """The values of each field."""
    seeds: Int[np.ndarray, " seeds"]
    settings: list[Setting]
    """All settings, the last field changing fastest."""
    trained: list[Trained]
    """The networks of each setting, in the order of `settings`."""

    @property
    def diverged(self) -> Bool[np.ndarray, "*grid seeds"]:
        """Networks with a loss that is not a finite number."""
        found: np.ndarray = self.stack(lambda trained: trained.diverged)
        return found

    @property
    def history(self) -> dict[str, Float[np.ndarray, "*grid seeds evaluations"]]:
        """Every figure over the evaluations, which must be as many at every setting."""
        found: dict[str, np.ndarray] = self.stack(lambda trained: trained.history)
        return found

    @property
    def params(self) -> PyTree:
        """The parameters, [*grid, seeds, ...], which must be of the same shapes at every setting."""
        return self.stack(lambda trained: trained.params)

    @property
    def observed(self) -> dict[str, PyTree]:
        """What was observed, by name, [*grid, seeds, times, ...]."""
        found: dict[str, PyTree] = self.stack(lambda trained: trained.observed)
        return found

    def final(self, name: str) -> Float[np.ndarray, "*grid seeds"]:
        """A figure of the history at the end of each training, such as `test_accuracy`."""
        found: np.ndarray = self.stack(lambda trained: trained.history[name][:, -1])
        return found

    def error(self, split: str = "test") -> Float[np.ndarray, "*grid seeds evaluations"]:
        """Share of a split's examples, in %, that each network gets wrong."""
        found: np.ndarray = self.stack(lambda trained: trained.error(split))
        return found

    def at(self, **setting: Any) -> Trained:
        """The networks of one setting.

        Raises:
            UserError: no such setting was trained.
        """
        if setting not in self.settings:
            grid = ", ".join(f"{name} {values}" for name, values in self.over.items())
            raise UserError(f"setting {setting}: choose one value of each of {grid}")
        return self.trained[self.settings.index(setting)]

    def stack(self, of: Callable[[Trained], PyTree]) -> PyTree:
        """Anything of the networks, with the axes of the grid in front.

        Args:
            of: networks -> a tree of arrays [seeds, ...], of the same shapes at every setting.

        Returns:
            The same tree with arrays [*grid, seeds, ...].

        Raises:
            UserError: the shapes differ.
        """
        trees = [of(trained) for trained in self.trained]
        forms = {str(jax.tree.map(np.shape, tree)) for tree in trees}
        if len(forms) > 1:
            raise UserError(
                f"sweep over {', '.join(self.over)}: these arrays have other shapes at other settings; "
                "take them from `trained`, setting by setting"
            )
        grid = [len(values) for values in self.over.values()]
        return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*grid, *leaves[0].shape), *trees)


class Program(NamedTuple):
    """Settings that one compiled program serves: they differ in numbers alone."""

    model: Any
    recipe: Recipe
    dataset: Dataset
    task: MakeTask
    name: str
    places: list[int]
    """Of its settings."""
    numbers: dict[str, list[Any]]
    """The values of the fields that it takes as arguments, one a setting."""


class Plan(NamedTuple):
    """What a sweep will train."""

    over: dict[str, list[Any]]
    """The values of each field."""
    settings: list[Setting]
    """All settings, the last field changing fastest."""
    programs: list[Program]
    """In the order in which they are compiled and run, the networks with most parameters first."""


def plan(
    model: Model,
    recipe: Recipe,
    dataset: Dataset | Callable[..., Dataset],
    over: Mapping[str, Sequence[Any] | Shaped[np.ndarray, " values"]],
    task: MakeTask = make_task,
) -> Plan:
    """What `sweep` would train with the same arguments; every setting is checked.

    Raises:
        UserError: a field or a value that cannot be used.
    """
    values = {name: [v.item() if isinstance(v, np.generic) else v for v in given] for name, given in over.items()}
    settings = [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]
    return Plan(values, settings, _programs(model, recipe, dataset, task, values, settings))


def sweep(
    model: Model,
    recipe: Recipe,
    dataset: Dataset | Callable[..., Dataset],
    seeds: Sequence[int],
    over: Mapping[str, Sequence[Any] | Shaped[np.ndarray, " values"]],
    *,
    task: MakeTask = make_task,
    own: PyTree = None,
    start: PyTree = None,
    freeze: Freeze = (),
    store: Callable[[str], Store] | None = None,
    on_progress: OnProgress = silent,
    **options: Any,
) -> Swept:
    """Train networks at every setting of some fields, from the same seeds at each.

    The settings are the grid of all values of all fields. Those that differ in numbers alone (learning rate, dropout,
    penalties, scale) are one call of `train_many`, with one compiled program; every other field (widths, activation,
    batch size, the data) takes a program for each of its values. The networks with most parameters come first: what
    does not fit into memory fails at once.

    Args:
        model: the network, but for what is swept.
        recipe: how to train it, but for what is swept.
        dataset: what it learns; or a function that makes it, whose arguments are then fields, too.
        seeds: one for each network of a setting; the same at every setting.
        over: by field of the model, the recipe, the data or the task: its values, each once. None, where the field
            allows it, is a value, too. A dropout is a rate, or a tuple with one for each hidden layer.
        task: as for `train_many`; its keyword-only arguments are fields, too, each value with a program of its own.
        own, start, freeze: as for `train_many`, with one row for each seed.
        store: makes the store of one program from a name that no other has (`lambda name: Checkpoints(folder / name)`);
            other seeds and other numbers are added to it.
        on_progress: told what is done and what there is to do, in periods of one network.
        options: what else `train_many` takes: `observe`, `stop`, `snapshots`, `chunk`, `memory_budget`, `group`.

    Returns:
        The grid of settings, each with every seed.

    Raises:
        UserError: a field or a value that cannot be used, or as for `train_many`.

    Example:
        >>> import mlpjax
        >>> dataset = mlpjax.load("xor", n=100)
        >>> recipe = mlpjax.Recipe(batch_size=None, epochs=5)
        >>> grid = {"learning_rate": [0.01, 0.1], "dropout": [0, 0.5]}
        >>> swept = mlpjax.sweep(mlpjax.MLP((2, 8, 2)), recipe, dataset, range(3), grid)
        >>> swept.final("test_accuracy").shape
        (2, 2, 3)
    """
    planned = plan(model, recipe, dataset, over, task)
    return carry_out(planned, seeds, own, start, freeze, store, on_progress, **options)


def carry_out(
    planned: Plan,
    seeds: Sequence[int],
    own: PyTree = None,
    start: PyTree = None,
    freeze: Freeze = (),
    store: Callable[[str], Store] | None = None,
    on_progress: OnProgress = silent,
    **options: Any,
) -> Swept:
    """Train what is planned; the arguments, the result and the errors are those of `sweep`."""
    values, settings, programs = planned
    trained: dict[int, Trained] = {}
    total, before = sum(len(p.places) * len(seeds) * p.recipe.evaluations for p in programs), 0
    for program in programs:
        count = len(program.places)

        def tile(leaf: Any, count: int = count) -> np.ndarray:
            return np.concatenate([np.asarray(leaf)] * count)

        def on_program(done: int, _: int, before: int = before) -> None:
            on_progress(before + done, total)

        found = train_many(
            program.model,
            program.recipe,
            program.dataset,
            [*seeds] * count,
            task=program.task,
            sweep={name: np.repeat(_column(name, v), len(seeds), axis=0) for name, v in program.numbers.items()},
            own=jax.tree.map(tile, own),
            start=jax.tree.map(tile, start),
            freeze={name: tile(of) for name, of in freeze.items()} if isinstance(freeze, Mapping) else freeze,
            store=store and store(program.name),
            on_progress=on_program,
            **options,
        )
        for row, place in enumerate(program.places):
            trained[place] = found.select(slice(row * len(seeds), (row + 1) * len(seeds)))
        before += count * len(seeds) * program.recipe.evaluations
    return Swept(values, np.asarray([*seeds]), settings, [trained[place] for place in range(len(settings))])


def _programs(
    model: Any,
    recipe: Recipe,
    dataset: Dataset | Callable[..., Dataset],
    task: MakeTask,
    over: Mapping[str, list[Any]],
    settings: Sequence[Setting],
) -> list[Program]:
    """What to compile, the networks with most parameters first; every setting is checked."""
    of_data = set(inspect.signature(dataset).parameters) if callable(dataset) else set()
    of_task = {name for name, of in inspect.signature(task).parameters.items() if of.kind is of.KEYWORD_ONLY}
    others = of_data | of_task
    numbers = (numbers_of(model) | numbers_of(recipe)) - others
    _check(over, {**_hints(recipe), **_hints(model), **dict.fromkeys(others)})
    programs: dict[str, Program] = {}
    made: dict[str, Dataset] = {}
    for place, setting in enumerate(settings):
        arguments = {field: value for field, value in setting.items() if field in of_data}
        configured = {field: value for field, value in setting.items() if field not in others}
        swept = {field: value for field, value in configured.items() if field in numbers and value is not None}
        compiled = {field: value for field, value in setting.items() if field not in swept}
        _configure(model, recipe, configured)  # refuses what does not go together
        name = " ".join(f"{field} {describe(value)}" for field, value in compiled.items())
        if name not in programs:
            own = _configure(model, recipe, {field: v for field, v in configured.items() if field in compiled})
            data = describe(arguments)
            if data not in made:
                made[data] = dataset(**arguments) if callable(dataset) else dataset
            of_setting = {field: value for field, value in setting.items() if field in of_task}
            make = partial(task, **of_setting) if of_setting else task
            file_name = re.sub(r"[^\w.+]+", "-", name).strip("-") or "networks"
            programs[name] = Program(*own, made[data], make, file_name, [], {field: [] for field in swept})
        programs[name].places.append(place)
        for field, value in swept.items():
            programs[name].numbers[field].append(value)
    return sorted(programs.values(), key=_parameter_bytes, reverse=True)


def _check(over: Mapping[str, list[Any]], hints: Mapping[str, Any]) -> None:
    """Refuse fields that do not exist, and values of another kind than theirs."""
    for field, values in over.items():
        require_choice("field to sweep", field, hints)
        if not values:
            raise UserError(f"{field}: give at least one value to sweep over")
        hint = hints[field]
        kinds = {get_origin(kind) or kind for kind in (get_args(hint) if _is_union(hint) else [hint])}
        number = float in kinds or field == "dropout"
        numeric = (int, float) if number else int
        for place, value in enumerate(values):
            if value in values[:place]:
                raise UserError(f"{field} {value!r}: stands in the sweep twice; give every value once")
            if (value is None and NoneType in kinds) or (field == "dropout" and isinstance(value, tuple)):
                continue
            if (number or int in kinds) and (not isinstance(value, numeric) or isinstance(value, bool)):
                what = "a number" if number else "a whole number"
                raise UserError(f"{field} {value!r}: give {what}" + ", or None" * (NoneType in kinds))
            if Literal in kinds and not (isinstance(value, str | tuple) or callable(value)):
                raise UserError(f"{field} {value!r}: give a name")


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _hints(configuration: Any) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return get_type_hints(type(configuration)) if dataclasses.is_dataclass(configuration) else {}


def _configure(model: Any, recipe: Recipe, setting: Setting) -> tuple[Any, Recipe]:
    """The model and the recipe at one setting."""
    of_model = {field: value for field, value in setting.items() if field in _hints(model)}
    of_recipe = {field: value for field, value in setting.items() if field not in of_model}
    if isinstance(rate := of_model.get("dropout"), int | float):
        of_model["dropout"] = (float(rate),)
    return (dataclasses.replace(model, **of_model) if of_model else model), dataclasses.replace(recipe, **of_recipe)


def _column(field: str, values: Sequence[Any]) -> Float[np.ndarray, "settings ..."]:
    """The values of a number, one a setting; of dropout rows of rates where a setting has one for each hidden layer."""
    if field == "dropout" and (layers := max(map(np.size, values))) > 1:
        return np.stack([np.broadcast_to(np.float64(value), layers) for value in values])
    return np.array([np.squeeze(value) for value in values], float)


def _parameter_bytes(program: Program) -> int:
    x = jax.ShapeDtypeStruct((1, *program.dataset.train.x.shape[1:]), jnp.float32)
    return tree_bytes(jax.eval_shape(program.model.init, jax.random.key(0), x).params)
