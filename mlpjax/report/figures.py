"""Figures: arrays in, a `matplotlib.figure.Figure` out; no window, and no global state but while drawing."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]

from mlpjax.activations import ACTIVATIONS
from mlpjax.data import Dataset
from mlpjax.history import error_metric
from mlpjax.report.explore import Panel, Series
from mlpjax.report.words import METRICS, typed
from mlpjax.stats import quantile_band, summarise, wilson_ci

# Okabe and Ito, Color Universal Design (2008): told apart by colour-blind readers too.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
)
FIELDS = {"hidden": "units of a hidden layer"}
"""What a field is called on an axis, where that is not its name."""
GREY = "#777777"
"""Of what others are compared with."""
MARKERS = "os^DvP*X<>pd"
"""Of classes."""
SPLIT_COLOURS = {"train": BLUE, "valid": ORANGE, "test": VERMILLION}
KINDS = ("png", "svg", "pdf")
"""Of files that figures are saved as."""
STYLE: dict[Any, Any] = {
    "font.size": 13.0,
    "axes.titlesize": 14.0,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY]),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "legend.fontsize": 12.0,
    "figure.constrained_layout.use": True,
}


def png(figure: Figure) -> bytes:
    """The figure as PNG, at the resolution of a projector or a page.

    Args:
        figure: of this module or any other.

    Returns:
        The bytes of the file.
    """
    return saved(figure, "png")


def saved(figure: Figure, kind: str) -> bytes:
    """The figure as a file of any kind of `KINDS`; the same figure has the same bytes.

    Args:
        figure: of this module or any other.
        kind: of the file; lines and letters of svg and pdf stay such, for print and for drawing programs.

    Returns:
        The bytes of the file.
    """
    buffer = io.BytesIO()
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context({"svg.hashsalt": "mlpjax"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=dateless)
    return buffer.getvalue()


def curve_panels(metrics: pd.DataFrame, controls: pd.DataFrame | None = None) -> list[Panel]:
    """Loss and error (in regression RMSE) of every seed against epochs.

    Args:
        metrics: tidy columns seed, epoch, split ("train", "valid", "test"), metric ("loss", and
            "accuracy" or "rmse"; others are passed over) and value (accuracy as a fraction in [0, 1]). Seeds with a
            value that is missing or not finite are left out; the legend counts those that stay.
        controls: the same of the networks that started at zero.

    Returns:
        Two panels; the loss on a log axis where its median spans more than a factor of ten.
    """
    panels = []
    second = ("accuracy", "error (%)") if "accuracy" in set(metrics["metric"]) else ("rmse", "RMSE")
    for metric, label in (("loss", "loss"), second):
        series = []
        for frame in (metrics, controls):
            if frame is None:
                continue
            for split, colour in SPLIT_COLOURS.items():
                rows = frame[(frame["metric"] == metric) & (frame["split"] == split)]
                table = rows.pivot(index="seed", columns="epoch", values="value")
                table = table.loc[np.isfinite(table.to_numpy(float)).all(axis=1)]
                if table.empty:
                    continue
                values = table.to_numpy(float)
                if metric == "accuracy":
                    values = 100 * (1 - values)
                of, drawn, seeds = split, colour, [(int(seed),) for seed in table.index]
                if frame is controls:
                    of, drawn, seeds = "all-zero start", GREY, []
                series.append(Series(f"{of} (n = {len(values):,})", drawn, table.columns.to_numpy(), values, seeds))
        medians = np.concatenate([*(np.median(one.y, axis=0) for one in series), [1.0] * (not series)])
        log = metric == "loss" and medians.min() > 0 and medians.max() > 10 * medians.min()
        panels.append(Panel("epoch", label, series, bool(log)))
    return panels


@mpl.rc_context(STYLE)
def learning_curves(panels: Sequence[Panel]) -> Figure:
    """Learning curves: the median over seeds, and the central 95 % of them.

    Args:
        panels: of `curve_panels`; the medians of the control group are drawn dashed.

    Returns:
        A panel for each.
    """
    figure = Figure(figsize=(12, 4.6))
    drawn = figure.subplots(1, len(panels))
    for axes, panel in zip(drawn, panels, strict=True):
        names = set()
        for series in panel.series:
            lower, median, upper = quantile_band(series.y)
            marker = "o" if len(series.x) == 1 else None
            style: dict[str, Any] = {} if series.seeds else {"ls": "--", "lw": 1.6}
            name = None if series.name in names else series.name
            axes.plot(series.x, median, color=series.colour, marker=marker, label=name, **style)
            if series.seeds:
                axes.fill_between(series.x, lower, upper, color=series.colour, alpha=0.2, lw=0)
            names.add(series.name)
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, yscale="log" if panel.log else "linear")
        axes.locator_params(axis="x", integer=True)
    figure.legend(
        *drawn[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        title="median over n seeds, and band of the central 95 % of them",
    )
    return figure


@mpl.rc_context(STYLE)
def sweep_curves(over: Mapping[str, Sequence[Any]], groups: Sequence[Mapping[str, Any]]) -> Figure:
    """Final error (in regression RMSE) and loss at every setting of a sweep: the mean over seeds.

    Args:
        over: the values of each field.
        groups: one for each setting, the last field changing fastest: `setting`, `parameters`, and what
            `history.summarise_group` says.

    Returns:
        Two panels. One field: curves, with the 95 % interval of the mean as a band or, where the values are no numbers,
        as bars; what spans more than a factor of ten is on a log axis, and the number of parameters stands above where
        the field changes it. Several fields: the test split on heat maps, the last field along the horizontal axis,
        with half the interval's length under each mean.
    """
    figure = Figure(
        figsize=(12, 5.2 if len(over) == 1 else max(3.5, 1.6 + 0.62 * len(groups) / len([*over.values()][-1])))
    )
    panels = figure.subplots(1, 2)
    for axes, metric in zip(panels, (error_metric(groups[0]), "loss"), strict=True):
        if len(over) == 1:
            _curves(axes, over, groups, metric)
        else:
            _heat_map(axes, over, groups, metric)
    if len(over) == 1:
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=2,
            title="mean over seeds, and its 95 % interval",
        )
    return figure


def _curves(axes: Axes, over: Mapping[str, Sequence[Any]], groups: Sequence[Mapping[str, Any]], metric: str) -> None:
    ((field, values),) = over.items()
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = np.asarray(values, float) if numeric else np.arange(len(values), dtype=float)
    order = np.argsort(places)
    for split, marker in (("train", "s"), ("test", "o")):
        found = [groups[index][f"{split}_{metric}"] for index in order]
        mean = np.asarray([figures["mean"] if figures else np.nan for figures in found])
        band = np.asarray([(figures and figures["ci95"]) or (np.nan, np.nan) for figures in found])
        colour = SPLIT_COLOURS[split]
        if numeric:
            axes.plot(places[order], mean, color=colour, marker=marker, ms=5, label=split)
            axes.fill_between(places[order], *band.T, color=colour, alpha=0.25, lw=0)
        else:
            beside = places + (0.06 if split == "test" else -0.06)
            error = np.abs(band.T - mean[None])
            axes.errorbar(beside, mean, yerr=error, fmt=marker, ms=7, capsize=4, color=colour, label=split)
    axes.set(xlabel=FIELDS.get(field, field.replace("_", " ")), ylabel=f"final {METRICS[metric]}")
    test = mean[np.isfinite(mean)]
    if metric == "loss" and test.size and test.min() > 0 and test.max() > 10 * test.min():
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if not numeric:
        axes.set_xticks(places, labels=map(typed, values))
        axes.margins(x=0.15)
        return
    logarithmic = places.min() > 0 and places.max() > 10 * places.min()
    if logarithmic:
        axes.set_xscale("log")
    scaled = np.log(places[order]) if logarithmic else places[order]
    labelled = [len(order) - 1]  # where labels stand: a seventh of the axis from each other, or further
    for index in reversed(range(len(order))):
        if scaled[labelled[-1]] - scaled[index] > (scaled[-1] - scaled[0]) / 7:
            labelled.append(index)
    ticks = places[order][labelled]
    axes.set_xticks(ticks, labels=[f"{value:g}" for value in ticks])
    axes.minorticks_off()
    sizes = [groups[index]["parameters"] for index in order]
    if len(set(sizes)) > 1:
        top = axes.secondary_xaxis("top")
        top.set_xlabel("weights and biases")
        top.set_xticks(ticks, labels=[_short(sizes[index]) for index in labelled])
        top.minorticks_off()


def _heat_map(axes: Axes, over: Mapping[str, Sequence[Any]], groups: Sequence[Mapping[str, Any]], metric: str) -> None:
    *fields, across = over
    columns = len(over[across])
    found = [group[f"test_{metric}"] for group in groups]
    mean = np.asarray([figures["mean"] if figures else np.nan for figures in found]).reshape(-1, columns)
    drawn = np.ma.masked_invalid(mean)
    image = axes.imshow(drawn, cmap="viridis_r", aspect="auto")
    middle = (float(drawn.min()) + float(drawn.max())) / 2
    for place, figures in enumerate(found):
        row, column = divmod(place, columns)
        said = "diverged"
        if figures:
            said = f"{figures['mean']:.3g}"
            if figures["ci95"]:
                said += f"\n±{(figures['ci95'][1] - figures['ci95'][0]) / 2:.2g}"
        light = figures and figures["mean"] > middle
        axes.text(column, row, said, ha="center", va="center", fontsize=10, color="white" if light else "black")
    rows = [", ".join(typed(group["setting"][field]) for field in fields) for group in groups[::columns]]
    axes.set_xticks(range(columns), labels=map(typed, over[across]))
    axes.set_yticks(range(len(rows)), labels=rows)
    names = [FIELDS.get(field, field.replace("_", " ")) for field in over]
    axes.set(xlabel=names[-1], ylabel=", ".join(names[:-1]), title=f"final test {METRICS[metric]}")
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes)


def _short(number: int) -> str:
    """A number to three digits, in thousands or millions where it is large."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


@mpl.rc_context(STYLE)
def final_distribution(finals: dict[str, Real[np.ndarray, "..."]]) -> Figure:
    """Where the seeds ended: a histogram of each final figure, with its mean and the interval of the mean.

    Args:
        finals: label of the axis ("final test loss") -> one finite number per seed, for one seed or many.

    Returns:
        One panel per label; up to 200 seeds are also ticked one by one.
    """
    figure = Figure(figsize=(6 * len(finals), 4.4))
    panels = figure.subplots(1, len(finals), squeeze=False)[0]
    for index, (axes, (label, values)) in enumerate(zip(panels, finals.items(), strict=True)):
        summary = summarise(values)
        axes.hist(values, bins=bars(values), color=f"C{index}", alpha=0.55)
        if len(values) <= 200:
            height = np.full(len(values), 0.03)
            axes.plot(values, height, "|", color="black", ms=8, mew=1, transform=axes.get_xaxis_transform())
        name = f"mean {summary['mean']:.4g}"
        if summary["ci95"]:
            axes.axvspan(*summary["ci95"], color="black", alpha=0.2, lw=0)
            name += " [{:.4g}, {:.4g}],".format(*summary["ci95"])
            name += f"\n95 % interval over {len(values):,} seeds"
        axes.axvline(summary["mean"], color="black", label=name)
        axes.set(xlabel=label, ylabel="number of seeds")
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", integer=True)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def bars(values: Real[np.ndarray, "..."]) -> Float[np.ndarray, " edges"]:
    """The edges of a histogram's bars.

    Args:
        values: finite, one or many.
    """
    low, high = float(values.min()), float(values.max())
    margin = max(0.05 * (high - low), 1e-3 * abs(high), 1e-9)  # all seeds may have ended at one value
    count = min(61, 5 + 2 * (int(np.sqrt(values.size)) // 2))  # odd: one seed stands in the middle of a bar
    return np.linspace(low - margin, high + margin, count + 1)


def contours(
    axes: Axes,
    alphas: Real[np.ndarray, " alphas"],
    betas: Real[np.ndarray, " betas"],
    loss: Real[np.ndarray, "betas alphas"],
) -> None:
    """Fill axes with the contours of a loss, and give them a colour bar.

    Args:
        axes: what to draw on.
        alphas: along the horizontal axis, increasing.
        betas: along the vertical axis, increasing.
        loss: at each pair; where it is not finite the plane stays blank.
    """
    visible = np.ma.masked_invalid(loss)
    low, high = float(visible.min()), float(visible.max())
    if high - low <= 1e-6 * abs(high):  # flat to rounding: contours would be noise
        low, high = low - 0.5, high + 0.5
    logarithmic = low > 0
    levels = np.geomspace(low, high, 25) if logarithmic else np.linspace(low, high, 25)
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    filled = axes.contourf(alphas, betas, visible, levels=levels, norm=norm, cmap="viridis")
    axes.contour(alphas, betas, visible, levels=levels[::2], norm=norm, colors="white", linewidths=0.6, alpha=0.6)
    axes.figure.colorbar(filled, ax=axes, label="loss", ticks=levels[::4], format="%.3g").minorticks_off()
    axes.grid(False)
    axes.locator_params(nbins=5)


def relief(
    axes: Axes3D,
    alphas: Real[np.ndarray, " alphas"],
    betas: Real[np.ndarray, " betas"],
    loss: Real[np.ndarray, "betas alphas"],
) -> None:
    """Draw a loss as a surface over a plane, on a log scale where all of it is above 0.

    Args:
        axes: what to draw on, in three dimensions.
        alphas: along the first axis, increasing.
        betas: along the second axis, increasing.
        loss: at each pair; where it is not finite there is a hole.
    """
    visible = np.where(np.isfinite(loss), loss, np.nan)
    logarithmic = bool(np.nanmin(visible) > 0)
    height = np.log10(visible) if logarithmic else visible
    norm = Normalize(np.nanmin(height), np.nanmax(height))
    colours = mpl.colormaps["viridis"](norm(height))
    axes.plot_surface(*np.meshgrid(alphas, betas), height, facecolors=colours, shade=False, linewidth=0.2)
    axes.set_zlabel("loss")
    axes.locator_params(nbins=5)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.labelpad = 10  # or labels stand on those of the ticks
    axes.set_box_aspect(None, zoom=0.85)  # or they are cut off
    if logarithmic:
        axes.zaxis.set_major_formatter(lambda z, _: f"{10**z:.2g}")


def draw_shares(
    axes: Axes,
    places: Sequence[float | int],
    counts: Sequence[tuple[int, int]],
    *,
    along: Literal["x", "y"] = "y",
    **style: Any,
) -> None:
    """Shares in %, each with Wilson's 95 % interval.

    Args:
        axes: to draw on.
        places: of each, along the other axis.
        counts: of each, how many of how many seeds.
        along: the axis on which the shares are read.
        style: of `Axes.errorbar`.
    """
    shares = np.array([100 * hits / seeds for hits, seeds in counts])
    ends = 100 * np.array([wilson_ci(hits, seeds) for hits, seeds in counts])
    style = {"capsize": 4, "marker": "o", "ms": 7, **style, f"{along}err": np.abs(ends.T - shares[None])}
    axes.errorbar(*((places, shares) if along == "y" else (shares, places)), **style)


def pictures(images: Real[np.ndarray, "n height width *channels"]) -> Real[np.ndarray, "n height width *colours"]:
    """Images as they can be drawn: red, green and blue as they are, any other channels as their mean."""
    return images if images.ndim == 3 or images.shape[-1] == 3 else images.mean(axis=-1)


@mpl.rc_context(STYLE)
def sample_sheet(dataset: Dataset) -> Figure:
    """Some training rows of each class: look at the data first.

    Args:
        dataset: of images or of any other features, in classes.

    Returns:
        Images: a row of fifteen for each class. Two features: a scatter plot of up to 2,000 points. Any other
        number: a panel for each class, with five rows as curves over the features' index. At most twelve
        classes are shown.
    """
    x, y = (np.asarray(part) for part in dataset.train)
    classes = np.unique(y)[:12].tolist()
    if dataset.features == 2:
        figure = Figure(figsize=(6.4, 5.4))
        axes = figure.subplots()
        for label, marker in zip(classes, MARKERS, strict=False):
            points = x[:2000][y[:2000] == label]
            axes.plot(points[:, 0], points[:, 1], marker, ms=5, alpha=0.6, label=f"class {dataset.class_name(label)}")
        axes.set(xlabel="feature 1", ylabel="feature 2")
        figure.legend(loc="outside right upper")
        return figure
    if dataset.image_shape is None:
        rows = -(-len(classes) // 5)
        figure = Figure(figsize=(12, 2.5 * rows + 0.5))
        panels = figure.subplots(rows, 5, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in panels[len(classes) :]:
            axes.set_axis_off()
        for axes, label in zip(panels, classes, strict=False):
            axes.plot(x[y == label][:5].T, lw=1.4, alpha=0.8)
            axes.set_title(f"class {dataset.class_name(label)}")
        figure.supxlabel("index of the feature", fontsize=13)
        figure.supylabel("value", fontsize=13)
        return figure
    x = pictures(x)
    height, width, *channels = x.shape[1:]
    # One picture for all: an axis for each of them takes a second and a half, before anything is trained.
    blank = 1.0 if channels else np.nan  # white
    mosaic = np.full((len(classes) * (height + 2), 15 * (width + 2), *channels), blank, np.float32)
    for row, label in enumerate(classes):
        for column, image in enumerate(x[y == label][:15]):
            mosaic[row * (height + 2) :, column * (width + 2) :][:height, :width] = image / max(image.max(), 1)
    figure = Figure(figsize=(11, 0.72 * len(classes)))
    axes = figure.subplots()
    axes.imshow(mosaic, cmap="gray_r", interpolation="nearest")
    axes.set_yticks(np.arange(len(classes)) * (height + 2) + height / 2, labels=[*map(dataset.class_name, classes)])
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return figure


@mpl.rc_context(STYLE)
def activations() -> Figure:
    """Every activation of the table, with its derivative by `jax.grad`.

    Returns:
        One panel per function, for inputs in [-5, 5]; those with a trained alpha where it starts.
    """
    columns = 5
    rows = -(-len(ACTIVATIONS) // columns)
    figure = Figure(figsize=(16, 2.7 * rows))
    panels = figure.subplots(rows, columns, sharex=True).ravel()
    for axes in panels[len(ACTIVATIONS) - columns :]:
        axes.tick_params(labelbottom=True)  # also where no panel is below
    for axes in panels[len(ACTIVATIONS) :]:
        axes.set_axis_off()
    z = jnp.linspace(-5.0, 5.0, 501)
    for axes, (name, activation) in zip(panels, ACTIVATIONS.items(), strict=False):
        alpha = () if activation.alpha is None else (jnp.float32(activation.alpha),)
        both = jax.vmap(jax.value_and_grad(activation.function), in_axes=(0, *[None] * len(alpha)))
        value, derivative = jax.jit(both)(z, *alpha)
        axes.plot(z, value, label="value")
        axes.plot(z, derivative, "--", label="derivative")
        axes.set_title(name)
    figure.supxlabel("z", fontsize=13)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
