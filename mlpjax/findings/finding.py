"""What a finding is."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlpjax.findings.subject import Subject
from mlpjax.lift import OnProgress
from mlpjax.report.page import Picture, Table, Tile

LANDSCAPE = "Loss landscape"
"""The part of the page whose findings take most of a study's time, and which a study may leave out."""


def any_finite(subject: Subject) -> bool:
    """Whether a network with a random start did not diverge."""
    return len(subject.finite) > 0


class Finding(NamedTuple):
    """One thing that a study finds in its networks: the science, and how it is told."""

    name: str
    """Its key in `summary.json`."""
    title: str
    """What stands before its progress bar."""
    unit: str
    """Of its progress, in the plural."""
    section: str
    """Part of the page in which it stands, perhaps with others."""
    order: int
    """Findings are looked for, and stand in the page, in rising order."""
    find: Callable[[Subject, OnProgress], Any]
    """What is found; None where there is nothing to tell."""
    summarise: Callable[[Any], dict[str, Any]]
    """What was found -> its entry in `summary.json`."""
    show: Callable[[Any], Sequence[Table | Picture]]
    """What was found -> its tables and pictures."""
    tiles: Callable[[Any], Sequence[Tile]] = lambda found: ()
    """What was found -> key figures for the head of the page."""
    text: Callable[[Any], str] = lambda found: ""
    """What was found -> a paragraph at the head of its part of the page; may be empty."""
    lines: Callable[[Any], Sequence[str]] = lambda found: ()
    """What was found -> lines for the terminal, where it should not wait until the page is read."""
    opens: bool = False
    """Whether its part of the page stands before the results."""
    applies: Callable[[Subject], bool] = any_finite
    """Whether there is anything to look at."""
