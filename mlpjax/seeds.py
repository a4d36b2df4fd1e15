"""Training from many seeds: what sets the networks of a study apart, and what became of them."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, Array, Bool, Float, Int, PyTree

from mlpjax.data import Dataset, Split, require_usable
from mlpjax.data.streamed import Streamed
from mlpjax.errors import UserError, require_choice
from mlpjax.keys import Keys, make_keys
from mlpjax.lift import Cost, OnProgress, Store, Work, default_chunk, run, silent, tree_bytes
from mlpjax.models import Model
from mlpjax.plumbing.devices import free_memory
from mlpjax.plumbing.identity import describe
from mlpjax.plumbing.processes import ALONE, Group
from mlpjax.recipe import Recipe
from mlpjax.task import Task, evaluation_batch, make_task
from mlpjax.train import Observe, Splits, Stop, Train, Training, TrainState, begin_with, check_fit, make_train
from mlpjax.typing import Variables

if TYPE_CHECKING:
    import pandas as pd

FROZEN_SEED = 0
"""The seed of which every network takes a frozen key, where none is given."""
SNAPSHOTS = "snapshots"
"""Name under which the parameters at chosen epochs are observed."""

MakeTask: TypeAlias = Callable[..., Task]
"""(model, recipe, training split) -> task; `make_task`, or around it a wrapper such as `augmented`. Where networks have
arrays of their own, these are a fourth argument."""
Freeze: TypeAlias = Collection[str] | Mapping[str, Sequence[int] | Int[np.ndarray, " networks"]]
"""Names of the keys (those of `Keys`) that all networks share; or by name the seed, one for each network, of which each
takes this key: {"sample": np.arange(256) // 16} are 16 training sets with 16 starts each."""
OnHistory: TypeAlias = Callable[
    [Int[np.ndarray, " networks"], dict[str, Float[np.ndarray, "networks evaluations"]]], None
]
"""Told the places of the networks that are being trained, and their history so far, without seconds."""


class Member(NamedTuple):
    """What sets one network apart from the others of its study."""

    keys: Keys
    sweep: dict[str, Array]
    """Its own values of numbers of the model or the recipe, by field name."""
    begin: PyTree = None
    """Its `TrainState` or `Variables` at the start; None: drawn."""
    own: PyTree = None
    """Its own arrays, for the task."""


_make_many_keys = jax.jit(jax.vmap(make_keys))


def make_members(seeds: Sequence[int], sweep: Mapping[str, np.ndarray] | None = None, freeze: Freeze = ()) -> Member:
    """The members of a study, stacked along a leading axis.

    Args:
        seeds: one for each network, at least 0; a network's keys depend on its seed alone.
        sweep: for a field's name, one value for each network (dropout: also one row of rates for each).
        freeze: the keys that all networks share, or that each takes of a seed of its own: see `Freeze`.

    Returns:
        Members with a leading axis of `len(seeds)`.

    Raises:
        UserError: an unknown key, a negative seed, or a sweep or a frozen key with another length than `seeds`.
    """
    if isinstance(freeze, str):
        raise UserError(f"freeze {freeze!r}: give a tuple of names, such as ({freeze!r},)")
    keys = _keys_of("seeds", seeds)
    if not isinstance(freeze, Mapping):
        freeze = dict.fromkeys(freeze, [FROZEN_SEED] * len(seeds))
    for name, own in freeze.items():
        require_choice("freeze", name, Keys._fields)
        if len(own) != len(seeds):
            raise UserError(f"freeze of {name}: has {len(own)} seeds for {len(seeds)} networks; give one for each")
        keys = keys._replace(**{name: getattr(_keys_of(f"freeze of {name}", own), name)})
    values = {name: jnp.asarray(value, jnp.float32) for name, value in (sweep or {}).items()}
    for name, value in values.items():
        if len(value) != len(seeds):
            raise UserError(f"sweep of {name}: has {len(value)} values for {len(seeds)} networks; give one for each")
    return Member(keys, values)


def _keys_of(name: str, seeds: Sequence[int] | Int[np.ndarray, " networks"]) -> Keys:
    """The keys of every seed."""
    if not all(isinstance(seed, Integral) for seed in seeds):
        raise UserError(f"{name}: give whole numbers")
    if not len(seeds) or min(seeds) < 0 or max(seeds) >= 2**31:
        raise UserError(f"{name}: give at least one, each between 0 and 2^31 - 1")
    found: Keys = _make_many_keys(jnp.asarray(seeds, jnp.int32))
    return found


def numbers_of(configuration: Any) -> set[str]:
    """Fields of a dataclass that a sweep can give each network a value of its own for: whose type admits an array."""
    if not dataclasses.is_dataclass(configuration):
        return set()
    hints = get_type_hints(type(configuration))
    arrays = {
        name
        for name, hint in hints.items()
        if any(isinstance(kind, type) and issubclass(kind, AbstractArray) for kind in get_args(hint))
    }
    return arrays & {field.name for field in dataclasses.fields(configuration)}


def apply_sweep(model: Any, recipe: Recipe, sweep: Mapping[str, Any]) -> tuple[Any, Recipe]:
    """The model and the recipe with some of their numbers replaced.

    Raises:
        UserError: a name that is no number of either, or a value that they refuse.
    """
    of_model = numbers_of(model)
    of_recipe = numbers_of(recipe) - of_model
    for name in sweep:
        require_choice("sweep", name, of_model | of_recipe)
    if of_model & sweep.keys():
        model = dataclasses.replace(model, **{name: sweep[name] for name in of_model & sweep.keys()})
    return model, dataclasses.replace(recipe, **{name: sweep[name] for name in of_recipe & sweep.keys()})


def step_cost(task: Task, recipe: Recipe, train: Split) -> Cost:
    """What a training step of one network touches and computes.

    Bytes: four times the parameters (with gradient and the optimizer's two), twice the activations: the inputs and what
    products and convolutions give; beside, the activations of an evaluation. FLOPs: three forward passes.

    Args:
        task: the network's.
        recipe: how it is trained.
        train: the training split.
    """
    x = jax.eval_shape(lambda: jnp.asarray(train.x[: recipe.microbatch or recipe.batch_size or len(train.x)]))
    parameters, activations, flops = forward_cost(task, x)
    evaluation = activations * min(evaluation_batch(train.x), len(train.y)) // len(x)
    return Cost(4 * parameters + 2 * activations, 3 * flops, evaluation)


class Forward(NamedTuple):
    """What it takes to evaluate one network on some examples."""

    parameters: int
    """Bytes, with those of the statistics."""
    activations: int
    """Bytes of the inputs and of what products and convolutions give."""
    flops: float


def forward_cost(task: Task, x: Any) -> Forward:
    """What it takes to evaluate one network.

    Args:
        task: the network's.
        x: examples as stored, or their shape and type.
    """
    variables = jax.eval_shape(task.init, jax.random.key(0), x)
    program = jax.make_jaxpr(lambda v, x: task.predict(v, task.prepare(x)))(variables, x)
    activations, flops = 4 * x.size, 0.0
    for equation in _equations(program.jaxpr):
        kind, out = equation.primitive.name, equation.outvars[0].aval
        if kind in ("dot_general", "conv_general_dilated"):
            activations += out.size * out.dtype.itemsize
            operand = equation.invars[1].aval
            axes = equation.params.get("dimension_numbers")
            units = operand.shape[-1] if kind == "dot_general" else operand.shape[axes.rhs_spec[0]]
            flops += 2.0 * out.size * operand.size / units
    return Forward(tree_bytes(variables), activations, flops)


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in equation.params.values():
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


class Trained(NamedTuple):
    """Many trained networks, on the host, along a leading axis."""

    seeds: Int[np.ndarray, " networks"]
    params: PyTree
    history: dict[str, Float[np.ndarray, "networks evaluations"]]
    """`{split}_loss`, `{split}_{metric}`, `grad_norm` and `seconds` at the start and every `eval_every` epochs."""
    stats: PyTree = {}  # noqa: RUF012  an empty tree, that nobody writes into
    """Statistics beside the parameters; an empty dict where the model has none."""
    observed: dict[str, PyTree] = {}  # noqa: RUF012
    """What was observed, by name; the second axis is that of the times."""
    stopped_at: Int[np.ndarray, " networks"] | None = None
    """Epochs after which each network stopped, -1 where it went on to the end; None where nothing asked."""
    eval_every: int = 1
    """Epochs between two evaluations."""

    @property
    def epochs(self) -> Int[np.ndarray, " evaluations"]:
        """Epochs after which the history was evaluated, from 0 on."""
        return self.eval_every * np.arange(next(iter(self.history.values())).shape[1])

    @property
    def variables(self) -> Variables:
        """The networks themselves."""
        return Variables(self.params, self.stats)

    @property
    def snapshots(self) -> PyTree:
        """The parameters at chosen epochs, along the second axis; None where none were asked for."""
        return self.observed.get(SNAPSHOTS)

    @property
    def diverged(self) -> Bool[np.ndarray, " networks"]:
        """Networks with a loss, on any split, that is not a finite number."""
        losses = [values for name, values in self.history.items() if name.endswith("_loss")]
        return ~np.isfinite(np.concatenate(losses, axis=1)).all(axis=1)

    def error(self, split: str = "test") -> Float[np.ndarray, "networks evaluations"]:
        """Share of a split's examples, in %, that a network gets wrong: 100 (1 - accuracy); NaN where it diverged."""
        return 100 * (1 - self.history[f"{split}_accuracy"].astype(float))

    @property
    def best_evaluation(self) -> Int[np.ndarray, " networks"]:
        """Where in the history the validation loss is lowest, first of all: the network that early stopping keeps."""
        return np.asarray(self.history["valid_loss"].argmin(axis=1))

    def require_finite(self) -> None:
        """Refuse networks that diverged, where every one is needed.

        Raises:
            UserError: some diverged.
        """
        if self.diverged.any():
            gone = self.seeds[self.diverged]
            raise UserError(
                f"{len(gone)} of {len(self.seeds)} networks diverged, first that of seed {gone[0]}: "
                "lower the recipe's learning_rate"
            )

    def select(self, rows: slice | Sequence[int] | Int[np.ndarray, " _"]) -> "Trained":
        """Some of the networks, by their places; a slice of them takes no memory."""
        kept = jax.tree.map(lambda leaf: leaf[rows], self._replace(eval_every=None))  # type: ignore[arg-type]
        return kept._replace(eval_every=self.eval_every)

    def to_frame(self) -> "pd.DataFrame":
        """The history as a tidy table, a row for each figure.

        Returns:
            Columns seed, epoch, split (train, valid, test; empty for what has none), metric (loss; accuracy as a share,
            or rmse and r2; grad_norm averaged over the epoch's last period, seconds of the period) and value.
        """
        import pandas as pd  # noqa: PLC0415  half a second, which training does not need

        frames = []
        for name, values in self.history.items():
            split, metric = parts(name)
            columns = {
                "seed": self.seeds.repeat(values.shape[1]),
                "epoch": np.tile(self.epochs, len(self.seeds)),
                "split": split,
                "metric": metric,
                "value": values.ravel().astype(float),
            }
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)


def parts(name: str) -> tuple[str, str]:
    """Split and metric of a history's name; no split where it has none."""
    split, _, metric = name.partition("_")
    return (split, metric) if split in ("train", "valid", "test") else ("", name)


def train_many(
    model: Model,
    recipe: Recipe,
    dataset: Dataset,
    seeds: Sequence[int],
    *,
    task: MakeTask = make_task,
    own: PyTree = None,
    sweep: Mapping[str, np.ndarray] | None = None,
    freeze: Freeze = (),
    start: PyTree = None,
    observe: Mapping[str, Observe] | None = None,
    stop: Stop | None = None,
    snapshots: Sequence[int] = (),
    chunk: int | None = None,
    memory_budget: float | int | None = None,
    store: Store | None = None,
    group: Group = ALONE,
    on_progress: OnProgress = silent,
    on_history: OnHistory | None = None,
) -> Trained:
    """Train one network from every seed.

    Args:
        model: the network: an `MLP`, a Flax module (`from_linen`), or anything else with `init` and `apply`.
        recipe: how to train it.
        dataset: what it learns.
        seeds: one for each network.
        task: makes the task of model, recipe and training split.
        own: a tree of arrays with one row for each network, which `task` is given as its fourth argument (a mask, the
            radius of an attack).
        sweep: one value for each network, by the name of a number of the model or the recipe; one compiled
            program serves all values.
        freeze: the keys that all networks share, or that each takes of a seed of its own: see `Freeze`.
        start: what to begin with in place of a draw, one row for each network: parameters, `Variables` (with
            statistics), or a `TrainState` (with the optimizer's state, and the steps behind it, from which schedules
            count on), as another training observed it.
        observe: by name, what to record while networks train.
        stop: asked after every epoch whether a network's training is over.
        snapshots: epochs after which the parameters are kept; 0 is the start.
        chunk: how many networks side by side on each device; None: `default_chunk`.
        memory_budget: bytes that the examples may take on a device, above 0. Where all splits together take more,
            they stay on the host, and are read a minibatch at a time, the next while one is trained on; the figures
            are the same. None: no limit.
        store: keeps results as they come; what it has is not trained again, and seeds that it has not are added.
        group: the processes that share the networks among them; several need a store that all of them see.
        on_progress: told what is done and what there is to do, in periods of one network, about once a second.
        on_history: told as often how networks get on that this process trains.

    Returns:
        The trained networks in the order of `seeds`. One that diverges does no harm to the others.

    Raises:
        UserError: the network, the recipe, the sweep, the start or the observations do not fit the data, the seeds or
            each other; data that cannot be trained on; or the store holds the networks of another training.

    Example:
        >>> import mlpjax
        >>> dataset = mlpjax.load("xor", n=100)
        >>> model = mlpjax.MLP(widths=(2, 8, 2))
        >>> trained = mlpjax.train_many(model, mlpjax.Recipe(batch_size=None, epochs=5), dataset, seeds=range(3))
        >>> trained.history["train_loss"].shape
        (3, 6)
    """
    require_usable(dataset)
    if not isinstance(seeds, Iterable):
        raise UserError(f"seeds {seeds}: give one for each network, such as range({seeds})")
    members = make_members(list(seeds), sweep, freeze)._replace(begin=_begin(start, len(seeds)), own=own)
    if own is not None and any(len(leaf) != len(seeds) for leaf in jax.tree.leaves(own)):
        raise UserError(f"own: give every array one row for each of the {len(seeds)} networks")
    for name, values in members.sweep.items():
        for value in np.unique(np.asarray(values), axis=0):
            number = tuple(map(float, np.atleast_1d(value))) if name == "dropout" else float(value)
            apply_sweep(model, recipe, {name: number})
    observe = dict(observe or {})
    if snapshots:
        observe[SNAPSHOTS] = Observe(lambda moment: moment.state.params, epochs=tuple(snapshots))
    first_step = 0
    if isinstance(members.begin, TrainState):
        first_step = int(np.max(members.begin.step))

    def task_of(member: Member) -> tuple[Task, Recipe]:
        swept = apply_sweep(model, recipe, member.sweep)
        return task(*swept, dataset.train, *([] if member.own is None else [member.own])), swept[1]

    def training(member: Member) -> Train:
        return make_train(*task_of(member), observe=observe, stop=stop, first_step=first_step)

    def begin(member: Member, data: Splits) -> Training:
        state = member.begin
        if isinstance(state, Variables):
            state = begin_with(state, task_of(member)[1])
        return training(member).start(member.keys, data, state)

    def advance(member: Member, data: Splits, now: Training, done: Int[Array, ""], until: Int[Array, ""]) -> Training:
        return training(member).advance(member.keys, data, now, done, until)

    def finish(now: Training) -> dict[str, PyTree]:
        return {
            "params": now.state.params,
            "stats": now.state.stats,
            "history": now.history,
            "observed": now.observed,
            "stopped_at": now.stopped_at,
        }

    def on_state(places: Int[np.ndarray, " networks"], periods: int, now: Training) -> None:
        if on_history:
            on_history(places, {n: np.asarray(v)[: len(places), : periods + 1] for n, v in now.history.items()})

    data = _within(memory_budget, Splits(dataset.train, dataset.valid, dataset.test), recipe)
    first, own_recipe = task_of(jax.tree.map(lambda leaf: leaf[0], members._replace(sweep={})))
    check_fit(model, own_recipe, first, dataset)
    if chunk is None:
        cost = step_cost(first, recipe, dataset.train)
        if observe and free_memory() is not None:  # a CPU's chunk is cut for what a step touches
            state = jax.eval_shape(begin, jax.tree.map(lambda leaf: leaf[0], members), data)
            cost = cost._replace(beside=cost.beside + tree_bytes(state.observed))
        chunk = default_chunk(cost, tree_bytes(data))
    if chunk < 1:
        raise UserError(f"chunk {chunk}: must be at least 1")
    identity = {} if store is None else _identity(model, recipe, task, observe, stop, freeze, members)
    found, seconds = run(
        Work(begin, advance, recipe.evaluations, finish, (lambda now: now.stopped_at >= 0) if stop else None),
        members,
        data,
        chunk=chunk,
        store=store,
        identity=identity,
        group=group,
        on_progress=on_progress,
        on_state=on_state,
    )
    stopped_at = found["stopped_at"] if stop else None
    history = found["history"] | {"seconds": seconds}
    if stop:
        history = _hold(history, np.asarray(stopped_at), recipe.eval_every)
    return Trained(
        np.asarray(list(seeds)),
        found["params"],
        history,
        found["stats"],
        found["observed"],
        stopped_at,
        recipe.eval_every,
    )


def _within(memory_budget: float | int | None, data: Splits, recipe: Recipe) -> Splits:
    """The splits, streamed where they would take more than so many bytes."""
    if memory_budget is None:
        return data
    if not memory_budget > 0:
        raise UserError(f"memory_budget {memory_budget:g}: give a number of bytes above 0")
    if sum(split.x.nbytes for split in data) <= memory_budget:
        return data
    if recipe.batch_size is None:
        raise UserError("batch_size None: the examples do not fit memory_budget all at once; give a number")
    if recipe.sample_size is not None:
        raise UserError(f"sample_size {recipe.sample_size}: cannot be drawn of examples that do not fit memory_budget")
    return Splits(*(split._replace(x=cast(Array, Streamed(np.asarray(split.x)))) for split in data))


def _begin(start: PyTree, networks: int) -> PyTree:
    """What networks begin with, as a `TrainState` or as `Variables`; None where they are drawn."""
    if start is None:
        return None
    if any(np.shape(leaf)[:1] != (networks,) for leaf in jax.tree.leaves(start)):
        raise UserError(f"start: give every array one row for each of the {networks} networks")
    if isinstance(start, TrainState):
        if len(np.unique(start.step)) > 1:
            raise UserError("start: the networks have different numbers of steps behind them; start them apart")
        return start
    return start if isinstance(start, Variables) else Variables(start)


def _hold(
    history: dict[str, Float[np.ndarray, "networks evaluations"]],
    stopped_at: Int[np.ndarray, " networks"],
    eval_every: int,
) -> dict[str, Float[np.ndarray, "networks evaluations"]]:
    """Hold the figures of networks that stopped: those after the stop are those at it; no time passes."""
    evaluations = history["seconds"].shape[1]
    last = np.where(stopped_at < 0, evaluations - 1, -(-stopped_at // eval_every))
    places = np.minimum(np.arange(evaluations)[None], last[:, None])
    return {
        name: values if name == "seconds" else np.take_along_axis(np.asarray(values), places, axis=1)
        for name, values in history.items()
    }


def _identity(
    model: Model,
    recipe: Recipe,
    task: MakeTask,
    observe: Mapping[str, Observe],
    stop: Stop | None,
    freeze: Freeze,
    members: Member,
) -> dict[str, str]:
    """All that decides what a network is trained to, but for its row of the members, and the data."""
    found = {"task": describe(task), "stop": describe(stop), "freeze": " ".join(sorted(freeze)) or "none"}
    for name, part in (("model", model), ("recipe", recipe)):
        if dataclasses.is_dataclass(part):
            found |= {name: describe(type(part))}
            found |= {field.name: describe(getattr(part, field.name)) for field in dataclasses.fields(part)}
        else:
            found[name] = describe(part)
    found |= {f"observed {name}": describe(look) for name, look in observe.items()}
    found["sweep"] = " ".join(sorted(members.sweep)) or "none"
    found["start"] = type(members.begin).__name__
    return found
