"""The progress bar that a study and the experiments share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress_bar(
    what: str, unit: str = "epochs", console: Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the work done, the time taken and the time left.

    Args:
        what: is being done; it stands before the bar.
        unit: of the work, in the plural ("epochs" of all networks together).
        console: where to draw; the standard output if None.

    Yields:
        `on_progress(done, total)`, as `lift.run` and `train_many` call it.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}, taken"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task(f"{what}: compiling", total=None)

        def on_progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield on_progress
