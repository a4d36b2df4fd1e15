"""What decides a result, as text: so that what is kept on disk is never taken for the result of something else."""

import dataclasses
import functools
import hashlib
import json
import re
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree, UInt8

DEPTH = 8
"""How far into the variables of functions within functions is looked."""


def plain(configuration: Any) -> dict[str, Any]:
    """A dataclass as values that JSON has; a function by what it computes."""
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(configuration), default=describe))
    return found


def describe(value: Any) -> str:
    """A value as text that is the same in another process, and another one for a value that computes something else.

    Numbers and names as they are; arrays by type, shape and content; classes by the code of their methods; functions by
    name, code, what they close over, and the constants and functions of their module that they name. The code of this
    package is left out: its version says it.

    Args:
        value: anything that a training is configured with.
    """
    return _describe(value, DEPTH, {})


def _describe(value: Any, depth: int, known: dict[int, str]) -> str:
    """`known` has, by identity, the functions that were met before, or are about to be described."""
    if value is None or isinstance(value, bool | int | float | str) or depth == 0:
        return value if isinstance(value, str) else repr(value) if depth else type(value).__qualname__
    inner = functools.partial(_describe, depth=depth - 1, known=known)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return f"{value.dtype}{list(value.shape)} {digest(value)}"
    if isinstance(value, functools.partial):
        return f"{inner(value.func)}({inner(value.args)}, {inner(value.keywords)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inner(key)}: {inner(item)}" for key, item in value.items()) + "}"
    if isinstance(value, types.MethodType):
        return f"{inner(value.__self__)}.{inner(value.__func__)}"
    if isinstance(value, types.FunctionType):
        if (wrapped := getattr(value, "__wrapped__", None)) is not None:
            return inner(wrapped)
        if id(value) not in known:
            known[id(value)] = value.__qualname__
            known[id(value)] = f"{value.__qualname__} {_hash(_program(value, inner))}"
        return known[id(value)]
    if isinstance(value, type):
        if _is_own(value):
            return value.__qualname__
        methods = {name: method for name, method in vars(value).items() if isinstance(method, types.FunctionType)}
        return f"{value.__qualname__} {_hash(inner(methods))}"
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{inner(type(value))}{inner(fields)}"
    if isinstance(value, set | frozenset):
        return f"{type(value).__qualname__}(" + ", ".join(sorted(map(inner, value))) + ")"
    if isinstance(value, tuple | list | range):
        return f"{type(value).__qualname__}(" + ", ".join(map(inner, value)) + ")"
    if hasattr(value, "__wrapped__"):
        return inner(value.__wrapped__)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _program(function: types.FunctionType, inner: Callable[[Any], str]) -> str:
    def code(of: types.CodeType) -> str:
        constants = [code(c) if isinstance(c, types.CodeType) else inner(c) for c in of.co_consts]
        return f"{of.co_code.hex()} {of.co_names} {constants}"

    def names(of: types.CodeType) -> set[str]:
        return set(of.co_names).union(*(names(c) for c in of.co_consts if isinstance(c, types.CodeType)))

    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(inner(cell.cell_contents))
        except ValueError:  # a variable that is not set yet, as of a function that refers to itself
            cells.append("")
    around = function.__globals__
    own = _is_own(function)
    named = [
        f"{name} {inner(around[name])}"
        for name in sorted(names(function.__code__) & around.keys())
        if isinstance(around[name], bool | int | float | str | tuple)
        or (isinstance(around[name], types.FunctionType) and around[name].__module__ == function.__module__ and not own)
    ]
    written = "" if own else code(function.__code__)
    return f"{written} {cells} {inner(function.__defaults__)} {inner(function.__kwdefaults__)} {named}"


def _is_own(value: types.FunctionType | type) -> bool:
    return (value.__module__ or "").split(".")[0] == __name__.split(".")[0]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest(tree: PyTree) -> str:
    """The content of all arrays of a tree, their names, types and shapes, in 16 hexadecimal digits."""
    found = hashlib.sha256()
    # What is no leaf to JAX, as examples that stay on the host, but has the content of an array.
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: hasattr(node, "__array__"))[0]
    for path, leaf in leaves:
        array = np.ascontiguousarray(_plain(leaf))
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype}{array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:16]


def row_digests(tree: PyTree) -> UInt8[np.ndarray, "rows 16"]:
    """The content of every row of a tree of arrays with a leading axis."""
    leaves = [np.ascontiguousarray(_plain(leaf)) for leaf in jax.tree.leaves(tree)]
    rows = len(leaves[0])
    columns = [leaf.reshape(rows, -1).view(np.uint8).reshape(rows, -1) for leaf in leaves]
    found = np.empty((rows, 16), np.uint8)
    for row in range(rows):
        own = hashlib.blake2b(digest_size=16)
        for column in columns:
            own.update(column[row].data)
        found[row] = np.frombuffer(own.digest(), np.uint8)
    return found


def _plain(leaf: Any) -> np.ndarray:
    """An array on the host; of random keys their numbers."""
    is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)
