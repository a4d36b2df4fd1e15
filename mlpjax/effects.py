"""What a figure depends on: its variation over the settings of a grid and over seeds, split into parts that add up."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Real

SEED, REST = "seed", "rest"


class Effect(NamedTuple):
    """One part of the variation."""

    name: str
    """The field; of an interaction the fields, joined by " x "; `SEED` or `REST`."""
    squares: float
    """Sum of squares, in the figure's unit squared."""
    freedom: int
    """Degrees of freedom."""
    share: float
    """Of all sums of squares, in [0, 1]; NaN where the figure is the same everywhere."""
    p: float
    """The chance of so large a part where it is all chance, by the F-test against the rest; NaN for the rest, and where
    the rest has no freedom or no variation."""

    @property
    def mean_square(self) -> float:
        """Sum of squares for each degree of freedom; NaN where there is none."""
        return self.squares / self.freedom if self.freedom else math.nan


def effects(values: Real[np.ndarray, "*grid seeds"], fields: Sequence[str]) -> list[Effect]:
    """Split the variation of a figure into that of each field, of fields together, of the seed, and the rest.

    For one field, y_ij at setting i (of I) with seed j (of J), the same seeds at every setting:
    sum (y_ij - y)^2 = J sum_i (y_i - y)^2 + I sum_j (y_j - y)^2 + sum_ij (y_ij - y_i - y_j + y)^2,
    the parts of setting, seed and rest; an index left out is a mean over it. With several fields the first part splits
    into one for each set of fields, by the same rule: the mean over all else, less the parts of all smaller sets.
    What seeds do at one setting and not at another is the rest, and the measure of chance: seeds are blocks.

    Args:
        values: one finite number for each setting and seed, an axis for each field and the last for the seeds.
        fields: the names of the axes but the last.

    Returns:
        A part for each field, for each set of fields (in the order of size), for `SEED`, and the `REST`. The p-values
        hold for normal deviations of like size at every setting, nearly so for many seeds.

    Raises:
        ValueError: the axes and the names do not go together, or some values are not finite.

    Source: Scheffe, The Analysis of Variance (1959), chapters 4 and 8 (two-way layout with one observation per cell).
    """
    y = values.astype(np.float64)
    if y.ndim != len(fields) + 1:
        raise ValueError(f"{y.ndim} axes for {len(fields)} fields: give an axis for each field, and one for the seeds")
    if not np.isfinite(y).all():
        raise ValueError("some values are not finite: leave seeds that diverged out at every setting")
    axes = range(len(fields))
    sets = [axis for size in range(len(fields) + 1) for axis in itertools.combinations(axes, size)]
    deviations: dict[tuple[int, ...], np.ndarray] = {}
    for own in sets:
        others = tuple(axis for axis in range(y.ndim) if axis not in own)
        smaller = [deviations[part] for part in deviations if set(part) < set(own)]
        deviations[own] = y.mean(axis=others, keepdims=True) - sum(smaller)
    seed = y.mean(axis=tuple(axes), keepdims=True) - y.mean()
    settings = y.mean(axis=-1, keepdims=True)
    parts = [(" x ".join(fields[axis] for axis in own), deviations[own]) for own in sets[1:]]
    parts += [(SEED, seed), (REST, y - settings - seed)]
    squares = [float((part**2).sum() * (y.size / part.size)) for _, part in parts]
    freedoms = [math.prod(y.shape[axis] - 1 for axis in own) for own in sets[1:]]
    freedoms += [y.shape[-1] - 1, (settings.size - 1) * (y.shape[-1] - 1)]
    total, rest = sum(squares), squares[-1] / freedoms[-1] if freedoms[-1] else math.nan
    found = []
    for (name, _), square, freedom in zip(parts, squares, freedoms, strict=True):
        tested = name != REST and freedom and rest > 0
        p = float(scipy.stats.f.sf(square / freedom / rest, freedom, freedoms[-1])) if tested else math.nan
        found.append(Effect(name, square, freedom, square / total if total else math.nan, p))
    return found
