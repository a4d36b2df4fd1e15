"""One experiment's run: its command line, its verdicts in the terminal, and results.json."""

import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlpjax.claims.needs import Needs
from mlpjax.claims.values import tidy
from mlpjax.claims.verdict import Claim
from mlpjax.errors import UserError
from mlpjax.plumbing.compilation import remember_compilations
from mlpjax.plumbing.devices import use_all_cores
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.files import write_atomically

COLOURS = {"holds": "green", "fails": "red", "undecided": "yellow", "new": "cyan"}
TOO_FEW = "A quick run: the numbers may be too few to settle the claims."
SKIPPED = 3
"""Exit code of an experiment that was not run because its data is absent; `make experiments` then goes on."""


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
    """Where the data is, as said above, beside Command; --quick does without."""


def run_experiment(
    name: str,
    docstring: str,
    body: Body,
    full_seeds: int,
    quick_seeds: int,
    argv: Sequence[str] | None = None,
    *,
    needs: Needs | None = None,
    shared: str = "",
) -> None:
    """Run `python experiments/NAME.py [--seeds N] [--quick] [--out DIR]`: parse, run, print and write.

    Prints the verdicts, and writes `DIR/results.json` and the values of every seed, `DIR/values.parquet`. A user's
    error ends in one line and exit code 2, Ctrl-C in one and 130; where the data is needed and not given, that is said
    in one line and the exit code is `SKIPPED`.

    Args:
        name: of the experiment, that of its file.
        docstring: of the experiment, which `--help` shows.
        body: `(seeds, quick, out) -> (claims, config)`; it may write figures `out/NAME*.png`. `config` is ready for
            JSON; its `notes`, if any, are sentences for the ledger.
        full_seeds: the default number of seeds.
        quick_seeds: the default number of seeds with `--quick`.
        argv: the arguments; those of the command line if None.
        needs: the data that it takes, but with `--quick`. Then there is an option `--data`, by default what the
            environment says, and `body` has it as fourth argument.
        shared: what all seeds share, on which their intervals are conditional ("one split of the digits").
    """
    argv = sys.argv[1:] if argv is None else argv
    default = _Options(quick_seeds if "--quick" in argv else full_seeds, Path("runs") / name)
    if needs:
        default = _OptionsWithData(default.seeds, default.out, data=needs.of_environment())
    options = tyro.cli(
        type(default),
        prog=f"python experiments/{name}.py",
        description=docstring,
        args=argv,
        default=default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command = ["python", f"experiments/{name}.py", "--seeds", str(options.seeds), *["--quick"] * options.quick]
    data = []
    if needs and isinstance(options, _OptionsWithData):
        if not options.data and not options.quick:
            sys.stderr.write(f"skipped: {name} needs {needs.what}: give {needs.how}\n")
            raise SystemExit(SKIPPED)
        data = [options.data]
        command += ["--data", needs.told(options.data)] * (not options.quick)
    use_all_cores()
    remember_compilations()
    try:
        if options.seeds < 1:
            raise UserError(f"--seeds {options.seeds}: give at least 1")
        options.out.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        claims, config = body(options.seeds, options.quick, options.out, *data)
        seconds = time.perf_counter() - start
        console = Console(markup=False)
        console.print(_verdicts(name, claims))
        if options.quick:
            console.print(TOO_FEW)
        run = {"shared": shared, "config": config, "quick": options.quick, "command": shlex.join(command)}
        path = write_results(options.out, name, claims, seconds, run)
        console.print(f"{seconds:.1f} s; written to {path}", soft_wrap=True)
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C does not wait for JAX to clear up
        sys.stderr.write("\ninterrupted\n")
        raise SystemExit(130) from None


def write_results(
    out_dir: Path, experiment: str, claims: Sequence[Claim], seconds: float, run: Mapping[str, Any]
) -> Path:
    """Write `results.json` and `values.parquet`, the files that the ledger and other tools read.

    Args:
        out_dir: the folder, made if missing.
        experiment: its name, that of its file.
        claims: what was found, each under a name of its own.
        seconds: wall time of the experiment, in s.
        run: what else made the numbers, ready for JSON: `shared`, `config`, `quick`, `command`.

    Returns:
        The path of `results.json`.

    Raises:
        ValueError: two claims of one name, or a number in `run` is not finite.
        OSError: the folder cannot be written.
    """
    names = [claim.name for claim in claims]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{experiment} claims {twice[0]!r} twice: give each claim a name of its own")
    results = {
        "experiment": experiment,
        "claims": [claim.to_json() for claim in claims],
        "seconds": round(seconds, 1),
        **environment(),
        **run,
    }
    text = json.dumps(results, indent=1, allow_nan=False) + "\n"
    values = tidy(claims)
    out_dir.mkdir(parents=True, exist_ok=True)
    # Seeds count upwards: their differences take next to nothing.
    small: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": ["claim", "row", "value"],
        "column_encoding": {"seed": "DELTA_BINARY_PACKED"},
    }
    write_atomically(out_dir / "values.parquet", lambda file: values.to_parquet(file, index=False, **small))
    path = out_dir / "results.json"
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def _verdicts(name: str, claims: Iterable[Claim]) -> Table:
    table = Table(title=name)
    for column in ("claim", "published", "measured (95 % interval)", "seeds", "verdict"):
        table.add_column(column)
    for claim in claims:
        table.add_row(*claim.cells(), Text(claim.verdict, COLOURS[claim.verdict]))
    return table
