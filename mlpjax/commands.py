"""The commands of the command line: parse, call, print."""

import dataclasses
import functools
import operator
import shlex
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from jaxtyping import AbstractArray
from rich.console import Console
from tyro.constructors import ConstructorRegistry, PrimitiveTypeInfo, StructConstructorSpec, StructTypeInfo

from mlpjax.comparison import run_compare
from mlpjax.configuration import default_folder
from mlpjax.errors import UserError
from mlpjax.grid import GridSweep, run_sweep
from mlpjax.plumbing.compilation import remember_compilations
from mlpjax.plumbing.devices import use_all_cores
from mlpjax.plumbing.files import write_output
from mlpjax.plumbing.processes import ALONE, join
from mlpjax.report import figures
from mlpjax.study import Study, run_study
from mlpjax.trackers import TrackerName

MODELS = ("mlp", "vgg")
"""What tyro calls the models of a study; the first where none is named."""
ELSEWHERE = {
    "--lr": "--learning-rate",
    "--bs": "--batch-size",
    "--wd": "--weight-decay",
    "--l1": "--lasso",
    "--l2": "--ridge",
    "--hidden": "--widths",
    "--layers": "--widths",
    "--dataset": "--data",
}
"""What other programs call an option: nothing in the spelling leads from there to its name, as tyro's own suggestions
need."""
_REGISTRY = ConstructorRegistry()


@_REGISTRY.primitive_rule
def _what_can_be_typed(info: PrimitiveTypeInfo) -> Any:
    """A number may also be a traced array, and a name a function or a record: read the other types of the union."""
    if get_origin(info.type) not in (Union, types.UnionType):
        return None
    members = get_args(info.type)
    typed = [m for m in members if get_origin(m) is not Callable and not _is_record_or_array(m)]
    if len(typed) == len(members):
        return None
    typed = [m for m in typed if m is not int or float not in typed]
    union = functools.reduce(operator.or_, typed)
    return ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(union, info.markers))


def _is_record_or_array(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, AbstractArray) or hasattr(kind, "_fields"))


class _RefusedError(Exception):
    """A `UserError` on its way through tyro, which would draw a box round any `ValueError` of a configuration."""


_ASKED = "the rule below has asked tyro for its own answer"


@_REGISTRY.struct_rule
def _let_user_errors_through(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not dataclasses.is_dataclass(info.type) or _ASKED in info.markers:
        return None
    spec = ConstructorRegistry.get_struct_spec(dataclasses.replace(info, markers=(*info.markers, _ASKED)))
    assert isinstance(spec, StructConstructorSpec)

    def instantiate(**settings: Any) -> Any:
        try:
            return spec.instantiate(**settings)
        except UserError as error:
            raise _RefusedError(str(error)) from error

    return dataclasses.replace(spec, instantiate=instantiate)


def study(
    config: Annotated[Study, tyro.conf.arg(name="")],
    out: Path | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    track: tuple[TrackerName, ...] = (),
) -> None:
    """Train one network from many seeds, look at the landscape they end in, and write a report.

    Every figure comes with its interval over seeds. Interrupt it whenever you like: the same command goes on where it
    was. The run's folder holds report.html, summary.json, metrics.parquet, config.json, figures/ and checkpoints/.

    Args:
        config: what to do.
        out: The run's folder. None: one under runs/, named after the configuration.
        coordinator: HOST:PORT of process 0, for several processes or machines that share the work and see the same
            folder; auto under Slurm, Open MPI, Kubernetes or on Cloud TPU. None: this process alone.
        processes: How many processes there are; the cluster knows under auto.
        process: Which of them this is, from 0 on; the cluster knows under auto.
        track: Where the curves of training go as well, as they come: tensorboard (files in the run's folder, which
            tensorboard --logdir shows) or wandb (Weights & Biases; with WANDB_MODE=offline in the run's folder).
    """
    if coordinator is None and not processes is process is None:
        raise UserError("--processes and --process: give --coordinator HOST:PORT of process 0 as well")
    with join(coordinator, processes, process) if coordinator else nullcontext(ALONE) as group:
        console = Console(quiet=group.index > 0)
        folder = out or default_folder("study", config)
        run_study(config, folder, ["mlpjax", *sys.argv[1:]], console, group, track)


def sweep(
    config: Annotated[GridSweep, tyro.conf.arg(name="")],
    out: Path | None = None,
) -> None:
    """Train networks at every setting of some fields, each from the same seeds, and compare what they reach.

    --over FIELD VALUE VALUE ..., once for each field: any field of the network, the recipe or the data. Every figure
    comes with its interval over seeds. Interrupt it whenever you like: the same command goes on where it was. The run's
    folder holds report.html, summary.json, sweep.parquet, config.json, figures/ and checkpoints/.

    Args:
        config: what to do.
        out: The run's folder. None: one under runs/, named after the configuration.
    """
    run_sweep(config, out or default_folder("sweep", config), ["mlpjax", *sys.argv[1:]], Console())


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    metric: str | None = None,
    size: float | None = None,
    run_column: str | None = None,
    seed_column: str | None = None,
    json: bool = False,
    out: Path = Path("compare.html"),
) -> None:
    """Compare runs over seeds: how far apart they are, if by chance, and how many seeds would show it.

    Every run is compared with the first. Where seeds and data are the same, runs are paired by seed, else they are not;
    the result says which.

    Args:
        runs: Folders that mlpjax study or mlpjax sweep wrote (each setting of a sweep is a run); folders of TensorBoard
            event files, each in a folder named after its seed (adam/seed_3); or tables (.csv or .parquet) with a column
            for the run, one for the seed, and the rest metrics.
        metric: The figure that the page is about. None: the test error, or the first that all have.
        size: A true difference, in the metric's unit, for which to say how many seeds would show it. None: the one that
            was measured.
        run_column: The column of a table that tells runs apart. None: one of a usual name (run, model, method ...).
        seed_column: The column of a table with the seeds. None: one of a usual name (seed, trial ...).
        json: Print the result as JSON, and nothing else.
        out: The page's file.
    """
    if not runs:
        raise UserError("runs: give the folders of two runs, or a table")
    run_compare(
        runs,
        metric=metric,
        size=size,
        run_column=run_column,
        seed_column=seed_column,
        as_json=json,
        out=out,
        command=shlex.join(["mlpjax", *sys.argv[1:]]),
        console=Console(),
    )


def activations(out: Path = Path("activations.png")) -> None:
    """Draw every activation function with its derivative.

    Args:
        out: The figure's file: .png, .svg or .pdf.
    """
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.suffix[1:] not in figures.KINDS:
        raise UserError(f"--out {out}: give a name that ends in .png, .svg or .pdf")
    write_output(out, figures.saved(figures.activations(), out.suffix[1:]))
    Console().print(f"Written to {out}", soft_wrap=True)


_COMMANDS: dict[str, Callable[..., None]] = {
    "study": study,
    "sweep": sweep,
    "compare": compare,
    "activations": activations,
}


def run(command: str, arguments: Sequence[str]) -> None:
    """Parse the arguments of a command, and do it."""
    use_all_cores()
    remember_compilations()
    for given in arguments if command in ("study", "sweep") else ():
        if (option := given.partition("=")[0]) in ELSEWHERE:
            raise UserError(f"{option}: there is no such option; did you mean {ELSEWHERE[option]}?")
    if command in ("study", "sweep") and not {*arguments} & {*MODELS, "-h", "--help"}:
        arguments = [MODELS[0], *arguments]  # left to tyro, an option before and one after --widths cannot be the same
    try:
        tyro.cli(
            _COMMANDS[command],
            prog=f"mlpjax {command}",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
            registry=_REGISTRY,
        )
    except _RefusedError as refused:
        raise UserError(str(refused)) from refused
