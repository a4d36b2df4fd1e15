"""The start point decides: gradient descent on a loss of one parameter, from everywhere.

Claim: with a loss of two minima, gradient descent reaches the one on whose side it started; "if we had started a little
to the left we would have gone in the other direction, and ended up in a local minimum". Source: James, Witten, Hastie
and Tibshirani, An Introduction to Statistical Learning, second edition (2021), section 10.7 and figure 10.17, whose
curve has no formula; exercise 10.6 has one, R(b) = sin(b) + b/10 on [-6, 6], descended at a rate of 0.1 from 2.3 and
from 1.4. R' = cos(b) + 1/10 is 0 at +-arccos(-1/10) + 2 pi k: minima at -1.671 and 4.612, a maximum at 1.671 between.

Protocol: the exercise, from its two starts and from all over its range. Then the same on a real loss: the straight
line through two trained networks, R(s) = L((1 - s) theta_A + s theta_B), at whose ends two minima lie; the loss is the
mean cross-entropy on the 200 training points of MNIST-1D that both were trained on (40-16-10, tanh, Adam, full batch).
s runs from -0.5 to 1.5, a little beyond both. Descent in float64, with steps of 1 / max |R''| on the range, which are
too short to jump over a hill. The border between two basins is found by descent alone, by bisection
between neighbouring starts that end apart. What it should be is found without descent: the maximum, a root of R', by
Brent's method (SciPy). The seeds are pairs of networks, no network in two.

Command: python experiments/local_minima_1d.py
Wall time on two cores: about 260 s; --quick 30 s.

Expected: the exercise ends at 4.612 from 2.3 and at -1.671 from 1.4, the lower of the two; the border lies at 1.671. On
the lines there are two minima, close to the two networks and almost equally low, with a hill of some nats between; the
start decides which one is reached, and the borders found by descent are the maxima.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import scipy.optimize
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Recipe, Split, load, make_task, mean_loss, progress_bar, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.minima import in_float64
from mlpjax.report.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILLION, png

Curve: TypeAlias = Callable[[jax.Array], jax.Array]
BOOK = "ISLR (2021), exercise 10.6"
RATE = 0.1
RANGE = (-6.0, 6.0)
STARTS = (2.3, 1.4)
TOP = float(np.arccos(-0.1))
MODEL = MLP((40, 16, 10), "tanh")
RECIPE = Recipe(learning_rate=1e-2, batch_size=None, epochs=1000, eval_every=1000)
EXAMPLES = 200
LINE = (-0.5, 1.5)
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
STILL = 1e-13
"""A descent ends where no start moves further than this in a step."""
AT_ONCE = 50
DECK = "STAT 453 (2021), L09"
SLOPE = "the slope's root, by Brent's method"
SHARED = "200 training points of MNIST-1D"


def exercise(b: jax.Array) -> jax.Array:
    """R(b) = sin(b) + b / 10."""
    return jnp.sin(b) + b / 10


class Stationary(NamedTuple):
    """Where a curve's slope is zero inside a range, rising."""

    minima: np.ndarray
    maxima: np.ndarray


def stationary_points(curve: Curve, low: float, high: float, points: int = 2001) -> Stationary:
    """The roots of the slope: its changes of sign on a grid, each sharpened by Brent's method."""
    slope = jax.jit(jax.grad(curve))
    grid = np.linspace(low, high, points)
    slopes = np.asarray(jax.lax.map(slope, jnp.asarray(grid), batch_size=AT_ONCE))
    found: dict[bool, list[float]] = {True: [], False: []}
    for index in np.flatnonzero(np.sign(slopes[:-1]) * np.sign(slopes[1:]) < 0):
        root = scipy.optimize.brentq(lambda s: float(slope(jnp.float64(s))), grid[index], grid[index + 1], xtol=1e-12)
        found[bool(slopes[index] < 0)].append(root)
    return Stationary(np.array(found[True]), np.array(found[False]))


def make_descent(curve: Curve, rate: float, steps: int) -> Callable[[np.ndarray], np.ndarray]:
    """Gradient descent from many starts at once, until none moves any more: where each one ends."""
    move = jax.vmap(lambda s: rate * jax.grad(curve)(s))

    def more(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        step, _, last = state
        return (step < steps) & jnp.any(jnp.abs(last) > STILL)

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        step, places, _ = state
        last = move(places)
        return step + 1, places - last, last

    descend = jax.jit(lambda starts: jax.lax.while_loop(more, step, (0, starts, jnp.ones_like(starts)))[1])
    return lambda starts: np.asarray(descend(jnp.asarray(starts)))


def nearest(ends: np.ndarray, minima: np.ndarray) -> np.ndarray:
    """The index of the minimum that each end is nearest to."""
    return np.abs(ends[:, None] - minima[None]).argmin(axis=1)


def borders(
    descend: Callable[[np.ndarray], np.ndarray], minima: np.ndarray, starts: np.ndarray, basins: np.ndarray
) -> np.ndarray:
    """Where the basins meet, by descent alone: bisection between neighbouring starts that end apart."""
    found = []
    for index in np.flatnonzero(np.diff(basins)):

        def side(start: float, left: int = basins[index]) -> float:
            return float(nearest(descend(np.array([start])), minima)[0]) - left - 0.5

        found.append(scipy.optimize.bisect(side, *starts[index : index + 2], xtol=1e-9))
    return np.array(found)


class Sweep(NamedTuple):
    """Descent on one curve, from everywhere between low and high."""

    low: float
    high: float
    grid: np.ndarray
    curve: np.ndarray
    """The loss on the grid."""
    minima: np.ndarray
    maxima: np.ndarray
    """Between two minima each."""
    starts: np.ndarray
    ends: np.ndarray
    basins: np.ndarray
    """For every start the index of the minimum that it reached."""
    borders: np.ndarray
    """Where basins meet, by descent alone."""


def sweep(curve: Curve, low: float, high: float, starts: int, steps: int, rate: float | None = None) -> Sweep:
    """Descend a curve from everywhere in a range, less what lies beyond a maximum without a minimum behind it."""
    minima, maxima = stationary_points(curve, low, high)
    margin = 1e-3 * (high - low)
    low = max([low, *(maxima[maxima < minima[0]] + margin)])
    high = min([high, *(maxima[maxima > minima[-1]] - margin)])
    maxima = maxima[(low < maxima) & (maxima < high)]
    grid = np.linspace(low, high, 401)
    if rate is None:
        bends = jax.lax.map(jax.grad(jax.grad(curve)), jnp.asarray(grid), batch_size=AT_ONCE)
        rate = float(1 / jnp.max(jnp.abs(bends)))
    descend = make_descent(curve, rate, steps)
    places = np.linspace(low, high, starts)
    ends = descend(places)
    basins = nearest(ends, minima)
    losses = np.asarray(jax.lax.map(curve, jnp.asarray(grid), batch_size=AT_ONCE))
    return Sweep(
        low, high, grid, losses, minima, maxima, places, ends, basins, borders(descend, minima, places, basins)
    )


def train_pairs(pairs: int) -> tuple[Any, Split]:
    """Networks, two for each pair, and what all of them were trained on."""
    dataset = load("mnist1d")
    few = Split(dataset.train.x[:EXAMPLES], dataset.train.y[:EXAMPLES])
    dataset = Dataset(dataset.name, few, dataset.valid, dataset.test, dataset.classes)
    with progress_bar(f"Training {MODEL.name}") as on_progress:
        trained = train_many(MODEL, RECIPE, dataset, range(2 * pairs), on_progress=on_progress)
    return trained.params, few


def make_line(params: Any, pair: int, split: Split) -> Curve:
    """The loss on the line through the two networks of a pair."""
    loss = mean_loss(make_task(MODEL, RECIPE, split))
    first, second = (jax.tree.map(lambda leaf, row=row: leaf[row], params) for row in (2 * pair, 2 * pair + 1))
    return lambda s: loss(jax.tree.map(lambda a, b: (1 - s) * a + s * b, first, second), split)


def settle(params: Any, split: Split, starts: int, steps: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The exercise and the lines, in float64."""
    book = sweep(exercise, *RANGE, starts, steps, RATE)
    params = in_float64(params)
    pairs = len(jax.tree.leaves(params)[0]) // 2
    lines = []
    with progress_bar("Descents on lines", "pairs") as on_progress:
        for pair in range(pairs):
            lines.append(sweep(make_line(params, pair, split), *LINE, starts, steps))
            on_progress(pair + 1, pairs)
    (out / "local_minima_1d.png").write_bytes(png(draw(book, lines[0])))

    right, left = make_descent(exercise, RATE, steps)(np.array(STARTS))
    wide = 100 * (TOP - book.low) / (book.high - book.low)
    share = 100 * float(np.mean(book.basins == 0))
    stated = {"theorem": True, "relation": "about", "source": BOOK}
    rounding = {"tolerance": 1e-6, "tolerance_source": "where a descent in float64 stops"}
    spacing = {"tolerance": 100 / (starts - 1), "tolerance_source": "the spacing of the starts"}
    exact = [
        Claim.exact(
            "exercise: end of the descent from 2.3", float(right), published=2 * np.pi - TOP, **stated, **rounding
        ),
        Claim.exact("exercise: end of the descent from 1.4", float(left), published=-TOP, **stated, **rounding),
        Claim.exact("exercise: border of the basins", float(book.borders[0]), published=TOP, **stated, **rounding),
        Claim.exact(
            "exercise: starts that reach the lower minimum", share, unit="%", published=wide, **stated, **spacing
        ),
    ]
    minima = np.array([len(line.minima) for line in lines])
    own_side = np.array([np.all(line.basins == np.searchsorted(line.maxima, line.starts)) for line in lines])
    off = np.array([np.abs(line.borders[:, None] - line.maxima[None]).min(axis=1).max(initial=0.0) for line in lines])
    losses = [np.interp(line.minima, line.grid, line.curve) for line in lines]
    lowest = np.array([100 * np.mean(line.basins == loss.argmin()) for line, loss in zip(lines, losses, strict=True)])
    claims = [
        *exact,
        Claim.every(
            "network: lines with two minima or more",
            minima >= 2,
            source=DECK,
            settles="The straight line between two trained networks passes over a hill with a minimum on either side.",
        ),
        Claim.every(
            "network: lines on which every start reaches the minimum of its side",
            own_side,
            source=SLOPE,
            settles="Gradient descent on a loss of one parameter ends in the minimum on whose side it started.",
        ),
        Claim.every("network: lines on which every border is a maximum, to 1e-6", off <= 1e-6, source=SLOPE),
        Claim.mean("network: starts that reach the lowest minimum", lowest, unit="%"),
        Claim.mean("network: highest minimum above the lowest", np.array([*map(np.ptp, losses)]), unit="nats"),
    ]
    return claims, {"starts": starts, "steps": steps, "trained on": f"{EXAMPLES} points of mnist1d"}


@mpl.rc_context(STYLE)
def draw(book: Sweep, line: Sweep) -> Figure:
    """Two curves with their basins in colour, and where the descents from an even sweep of starts end."""
    figure = Figure(figsize=(14, 8.4))
    columns = figure.subplots(2, 2, sharex="col", height_ratios=(2, 1)).T
    titles = ["the book's exercise: R(b) = sin(b) + b/10", "the loss on a line through two trained networks"]
    names = [("b", "R(b)"), ("s", "mean cross-entropy (nats)")]
    for (upper, below), found, (name, loss), title in zip(columns, (book, line), names, titles, strict=True):
        upper.plot(found.grid, found.curve, color="black")
        edges = [found.low, *found.maxima, found.high]
        for index, minimum in enumerate(found.minima):
            colour = COLOURS[index % len(COLOURS)]
            for axes in (upper, below):
                axes.axvspan(edges[index], edges[index + 1], color=colour, alpha=0.15, lw=0)
            upper.plot(minimum, np.interp(minimum, found.grid, found.curve), "o", color=colour, ms=11)
            rows = found.basins == index
            below.plot(found.starts[rows], found.ends[rows], ".", color=colour)
        for border in found.borders:
            upper.axvline(border, color="black", ls=":", lw=1.6)
        upper.set(ylabel=loss, title=title)
        below.set(xlabel=f"start {name}", ylabel=f"end {name}")
    upper.plot([], [], ":", color="black", lw=1.6, label="border between two basins, found by descent")
    upper.plot([], [], "o", color="#777777", ms=11, label="minimum, a root of the slope, and its basin")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    params, split = train_pairs(seeds)
    with jax.enable_x64(True):
        return settle(params, split, 51 if quick else 101, 4000, out)


if __name__ == "__main__":
    run_experiment("local_minima_1d", __doc__, body, full_seeds=16, quick_seeds=2, shared=SHARED)
