"""The command `mlpjax`: help and version at once; the rest in `commands`, whose imports take seconds."""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import mlpjax
from mlpjax.errors import UserError

COMMANDS = {
    "study": "Train one network from many seeds, look at the landscape they end in, and write a report.",
    "sweep": "Train networks at every setting of some fields, each from the same seeds, and compare what they reach.",
    "compare": "Compare runs over seeds: how far apart they are, if by chance, and how many seeds would show it.",
    "activations": "Draw every activation function with its derivative.",
}
"""What each command does: the first line of its own help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `mlpjax`; what a user can mend ends in one line and exit code 2."""
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except BrokenPipeError:  # as in `mlpjax study --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C does not wait for JAX to clear up
        raise SystemExit(130) from None


def _run(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "mlpjax",
        description=mlpjax.__doc__,
        epilog="mlpjax COMMAND --help shows what a command can be told, with the defaults.",
    )
    parser.add_argument("--version", action="version", version=f"mlpjax {version('mlpjax')}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    for name, line in COMMANDS.items():
        commands.add_parser(name, help=line)
    command = parser.parse_args(arguments[:1]).command
    gc.disable()  # all that is imported stays: to look through it for garbage, now and later, takes a tenth of a start
    with _interrupts_end_at_once():
        from mlpjax.commands import run  # noqa: PLC0415
    gc.freeze()
    gc.enable()
    run(command, arguments[1:])


@contextmanager
def _interrupts_end_at_once() -> Iterator[None]:
    """While modules are imported: a Ctrl-C that meets a destructor or a callback would be printed, and lost."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # as under nohup, where Ctrl-C is ignored
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
