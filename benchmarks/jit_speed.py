"""What does jit buy, and what does one compiled program over many seeds add?

One network, 784-256-128-10 with ReLU, batches of 128, SGD, trained four ways: every operation on its own, with jit
disabled (a few steps); a Python loop over the jitted step; the whole epoch as one jitted program; and that program over
many seeds at once, each with an order of its own. Times are microseconds per seed-step, of training alone; what
compiling takes is in rows of its own.

Command: python benchmarks/jit_speed.py
Wall time on two cores: about 3 minutes; --quick under a minute.

Expect the first jit to buy most, the loop inside the program what the Python loop costs, and many seeds the rest.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import BATCH, OPTIMIZERS, WIDTHS, Bench, Report, Row, run_benchmark, time_training, timed

from mlpjax import MLP, Batch, Dataset, Splits, init_state, make_keys, make_task, make_train, make_train_step

MODEL = MLP(WIDTHS)
RECIPE = dataclasses.replace(OPTIMIZERS["SGD"], epochs=1)
TASK = make_task(MODEL, RECIPE)
NO_JIT, STEP, EPOCH = "no jit", "jitted step", "jitted epoch"


class Cost(NamedTuple):
    """What one way of training took."""

    step: float
    """Microseconds per seed-step."""
    compiling: float
    """Seconds."""


def batches(dataset: Dataset) -> list[Batch]:
    """One shuffled epoch of whole batches, on the device."""
    x, y = dataset.train
    order = np.random.default_rng(0).permutation(len(y))
    rows = order[: len(y) // BATCH * BATCH].reshape(-1, BATCH)
    return [Batch(jnp.asarray(x[r], jnp.float32) / 255, jnp.asarray(y[r]), jnp.ones(BATCH)) for r in rows]


def time_no_jit(epoch: list[Batch], steps: int = 3) -> Cost:
    """The step with jit disabled: each operation is dispatched on its own."""
    keys = make_keys(0)
    with jax.disable_jit():
        train_step = make_train_step(TASK, RECIPE, len(epoch))
        state = init_state(TASK, RECIPE, keys.init, epoch[0].x)

        def train() -> None:
            nonlocal state
            for batch in epoch[:steps]:
                state, _ = train_step(state, batch, keys)
            jax.block_until_ready(state)

        timed(train)  # the first calls look up and compile single operations
        _, seconds = timed(train)
    return Cost(1e6 * seconds / steps, 0.0)


def time_step(epoch: list[Batch]) -> Cost:
    """A Python loop over the jitted step, whose first call compiles it."""
    keys = make_keys(0)
    state = init_state(TASK, RECIPE, keys.init, epoch[0].x)
    train_step = make_train_step(TASK, RECIPE, len(epoch))

    def train(batches: list[Batch]) -> None:
        nonlocal state
        for batch in batches:
            state, _ = train_step(state, batch, keys)
        jax.block_until_ready(state)

    _, first = timed(lambda: train(epoch[:1]))
    _, seconds = timed(lambda: train(epoch[1:]))
    step = seconds / (len(epoch) - 1)
    return Cost(1e6 * step, first - step)


def time_epoch(dataset: Dataset) -> Cost:
    """The epoch as one program; the evaluation that it ends with is taken off, as `start` takes it."""
    keys = make_keys(0)
    data = jax.device_put(Splits(dataset.train, dataset.valid, dataset.test))
    train = make_train(TASK, RECIPE)
    start, starting = timed(lambda: jax.jit(train.start).lower(keys, data, None).compile())
    progress, evaluation = timed(lambda: jax.block_until_ready(start(keys, data, None)))
    arguments = (keys, data, progress, jnp.int32(0), jnp.int32(1))
    advance, advancing = timed(lambda: jax.jit(train.advance).lower(*arguments).compile())
    _, seconds = timed(lambda: jax.block_until_ready(advance(*arguments)))
    return Cost(1e6 * (seconds - evaluation) / steps_of(dataset), starting + advancing)


def time_seeds(dataset: Dataset, seeds: int) -> Cost:
    """The epoch over many seeds."""
    timing = time_training(MODEL, RECIPE, dataset, seeds)
    return Cost(1e6 * timing.training / steps_of(dataset), timing.setting_up)


def steps_of(dataset: Dataset) -> float:
    """Batches in an epoch; the last, smaller one counts as its share of a whole one."""
    return len(dataset.train.y) / BATCH


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    seeds = 8 if bench.options.quick else 64
    many = f"jitted epoch over {seeds} seeds"
    epoch = batches(bench.digits)
    measured = bench.in_turn(
        {
            NO_JIT: lambda: time_no_jit(epoch),
            STEP: lambda: time_step(epoch),
            EPOCH: lambda: time_epoch(bench.digits),
            many: lambda: time_seeds(bench.digits, seeds),
        }
    )
    steps = {name: [cost.step for cost in rounds.values] for name, rounds in measured.items()}
    compiling = {name: [cost.compiling for cost in rounds.values] for name, rounds in measured.items()}
    pairs = [(STEP, NO_JIT), (EPOCH, STEP), (many, EPOCH), (many, NO_JIT)]
    rows = [Row(f"{ours} against {peer}", "µs per seed-step", steps[ours], steps[peer]) for ours, peer in pairs]
    rows += [Row(f"{name}: compiling", "s", compiling[name]) for name in (STEP, EPOCH)]
    rows.append(Row(f"{many}: compiling and setting up", "s", compiling[many]))
    return Report(rows, {"seeds": seeds})


if __name__ == "__main__":
    run_benchmark("jit_speed", __doc__, measure, rounds=3)
