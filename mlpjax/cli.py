"""The command line: parse, call, print."""

import functools
import operator
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from jaxtyping import AbstractArray
from rich.console import Console
from tyro.constructors import ConstructorRegistry, PrimitiveTypeInfo

from mlpjax.errors import UserError
from mlpjax.plumbing.compilation import remember_compilations
from mlpjax.plumbing.devices import use_all_cores
from mlpjax.plumbing.files import write_atomically
from mlpjax.plumbing.processes import ALONE, join
from mlpjax.report import figures
from mlpjax.study import Study, default_folder, run_study
from mlpjax.widths import WidthSweep, run_widths

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


def study(
    config: Annotated[Study, tyro.conf.arg(name="")],
    out: Path | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
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
    """
    if coordinator is None and not processes is process is None:
        raise UserError("--processes and --process: give --coordinator HOST:PORT of process 0 as well")
    with join(coordinator, processes, process) if coordinator else nullcontext(ALONE) as group:
        console = Console(quiet=group.index > 0)
        run_study(config, out or default_folder("study", config), ["mlpjax", *sys.argv[1:]], console, group)


def widths(
    config: Annotated[WidthSweep, tyro.conf.arg(name="")],
    out: Path | None = None,
) -> None:
    """Train networks of many widths, each from many seeds, and compare what they reach.

    Every figure comes with its interval over seeds. Interrupt it whenever you like: the same command goes on where it
    was. The run's folder holds summary.json, widths.parquet, config.json, figures/widths.png and checkpoints/.

    Args:
        config: what to do.
        out: The run's folder. None: one under runs/, named after the configuration.
    """
    run_widths(config, out or default_folder("widths", config), ["mlpjax", *sys.argv[1:]], Console())


def activations(out: Path = Path("activations.png")) -> None:
    """Draw every activation function with its derivative.

    Args:
        out: The picture's file.
    """
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it first")
    write_atomically(out, lambda file: file.write(figures.png(figures.activations())))
    Console().print(f"Written to {out}", soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `mlpjax`; what a user can mend ends in one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["--version"]:
        sys.stdout.write(f"mlpjax {version('mlpjax')}\n")
        return
    use_all_cores()
    remember_compilations()
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"study": study, "widths": widths, "activations": activations},
            prog="mlpjax",
            description="Train many multilayer perceptrons at once, and settle what lectures claim about them.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes,),
            registry=_REGISTRY,
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
