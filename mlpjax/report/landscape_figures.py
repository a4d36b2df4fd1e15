"""Figures of the landscape that trained networks end in: slices, trajectories, spectra, barriers."""

import matplotlib as mpl
import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from mlpjax.report.figures import BLUE, STYLE, VERMILLION, contours
from mlpjax.stats import quantile_band


@mpl.rc_context(STYLE)
def profiles(
    steps: Real[np.ndarray, " points"],
    own: Real[np.ndarray, "directions points"],
    others: Real[np.ndarray, "others points"],
    curvature: Real[np.ndarray, " directions"],
) -> Figure:
    """A surface's own two cuts through its middle, among those along other random directions.

    Args:
        steps: along a direction, with 0 among them.
        own: the loss along each of the surface's two directions.
        others: the loss along other directions.
        curvature: d' H d along each of the surface's directions.

    Returns:
        One panel; dotted is the parabola that the curvature in the middle foretells.
    """
    figure = Figure(figsize=(10, 4.8))
    axes = figure.subplots()
    lower, median, upper = quantile_band(others)
    axes.fill_between(steps, lower, upper, color="#999999", alpha=0.3, lw=0, label="other directions, central 95 %")
    axes.plot(steps, median, color="#777777", lw=1.6, label="their median")
    middle = np.argmin(np.abs(steps))
    for number, (losses, bend, colour) in enumerate(zip(own, curvature, (BLUE, VERMILLION), strict=True), 1):
        axes.plot(steps, losses, color=colour, label=f"direction {number}")
        parabola = losses[middle] + bend * steps**2 / 2
        axes.plot(steps, parabola, ":", color=colour, lw=1.6, label=f"curvature {bend:.3g}")
    top = float(max(own.max(), upper.max()))
    axes.set(xlabel="steps of the direction's length", ylabel="train loss", ylim=(0, 1.1 * top))
    figure.legend(loc="outside right center")
    return figure


@mpl.rc_context(STYLE)
def trajectory(
    epochs: Real[np.ndarray, " points"],
    coordinates: Real[np.ndarray, "points 2"],
    steps: tuple[Real[np.ndarray, " first"], Real[np.ndarray, " second"]],
    loss: Real[np.ndarray, "first second"],
    own: Real[np.ndarray, " points"],
    drawn: Real[np.ndarray, " points"],
) -> Figure:
    """The way of a training on a plane, and beside it what the plane hides.

    Args:
        epochs: of the points.
        coordinates: where they are drawn.
        steps: grids along both axes.
        loss: on the plane, `loss[i, j]` at steps[0][i], steps[1][j].
        own: the loss of each point.
        drawn: the loss where it is drawn.

    Returns:
        The plane with the way, and both losses over the epochs.
    """
    figure = Figure(figsize=(13, 5.4))
    plane, beside = figure.subplots(1, 2, width_ratios=(1.25, 1))
    contours(plane, *steps, loss.T)
    plane.plot(*coordinates.T, "-o", color="black", mec="white", mew=0.6, ms=5, lw=1.4)
    for place, marker, size, name in ((0, "s", 10, "start"), (-1, "*", 18, "end")):
        plane.plot(*coordinates[place], marker, color=VERMILLION, mec="white", ms=size, label=name)
    plane.set(xlabel="principal component 1", ylabel="principal component 2")
    plane.legend(frameon=True, framealpha=0.85, loc="best")
    beside.plot(epochs, own, color=BLUE, label="of the network")
    beside.plot(epochs, drawn, "--", color=VERMILLION, label="where it is drawn")
    beside.set(xlabel="epoch", ylabel="train loss", yscale="log" if min(own.min(), drawn.min()) > 0 else "linear")
    beside.legend()
    return figure


@mpl.rc_context(STYLE)
def spectra(
    values: Real[np.ndarray, "networks k"],
    residuals: Real[np.ndarray, "networks k"],
    at: Real[np.ndarray, " points"],
    densities: Real[np.ndarray, "probes points"],
    title: str = "",
) -> Figure:
    """The largest eigenvalues of many networks' Hessians, and the spectral density of one of them.

    Args:
        values: eigenvalues of every network, descending.
        residuals: how far each may be off.
        at: eigenvalues at which the density is drawn.
        densities: share of the eigenvalues per unit there, one estimate for each probe.
        title: of the density, such as the network's seed.

    Returns:
        Two panels; a bar is the residual where it can be seen.
    """
    figure = Figure(figsize=(12, 4.8))
    ranks, spread = figure.subplots(1, 2)
    rank = np.arange(1, values.shape[1] + 1)
    shift = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
    for network, error, move in zip(values, residuals, shift, strict=True):
        ranks.errorbar(rank + move, network, yerr=error, fmt=".", ms=4, color=BLUE, alpha=0.35, lw=0.8)
    ranks.plot(rank, np.median(values, axis=0), "_", ms=22, mew=2.4, color=VERMILLION, label="median over seeds")
    ranks.plot([], [], ".", color=BLUE, label="a seed")
    ranks.set(xlabel="rank", ylabel="eigenvalue of the Hessian", xticks=rank)
    ranks.legend()
    lower, median, upper = quantile_band(densities)
    spread.semilogy(at, median, color=BLUE, label="median over probes")
    spread.fill_between(at, lower, upper, color=BLUE, alpha=0.25, lw=0, label="central 95 % of the probes")
    floor = 1e-7 * float(upper.max())  # an outlier is one of many thousand eigenvalues
    spread.set(
        xlabel="eigenvalue of the Hessian",
        ylabel="share of eigenvalues per unit",
        ylim=(floor, 3 * float(upper.max())),
        title=title,
    )
    spread.legend()
    return figure


@mpl.rc_context(STYLE)
def barriers(
    t: Real[np.ndarray, " points"],
    before: Real[np.ndarray, "pairs points"],
    after: Real[np.ndarray, "pairs points"],
    label: str = "train loss",
) -> Figure:
    """The loss on the straight line between the networks of many pairs, before and after their units are matched.

    Args:
        t: share of the way from the first network to the second, from 0 to 1.
        before: the loss there, a row for each pair.
        after: the same with the second network's units in the order that suits the first.
        label: of the loss.

    Returns:
        One panel, with the median over pairs and the band that holds the central 95 % of them.
    """
    figure = Figure(figsize=(10, 4.8))
    axes = figure.subplots()
    for losses, colour, name in ((before, VERMILLION, "as trained"), (after, BLUE, "units matched")):
        lower, median, upper = quantile_band(losses)
        axes.plot(t, median, color=colour, label=name)
        axes.fill_between(t, lower, upper, color=colour, alpha=0.2, lw=0)
    axes.set(xlabel="share of the way from one network to the other", ylabel=label, ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=2)
    return figure
