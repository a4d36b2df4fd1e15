"""Figures as data: what the page's script draws, to turn it or to single out a seed.

The script is our own: a plotting library with surfaces weighs a megabyte or more, in every page.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Int, Real
from matplotlib.colors import to_hex

from mlpjax.stats import quantile_band

SEEDS, POINTS, SIDE = 128, 100, 61
"""Seeds that can be singled out, the first ones; points of a line, and along a side of a surface: at most, so that a
page stays light."""


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Lines of one kind, one for each seed or pair of seeds.

    Args:
        name: in the legend.
        colour: of matplotlib.
        x: of the points of every line, increasing.
        y: of each line.
        seeds: whose each line is; empty: nobody's, and only their median is drawn, dashed.
    """

    name: str
    colour: str
    x: Real[np.ndarray, " points"]
    y: Real[np.ndarray, "lines points"]
    seeds: Sequence[Sequence[int]] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """Lines over one pair of axes.

    Args:
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
        series: drawn above each other, with the median and the central 95 % of each.
        log: whether the vertical axis is logarithmic.
    """

    xlabel: str
    ylabel: str
    series: Sequence[Series]
    log: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Histogram:
    """How often a figure of each seed lies where.

    Args:
        label: of the figure.
        colour: of matplotlib.
        edges: of the bars.
        counts: in each bar, of all seeds.
        mean: over seeds.
        ci95: its interval; None for one seed.
        values: of each seed.
        seeds: in the order of the values.
    """

    label: str
    colour: str
    edges: Real[np.ndarray, " edges"]
    counts: Real[np.ndarray, " bars"]
    mean: float
    ci95: Sequence[float] | None
    values: Real[np.ndarray, " seeds"]
    seeds: Sequence[int]


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """A loss over a plane, to turn.

    Args:
        xlabel: of the first axis.
        ylabel: of the second axis.
        x: along the first axis, increasing.
        y: along the second axis, increasing.
        loss: at each pair; where it is not finite there is a hole.
        path: a line on the surface: x, y and loss of each point, the last of which is marked.
    """

    xlabel: str
    ylabel: str
    x: Real[np.ndarray, " first"]
    y: Real[np.ndarray, " second"]
    loss: Real[np.ndarray, "first second"]
    path: Real[np.ndarray, "points 3"]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What the script draws of a picture.

    Args:
        parts: side by side.
        whole: whether that is all that the picture shows; else the picture stays below it.
    """

    parts: Sequence[Panel | Histogram | Surface]
    whole: bool = False

    def data(self) -> dict[str, Any]:
        """As JSON can hold it, to four digits; what is not finite is None."""
        return {"whole": self.whole, "parts": [_part(part) for part in self.parts]}


def _part(part: Panel | Histogram | Surface) -> dict[str, Any]:
    fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    if isinstance(part, Panel):
        fields["series"] = [_series(series) for series in part.series]
    elif isinstance(part, Histogram):
        rank = np.argsort(np.argsort(part.values)) + 1
        fields["colour"] = to_hex(part.colour)
        fields |= {"seeds": list(part.seeds[:SEEDS]), "of": len(part.values), "values": part.values[:SEEDS]}
        fields["rank"] = rank[:SEEDS]
    else:
        rows, columns = (_some(axis, SIDE) for axis in (part.x, part.y))
        fields |= {"x": part.x[rows], "y": part.y[columns], "loss": part.loss[np.ix_(rows, columns)]}
        positive = part.loss[np.isfinite(part.loss)].min(initial=np.inf) > 0
        colours = [to_hex(colour) for colour in mpl.colormaps["viridis"](np.linspace(0, 1, 33))]
        fields |= {"log": bool(positive), "colours": colours}
    plain = {name: _rounded(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()}
    return {"kind": type(part).__name__} | plain


def _series(series: Series) -> dict[str, Any]:
    kept = _some(series.x, POINTS)
    y = series.y[:, kept]
    lower, median, upper = quantile_band(y)
    return {
        "name": series.name,
        "colour": to_hex(series.colour),
        "x": _rounded(series.x[kept]),
        "median": _rounded(median),
        "band": [_rounded(lower), _rounded(upper)] if len(series.seeds) else None,
        "seeds": [list(seeds) for seeds in series.seeds[:SEEDS]],
        "lines": _rounded(y[:SEEDS]) if len(series.seeds) else [],
    }


def _some(axis: Real[np.ndarray, " points"], most: int) -> Int[np.ndarray, " kept"]:
    """Places along an axis, evenly spaced, the first and the last among them."""
    return np.linspace(0, len(axis) - 1, min(len(axis), most)).astype(int)


def _rounded(values: Real[np.ndarray, "..."]) -> list[Any]:
    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(part) for part in value]
        return (float(f"{value:.4g}") if isinstance(value, float) else value) if np.isfinite(value) else None

    return [one(value) for value in values.tolist()]
