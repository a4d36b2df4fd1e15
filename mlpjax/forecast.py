"""How long a sweep will take, judged by its first seconds of training."""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mlpjax.data import Dataset
from mlpjax.recipe import Recipe
from mlpjax.seeds import forward_cost
from mlpjax.task import Task
from mlpjax.train import steps_per_epoch

MEASURED = 1.0
"""Seconds of training before anything is said."""


class Load(NamedTuple):
    """What networks trained by one program have to do."""

    periods: int
    """Of all of them together."""
    flops: float
    """Of a period of one of them."""
    steps: int
    """Of a period of one of them."""


def load_of(task: Task, recipe: Recipe, dataset: Dataset, networks: int) -> Load:
    """The load of one program.

    Args:
        task: of its networks.
        recipe: of its networks.
        dataset: what they learn.
        networks: how many there are.
    """
    train, evaluated = len(dataset.train.y), sum(map(len, (dataset.train.y, dataset.valid.y, dataset.test.y)))
    forward = forward_cost(task, dataset.train.x[:1]).flops
    steps = recipe.eval_every * steps_per_epoch(train, recipe.batch_size)
    return Load(networks * recipe.evaluations, forward * (3 * recipe.eval_every * train + evaluated), steps)


class _Moment(NamedTuple):
    """When so much was done."""

    program: int
    part: int
    """Of the program's networks, which are trained together."""
    first: int
    """The first network of the part."""
    periods: int
    """Behind each network of the part."""
    seconds: float


class Forecast:
    """Listens to a sweep, and says once how long the rest of its training will take.

    Of two laws one holds for large networks, time in proportion to arithmetic, and the other for networks so small that
    to start a step is what takes time, time in proportion to steps. The truth lies between what the two foretell.
    """

    def __init__(self, loads: Sequence[Load], say: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            loads: of the programs, in the order in which they run.
            say: is told the forecast.
        """
        self._loads = loads
        self._ends = [*accumulate(load.periods for load in loads)]
        self._say: Callable[[str], None] | None = say
        self._done = 0
        self._last = _Moment(-1, 0, 0, 0, 0.0)
        self._seconds = self._flops = self._steps = 0.0
        """Measured, and what was done in that time."""

    def on_progress(self, done: int, _: int) -> None:
        """What `sweep` tells of its progress, before the history."""
        self._done = done

    def on_history(
        self, places: Int[np.ndarray, " networks"], history: Mapping[str, Float[np.ndarray, "networks evaluations"]]
    ) -> None:
        """What `train_many` tells while networks train."""
        program, last = bisect_left(self._ends, self._done), self._last
        periods = next(iter(history.values())).shape[1] - 1
        same_program = program == last.program
        same_part = same_program and places[0] == last.first
        part = last.part + (not same_part) if same_program else 0
        now = self._last = _Moment(program, part, int(places[0]), periods, time.perf_counter())
        # What comes before the first part, and between it and the second, is to compile as well.
        if same_part or part > 1:
            done = len(places) * (periods - last.periods * same_part)
            self._seconds += now.seconds - last.seconds
            self._flops += done * self._loads[program].flops
            self._steps += done * self._loads[program].steps
        if self._say and self._seconds >= MEASURED:
            self._say(self._told(program))
            self._say = None

    def _told(self, program: int) -> str:
        left = [self._ends[program] - self._done, *(after - before for before, after in pairwise(self._ends[program:]))]
        loads = self._loads[program:]
        by_arithmetic = sum(n * load.flops for n, load in zip(left, loads, strict=True)) / self._flops
        by_steps = sum(n * load.steps for n, load in zip(left, loads, strict=True)) / self._steps
        ends = dict.fromkeys(duration(self._seconds * share) for share in sorted((by_arithmetic, by_steps)))
        return (
            f"About {' to '.join(ends)} of training to go, judged by the first {self._seconds:.1f} s of it and by the "
            "arithmetic and the steps of all networks; compiling comes on top."
        )


def duration(seconds: float) -> str:
    """A time to two digits, in the unit in which people would tell it.

    Args:
        seconds: at least 0.
    """
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"
