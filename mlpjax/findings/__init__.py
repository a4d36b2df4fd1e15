"""What a study finds in its trained networks. Each module with a `FINDING` is one of them, in full.

To add one, write such a module here: the progress bars, `summary.json` and the report have it then.
"""

import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, TypeAlias

from mlpjax.findings.finding import LANDSCAPE, Finding
from mlpjax.findings.subject import Subject
from mlpjax.lift import OnProgress
from mlpjax.report.page import Picture, Section, Table, Tile

Watch: TypeAlias = Callable[[str, str], AbstractContextManager[OnProgress]]
"""(what is looked at, the unit of the work) -> where to tell what is done."""
Found: TypeAlias = Mapping[str, Any]
"""What was found, by the name of the finding; None where there was nothing."""


def discover() -> list[Finding]:
    """The finding of every module here that has one, in order."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return sorted((module.FINDING for module in modules if hasattr(module, "FINDING")), key=lambda f: f.order)


FINDINGS = discover()


def find(subject: Subject, watch: Watch, landscape: bool = True) -> Found:
    """Look for every finding.

    Args:
        subject: the trained networks.
        watch: is told what happens.
        landscape: whether to look at the loss landscape as well, which takes longest.
    """
    found = dict.fromkeys(finding.name for finding in FINDINGS)
    for finding in FINDINGS:
        if finding.applies(subject) and (landscape or finding.section != LANDSCAPE):
            with watch(finding.title, finding.unit) as on_progress:
                found[finding.name] = finding.find(subject, on_progress)
    return found


def summarise(found: Found) -> dict[str, Any]:
    """The entry of every finding in `summary.json`; None where nothing was found."""
    return {
        finding.name: None if found[finding.name] is None else finding.summarise(found[finding.name])
        for finding in FINDINGS
    }


def sections(found: Found, opening: bool) -> list[Section]:
    """The parts of the page that findings fill.

    Args:
        found: what was found.
        opening: those that stand before the results, or the others.
    """
    parts: dict[str, tuple[list[str], list[Table | Picture]]] = {}
    for finding in FINDINGS:
        if found[finding.name] is not None and finding.opens == opening:
            texts, items = parts.setdefault(finding.section, ([], []))
            texts.append(finding.text(found[finding.name]))
            items.extend(finding.show(found[finding.name]))
    return [Section(title, "\n\n".join(texts), items) for title, (texts, items) in parts.items()]


def lines(found: Found) -> list[str]:
    """What the terminal is to say of all findings."""
    return [
        line for finding in FINDINGS if found[finding.name] is not None for line in finding.lines(found[finding.name])
    ]


def tiles(found: Found) -> list[Tile]:
    """The key figures of all findings."""
    return [
        tile for finding in FINDINGS if found[finding.name] is not None for tile in finding.tiles(found[finding.name])
    ]
