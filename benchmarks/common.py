"""What the benchmarks share: options, the yardstick, measuring in turn, rows, and the file they are written to."""

import dataclasses
import importlib
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import mlpjax
from mlpjax import MLP, Dataset, Recipe, Split, UserError
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.files import write_atomically

K = TypeVar("K")
T = TypeVar("T")
Relation = Literal["at least", "at most"]

RESULTS = Path(__file__).parent / "results"
WIDTHS = (784, 256, 128, 10)
BATCH = 128
EXAMPLES, TEST_EXAMPLES = 60_000, 10_000
QUICK_EXAMPLES, QUICK_TEST_EXAMPLES = 60 * BATCH, 1_000
OPTIMIZERS = {
    "SGD": Recipe(optimizer="sgd", learning_rate=0.1, batch_size=BATCH),
    "Adam": Recipe(optimizer="adam", learning_rate=1e-3, batch_size=BATCH),
}
XOR_MODEL = MLP((2, 2, 1), "sigmoid", output_activation="sigmoid", initializer="uniform", scale=0.5, bias="same")
XOR_RECIPE = Recipe("squared_error", "momentum", 0.5, momentum=0.9, batch_size=None)
YARDSTICK_SIDE, YARDSTICK_REPEATS = 2048, 8
QUICK = "A quick run: it may be too small to settle anything."


@dataclass(frozen=True)
class Options:
    """The command line of every benchmark."""

    quick: bool = False
    """Take about a minute; too small to settle anything, and written only where --out says so."""
    out: Path | None = None
    """The file of the results. None: benchmarks/results/NAME.json, and none with --quick."""
    data: str = "synthetic"
    """Digits: synthetic (random pixels of MNIST's shape; the speed does not depend on them), or idx:DIR."""
    rounds: int = 1
    """How often each side is measured, in turn; the medians count."""


@dataclass(frozen=True)
class Row:
    """One figure of mlpjax, beside its peer's where it has one.

    Args:
        name: what was measured.
        unit: of `ours` and `peer`: a cost ("s per seed-epoch"), or a rate, where it ends in "/s" ("GFLOP/s").
        ours_rounds: one figure a round.
        peer_rounds: the other side's, measured in the same rounds; None where there is no other side.
        wanted: what `ratio` should be, or `ours` where there is no peer; None: for information.
        relation: whether `wanted` is the least or the most.
    """

    name: str
    unit: str
    ours_rounds: Sequence[float]
    peer_rounds: Sequence[float] | None = None
    wanted: float | None = None
    relation: Relation = "at least"

    @property
    def ours(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.ours_rounds)

    @property
    def peer(self) -> float | None:
        """Median over the rounds."""
        return None if self.peer_rounds is None else statistics.median(self.peer_rounds)

    @property
    def ratios(self) -> list[float]:
        """Round by round, how many times as fast as the peer; where `relation` is "at most", how many times its cost.

        Empty where there is no peer.
        """
        turned = not (self.unit.endswith("/s") or self.relation == "at most")
        pairs = zip(self.ours_rounds, self.peer_rounds or self.ours_rounds[:0], strict=self.peer_rounds is not None)
        return [peer / ours if turned else ours / peer for ours, peer in pairs]

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' own ratios, so that a machine that slows down for a while does not tip it."""
        if self.peer_rounds is None:
            return None
        ratio = statistics.median(ours / peer for ours, peer in zip(self.ours_rounds, self.peer_rounds, strict=True))
        return ratio if self.unit.endswith("/s") or self.relation == "at most" else 1 / ratio

    @property
    def met(self) -> bool | None:
        """Whether what was wanted is reached."""
        if self.wanted is None:
            return None
        figure = self.ours if self.ratio is None else self.ratio
        return figure >= self.wanted if self.relation == "at least" else figure <= self.wanted

    def to_json(self) -> dict[str, Any]:
        """The row as the results' file has it."""
        return {
            "name": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "ratio": self.ratio,
            "wanted": self.wanted,
            "met": self.met,
            "relation": self.relation,
            "rounds": {"ours": list(self.ours_rounds), "peer": self.peer_rounds and list(self.peer_rounds)},
        }

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> "Row":
        """The row that a file states; medians, ratio and `met` are left to be computed anew."""
        rounds = stated["rounds"]
        return cls(stated["name"], stated["unit"], rounds["ours"], rounds["peer"], stated["wanted"], stated["relation"])


def cells(row: Row) -> list[str]:
    """The row as a table shows it: name, ours, peer, unit, ratio, wanted, met."""
    rate = row.unit.endswith("/s")
    sign = {"at least": "≥", "at most": "≤"}[row.relation]
    of_wanted = f" {row.unit}" if row.ratio is None else "" if rate else " x"
    spread = f" ({min(row.ratios):.2f} to {max(row.ratios):.2f})" if len(row.ratios) > 1 else ""
    return [
        row.name,
        number(row.ours),
        number(row.peer),
        row.unit,
        "" if row.ratio is None else f"{row.ratio:.2f}" + ("" if rate else " x") + spread,
        "" if row.wanted is None else f"{sign} {number(row.wanted)}{of_wanted}",
        {None: "", True: "yes", False: "no"}[row.met],
    ]


HEADER = ["measured", "mlpjax", "the other", "unit", "ratio (range over rounds)", "wanted", "met"]


def number(value: float | None) -> str:
    """Three digits, thousands with commas; empty for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def synthetic_digits(examples: int, test_examples: int) -> Dataset:
    """Random pixels and labels of MNIST's shape, always the same; as in MNIST, about a fifth of the pixels is ink."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        ink = rng.integers(0, 256, (rows, WIDTHS[0]), np.uint8) < 256 // 5
        pixels = rng.integers(0, 256, ink.shape, np.uint8) * ink
        return Split(pixels, rng.integers(0, WIDTHS[-1], rows, np.int32))

    return Dataset("synthetic digits", split(examples), split(0), split(test_examples), WIDTHS[-1])


def four_points() -> Dataset:
    """The corners of the unit square, to train on and to test on."""
    points = Split(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0], np.int32))
    none = Split(points.x[:0], points.y[:0])
    return Dataset("four points", points, none, points, classes=2, repeats_expected=True)


def load_digits(options: Options) -> Dataset:
    """The digits that the options name; fewer in a quick run."""
    sizes = (QUICK_EXAMPLES, QUICK_TEST_EXAMPLES) if options.quick else (EXAMPLES, TEST_EXAMPLES)
    if options.data == "synthetic":
        return synthetic_digits(*sizes)
    loaded = mlpjax.load(options.data)
    splits = zip((loaded.train, loaded.test), sizes, strict=True)
    train, test = (Split(split.x[:size], split.y[:size]) for split, size in splits)
    return dataclasses.replace(loaded, name="idx:DIR", train=train, test=test)  # the place says nothing to others


class Yardstick:
    """The machine's own rate: a jitted 2048^3 float32 matrix product.

    Either one product on one device (which on a CPU may use every core), or one on each device at the same time:
    the faster counts, so that nothing is gained by how the devices are set up.
    """

    def __init__(self) -> None:
        devices = jax.devices()
        mesh = jax.sharding.Mesh(np.asarray(devices), ("device",))
        spread = jax.sharding.PartitionSpec("device")
        matrices = jnp.ones((len(devices), YARDSTICK_SIDE, YARDSTICK_SIDE))
        on_each = jax.shard_map(lambda a: (a[0] @ a[0])[None], mesh=mesh, in_specs=spread, out_specs=spread)
        self._products = [
            (len(devices), jax.jit(on_each), jax.device_put(matrices, jax.sharding.NamedSharding(mesh, spread))),
            (1, jax.jit(lambda a: a @ a), jax.device_put(matrices[0], devices[0])),
        ][: len(devices)]
        for _, product, matrix in self._products:
            _finish(product, matrix)

    def __call__(self) -> float:
        """Measure it now: GFLOP/s."""
        rates = []
        for count, product, matrix in self._products:
            seconds = [timed(partial(_finish, product, matrix))[1] for _ in range(YARDSTICK_REPEATS)]
            rates.append(count * 2 * YARDSTICK_SIDE**3 / statistics.median(seconds) / 1e9)
        return max(rates)


def _finish(function: Callable[[jax.Array], jax.Array], argument: jax.Array) -> jax.Array:
    return jax.block_until_ready(function(argument))


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """What a function returns, and the seconds that it took."""
    begin = time.perf_counter()
    return function(), time.perf_counter() - begin


class Rounds(NamedTuple, Generic[T]):
    """What one contestant measured, round by round."""

    values: list[T]
    yardsticks: list[float]
    """GFLOP/s around each measurement: the mean of just before and just after."""


@dataclass
class Bench:
    """One run of one benchmark: what was asked for, and what to measure with."""

    options: Options
    console: Console
    readings: list[float] = dataclasses.field(default_factory=list)
    """Every reading of the yardstick, in GFLOP/s."""

    @cached_property
    def digits(self) -> Dataset:
        """The digits that the options name."""
        return load_digits(self.options)

    @cached_property
    def _yardstick(self) -> Yardstick:
        return Yardstick()

    def read_yardstick(self) -> float:
        """The machine's rate now, in GFLOP/s; it is kept."""
        self.readings.append(self._yardstick())
        return self.readings[-1]

    def in_turn(self, contestants: Mapping[K, Callable[[], T]]) -> dict[K, Rounds[T]]:
        """Measure all contestants, each once a round, the yardstick before and after each."""
        results: dict[K, Rounds[T]] = {name: Rounds([], []) for name in contestants}
        before = self.read_yardstick()
        for turn in range(self.options.rounds):
            for name, contestant in contestants.items():
                value, seconds = timed(contestant)
                after = self.read_yardstick()
                results[name].values.append(value)
                results[name].yardsticks.append((before + after) / 2)
                before = after
                now = f"round {turn + 1} of {self.options.rounds}"
                what = ", ".join(name) if isinstance(name, tuple) else name
                self.console.print(f"{now}: {what}, {seconds:.1f} s; yardstick {after:.0f} GFLOP/s", soft_wrap=True)
        return results


def import_peers(name: str) -> ModuleType:
    """A module beside this one, which needs what is to be compared with.

    Raises:
        UserError: that is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'mlpjax[peers]'") from error


class Workers:
    """Processes in which a peer works, side by side, so that nothing of it is in this process."""

    def __init__(self, processes: int, stack: ExitStack, start: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._executors = [
            stack.enter_context(ProcessPoolExecutor(1, context, start, arguments)) for _ in range(processes)
        ]

    def __len__(self) -> int:
        return len(self._executors)

    def call(self, function: Callable[..., T], *arguments: Sequence[Any]) -> list[T]:
        """Call the function in every process at the same time, in each with its own item of every argument."""
        calls = zip(self._executors, *arguments, strict=True)
        futures = [executor.submit(function, *own) for executor, *own in calls]
        return [future.result() for future in futures]


class Timing(NamedTuple):
    """What many networks took, compilation apart."""

    training: float
    """Seconds per seed-epoch, training alone."""
    evaluation: float
    """Seconds that one network's evaluation on all examples takes, with its initial draw."""
    total: float
    """Seconds of all networks together."""
    setting_up: float
    """Seconds of everything else, above all of compiling."""


def time_training(model: MLP, recipe: Recipe, dataset: Dataset, seeds: int, epochs: int = 2, **options: Any) -> Timing:
    """Train many networks and take the time apart.

    A period is `epochs` epochs and one evaluation; the start is one evaluation and the draw of the parameters.
    """
    recipe = dataclasses.replace(recipe, epochs=epochs, eval_every=epochs)
    trained, wall = timed(lambda: mlpjax.train_many(model, recipe, dataset, range(seeds), **options))
    start, period = trained.history["seconds"].sum(axis=0, dtype=float).tolist()
    return Timing((period - start) / (seeds * epochs), start / seeds, start + period, wall - start - period)


class Report(NamedTuple):
    """What a benchmark found."""

    rows: list[Row]
    config: dict[str, Any]
    """What else made the numbers, or belongs to them."""
    data: str | None = None
    """What was worked on, where that is not what `--data` says."""


def machine(readings: Sequence[float]) -> dict[str, Any]:
    """The machine, and its own rate over the run."""
    facts = environment()
    return {
        "device": facts["device"],
        "git": facts["git"],
        "yardstick": {
            "what": f"float32 matrix product, {YARDSTICK_SIDE}^3",
            "unit": "GFLOP/s",
            "median": statistics.median(readings),
            "min": min(readings),
            "max": max(readings),
        },
    }


def versions() -> dict[str, str]:
    """Versions of what was measured; the peers' where they are installed."""
    found = dict(environment()["versions"])
    for name in ("jaxlib", "torch", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run_benchmark(
    name: str,
    docstring: str | None,
    body: Callable[[Bench], Report],
    argv: Sequence[str] | None = None,
    *,
    rounds: int = 5,
) -> None:
    """Run `python benchmarks/NAME.py [--quick] [--out FILE.json]`: parse, measure, print and write.

    Args:
        name: of the benchmark, that of its file.
        docstring: of the benchmark, which `--help` shows.
        body: measures.
        argv: the arguments; those of the command line if None.
        rounds: the default of `--rounds`; with `--quick` it is 1.
    """
    argv = sys.argv[1:] if argv is None else argv
    mlpjax.use_all_cores()
    jax.config.update("jax_enable_compilation_cache", False)  # each compilation is measured as a first one
    options = tyro.cli(
        Options,
        prog=f"python benchmarks/{name}.py",
        description=docstring,
        args=argv,
        default=Options(rounds=1 if "--quick" in argv else rounds),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    out = options.out or (None if options.quick else RESULTS / f"{name}.json")
    console = Console(markup=False, width=None if sys.stdout.isatty() else 140)
    bench = Bench(options, console)
    try:
        if options.rounds < 1:
            raise UserError(f"--rounds {options.rounds}: give at least 1")
        report, seconds = timed(lambda: body(bench))
        bench.read_yardstick()
        results = {
            "benchmark": name,
            "quick": options.quick,
            "data": report.data or bench.digits.name,
            "machine": machine(bench.readings),
            "versions": versions(),
            "seconds": round(seconds, 1),
            "config": {"rounds": options.rounds, "examples": len(bench.digits.train.y)} | report.config,
            "rows": [row.to_json() for row in report.rows],
        }
        console.print(_table(name, report.rows))
        if options.quick:
            console.print(QUICK)
        console.print(f"{seconds:.0f} s" + (f"; written to {out}" if out else ""), soft_wrap=True)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(results, indent=1, allow_nan=False) + "\n"
            write_atomically(out, lambda file: file.write(text.encode()))
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def _table(name: str, rows: Sequence[Row]) -> Table:
    table = Table(title=name)
    for column in HEADER:
        table.add_column(column)
    for row in rows:
        table.add_row(*cells(row))
    return table
