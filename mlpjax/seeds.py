"""One network to many: lifts pure functions of one network over seeds, in chunks, resumable."""

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401  JAX calls its LAPACK, whose threads can be limited only once it is loaded
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PyTree
from threadpoolctl import threadpool_limits

from mlpjax.data import Dataset
from mlpjax.errors import UserError, require_choice
from mlpjax.models import MLP
from mlpjax.plumbing.compilation import compile_program
from mlpjax.plumbing.devices import AXIS, device_mesh
from mlpjax.plumbing.processes import ALONE, Group
from mlpjax.recipe import Recipe
from mlpjax.train import Keys, Progress, Splits, Train, check_fit, make_keys, make_train
from mlpjax.typing import Params

OnProgress: TypeAlias = Callable[[int, int], None]
"""Told what is done and what there is to do."""
FROZEN_SEED = 0
"""The seed that gives every network the same key where a key is frozen."""
MODEL_NUMBERS = {"dropout", "scale"}
RECIPE_NUMBERS = {"learning_rate", "momentum", "weight_decay", "ridge", "lasso", "clip", "label_smoothing"}
"""What a sweep can give each network a value of its own for."""
CHUNK_BYTES = 2**20
"""Parameters, gradients, optimizer state and activations of one chunk together stay below this."""
BLOCK_SECONDS = 1.0
"""Aimed time between two looks at the progress."""
CHECKPOINT_SECONDS = 15.0
"""Time between two checkpoints inside a chunk."""


class Member(NamedTuple):
    """What sets one network apart from the others of its study."""

    keys: Keys
    sweep: dict[str, Array]
    """Its own values of numbers of the model or the recipe, by field name."""


class Work(NamedTuple):
    """One network's work as pure functions, in periods between which it can be cut.

    The first argument is the network's own (a `Member`, its parameters ...), the second is shared by all (the data).
    """

    start: Callable[[Any, Any], Any]
    """(own, shared) -> state."""
    advance: Callable[[Any, Any, Any, Int[Array, ""]], Any]
    """(own, shared, state, until) -> state after `until` periods in all."""
    periods: int
    finish: Callable[[Any], Any]
    """state -> result."""


@runtime_checkable
class Store(Protocol):
    """Where results go as they come, by name."""

    def __contains__(self, name: object) -> bool: ...

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was saved under `name`; None where nothing was."""

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None: ...

    def remove(self, name: str) -> None: ...

    def stack(self, names: Sequence[str], rows: int) -> dict[str, np.ndarray]:
        """Join what was saved under the names, in their order, along the first axis, `rows` long; keep that instead."""

    def stacked(self) -> dict[str, np.ndarray] | None:
        """What was joined; None where nothing was."""


def make_members(
    seeds: Sequence[int], sweep: Mapping[str, np.ndarray] | None = None, freeze: Collection[str] = ()
) -> Member:
    """The members of a study, stacked along a leading axis.

    Args:
        seeds: one for each network, at least 0; a network's keys depend on its seed alone.
        sweep: for a field's name, one value for each network (dropout: also one row of rates for each).
        freeze: names of the keys (init, order, dropout, sample) that all networks share.

    Returns:
        Members with a leading axis of `len(seeds)`.

    Raises:
        UserError: an unknown key, a negative seed, or a sweep with another length than `seeds`.
    """
    for name in freeze:
        require_choice("freeze", name, Keys._fields)
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**31:
        raise UserError("seeds: give at least one, each between 0 and 2^31 - 1")
    keys = jax.vmap(make_keys)(jnp.asarray(seeds, jnp.int32))
    if freeze:
        frozen = jax.vmap(make_keys)(jnp.full(len(seeds), FROZEN_SEED, jnp.int32))
        keys = keys._replace(**{name: getattr(frozen, name) for name in freeze})
    values = {name: jnp.asarray(value, jnp.float32) for name, value in (sweep or {}).items()}
    for name, value in values.items():
        if len(value) != len(seeds):
            raise UserError(f"sweep of {name}: has {len(value)} values for {len(seeds)} networks; give one for each")
    return Member(keys, values)


def apply_sweep(model: MLP, recipe: Recipe, sweep: Mapping[str, Any]) -> tuple[MLP, Recipe]:
    """The model and the recipe with some of their numbers replaced.

    Raises:
        UserError: a name that is no number of either, or a value that they refuse.
    """
    for name in sweep:
        require_choice("sweep", name, MODEL_NUMBERS | RECIPE_NUMBERS)
    model = dataclasses.replace(model, **{name: sweep[name] for name in MODEL_NUMBERS & sweep.keys()})
    return model, dataclasses.replace(recipe, **{name: sweep[name] for name in RECIPE_NUMBERS & sweep.keys()})


def default_chunk(model: MLP, recipe: Recipe, dataset: Dataset) -> int:
    """How many networks to train side by side: as many as keep what a step touches within the cache."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    parameter_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    batch = recipe.batch_size or len(dataset.train.y)
    activation_bytes = 4 * batch * sum(model.widths)
    return max(1, CHUNK_BYTES // (4 * parameter_bytes + 2 * activation_bytes))


# LAPACK's own threads, on every device at once, get in each other's way: up to fifty times as long.
@threadpool_limits.wrap(limits=1, user_api="blas")
def run(
    work: Work,
    members: PyTree,
    shared: PyTree,
    *,
    chunk: int,
    store: Store | None = None,
    group: Group = ALONE,
    on_progress: OnProgress = lambda done, total: None,
) -> tuple[PyTree, Float[np.ndarray, "members times"]]:
    """Do one network's work for many: part after part, each from start to finish.

    A part is a chunk on every device: `shard_map` over the mesh of devices and `vmap` over each one's chunk; the last
    part is filled up with copies, so that all share one compiled program. Finished parts go to the store, and so does
    the one under way: every 15 seconds, and when interrupted.

    Args:
        work: what to do for one network.
        members: a tree of arrays with a leading axis, one row for each network.
        shared: what all of them see.
        chunk: how many networks side by side on each device at most, at least 1.
        store: keeps results; what it has already is not done again.
        group: the processes that share the parts among them; several need a store that all of them see.
        on_progress: told what is done and what there is to do, about once a second.

    Returns:
        The results on the host, stacked along a leading axis (with a store, read-only arrays that stay on disk until
        they are looked at); and the seconds that each network's start (at 0) and periods took, its share of its part's
        time, without compilation.

    Raises:
        UserError: there is no member, or one of the processes is gone.
        ValueError: several processes, and no store.
        KeyboardInterrupt: after saving the part under way.
    """
    if group.count > 1 and store is None:
        raise ValueError("several processes need a store that all of them see")
    count = jax.tree.leaves(members)[0].shape[0]
    if not count:
        raise UserError("no networks to work on: give at least one")
    each = max(1, work.periods)
    if not group.agree(int(store is not None and store.stacked() is not None)):
        mesh = device_mesh(count)
        turns = math.ceil(count / (mesh.size * chunk))
        # All parts alike, so that few copies fill the last.
        size = group.agree(mesh.size * math.ceil(count / (mesh.size * turns)))
        if size % mesh.size:
            raise UserError(
                f"process 0 trains {size} networks at once, which this one's {mesh.size} devices cannot share"
            )
        parts = {
            f"networks-{first:07d}-{min(first + size, count) - 1:07d}": range(first, min(first + size, count))
            for first in range(0, count, size)
        }
        share = group.share([*parts])
        total, done = each * sum(len(parts[name]) for name in share), 0
        part = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), members)
        lifted = _Lifted(work, shared, mesh, part)
        results = []
        for name in share:
            networks, partial = len(parts[name]), f"{name}-partial-{size}"
            if store is None or name not in store:

                def on_period(periods: int, done: int = done, networks: int = networks) -> None:
                    group.check()
                    on_progress(done + periods * networks, total)

                rows = np.minimum(np.arange(size) + parts[name].start, count - 1)
                own = jax.tree.map(lambda leaf, rows=rows: leaf[rows], members)
                state, seconds = _run_part(lifted, own, store, partial, on_period)
                result, _ = lifted.call("finish", state)
                result = jax.tree.map(lambda leaf, networks=networks: np.asarray(leaf)[:networks], result)
                results.append({"result": result, "seconds": np.tile(seconds / networks, (networks, 1))})
                if store:
                    store.save(name, _to_arrays(results.pop()))
            if store:  # also where a process was killed between the two
                store.remove(partial)
            done += networks * each
            on_progress(done, total)
        if store is None:
            found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)
            return found["result"], found["seconds"]
        group.barrier()
        if group.index == 0:
            group.wait(lambda: all(name in store for name in parts), Path("networks"))
            store.stack([*parts], count)
        group.barrier()
    assert store
    group.wait(lambda: store.stacked() is not None, Path("networks"))
    on_progress(count * each, count * each)
    one = jax.tree.map(lambda leaf: leaf[0], members)
    form = jax.eval_shape(lambda own, shared: work.finish(work.start(own, shared)), one, shared)
    found = _from_arrays(store.stacked() or {}, {"result": form, "seconds": np.zeros(())})
    return found["result"], found["seconds"]


class _Lifted:
    """One network's work over the networks of a part, compiled once for all parts."""

    def __init__(self, work: Work, shared: PyTree, mesh: Mesh, part: PyTree) -> None:
        """Lift for parts of the form of `part`."""
        self.periods = work.periods
        self.mesh = mesh
        self.block = 1
        """Periods between two looks at the progress; kept from part to part."""
        self._spread, everywhere = PartitionSpec(AXIS), PartitionSpec()
        self.shared = jax.device_put(shared, NamedSharding(mesh, everywhere))

        def lift(function: Callable[..., PyTree], *specs: PartitionSpec) -> Any:
            axes = tuple(0 if spec == self._spread else None for spec in specs)

            def on_device(*args: PyTree) -> PyTree:
                if len(jax.tree.leaves(args[0])[0]) > 1:
                    return jax.vmap(function, in_axes=axes)(*args)
                # One network alone keeps its branches, and its products stay those that libraries do best.
                alone = [
                    arg if axis is None else jax.tree.map(lambda leaf: leaf[0], arg)
                    for arg, axis in zip(args, axes, strict=True)
                ]
                return jax.tree.map(lambda leaf: leaf[None], function(*alone))

            return jax.jit(jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=self._spread, check_vma=False))

        self._functions = {
            "start": lift(work.start, self._spread, everywhere),
            "advance": lift(work.advance, self._spread, everywhere, self._spread, everywhere),
            "finish": lift(work.finish, self._spread),
        }
        self._compiled: dict[str, Callable[..., PyTree]] = {}
        self.state_form = jax.eval_shape(self._functions["start"], part, shared)
        numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.state_form))
        self._state_size = numbers // jax.tree.leaves(part)[0].shape[0]

    def spread(self, tree: PyTree) -> PyTree:
        """The tree with the rows of its leaves spread over the devices."""
        return jax.device_put(tree, NamedSharding(self.mesh, self._spread))

    def call(self, name: str, *args: PyTree) -> tuple[PyTree, float]:
        """The function's result, and the seconds that it took without compilation."""
        if name not in self._compiled:
            self._compiled[name] = compile_program(self._functions[name].lower(*args), self._state_size)
        begin = time.perf_counter()
        result = jax.block_until_ready(self._compiled[name](*args))
        return result, time.perf_counter() - begin


def _run_part(
    lifted: _Lifted, own: PyTree, store: Store | None, name: str, on_period: Callable[[int], None]
) -> tuple[PyTree, Float[np.ndarray, " times"]]:
    """Take one part from its start, or from its checkpoint, to the end, and time it."""
    own = lifted.spread(own)
    begun = store and store.load(name)
    if begun:
        state, seconds, done = _from_arrays(begun, (lifted.state_form, 0, 0))
        state, done = lifted.spread(state), int(done)
    else:
        seconds, done = np.zeros(lifted.periods + 1), 0
        state, seconds[0] = lifted.call("start", own, lifted.shared)
    saved = time.perf_counter()
    try:
        while done < lifted.periods:
            until = min(done + lifted.block, lifted.periods)
            state, elapsed = lifted.call("advance", own, lifted.shared, state, jnp.int32(until))
            seconds[done + 1 : until + 1] = elapsed / (until - done)
            lifted.block = max(1, min(2 * lifted.block, int(BLOCK_SECONDS * (until - done) / elapsed)))
            done = until
            on_period(done)
            if store and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                store.save(name, _to_arrays((state, seconds, done)))
                saved = time.perf_counter()
    except (KeyboardInterrupt, UserError):  # the second: another process is gone
        if store:
            store.save(name, _to_arrays((state, seconds, done)))
        raise
    return state, seconds


def _to_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """A tree as named arrays, for a store."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def _from_arrays(arrays: Mapping[str, np.ndarray], like: PyTree) -> PyTree:
    """The tree, in the form of `like`, that `_to_arrays` took apart."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
    if set(names) != set(arrays):
        raise UserError("the checkpoints are from another version of mlpjax: delete them, or choose another folder")
    return jax.tree.unflatten(treedef, [arrays[name] for name in names])


def map_seeds(
    function: Callable[..., Any],
    own: PyTree,
    *shared: Any,
    chunk: int,
    on_progress: OnProgress = lambda done, total: None,
) -> PyTree:
    """Lift any pure function of one network over many.

    Args:
        function: `function(own, *shared)`, pure, for one network.
        own: a tree of arrays with a leading axis, one row for each network: keys, members, parameters.
        shared: further arguments, the same for all.
        chunk: how many networks side by side on each device.
        on_progress: told what is done and what there is to do, in networks.

    Returns:
        The results on the host, stacked along a leading axis.
    """
    work = Work(
        start=lambda own, shared: function(own, *shared),
        advance=lambda own, shared, state, until: state,
        periods=0,
        finish=lambda state: state,
    )
    return run(work, own, shared, chunk=chunk, on_progress=on_progress)[0]


class Trained(NamedTuple):
    """Many trained networks, on the host, along a leading axis."""

    seeds: Int[np.ndarray, " networks"]
    params: Params
    history: dict[str, Float[np.ndarray, "networks evaluations"]]
    """`{split}_loss`, `{split}_accuracy`, `grad_norm` and `seconds` at the start and every `eval_every` epochs."""
    snapshots: Params | None = None
    """The parameters at chosen epochs, along the second axis; None where none were asked for."""

    @property
    def diverged(self) -> Bool[np.ndarray, " networks"]:
        """Networks with a loss, on any split, that is not a finite number."""
        losses = [values for name, values in self.history.items() if name.endswith("_loss")]
        return ~np.isfinite(np.concatenate(losses, axis=1)).all(axis=1)

    def select(self, rows: slice | Sequence[int] | Int[np.ndarray, " _"]) -> "Trained":
        """Some of the networks, by their places; a slice of them takes no memory."""
        return jax.tree.map(lambda leaf: leaf[rows], self)


def train_many(
    model: MLP,
    recipe: Recipe,
    dataset: Dataset,
    seeds: Sequence[int],
    *,
    sweep: Mapping[str, np.ndarray] | None = None,
    freeze: Collection[str] = (),
    snapshots: Sequence[int] = (),
    chunk: int | None = None,
    store: Store | None = None,
    group: Group = ALONE,
    on_progress: OnProgress = lambda done, total: None,
) -> Trained:
    """Train one network from every seed.

    Args:
        model: the network.
        recipe: how to train it.
        dataset: what it learns.
        seeds: one for each network.
        sweep: one value for each network, by the name of a number of the model or the recipe; one compiled
            program serves all values.
        freeze: names of the keys (init, order, dropout, sample) that all networks share.
        snapshots: epochs after which the parameters are kept, multiples of `recipe.eval_every`; 0 is the start.
        chunk: how many networks side by side on each device; by default as many as its cache holds.
        store: keeps results as they come; what it has is not trained again.
        group: the processes that share the networks among them; several need a store that all of them see.
        on_progress: told what is done and what there is to do, in periods of one network, about once a second.

    Returns:
        The trained networks in the order of `seeds`. One that diverges does no harm to the others.

    Raises:
        UserError: the network, the recipe, the sweep or the snapshots do not fit the data, the seeds or each other.

    Example:
        >>> import mlpjax
        >>> dataset = mlpjax.load("xor", n=100)
        >>> model = mlpjax.MLP(widths=(2, 8, 2))
        >>> trained = mlpjax.train_many(model, mlpjax.Recipe(batch_size=None, epochs=5), dataset, seeds=range(3))
        >>> trained.history["train_loss"].shape
        (3, 6)
    """
    check_fit(model, recipe, dataset)
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk {chunk}: must be at least 1")
    members = make_members(list(seeds), sweep, freeze)
    for name, values in members.sweep.items():
        for value in np.unique(np.asarray(values), axis=0):
            number = tuple(map(float, np.atleast_1d(value))) if name == "dropout" else float(value)
            apply_sweep(model, recipe, {name: number})

    def training(member: Member) -> Train:
        return make_train(*apply_sweep(model, recipe, member.sweep), snapshots)

    def start(member: Member, data: Splits) -> Progress:
        return training(member).start(member.keys, data)

    def advance(member: Member, data: Splits, progress: Progress, until: Int[Array, ""]) -> Progress:
        return training(member).advance(member.keys, data, progress, until)

    def finish(progress: Progress) -> dict[str, PyTree]:
        return {
            "params": progress.state.params,
            "history": progress.history,
            "snapshots": progress.snapshots,
        }

    found, seconds = run(
        Work(start, advance, recipe.evaluations, finish),
        members,
        Splits(dataset.train, dataset.valid, dataset.test),
        chunk=chunk or default_chunk(model, recipe, dataset),
        store=store,
        group=group,
        on_progress=on_progress,
    )
    history = found["history"] | {"seconds": seconds}
    return Trained(np.asarray(list(seeds)), found["params"], history, found["snapshots"])
