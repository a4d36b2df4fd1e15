"""What a data set is: three splits of rows and integer labels, kept as NumPy arrays on the host."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, Int32, UInt8


class Split(NamedTuple):
    """Rows and their labels, as a pytree.

    Args:
        x: one example a row: pixels 0..255 as uint8 (see `scale`), or float32 features as they are.
        y: the class of each row, 0..classes-1.
    """

    x: UInt8[np.ndarray | Array, "n features"] | Float32[np.ndarray | Array, "n features"]
    y: Int32[np.ndarray | Array, "n"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named classification task in three splits.

    Args:
        name: as the user asked for it ("mnist5k").
        train: what the networks are fitted to.
        valid: what choices are made on; may be empty (no rows).
        test: what errors are reported on.
        classes: number of classes; labels are 0..classes-1.
        image_shape: (height, width) in pixels where every row is one grey image, else None.
        source: one line: where the data come from.
        repeats_expected: the same row may stand in several splits without being a leak, because the
            population has only finitely many points (noiseless XOR).
    """

    name: str
    train: Split
    valid: Split
    test: Split
    classes: int
    image_shape: tuple[int, int] | None = None
    source: str = ""
    repeats_expected: bool = False

    @property
    def features(self) -> int:
        """Number of features: the columns of x, the width of a network's input."""
        return self.train.x.shape[1]


def scale(
    x: UInt8[np.ndarray | Array, "*shape"] | Float32[np.ndarray | Array, "*shape"],
) -> Float32[Array, "*shape"]:
    """Turn stored features into the numbers a network sees: x / 255 for uint8, x for float32.

    It is meant for the inside of the compiled training loop, so that pixels stay one byte on the device.

    Args:
        x: uint8 pixels 0..255, or float32 features, of any shape.

    Returns:
        float32 of the same shape; pixels are in [0, 1].
    """
    x = jnp.asarray(x)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def stratified_holdout(
    y: Int[np.ndarray, "n"], size: int, seed: int
) -> tuple[Int[np.ndarray, "kept"], Int[np.ndarray, "held"]]:
    """Choose rows to hold out at random so that each class keeps its share.

    Class c with n_c of the n rows gives size * n_c / n rows, rounded by largest remainder so that the
    sizes add up exactly.

    Args:
        y: label of each row, 0..classes-1.
        size: how many rows to hold out, 0..n.
        seed: of the random choice within each class.

    Returns:
        Row indices kept and held out, each in ascending order.
    """
    counts = np.bincount(y)
    share, remainder = np.divmod(size * counts, len(y))
    share[np.argsort(-remainder, kind="stable")[: size - share.sum()]] += 1
    rng = np.random.default_rng(seed)
    held = np.zeros(len(y), dtype=bool)
    for label, k in enumerate(share):
        held[rng.permutation(np.flatnonzero(y == label))[:k]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
