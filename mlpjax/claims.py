"""The experiments' contract: claims, verdicts, results.json and the ledger.

`python -m mlpjax.claims [RESULTS_DIR]` writes the ledger beside the results (default: experiments/results).
"""

import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlpjax.data import Dataset, load
from mlpjax.errors import UserError
from mlpjax.plumbing.compilation import remember_compilations
from mlpjax.plumbing.devices import use_all_cores
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.files import write_atomically

Relation: TypeAlias = Literal["at most", "at least", "about"]
Verdict: TypeAlias = Literal["holds", "fails", "undecided", "new"]
Real: TypeAlias = float | int
Interval: TypeAlias = tuple[Real, Real]

_SYMBOLS = {"at most": "≤", "at least": "≥", "about": "≈"}
_COLOURS = {"holds": "green", "fails": "red", "undecided": "yellow", "new": "cyan"}
_QUICK = "A quick run: the numbers may be too few to settle the claims."


def verdict(
    ci95: Interval | None, published: Real | None, relation: Relation | None, tolerance: Real | None
) -> Verdict:
    """What an interval says about a published figure.

    The published figure allows (-inf, published] for `at most`, [published, inf) for `at least` and
    [published - tolerance, published + tolerance] for `about`. The claim holds where the whole interval is
    allowed, fails where none of it is, and is undecided where the interval straddles a border.

    Args:
        ci95: the measured 95 % interval, in the claim's unit; None where the seeds cannot give one.
        published: the published figure, in the same unit; None where there is none.
        relation: how the measured figure is claimed to stand to the published one.
        tolerance: half the width of what counts as `about`, in the same unit, at least 0.

    Returns:
        `holds`, `fails`, `undecided`, or `new` where nothing was published.
    """
    if published is None:
        return "new"
    if ci95 is None:
        return "undecided"
    slack = tolerance or 0.0
    least = -math.inf if relation == "at most" else published - slack
    most = math.inf if relation == "at least" else published + slack
    low, high = ci95
    if least <= low and high <= most:
        return "holds"
    return "fails" if high < least or low > most else "undecided"


@dataclass(frozen=True)
class Claim:
    """One measured figure, beside the published one where there is one.

    Args:
        name: what was measured ("dropout test error").
        unit: of every number here ("%", "nats", "epochs"); empty for a count or a ratio.
        measured: the figure over all seeds.
        ci95: its 95 % interval over seeds (`stats.bootstrap_ci`, or `stats.wilson_ci` for a rate); None where
            the seeds cannot give one.
        seeds: number of seeds, at least 1.
        published: the published figure; None where there is none.
        relation: `at most`, `at least` or `about`; goes with `published`.
        tolerance: goes with `about`, at least 0.
        source: who published it.

    Raises:
        ValueError: the numbers do not go together, such as a figure outside of its own interval.
    """

    name: str
    unit: str
    measured: Real
    ci95: Interval | None
    seeds: int
    published: Real | None = None
    relation: Relation | None = None
    tolerance: Real | None = None
    source: str = ""

    def __post_init__(self) -> None:
        numbers = [self.measured, *(self.ci95 or ()), self.published or 0.0, self.tolerance or 0.0]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{self.name}: {numbers} are not all finite")
        if self.seeds < 1:
            raise ValueError(f"{self.name}: {self.seeds} seeds; at least 1 is needed")
        if (self.published is None) != (self.relation is None):
            raise ValueError(f"{self.name}: a published figure and a relation go together")
        if (self.relation == "about") != (self.tolerance is not None) or (self.tolerance or 0.0) < 0:
            raise ValueError(f"{self.name}: 'about' needs a tolerance of at least 0, and only 'about' has one")
        if self.ci95 is not None:
            low, high = self.ci95
            rounding = 1e-9 * max(abs(low), abs(high))
            if not low - rounding <= self.measured <= high + rounding:
                raise ValueError(f"{self.name}: {self.measured} is not in its own interval [{low}, {high}]")

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the published figure; see the function `verdict`."""
        return verdict(self.ci95, self.published, self.relation, self.tolerance)

    @classmethod
    def from_json(cls, stated: dict[str, Any]) -> "Claim":
        """The claim as `results.json` states it; its verdict is left to be computed anew.

        Args:
            stated: one of the file's `claims`.

        Returns:
            The claim.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
            ValueError: the numbers do not go together.
        """
        ci95 = None if stated["ci95"] is None else tuple(stated["ci95"])
        return cls(**{key: value for key, value in stated.items() if key != "verdict"} | {"ci95": ci95})


def write_results(
    out_dir: Path,
    experiment: str,
    claims: Iterable[Claim],
    seconds: Real,
    config: dict[str, Any],
    quick: bool,
    command: str,
) -> Path:
    """Write `results.json`, the file that the ledger and other tools read.

    Args:
        out_dir: the folder, made if missing.
        experiment: its name, that of its file.
        claims: what was found.
        seconds: wall time of the experiment, in s.
        config: what else made the numbers, ready for JSON.
        quick: whether this was a quick run, perhaps too small to settle the claims.
        command: what to type to repeat it.

    Returns:
        The path of the file.

    Raises:
        ValueError: a number in `config` is not finite.
        OSError: the folder cannot be written.
    """
    results = {
        "experiment": experiment,
        "claims": [asdict(claim) | {"verdict": claim.verdict} for claim in claims],
        "seconds": round(seconds, 1),
        **environment(),
        "config": config,
        "quick": quick,
        "command": command,
    }
    text = json.dumps(results, indent=1, allow_nan=False) + "\n"
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "results.json"
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


Body: TypeAlias = Callable[..., tuple[Sequence[Claim], dict[str, Any]]]


@dataclass(frozen=True)
class _Options:
    seeds: int
    """Number of random seeds; more give a narrower interval."""
    out: Path
    """Folder for results.json and the figures."""
    quick: bool = False
    """Take under a minute, with fewer seeds unless --seeds is given; perhaps too few to settle the claims."""


@dataclass(frozen=True)
class _OptionsWithData(_Options):
    data: str = ""
    """Folder of the four idx files of the data set."""


def run_experiment(
    name: str,
    docstring: str,
    body: Body,
    full_seeds: int,
    quick_seeds: int,
    argv: Sequence[str] | None = None,
    *,
    data: str | None = None,
) -> None:
    """Run `python experiments/NAME.py [--seeds N] [--quick] [--out DIR] [--data DIR]`: parse, run, print and write.

    Prints the verdicts and writes `DIR/results.json`. A user's error ends in one line and exit code 2.

    Args:
        name: of the experiment, that of its file.
        docstring: of the experiment, which `--help` shows.
        body: `(seeds, quick, out) -> (claims, config)`; it may write figures `out/NAME*.png`.
        full_seeds: the default number of seeds.
        quick_seeds: the default number of seeds with `--quick`.
        argv: the arguments; those of the command line if None.
        data: the default of `--data`, for an experiment on files of the user's: their folder is then the fourth
            argument of `body`. With None there is no such option.
    """
    argv = sys.argv[1:] if argv is None else argv
    default = _Options(quick_seeds if "--quick" in argv else full_seeds, Path("runs") / name)
    if data is not None:
        default = _OptionsWithData(default.seeds, default.out, data=data)
    options = tyro.cli(
        type(default),
        prog=f"python experiments/{name}.py",
        description=docstring,
        args=argv,
        default=default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command = [
        "python",
        f"experiments/{name}.py",
        "--seeds",
        str(options.seeds),
        *["--quick"] * options.quick,
        *["--data", "DIR"] * (data is not None),  # the folder's place says nothing to anyone else
    ]
    folder = [options.data] if isinstance(options, _OptionsWithData) else []
    use_all_cores()
    remember_compilations()
    try:
        if options.seeds < 1:
            raise UserError(f"--seeds {options.seeds}: give at least 1")
        options.out.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        claims, config = body(options.seeds, options.quick, options.out, *folder)
        seconds = time.perf_counter() - start
        console = Console(markup=False)
        console.print(_verdicts(name, claims))
        if options.quick:
            console.print(_QUICK)
        path = write_results(options.out, name, claims, seconds, config, options.quick, shlex.join(command))
        console.print(f"{seconds:.1f} s; written to {path}", soft_wrap=True)
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def full_mnist(folder: str) -> Dataset:
    """MNIST as published, for an experiment on files of the user's.

    Args:
        folder: that of the four idx files, as `--data` gives it.

    Returns:
        60,000 training and 10,000 test digits.

    Raises:
        UserError: no folder was given, or it holds something else.
    """
    if not folder:
        raise UserError(
            "full MNIST is needed: put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
            "t10k-labels-idx1-ubyte, or the same as .gz, into a folder and give --data FOLDER"
        )
    dataset = load(f"idx:{folder}")
    sizes = len(dataset.train.y), len(dataset.test.y), dataset.features
    if sizes != (60_000, 10_000, 784):
        raise UserError(f"--data {folder}: holds {sizes}, not MNIST's (60000, 10000, 784) examples and pixels")
    return dataset


def _verdicts(name: str, claims: Iterable[Claim]) -> Table:
    table = Table(title=name)
    for column in ("claim", "published", "measured (95 % interval)", "seeds", "verdict"):
        table.add_column(column)
    for claim in claims:
        table.add_row(*_cells(claim), Text(claim.verdict, _COLOURS[claim.verdict]))
    return table


def _cells(claim: Claim) -> tuple[str, str, str, str]:
    unit = f" {claim.unit}" if claim.unit else ""
    published = measured = ""
    if claim.published is not None and claim.relation is not None:
        tolerance = "" if claim.tolerance is None else f" ± {_number(claim.tolerance)}"
        published = f"{_SYMBOLS[claim.relation]} {_number(claim.published)}{tolerance}{unit}"
    measured = _number(claim.measured)
    if claim.ci95 is not None:
        measured += f" [{_number(claim.ci95[0])}, {_number(claim.ci95[1])}]"
    return claim.name, published, measured + unit, f"{claim.seeds:,}"


def _number(value: Real) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:.4g}"


def ledger(results_dir: Path) -> str:
    """The claims of every experiment, what was measured, and the verdicts, as one Markdown page.

    Args:
        results_dir: folder of the experiments' results `NAME.json` and figures `NAME*.png`; may be empty.

    Returns:
        The page; its links are relative to the folder above `results_dir`.

    Raises:
        UserError: a file there is not an experiment's results.
    """
    page = [
        "# What the experiments found",
        "",
        f"Made by `python -m mlpjax.claims` from `{results_dir.name}/`: change the results, never this page.",
        "Each figure stands with its 95 % interval over seeds. A claim *holds* where the whole interval",
        "agrees with the published figure, *fails* where none of it does, is *undecided* where the interval",
        "straddles the line, and *new* where nothing was published.",
    ]
    names = sorted(file.stem for file in results_dir.glob("*.json"))
    for name in names:
        file = results_dir / f"{name}.json"
        try:
            results = json.loads(file.read_bytes())
            claims = [Claim.from_json(stated) for stated in results["claims"]]
            facts = f"{results['seconds']:,.0f} s on {results['device']}: `{results['command']}`"
            quick = ["", f"**{_QUICK}**"] if results["quick"] else []
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{file} is not an experiment's results: {error!r}; run the experiment again") from error
        page += ["", f"## {name}", "", facts, *quick, ""]
        page += [
            "| claim | published | measured (95 % interval) | seeds | verdict | source |",
            "|---|---|---|---|---|---|",
        ]
        for claim in claims:
            cells = (*_cells(claim), f"**{claim.verdict}**", claim.source)
            page.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        page += [
            line
            for figure in sorted(results_dir.glob(f"{name}*.png"))
            # "xor_noise.png" is of the experiment xor_noise, where there is one, and not of xor.
            if name == max((n for n in names if figure.stem.startswith(n)), key=len)
            for line in ("", f"![{figure.stem}]({results_dir.name}/{figure.name})")
        ]
    return "\n".join(page) + "\n"


def main(results_dir: tyro.conf.Positional[Path] = Path("experiments/results")) -> None:
    """Write the ledger README.md beside the folder of the experiments' results.

    Args:
        results_dir: folder of the results, NAME.json and NAME*.png.
    """
    try:
        page = ledger(results_dir)
        write_atomically(results_dir.parent / "README.md", lambda file: file.write(page.encode()))
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    tyro.cli(main)
