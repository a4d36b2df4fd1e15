"""One network to many: lifts pure functions of one network over seeds and devices, part after part, resumable."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401  JAX calls its LAPACK, whose threads can be limited only once it is loaded
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree, UInt8
from threadpoolctl import threadpool_limits

from mlpjax.errors import UserError
from mlpjax.plumbing.compilation import compile_program
from mlpjax.plumbing.devices import AXIS, device_mesh, free_memory
from mlpjax.plumbing.identity import describe, digest, row_digests
from mlpjax.plumbing.processes import ALONE, Group

OnProgress: TypeAlias = Callable[[int, int], None]
"""Told what is done and what there is to do."""
OnState: TypeAlias = Callable[[Int[np.ndarray, " networks"], int, PyTree], None]
"""Told the places of the networks under way, the periods behind them, and their states, which have a row for each (and
may have more rows, of copies)."""
CACHE_BYTES = 2**20
"""On a CPU what a step of one chunk touches stays below this."""
MEMORY_SHARE = 0.5
"""Share of an accelerator's free memory that one chunk takes at most; the rest is for what a compiler makes of it."""
STEP_FLOPS = 1e11
"""Work of a chunk's step that keeps any accelerator busy for longer than it takes to start it: more gain nothing."""
BLOCK_SECONDS = 1.0
"""Aimed time between two looks at the progress."""
CHECKPOINT_SECONDS = 15.0
"""Time between two checkpoints inside a chunk."""
OWN_COPIES = 8
"""Copies of its own arrays that a function of one network is taken to work with, where nothing is known of it."""


def silent(done: int, total: int) -> None:
    """Nobody watches the progress."""


class Work(NamedTuple):
    """One network's work as pure functions, in periods between which it can be cut.

    The first argument is the network's own (a `Member`, its parameters ...), the second is shared by all (the data).
    """

    start: Callable[[Any, Any], Any]
    """(own, shared) -> state."""
    advance: Callable[[Any, Any, Any, Int[Array, ""], Int[Array, ""]], Any]
    """(own, shared, state, done, until) -> state after `until` periods in all, `done` of which are behind it."""
    periods: int
    finish: Callable[[Any], Any]
    """state -> result."""
    is_over: Callable[[Any], Array] | None = None
    """states of many networks -> which of them need no more periods; None where all need all."""


@runtime_checkable
class Store(Protocol):
    """Where results go as they come, by name."""

    def claim(self, identity: Mapping[str, str]) -> None:
        """Refuse to keep results of something else than what is kept already, naming what differs."""

    def __contains__(self, name: object) -> bool: ...

    def names(self) -> list[str]:
        """Of all that is kept and not joined yet, in order."""

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was saved under `name`; None where nothing was."""

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None: ...

    def remove(self, name: str) -> None: ...

    def stack(self, names: Sequence[str]) -> None:
        """Join what was saved under the names, in their order, along the first axis to the end of what was joined."""

    def stacked(self) -> dict[str, np.ndarray] | None:
        """What was joined; None where nothing was."""


class Cost(NamedTuple):
    """What a step of one network takes, to say how many fit side by side."""

    bytes: int
    """That it touches."""
    flops: float = 0.0
    """0 where it is not known."""
    beside: int = 0
    """Bytes that take memory, but that no step touches: what is recorded, what an evaluation needs."""


def default_chunk(cost: Cost, shared_bytes: int = 0) -> int:
    """How many networks to work on side by side on each device.

    On a CPU as many as keep what a step touches within a core's cache. On an accelerator as many as half of the free
    memory holds, but no more than keep it busy.

    Args:
        cost: of one network's step.
        shared_bytes: of what all networks see, which takes memory once.

    Returns:
        A number of networks, at least 1.
    """
    free = free_memory()
    if free is None:
        return max(1, int(CACHE_BYTES // cost.bytes))
    most = MEMORY_SHARE * (free - shared_bytes) / (cost.bytes + cost.beside)
    if cost.flops:
        most = min(most, math.ceil(STEP_FLOPS / cost.flops))
    return max(1, int(most))


# LAPACK's own threads, on every device at once, get in each other's way: up to fifty times as long.
@threadpool_limits.wrap(limits=1, user_api="blas")
def run(
    work: Work,
    members: PyTree,
    shared: PyTree,
    *,
    chunk: int,
    store: Store | None = None,
    identity: Mapping[str, str] | None = None,
    group: Group = ALONE,
    on_progress: OnProgress = silent,
    on_state: OnState = lambda places, periods, state: None,
) -> tuple[PyTree, Float[np.ndarray, "members times"]]:
    """Do one network's work for many: part after part, each from start to finish.

    A part is a chunk on every device: `shard_map` over the mesh of devices and `vmap` over each one's chunk; the last
    part is filled up with copies, so that all share one compiled program. Finished parts go to the store, and so does
    the one under way: every 15 seconds, and when interrupted. A store belongs to one kind of work, and knows its
    networks by the content of their row of `members`: what it has is not done again, what it has not is added.

    Args:
        work: what to do for one network.
        members: a tree of arrays with a leading axis, one row for each network.
        shared: what all of them see.
        chunk: how many networks side by side on each device at most, at least 1.
        store: keeps results.
        identity: all else that decides a result, by name; `shared` and the versions are added. Goes with a store.
        group: the processes that share the parts among them; several need a store that all of them see.
        on_progress: told what is done and what there is to do, about once a second.
        on_state: told as often how far this process's networks have come.

    Returns:
        The results on the host, stacked along a leading axis (with a store, read-only arrays that stay on disk until
        they are looked at); and the seconds that each network's start (at 0) and periods took, its share of its part's
        time, without compilation.

    Raises:
        UserError: there is no member, the store holds the results of other work, or one of the processes is gone.
        ValueError: several processes, and no store.
        KeyboardInterrupt: after saving the part under way.
    """
    if group.count > 1 and store is None:
        raise ValueError("several processes need a store that all of them see")
    count = _rows(members)
    if not count:
        raise UserError("no networks to work on: give at least one")
    if store is None:
        parts = _Parts(count, "", chunk, group)
        done = _run_parts(work, members, shared, parts, None, group, on_progress, on_state)
        results = [result for _, result in done]
        found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)
        return found["result"], found["seconds"]

    if group.index == 0:
        store.claim({**(identity or {}), "data": digest(shared), **_versions()})
    group.barrier()
    wanted = row_digests(members)
    missing = _missing(wanted, store)
    plan = _plan(missing, wanted)
    if group.index == 0 and (others := [name for name in store.names() if not name.startswith(plan)]):
        # Of another call that did not come to its end: what it finished counts, what it began does not.
        finished = [name for name in others if "-partial-" not in name]
        store.stack(finished)
        for name in others:
            store.remove(name)
    group.barrier()
    missing = _missing(wanted, store)
    form = None
    if group.agree(len(missing)):
        parts = _Parts(len(missing), _plan(missing, wanted), chunk, group)
        own = _select(members, missing)

        def on_missing(rows: Int[np.ndarray, " networks"], periods: int, state: PyTree) -> None:
            on_state(missing[rows], periods, state)

        for name, result in _run_parts(work, own, shared, parts, store, group, on_progress, on_missing):
            form = jax.tree.map(lambda leaf: 0, result["result"])
            store.save(name, _to_arrays(result | {"row": wanted[missing][parts.rows[name]]}))
        group.barrier()
        if group.index == 0:
            group.wait(lambda: all(name in store for name in parts.rows), Path("networks"))
            store.stack([*parts.rows])
        group.barrier()
    group.wait(lambda: store.stacked() is not None, Path("networks"))
    each = max(1, work.periods)
    on_progress(count * each, count * each)
    if form is None:
        one = jax.tree.map(lambda leaf: leaf[0], members)
        form = jax.eval_shape(lambda own, shared: work.finish(work.start(own, shared)), one, shared)
    found = _from_arrays(store.stacked() or {}, {"result": form, "seconds": 0, "row": 0})
    places = {row.tobytes(): place for place, row in enumerate(found["row"])}
    rows = np.array([places[row.tobytes()] for row in wanted])
    found = _select(found, rows)
    return found["result"], found["seconds"]


def tree_bytes(tree: PyTree) -> int:
    """Bytes of all arrays of a tree, or of their forms."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _versions() -> dict[str, str]:
    return {f"version of {name}": version(name) for name in ("mlpjax", "jax")}


def _select(tree: PyTree, rows: Int[np.ndarray, " networks"]) -> PyTree:
    """Some networks' rows of every array; all of them, in order, are the tree itself: no program is compiled for it."""
    if np.array_equal(rows, np.arange(_rows(tree))):
        return tree
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _rows(tree: PyTree) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def _missing(wanted: UInt8[np.ndarray, "rows 16"], store: Store) -> Int[np.ndarray, " missing"]:
    """Places of the networks that a store has not joined yet, each once."""
    stacked = store.stacked()
    kept = set() if stacked is None else {row.tobytes() for row in stacked.get("row", ())}
    new = dict.fromkeys(key for row in wanted if (key := row.tobytes()) not in kept)
    first: dict[bytes, int] = {}
    for place, row in enumerate(wanted):
        first.setdefault(row.tobytes(), place)
    return np.array([first[key] for key in new], int)


def _plan(missing: Int[np.ndarray, " missing"], wanted: UInt8[np.ndarray, "rows 16"]) -> str:
    """A name for the work on these networks: the same when the same call goes on."""
    return f"networks-{digest(wanted[missing])[:8]}"


class _Parts:
    """How the work on many networks is cut into parts, all alike, so that few copies fill the last."""

    def __init__(self, count: int, plan: str, chunk: int, group: Group) -> None:
        self.mesh = device_mesh(count)
        turns = math.ceil(count / (self.mesh.size * chunk))
        self.size = group.agree(self.mesh.size * math.ceil(count / (self.mesh.size * turns)))
        if self.size % self.mesh.size:
            raise UserError(
                f"process 0 trains {self.size} networks at once, which this one's {self.mesh.size} devices cannot share"
            )
        starts = range(0, count, self.size)
        ends = [min(first + self.size, count) for first in starts]
        self.rows = {
            f"{plan}-{first:07d}-{end - 1:07d}": np.arange(first, end) for first, end in zip(starts, ends, strict=True)
        }
        """Places of each part's networks, by its name."""


def _run_parts(
    work: Work,
    members: PyTree,
    shared: PyTree,
    parts: _Parts,
    store: Store | None,
    group: Group,
    on_progress: OnProgress,
    on_state: OnState,
) -> Any:
    """Yield this process's share of the parts, each with its name, as it is done."""
    each = max(1, work.periods)
    share = group.share([*parts.rows])
    total, done = each * sum(len(parts.rows[name]) for name in share), 0
    part = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((parts.size, *leaf.shape[1:]), leaf.dtype), members)
    lifted = _Lifted(work, shared, parts.mesh, part)
    for name in share:
        networks, partial = len(parts.rows[name]), f"{name}-partial-{parts.size}"
        if store is None or name not in store:

            def on_period(periods: int, state: PyTree, done: int = done, name: str = name) -> None:
                group.check()
                on_progress(done + periods * len(parts.rows[name]), total)
                on_state(parts.rows[name], periods, state)

            rows = np.minimum(np.arange(parts.size) + parts.rows[name][0], _rows(members) - 1)
            state, seconds = _run_part(lifted, _select(members, rows), store, partial, on_period)
            result, _ = lifted.call("finish", state)
            result = jax.tree.map(lambda leaf, networks=networks: np.asarray(leaf)[:networks], result)
            yield name, {"result": result, "seconds": np.tile(seconds / networks, (networks, 1))}
        if store:  # also where a process was killed between the two
            store.remove(partial)
        done += networks * each
        on_progress(done, total)


class _Lifted:
    """One network's work over the networks of a part, compiled once for all parts."""

    def __init__(self, work: Work, shared: PyTree, mesh: Mesh, part: PyTree) -> None:
        """Lift for parts of the form of `part`."""
        self.work = work
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
            "advance": lift(work.advance, self._spread, everywhere, self._spread, everywhere, everywhere),
            "finish": lift(work.finish, self._spread),
        }
        self._compiled: dict[str, Callable[..., PyTree]] = {}
        # Spread as parts will be: for other arguments a function is traced anew.
        spread = NamedSharding(mesh, self._spread)
        part = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=spread), part)
        self.state_form = jax.eval_shape(self._functions["start"], part, self.shared)
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
    lifted: _Lifted, own: PyTree, store: Store | None, name: str, on_period: Callable[[int, PyTree], None]
) -> tuple[PyTree, Float[np.ndarray, " times"]]:
    """Take one part from its start, or from its checkpoint, to the end, and time it."""
    own = lifted.spread(own)
    work = lifted.work
    begun = store and store.load(name)
    if begun:
        state, seconds, done = _from_arrays(begun, (lifted.state_form, 0, 0))
        state, done = lifted.spread(state), int(done)
    else:
        seconds, done = np.zeros(work.periods + 1), 0
        state, seconds[0] = lifted.call("start", own, lifted.shared)
    saved = time.perf_counter()
    try:
        while done < work.periods and not (work.is_over and np.asarray(work.is_over(state)).all()):
            until = min(done + lifted.block, work.periods)
            state, elapsed = lifted.call("advance", own, lifted.shared, state, jnp.int32(done), jnp.int32(until))
            seconds[done + 1 : until + 1] = elapsed / (until - done)
            lifted.block = max(1, min(2 * lifted.block, int(BLOCK_SECONDS * (until - done) / elapsed)))
            done = until
            on_period(done, state)
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
    chunk: int | None = None,
    store: Store | None = None,
    on_progress: OnProgress = silent,
) -> PyTree:
    """Lift any pure function of one network over many.

    Args:
        function: `function(own, *shared)`, pure, for one network.
        own: a tree of arrays with a leading axis, one row for each network: keys, members, parameters.
        shared: further arguments, the same for all.
        chunk: how many networks side by side on each device; None: as many as the size of one network's own arrays lets
            expect to fit, on a CPU into a core's cache.
        store: keeps results as they come; what it has is not computed again.
        on_progress: told what is done and what there is to do, in networks.

    Returns:
        The results on the host, stacked along a leading axis.
    """
    if chunk is None:
        own_bytes = tree_bytes(own) // max(1, _rows(own))
        chunk = default_chunk(Cost(max(1, OWN_COPIES * own_bytes)), tree_bytes(shared))
    work = Work(
        start=lambda own, shared: function(own, *shared),
        advance=lambda own, shared, state, done, until: state,
        periods=0,
        finish=lambda state: state,
    )
    identity = {"function": describe(function)} if store else None
    return run(work, own, shared, chunk=chunk, store=store, identity=identity, on_progress=on_progress)[0]
