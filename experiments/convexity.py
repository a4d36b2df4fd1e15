"""Linear, logistic and softmax regression have convex losses; one hidden layer, and the loss is convex no more.

Claim: "Linear regression, Adaline, Logistic Regression, and Softmax Regression have convex loss functions. But our deep
loss is no longer convex", so that "we usually end up at different local minima if we repeat the training". Source:
S. Raschka, STAT 453 (2021), L09. Where a loss is convex, every local minimum is the global one, and where it is
strongly convex there is just one (Boyd and Vandenberghe, Convex Optimization, 2004, sections 4.2.2 and 9.1.2).

Protocol: the definitions, tried in float64 on random chords: two points a and b (He's N(0, 2 / inputs), biases too,
each point times 10^U(-1, 1)), t ~ U(0.1, 0.9),
c = (1 - t) L(a) + t L(b) - L((1 - t) a + t b), which is below 0 on no chord
of a convex loss; the first-order bound L(b) >= L(a) + <grad L(a), b - a>; the smallest eigenvalue of the Hessian at a
random point, and a chord of length 0.2 along its eigenvector. The data are the first 1,000 training digits of mnist5k,
of 7 x 7 pixels (4 x 4 averaged). Softmax regression 49-10; logistic regression 49-1 on 3 against 8, all 700 of them; a
network 49-16-10 with tanh. A penalty of 0.001 times the squared length of all parameters gives each a minimum that is
finite (separable digits have none) and single (softmax does not mind an equal shift of all its outputs); L-BFGS runs
until the gradient is below 1e-8. A strongly convex loss is then within ||grad||^2 / (2 mu) of its lowest value, where
mu = 0.002 is what the penalty alone gives: that certificate, with rounding, is the tolerance on "one minimum". Trained
networks are paired, each in one pair, and each with itself after the order of its units was reversed: one function,
one loss, another point. Linear regression of 3 against 8 on 4 x 4 pixels with the same penalty has the smallest
eigenvalue of 2 X'X / n + 0.002 I for its strong convexity constant; a chord along that eigenvector must give it. (The
lecture's constant, of mu ||x||^2 without the 1/2, is half of it.)

Command: python experiments/convexity.py
Wall time on two cores: about 90 s; --quick 40 s.

Expected: no chord and no tangent of the convex losses is on the wrong side, and all starts end at one loss, to some 14
digits, and at one point, to 6. Random chords hardly notice that the network's loss is not convex: a few in a hundred
lie below it. But at every random point some direction bends down, and a short chord along it shows it. The middle
between two trained networks lies some 0.5 nats above the chord, that between a network and itself with its units
reversed 0.8 nats. Almost every start ends at a minimum of its own, if by thousandths of a nat.
"""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from matplotlib.figure import Figure

from mlpjax import MLP, Recipe, Split, load, make_task, map_seeds, mean_loss, progress_bar
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.convexity import Place, lowest_curvature, measure_chord, random_chords
from mlpjax.losses import LossName
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, png
from mlpjax.task import MeanLoss

EXAMPLES = 1000
RIDGE = 1e-3
STRONG = 2 * RIDGE
"""Strong convexity constant of the penalty alone."""
NETWORK = "network"
STEPS, STILL = 20_000, 1e-8
"""A descent ends where its gradient is shorter than the second, or after so many steps."""
HALF = np.float64(0.5)
ROUNDING = 1e-12
"""What rounding can make of a curvature of 0, where the largest is about 10."""
REACH = 0.1
"""Half the length of a chord along an eigenvector."""
CHORDS = 50
"""Random chords of every seed."""
DECK = "STAT 453 (2021), L09"
BOOK = "Boyd and Vandenberghe (2004), section 9.1.2"


class Problem(NamedTuple):
    """A model with its loss and its data."""

    model: MLP
    loss: LossName
    data: Split

    def draw(self, key: jax.Array) -> Any:
        """A random point: normal weights and biases as He's start has them, times 10^U(-1, 1)."""
        size_key, key = jax.random.split(key)
        size = 10 ** jax.random.uniform(size_key, minval=-1.0, maxval=1.0)
        params = {}
        for layer, (inputs, units) in enumerate(itertools.pairwise(self.model.widths)):
            drawn = size * jnp.sqrt(2 / inputs) * jax.random.normal(jax.random.fold_in(key, layer), (inputs + 1, units))
            params[f"dense_{layer}"] = {"kernel": drawn[:-1], "bias": drawn[-1]}
        return params

    @property
    def plain(self) -> MeanLoss:
        """The mean loss, without penalty."""
        return mean_loss(make_task(self.model, Recipe(self.loss), self.data))

    def penalised(self, params: Any, data: Split) -> jax.Array:
        """The mean loss, with the penalty on all parameters."""
        return self.plain(params, data) + RIDGE * optax.tree.norm(params, squared=True)


class Ends(NamedTuple):
    """Where the descents ended, for every seed."""

    params: Any
    loss: np.ndarray
    bound: np.ndarray
    """How far the loss can be above the lowest one, were it strongly convex: ||grad||^2 / (2 mu), and rounding."""


def coarse(split: Split, side: int) -> Split:
    """Digits of side x side pixels, each the mean of those it covers, in [0, 1]."""
    block = 28 // side
    pixels = split.x.reshape(-1, side, block, side, block).mean(axis=(2, 4)) / 255
    return Split(pixels.reshape(len(split.y), -1).astype(np.float32), split.y)


def make_problems(digits: Split) -> dict[str, Problem]:
    """The three classifiers; their data lie on a grid of 7 x 7 pixels."""
    small = coarse(digits, 7)
    pair = np.isin(digits.y, (3, 8))
    few = Split(small.x[:EXAMPLES], small.y[:EXAMPLES])
    two = Split(small.x[pair], (small.y[pair] == 8).astype(np.int32))
    return {
        "softmax regression": Problem(MLP((49, 10)), "cross_entropy", few),
        "logistic regression": Problem(MLP((49, 1)), "binary_cross_entropy", two),
        NETWORK: Problem(MLP((49, 16, 10), "tanh"), "cross_entropy", few),
    }


def descend(problem: Problem, keys: jax.Array, what: str) -> Ends:
    """Run L-BFGS on the penalised loss from a random point of every key, until its gradient is next to nothing."""
    optimizer = optax.lbfgs(memory_size=20)

    def of_key(key: jax.Array, data: Split) -> Ends:
        def loss(params: Any) -> jax.Array:
            return problem.penalised(params, data)

        value_and_gradient = optax.value_and_grad_from_state(loss)

        def more(state: tuple[Any, ...]) -> jax.Array:
            *_, step, length = state
            return (step < STEPS) & (length > STILL)

        def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
            params, inner, count, _ = state
            value, gradient = value_and_gradient(params, state=inner)
            updates, inner = optimizer.update(gradient, inner, params, value=value, grad=gradient, value_fn=loss)
            params = optax.apply_updates(params, updates)
            return params, inner, count + 1, optax.tree.norm(optax.tree.get(inner, "grad"))

        start = problem.draw(key)
        params, _, _, length = jax.lax.while_loop(more, step, (start, optimizer.init(start), 0, np.float64(np.inf)))
        value = loss(params)
        return Ends(params, value, length**2 / (2 * STRONG) + 64 * jnp.finfo(jnp.float64).eps * jnp.abs(value))

    with progress_bar(f"L-BFGS, {what}", "seeds") as on_progress:
        return map_seeds(of_key, keys, problem.data, chunk=1, on_progress=on_progress)


def shuffled(params: Any) -> Any:
    """The same network with its hidden units in reverse order."""
    first, last = params["dense_0"], params["dense_1"]
    return {
        "dense_0": {"kernel": first["kernel"][:, ::-1], "bias": first["bias"][::-1]},
        "dense_1": {"kernel": last["kernel"][::-1], "bias": last["bias"]},
    }


def ridge_regression(digits: Split, keys: jax.Array, chords: int) -> list[Claim]:
    """The strong convexity constant of a penalised linear regression, from chords and from NumPy."""
    pair = np.isin(digits.y, (3, 8))
    small = coarse(Split(digits.x[pair], digits.y[pair]), 4)
    problem = Problem(
        MLP((16, 1)),
        "squared_error",
        Split(small.x, (small.y == 8).astype(np.int32)),
    )
    inputs = np.hstack([problem.data.x.astype(np.float64), np.ones((len(problem.data.y), 1))])
    constant = float(np.linalg.eigvalsh(2 * inputs.T @ inputs / len(inputs) + STRONG * np.eye(inputs.shape[1]))[0])

    def look(key: jax.Array, data: Split) -> tuple[jax.Array, jax.Array]:
        draw_key, chords_key, lanczos_key = jax.random.split(key, 3)
        start = problem.draw(draw_key)
        flattest = lowest_curvature(problem.penalised, start, data, lanczos_key)
        end = jax.tree.map(lambda a, v: a + v[0], start, flattest.vectors)
        along = measure_chord(problem.penalised, Place(start, end, HALF), data)
        others, _ = random_chords(problem.penalised, problem.draw, data, jax.random.split(chords_key, chords))
        return along.strength, jnp.min(others.strength)

    along, others = map_seeds(look, keys, problem.data, chunk=4)
    same = {"published": constant, "relation": "about", "tolerance": 1e-6 * constant, "source": "NumPy, eigvalsh"}
    least = {"published": constant, "relation": "at least", "source": BOOK}
    return [
        Claim.mean("linear regression: strength of the flattest chord", along, **same),
        Claim.mean("linear regression: least strength of random chords", others, **least),
    ]


def settle(digits: Split, seeds: int, chords: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Everything, in float64."""
    keys = jax.random.split(jax.random.key(0), seeds)
    problems = make_problems(digits)
    claims, gaps, config = [], {}, {}
    for name, problem in problems.items():

        def look(key: jax.Array, data: Split, problem: Problem = problem) -> tuple[Any, ...]:
            chords_key, point_key, lanczos_key = jax.random.split(key, 3)
            found, place = random_chords(problem.plain, problem.draw, data, jax.random.split(chords_key, chords))
            point = problem.draw(point_key)
            lowest = lowest_curvature(problem.plain, point, data, lanczos_key)
            start, end = (jax.tree.map(lambda p, v, h=h: p + h * v[0], point, lowest.vectors) for h in (-REACH, REACH))
            along = measure_chord(problem.plain, Place(start, end, HALF), data)
            return found, place, lowest.values[0], lowest.residuals[0], along

        with progress_bar(f"chords, {name}", "seeds") as on_progress:
            found, places, lowest, residuals, along = map_seeds(
                look, keys, problem.data, chunk=8, on_progress=on_progress
            )
        gaps[f"{name}:\nrandom chords"] = found.gap
        gaps[f"{name}:\nleast curvature"] = along.gap
        if name == "softmax regression":
            nearest = int(np.argmin(found.gap.min(axis=1)))
            worst = jax.tree.map(lambda leaf, row=nearest: jnp.asarray(leaf[row]), places)
        convex = name != NETWORK
        none = {"published": 0, "relation": "at most", "source": DECK} if convex else {}
        positive = {"published": -ROUNDING, "relation": "at least", "source": BOOK} if convex else {}
        below, above, along_below = found.violates.mean(axis=1), found.violates_tangent.mean(axis=1), along.violates
        claims += [
            Claim.mean(f"{name}: chords below the curve", 100 * below, unit="%", **none),
            Claim.mean(f"{name}: tangents above the curve", 100 * above, unit="%", **none),
            Claim.mean(
                f"{name}: chords along the least curvature below the curve", 100 * along_below, unit="%", **none
            ),
            Claim.mean(f"{name}: least curvature at random points", lowest, **positive),
        ]
        config[f"{name}: largest residual of the least curvature"] = float(residuals.max())

    ends = {name: descend(problem, keys, name) for name, problem in problems.items()}
    for name, (params, losses, bounds) in ends.items():
        above, bound = losses - losses.min(), float(bounds.max())
        if name == NETWORK:
            most = {"published": 50, "relation": "at least", "source": DECK}
            higher = Claim.share(f"{name}: starts that end above the lowest loss found", above > bound, **most)
        else:
            zero = {"published": 0, "relation": "about", "tolerance": bound, "source": BOOK}
            higher = Claim.mean(f"{name}: end of a start above the lowest one", above, unit="nats", **zero)
        claims += [higher, Claim.mean(f"{name}: loss at the end, with the penalty", losses, unit="nats")]
        flat = np.hstack([leaf.reshape(seeds, -1) for leaf in jax.tree.leaves(params)])
        apart = np.linalg.norm(flat - flat[:1], axis=1) / np.linalg.norm(flat[0])
        config |= {
            f"{name}: largest distance of an end from the first, of its length": float(apart.max()),
            f"{name}: highest end above the lowest": float(above.max()),
            f"{name}: above the minimum, were the loss strongly convex, at most": bound,
        }

    network, trained = problems[NETWORK], ends[NETWORK].params
    even, odd = (jax.tree.map(lambda leaf, first=first: leaf[first : seeds // 2 * 2 : 2], trained) for first in (0, 1))
    places = {"two trained": (even, odd), "own units reversed": (trained, jax.vmap(shuffled)(trained))}
    for what, ends_of_chords in places.items():
        if seeds > 1:  # one seed makes no pair
            chord = map_seeds(
                lambda pair, data: measure_chord(network.penalised, Place(*pair, HALF), data),
                ends_of_chords,
                network.data,
                chunk=4,
            )
            claims.append(Claim.share(f"{NETWORK}: middle above the chord, {what}", chord.violates))
            claims.append(Claim.mean(f"{NETWORK}: height above the chord, {what}", -chord.gap, unit="nats"))
            gaps[f"{NETWORK}:\n{what}"] = chord.gap
    claims += ridge_regression(digits, keys, chords)
    first, second = (jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), side) for side in places["own units reversed"])
    softmax = problems["softmax regression"]
    drawn = {
        "softmax regression:\nthe random chord nearest to its curve": (softmax.plain, worst),
        "network:\nbetween a trained network\nand itself, its units reversed": (
            network.penalised,
            Place(first, second, HALF),
        ),
    }
    (out / "convexity.png").write_bytes(png(draw(drawn, network.data, gaps)))
    return claims, config | {"chords of a seed": chords, "ridge": RIDGE}


@mpl.rc_context(STYLE)
def draw(segments: dict[str, tuple[MeanLoss, Place]], data: Split, gaps: dict[str, np.ndarray]) -> Figure:
    """Loss and chord between two points, of a convex loss and of another; and how far chords lie above their curves."""
    figure = Figure(figsize=(17, 6.4))
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    t = jnp.linspace(0, 1, 101)
    for axes, (title, (loss, (start, end, _))) in zip(panels, segments.items(), strict=False):

        def along(s: jax.Array, loss: MeanLoss = loss, start: Any = start, end: Any = end) -> jax.Array:
            return loss(jax.tree.map(lambda a, b: (1 - s) * a + s * b, start, end), data)

        losses = np.asarray(jax.lax.map(along, t))
        chord = np.asarray((1 - t) * losses[0] + t * losses[-1])
        axes.plot(t, losses, color=BLUE, label="loss")
        axes.plot(t, chord, "--", color=VERMILLION, label="chord")
        axes.fill_between(t, losses, chord, where=losses > chord, color=VERMILLION, alpha=0.25, lw=0)
        axes.plot([0, 1], losses[[0, -1]], "o", color="black")
        axes.set(xlabel="share of the way between the two points", ylabel="loss (nats)", title=title)
        axes.ticklabel_format(axis="y", useOffset=False)
    rng = np.random.default_rng(0)
    for row, values in enumerate(gaps.values()):
        heights = values.ravel()
        low = heights < -ROUNDING
        for rows, colour in ((low, VERMILLION), (~low, BLUE)):
            panels[2].plot(
                heights[rows], row + rng.uniform(-0.3, 0.3, rows.sum()), ".", color=colour, ms=7, alpha=0.6, mew=0
            )
    panels[2].axvline(0, color="black", lw=1)
    panels[2].set_xscale("symlog", linthresh=1e-4)
    panels[2].set_xticks([-1, -1e-2, -1e-4, 0, 1e-4, 1e-2, 1])
    panels[2].set_yticks(range(len(gaps)), [*gaps])
    panels[2].invert_yaxis()
    panels[2].set(xlabel="height of a chord above the curve (nats)", title="all chords", xlim=(-5, 20))
    panels[0].legend(loc="upper center")
    return figure


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    with jax.enable_x64(True):
        return settle(load("mnist5k").train, seeds, 10 if quick else CHORDS, out)


if __name__ == "__main__":
    run_experiment("convexity", __doc__, body, full_seeds=32, quick_seeds=4)
