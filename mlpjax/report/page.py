"""The report as one HTML file that opens anywhere: figures inside, nothing fetched, a script it can do without."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from mlpjax.report.explore import Drawing

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


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Args:
        name: of its file in the run's folder, without the ending.
        title: what the figure shows.
        png: the bytes of the file (`figures.png`).
        caption: how to read it: axes, intervals, number of seeds.
        alt: what it shows, for those who cannot see it.
        drawing: what the page's script draws of it; None: the picture is all.
    """

    name: str
    title: str
    png: bytes
    caption: str
    alt: str
    drawing: Drawing | None = None


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
