"""What the commands say on the terminal."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, with a header or without."""
    table = Table(title=title, title_justify="left", show_header=bool(header))
    for column in header or rows[0]:
        table.add_column(column if header else "")
    for row in rows:
        table.add_row(*row)
    console.print(table)


@contextmanager
def say_how_to_go_on(out: Path, command: Sequence[str], console: Console) -> Iterator[None]:
    """Where Ctrl-C ends what is inside, say that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            f"\nInterrupted. What is done is saved in {out}; to go on, give the same command:", soft_wrap=True
        )
        console.print(f"  {shlex.join(command)}", soft_wrap=True)
        raise
