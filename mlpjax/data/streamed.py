"""Examples that stay on the host, or on its disk: where they do not fit a device, it gets a few at a time."""

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from mlpjax.errors import UserError

AHEAD = 8
"""Pieces that are read before they are asked for, at most: one for each device, and some that nobody came for."""


@jax.tree_util.register_static
class Streamed:
    """The examples of a split, in place of an array on the device; what asks for rows is given them by the host.

    While the device works on some rows, those that come next are read.
    """

    def __init__(self, examples: Shaped[np.ndarray, "n *features"]) -> None:
        """Stream these, which may be mapped from a file."""
        self.examples = examples
        self.shape, self.dtype = examples.shape, examples.dtype
        self._ahead: OrderedDict[bytes, Future[np.ndarray]] = OrderedDict()
        self._readers = ThreadPoolExecutor(2)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of them, on the host."""
        return np.asarray(self.examples, dtype)

    def __jax_array__(self) -> Array:
        raise UserError(
            "memory_budget: the training examples are streamed, and cannot be looked at all at once; look at those of "
            "a smaller data set, or give a larger budget"
        )

    def take(self, rows: Int[Array, "*k"], following: Int[Array, "*k"]) -> Shaped[Array, "..."]:
        """The examples of some rows, within a compiled function; those of the rows that follow are read meanwhile."""
        form = jax.ShapeDtypeStruct((*rows.shape, *self.shape[1:]), self.dtype)
        return jax.pure_callback(self._read, form, rows, following, vmap_method="broadcast_all")

    def _read(self, rows: Array, following: Array) -> np.ndarray:
        wanted, next_wanted = np.asarray(rows), np.asarray(following)
        begun = self._ahead.pop(wanted.tobytes(), None)
        self._ahead[next_wanted.tobytes()] = self._readers.submit(self.examples.__getitem__, next_wanted)
        if len(self._ahead) > AHEAD:
            self._ahead.popitem(last=False)
        return self.examples[wanted] if begun is None else begun.result()


def take(
    x: Shaped[np.ndarray | Array, "n *features"] | Streamed, rows: Int[Array, " k"], following: Int[Array, " k"]
) -> Shaped[Array, "k *features"]:
    """Some rows of a split's examples, wherever these are.

    Args:
        x: the examples.
        rows: which.
        following: those that will be asked for next.
    """
    if isinstance(x, Streamed):
        return x.take(rows, following)
    flat = jnp.asarray(x).reshape(len(x), -1)  # gathered in one piece
    return flat[rows].reshape(len(rows), *x.shape[1:])


def block(
    x: Shaped[np.ndarray | Array, "n *features"] | Streamed, start: Int[Array, ""] | int, size: int
) -> Shaped[Array, "size *features"]:
    """Rows that stand side by side, likewise.

    Args:
        x: the examples.
        start: the first row.
        size: how many.
    """
    if isinstance(x, Streamed):
        rows = start + jnp.arange(size)
        return x.take(rows, jnp.minimum(rows + size, x.shape[0] - 1))
    return jax.lax.dynamic_slice_in_dim(jnp.asarray(x), start, size)
