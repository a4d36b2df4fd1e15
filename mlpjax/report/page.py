"""The report as one HTML file that opens anywhere: figures inside, nothing fetched, a script it can do without."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import jinja2
from matplotlib.figure import Figure

from mlpjax.report.explore import Drawing
from mlpjax.report.figures import KINDS, png, saved

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("mlpjax", "report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["base64"] = lambda content: base64.b64encode(content).decode()


@dataclass(frozen=True)
class Tile:
    """A key figure at the head of the page.

    Args:
        label: what it is ("test error").
        value: the figure with its unit ("1.70 %").
        interval: what it is good for ("95 % interval 1.66 to 1.74, 64 seeds"); may be empty.
    """

    label: str
    value: str
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header.

    Args:
        title: what the table shows.
        header: one text per column; empty for a table of labels and values.
        rows: as many texts as columns.
        note: what a reader needs to read it; may be empty.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its caption.

    Args:
        name: of its files in the run's folder, without the ending.
        title: what the figure shows.
        figure: of matplotlib.
        caption: how to read it: axes, intervals, number of seeds.
        alt: what it shows, for those who cannot see it.
        drawing: what the page's script draws of it; None: the picture is all.
    """

    name: str
    title: str
    figure: Figure
    caption: str
    alt: str
    drawing: Drawing | None = None

    @cached_property
    def png(self) -> bytes:
        """As the page shows it."""
        return png(self.figure)


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation names.

    Args:
        title: short; stands in the navigation.
        text: paragraphs, parted by empty lines; may be empty.
        items: its tables and figures, in order.
    """

    title: str
    text: str
    items: Sequence[Table | Picture]


def picture_files(items: Iterable[Table | Picture]) -> dict[str, bytes]:
    """Every picture as PNG, SVG and PDF, by the name of the file."""
    return {
        f"{item.name}.{kind}": item.png if kind == "png" else saved(item.figure, kind)
        for item in items
        if isinstance(item, Picture)
        for kind in KINDS
    }


def render(title: str, subtitle: str, tiles: Sequence[Tile], sections: Sequence[Section]) -> str:
    """The page as text.

    Args:
        title: of the page.
        subtitle: one line: what was run, where and when.
        tiles: the key figures.
        sections: in order.

    Returns:
        One HTML document. All texts are escaped.
    """
    drawn = any(isinstance(item, Picture) and item.drawing for section in sections for item in section.items)
    return _TEMPLATES.get_template("report.html").render(
        title=title, subtitle=subtitle, tiles=tiles, sections=sections, drawn=drawn
    )
