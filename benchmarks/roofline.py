"""How near to the machine's own rate does training come?

The networks are 784-256-128-10 with ReLU, batches of 128, float32 unless said otherwise, each network's examples in
an order of its own. Training takes 128.9 MFLOP a seed-step, forward and backward without the gradient for the input;
this, over the time of the training alone, is set against the rate of a jitted 2048^3 float32 matrix product that is
measured just before and just after in the same process. Further rows: mixed precision against float32, dropout against
none, what an evaluation on all examples costs, four-point XOR from 100,000 seeds, and how long `mlpjax study` takes to
its first training when it is started for the second time.

Command: python benchmarks/roofline.py
Wall time on two cores: about 11 minutes; --quick about a minute.

Expect 0.8 of the machine's rate for many networks with SGD and less with Adam, whose update moves more memory.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import (
    BATCH,
    OPTIMIZERS,
    WIDTHS,
    XOR_MODEL,
    XOR_RECIPE,
    Bench,
    Report,
    Rounds,
    Row,
    Timing,
    four_points,
    run_benchmark,
    time_training,
)

import mlpjax
from mlpjax import MLP, Recipe, UserError
from mlpjax.plumbing.rate import flops_per_example
from mlpjax.stats import summarise

PLAIN = MLP(WIDTHS)
DROPOUT = MLP(WIDTHS, dropout=(0.4, 0.3))
MIXED = MLP(WIDTHS, precision="mixed")


def fraction(name: str, measured: Rounds[Timing], examples: int, wanted: float) -> Row:
    """The rate of training beside the yardstick around it."""
    gflop = flops_per_example(WIDTHS) * examples / 1e9
    rates = [gflop / timing.training for timing in measured.values]
    return Row(f"{name}: share of the machine's rate", "GFLOP/s", rates, measured.yardsticks, wanted)


def measure(bench: Bench) -> Report:
    """All rows of this benchmark."""
    many, single_epochs = (8, 4) if bench.options.quick else (64, 20)
    xor_seeds, xor_steps = (10_000, 500) if bench.options.quick else (100_000, 5000)
    digits, points = bench.digits, four_points()
    measured = bench.in_turn(
        {
            "SGD": lambda: time_training(PLAIN, OPTIMIZERS["SGD"], digits, many),
            "Adam": lambda: time_training(PLAIN, OPTIMIZERS["Adam"], digits, many),
            "1 seed": lambda: time_training(PLAIN, OPTIMIZERS["SGD"], digits, 1, single_epochs),
            "mixed": lambda: time_training(MIXED, OPTIMIZERS["SGD"], digits, many // 2),
            "dropout": lambda: time_training(DROPOUT, OPTIMIZERS["SGD"], digits, many // 2),
            "XOR": lambda: time_training(XOR_MODEL, XOR_RECIPE, points, xor_seeds, xor_steps),
        }
    )
    starts = [time_two_starts() for _ in range(bench.options.rounds)]
    first_starts, second_starts = zip(*starts, strict=True)

    def seconds(name: str, part: str = "training") -> list[float]:
        return [getattr(timing, part) for timing in measured[name].values]

    unit = "s per seed-epoch"
    examples = len(digits.train.y)
    rows = [
        fraction(f"{many} seeds, SGD", measured["SGD"], examples, 0.80),
        fraction(f"{many} seeds, Adam", measured["Adam"], examples, 0.72),
        fraction("1 seed, SGD", measured["1 seed"], examples, 0.65),
        Row(f"{many // 2} seeds, SGD: mixed precision against float32", unit, seconds("mixed"), seconds("SGD"), 1.5),
        Row(f"{many // 2} seeds, SGD: dropout against none", unit, seconds("dropout"), seconds("SGD"), 1.15, "at most"),
        Row(f"{many} seeds: evaluation on all examples", "s per seed", seconds("SGD", "evaluation")),
        Row(f"{many} seeds, SGD: compiling and setting up", "s", seconds("SGD", "setting_up")),
        Row(
            f"four-point XOR, {xor_seeds:,} seeds x {xor_steps:,} steps",
            "s",
            seconds("XOR", "total"),
            wanted=8.0,
            relation="at most",
        ),
        Row("mlpjax study, first start to first training done", "s", first_starts),
        Row("mlpjax study, second start to first training done", "s", second_starts, wanted=3.0, relation="at most"),
    ]
    config = {"seeds": many, "flops per seed-step": BATCH * flops_per_example(WIDTHS)}
    return Report(rows, config | {"test error by precision": errors_by_precision(2 if bench.options.quick else 30)})


def errors_by_precision(epochs: int, seeds: int = 32) -> dict[str, Any]:
    """Test errors, in %, of the default recipe on 5,000 real digits, and the difference seed by seed."""
    digits = mlpjax.load("mnist5k")
    errors = {}
    for model in (PLAIN, MIXED):
        recipe = Recipe(epochs=epochs, eval_every=epochs)
        trained = mlpjax.train_many(model, recipe, digits, range(seeds))
        errors[model.precision] = 100 * (1 - trained.history["test_accuracy"][:, -1].astype(float))
    errors["mixed - float32"] = errors["mixed"] - errors["float32"]
    return {"seeds": seeds, "epochs": epochs} | {name: summarise(values) for name, values in errors.items()}


def time_two_starts() -> tuple[float, float]:
    """Seconds from starting `mlpjax study` to its first training done: with an empty compilation cache, and again."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (time_start(Path(folder) / f"run-{start}", Path(folder) / "cache") for start in (1, 2))
    return first, second


def time_start(run: Path, cache: Path) -> float:
    """Start `mlpjax study` on a new run folder, wait until its progress bar has moved, and end it.

    The bar is what a user sees of the first training that is done, and no file of the run tells of it so early.
    The settings in the environment make rich draw it into a pipe as it would in a terminal.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "TTY_COMPATIBLE": "1",
        "TTY_INTERACTIVE": "1",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-c", "from mlpjax.cli import main; main()", "study", "--out", str(run)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    try:
        assert process.stdout
        shown = b""
        while not re.search(rb"all-zero starts.*?[^\d:][1-9]\d*/\d+", shown, re.DOTALL):
            read = os.read(process.stdout.fileno(), 65536)
            if not read:
                raise UserError(f"mlpjax study ended before its first training was done: {shown[-500:].decode()}")
            shown += read
        return time.perf_counter() - begin
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    run_benchmark("roofline", __doc__, measure, rounds=3)
