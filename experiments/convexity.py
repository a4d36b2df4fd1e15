"""Linear, logistic and softmax regression have convex losses; one hidden layer, and the loss is convex no more.

Claim: "Linear regression, Adaline, Logistic Regression, and Softmax Regression have convex loss functions. But our deep
loss is no longer convex", so that "we usually end up at different local minima if we repeat the training". Source:
S. Raschka, STAT 453 (2021), L09. Where a loss is convex, every local minimum is the global one, and where it is
strongly convex there is just one (Boyd and Vandenberghe, Convex Optimization, 2004, sections 4.2.2 and 9.1.2).

Protocol: the definitions, tried in float64 on random chords: two points a and b (He's N(0, 2 / inputs), biases too,
each point times 10^U(-1, 1)), t ~ U(0.1, 0.9), c = (1 - t) L(a) + t L(b) - L((1 - t) a + t b), which is below 0 on no
chord of a convex loss; the first-order bound L(b) >= L(a) + <grad L(a), b - a>; all eigenvalues of the dense Hessian at
a random point, and a chord of length 0.2 along the eigenvector of the smallest. The data are the first 1,000 training
digits of mnist5k, of 7 x 7 pixels (4 x 4 averaged). Softmax regression 49-10; logistic regression 49-1 on 3 against 8,
all 700 of them; a network 49-16-10 with tanh. Rank: the Hessian of a regression with K - 1 free outputs has at most
(K - 1) rank(X, 1) eigenvalues that are not 0 (softmax does not mind an equal shift of all its outputs).

A penalty of 0.001 times the squared length of all parameters gives each a minimum that is finite (separable digits have
none), and the regressions a single one; L-BFGS runs until the gradient is below 1e-8. What is called a minimum is
certified. A regression's penalised loss is strongly convex with mu = 0.002, what the penalty alone gives: an end is
within ||grad||^2 / (2 mu) of the lowest loss, and within ||grad|| / mu of the lowest point. For the network Newton's
method goes on until the gradient is below 1e-12; where all eigenvalues of the dense Hessian are positive there, by more
than they change on the rest of the way (`polish`), it is a strict local minimum. "If we repeat the training": starts
are paired, each in one pair; two minima are different where their losses are, by more than both are above their
minimum, which no exchange of units can explain. Each network is also put beside itself with the order of its units
reversed: one function, one loss, another point.

Linear regression of 3 against 8 on 4 x 4 pixels with the same penalty has the smallest eigenvalue of 2 X'X / n + 0.002
I for its strong convexity constant; a chord along that eigenvector must give it. (The lecture's constant, of mu ||x||^2
without the 1/2, is half of it.)

Command: python experiments/convexity.py
Wall time on two cores: about 150 s; --quick 30 s.

Expected: no chord and no tangent of the convex losses is on the wrong side, which is a theorem, and a test of this
code. Convex is not strictly convex: the least curvature of both regressions is 0, softmax's at least 68 times over. All
starts end at one loss, to some 14 digits, and at one point, to 6. Random chords hardly notice that the network's loss
is not convex: a few in a hundred lie below it. But at every random point some direction bends down, and a short chord
along it shows it. The middle between two trained networks lies some 0.5 nats above the chord, that between a network
and itself with its units reversed 0.8 nats. Most pairs of starts end at two different minima, if a thousandth of a nat
apart.
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
from mlpjax.errors import UserError
from mlpjax.landscape.convexity import Chord, Curvatures, Place, curvatures, measure_chord, random_chords
from mlpjax.landscape.minima import Polished, polish
from mlpjax.losses import LossName
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, png
from mlpjax.task import MeanLoss

EXAMPLES = 1000
RIDGE = 1e-3
STRONG = 2 * RIDGE
"""Strong convexity constant of the penalty alone."""
SOFTMAX, LOGISTIC, NETWORK = "softmax regression", "logistic regression", "network"
STEPS, STILL = 20_000, 1e-8
"""A descent ends where its gradient is shorter than the second, or after so many steps."""
CERTAIN = 1e-12
"""The longest gradient of what is called a minimum of the network's loss."""
HALF = np.float64(0.5)
REACH = 0.1
"""Half the length of a chord along an eigenvector."""
CHORDS = 50
"""Random chords of every seed."""
DECK = "STAT 453 (2021), L09"
BOOK = "Boyd and Vandenberghe (2004), section 9.1.2"
SECOND_ORDER = "Boyd and Vandenberghe (2004), section 3.1.4"


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
    gradient: np.ndarray
    """Its length."""

    def above(self, curvature: float | np.ndarray) -> np.ndarray:
        """How far the loss can be above the minimum, where no curvature is lower: ||grad||^2 / (2 mu), and rounding."""
        return self.gradient**2 / (2 * curvature) + 64 * np.finfo(np.float64).eps * np.abs(self.loss)


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
        SOFTMAX: Problem(MLP((49, 10)), "cross_entropy", few),
        LOGISTIC: Problem(MLP((49, 1)), "binary_cross_entropy", two),
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
        params, *_ = jax.lax.while_loop(more, step, (start, optimizer.init(start), 0, np.float64(np.inf)))
        value, gradient = jax.value_and_grad(loss)(params)
        return Ends(params, value, optax.tree.norm(gradient))

    with progress_bar(f"L-BFGS, {what}", "seeds") as on_progress:
        return map_seeds(of_key, keys, problem.data, chunk=1, on_progress=on_progress)


class Minima(NamedTuple):
    """The ends of a network's descents, taken to where they lead, for every seed."""

    ends: Ends
    least: np.ndarray
    """The smallest eigenvalue of the Hessian there."""
    certified: np.ndarray
    """Whether it is a strict minimum: stationary, with every eigenvalue surely positive."""


def find_minima(problem: Problem, ends: Ends) -> Minima:
    """Go on by Newton's method, and look at the Hessian there."""

    def of_end(params: Any, data: Split) -> tuple[Polished, jax.Array]:
        polished = polish(problem.penalised, params, data, gradient_norm=CERTAIN)
        return polished, curvatures(problem.penalised, polished.params, data).values[0]

    with progress_bar("Newton's method", "seeds") as on_progress:
        found, least = map_seeds(of_end, ends.params, problem.data, chunk=1, on_progress=on_progress)
    certified = (found.gradient_norm <= CERTAIN) & (found.flat == 0) & (least > 0)
    return Minima(Ends(found.params, found.loss, found.gradient_norm), least, certified)


def shuffled(params: Any) -> Any:
    """The same network with its hidden units in reverse order."""
    first, last = params["dense_0"], params["dense_1"]
    return {
        "dense_0": {"kernel": first["kernel"][:, ::-1], "bias": first["bias"][::-1]},
        "dense_1": {"kernel": last["kernel"][::-1], "bias": last["bias"]},
    }


def look_around(problem: Problem, keys: jax.Array, chords: int, what: str) -> tuple[Any, ...]:
    """Random chords with the place of the lowest; curvatures at a random point, and a chord along the least of them."""

    def of_key(key: jax.Array, data: Split) -> tuple[Any, ...]:
        chords_key, point_key = jax.random.split(key)
        found, place = random_chords(problem.plain, problem.draw, data, jax.random.split(chords_key, chords))
        point = problem.draw(point_key)
        bends = curvatures(problem.plain, point, data)
        start, end = (jax.tree.map(lambda p, v, h=h: p + h * v, point, bends.lowest) for h in (-REACH, REACH))
        return found, place, bends, measure_chord(problem.plain, Place(start, end, HALF), data)

    with progress_bar(f"chords, {what}", "seeds") as on_progress:
        return map_seeds(of_key, keys, problem.data, chunk=8, on_progress=on_progress)


def claims_of_regression(name: str, problem: Problem, found: Chord, bends: Curvatures, along: Chord) -> list[Claim]:
    """What convexity, which is a theorem here, forbids on every chord, above every tangent, of every curvature."""
    inputs = np.hstack([problem.data.x, np.ones((len(problem.data.y), 1))])
    outputs = problem.model.widths[-1]
    straight = outputs * inputs.shape[1] - max(outputs - 1, 1) * int(np.linalg.matrix_rank(inputs))
    zeros = (np.abs(bends.values) <= bends.rounding[:, None]).sum(axis=1)
    settles = f"{name.capitalize()} has a convex loss: no chord between two points lies below its curve."
    theorem = {"source": DECK, "theorem": True}
    second = {"source": SECOND_ORDER, "theorem": True}
    return [
        Claim.every(f"{name}: no chord below the curve", ~found.violates.any(axis=1), settles=settles, **theorem),
        Claim.every(f"{name}: no tangent above the curve", ~found.violates_tangent.any(axis=1), **theorem),
        Claim.every(f"{name}: no chord along the least curvature below the curve", ~along.violates, **theorem),
        Claim.every(f"{name}: no curvature below 0", bends.values[:, 0] >= -bends.rounding, **second),
        Claim.every(f"{name}: at least {straight} curvatures of 0", zeros >= straight, source="rank", theorem=True),
        Claim.mean(f"{name}: curvatures of 0, of {bends.values.shape[1]}", zeros),
    ]


def claims_of_network(found: Chord, bends: Curvatures, along: Chord) -> list[Claim]:
    """How often random chords and tangents refute convexity, and that the least curvature always does."""
    refuted = f"{DECK}: one would do"
    settles = (
        "With one hidden layer the loss is no longer convex: at every random point it bends down in some direction."
    )
    return [
        Claim.mean(f"{NETWORK}: chords below the curve", 100 * found.violates.mean(axis=1), unit="%"),
        Claim.mean(f"{NETWORK}: tangents above the curve", 100 * found.violates_tangent.mean(axis=1), unit="%"),
        Claim.every(
            f"{NETWORK}: a curvature below 0", bends.values[:, 0] < -bends.rounding, source=refuted, settles=settles
        ),
        Claim.every(f"{NETWORK}: the chord along the least curvature below the curve", along.violates, source=refuted),
        Claim.mean(f"{NETWORK}: least curvature at random points", bends.values[:, 0]),
    ]


def claims_of_one_minimum(name: str, ends: Ends) -> list[Claim]:
    """That all descents of a strongly convex loss end at one minimum, as far as their gradients can tell."""
    above = ends.above(STRONG)
    flat = np.hstack([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(ends.params)])
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    reach = (ends.gradient[:, None] + ends.gradient[None]) / STRONG
    theorem = {"source": BOOK, "theorem": True}
    return [
        Claim.mean(f"{name}: end above the minimum, at most", above, unit="nats"),
        Claim.every(f"{name}: end as low as any, within that", ends.loss - ends.loss.min() <= above, **theorem),
        Claim.every(f"{name}: end at one point with all, by their gradients", (apart <= reach).all(axis=1), **theorem),
        Claim.mean(f"{name}: loss at the end, with the penalty", ends.loss, unit="nats"),
    ]


def claims_of_minima(minima: Minima) -> list[Claim]:
    """That two descents of a network's loss end at different minima, where both are certified to be minima."""
    ends, least, certified = minima
    both, loss, above = (
        certified.reshape(-1, 2).all(axis=1),
        ends.loss.reshape(-1, 2),
        ends.above(np.where(certified, least, np.nan)).reshape(-1, 2),
    )
    gap = np.abs(loss[:, 0] - loss[:, 1])
    settles = "Train a network twice, and it usually ends at two different minima."
    usually = {"published": 50, "relation": "above", "source": DECK, "settles": settles}
    return [
        Claim.share(f"{NETWORK}: ends that are certified strict minima", certified),
        Claim.share(
            f"{NETWORK}: two starts that end at different minima", gap > above.sum(axis=1), among=both, **usually
        ),
        Claim.mean(f"{NETWORK}: least curvature of a minimum", least, among=certified),
        Claim.mean(f"{NETWORK}: two minima apart in loss", gap, unit="nats", among=both),
        Claim.mean(f"{NETWORK}: loss at the end, with the penalty", ends.loss, unit="nats"),
    ]


def ridge_regression(digits: Split, keys: jax.Array, chords: int) -> list[Claim]:
    """The strong convexity constant of a penalised linear regression, from chords and from NumPy."""
    pair = np.isin(digits.y, (3, 8))
    small = coarse(Split(digits.x[pair], digits.y[pair]), 4)
    problem = Problem(MLP((16, 1)), "squared_error", Split(small.x, (small.y == 8).astype(np.int32)))
    inputs = np.hstack([problem.data.x.astype(np.float64), np.ones((len(problem.data.y), 1))])
    constant = float(np.linalg.eigvalsh(2 * inputs.T @ inputs / len(inputs) + STRONG * np.eye(inputs.shape[1]))[0])

    def look(key: jax.Array, data: Split) -> tuple[jax.Array, jax.Array]:
        draw_key, chords_key = jax.random.split(key)
        start = problem.draw(draw_key)
        end = jax.tree.map(jnp.add, start, curvatures(problem.penalised, start, data).lowest)
        along = measure_chord(problem.penalised, Place(start, end, HALF), data)
        others, _ = random_chords(problem.penalised, problem.draw, data, jax.random.split(chords_key, chords))
        return along.strength, jnp.min(others.strength)

    along, others = map_seeds(look, keys, problem.data, chunk=4)
    same = {"tolerance": 1e-6 * constant, "tolerance_source": "float64 rounding", "source": "NumPy, eigvalsh"}
    return [
        Claim.mean(
            "linear regression: strength of the flattest chord",
            along,
            published=constant,
            relation="about",
            theorem=True,
            **same,
        ),
        Claim.every("linear regression: no chord less strong", others >= constant, source=BOOK, theorem=True),
        Claim.mean("linear regression: least strength of random chords", others),
    ]


def settle(digits: Split, seeds: int, chords: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Everything, in float64."""
    if seeds % 2:
        raise UserError(f"--seeds {seeds}: give an even number, for every network has its partner")
    keys = jax.random.split(jax.random.key(0), seeds)
    problems = make_problems(digits)
    looks = {name: look_around(problem, keys, chords, name) for name, problem in problems.items()}
    ends = {name: descend(problem, keys, name) for name, problem in problems.items()}
    network, trained = problems[NETWORK], ends.pop(NETWORK)
    minima = find_minima(network, trained)

    claims, shown = [], {}
    for name, (found, _, bends, along) in looks.items():
        shown |= {f"{name}:\nrandom chords": found, f"{name}:\nleast curvature": along}
        if name == NETWORK:
            claims += claims_of_network(found, bends, along) + claims_of_minima(minima)
        else:
            claims += claims_of_regression(name, problems[name], found, bends, along)
            claims += claims_of_one_minimum(name, ends[name])

    even, odd = (jax.tree.map(lambda leaf, first=first: leaf[first::2], minima.ends.params) for first in (0, 1))
    reversed_units = jax.vmap(shuffled)(minima.ends.params)
    places = {"two trained": (even, odd), "own units reversed": (minima.ends.params, reversed_units)}
    for what, ends_of_chords in places.items():
        chord = map_seeds(
            lambda pair, data: measure_chord(network.penalised, Place(*pair, HALF), data),
            ends_of_chords,
            network.data,
            chunk=4,
        )
        claims.append(Claim.share(f"{NETWORK}: middle above the chord, {what}", chord.violates))
        claims.append(Claim.mean(f"{NETWORK}: height above the chord, {what}", -chord.gap, unit="nats"))
        shown[f"{NETWORK}:\n{what}"] = chord
    claims += ridge_regression(digits, keys, chords)

    softmax, (found, lowest, *_) = problems[SOFTMAX], looks[SOFTMAX]
    nearest = int(np.argmin(found.gap.min(axis=1)))
    nearest_place = jax.tree.map(lambda leaf: jnp.asarray(leaf[nearest]), lowest)
    first, second = (jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), side) for side in places["own units reversed"])
    drawn = {
        "softmax regression:\nthe random chord nearest to its curve": (softmax.plain, nearest_place),
        "network:\nbetween a trained network\nand itself, its units reversed": (
            network.penalised,
            Place(first, second, HALF),
        ),
    }
    (out / "convexity.png").write_bytes(png(draw(drawn, network.data, shown)))
    config = {
        "chords of a seed": chords,
        "ridge": RIDGE,
        "longest gradient at an end of a regression": max(float(end.gradient.max()) for end in ends.values()),
        "lowest eigenvalue, over the largest": {
            name: float((bends.values[:, 0] / bends.values[:, -1]).min()) for name, (_, _, bends, _) in looks.items()
        },
        "longest gradient at a minimum of the network": float(minima.ends.gradient.max()),
        "notes": [
            "An older version took softmax regression's least curvature from 60 steps of Lanczos' method, which had "
            "not come down to it: 1e-6 above 0, with a residual 20 times as large. The dense Hessian has it at 0.",
        ],
    }
    return claims, config


@mpl.rc_context(STYLE)
def draw(segments: dict[str, tuple[MeanLoss, Place]], data: Split, chords: dict[str, Chord]) -> Figure:
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
    for row, chord in enumerate(chords.values()):
        heights, low = chord.gap.ravel(), chord.violates.ravel()
        for rows, colour in ((low, VERMILLION), (~low, BLUE)):
            panels[2].plot(
                heights[rows], row + rng.uniform(-0.3, 0.3, rows.sum()), ".", color=colour, ms=7, alpha=0.6, mew=0
            )
    panels[2].axvline(0, color="black", lw=1)
    panels[2].set_xscale("symlog", linthresh=1e-4)
    panels[2].set_xticks([-1, -1e-2, -1e-4, 0, 1e-4, 1e-2, 1])
    panels[2].set_yticks(range(len(chords)), [*chords])
    panels[2].invert_yaxis()
    panels[2].set(
        xlabel="height of a chord above the curve (nats)", title="all chords; orange: below their curve", xlim=(-5, 20)
    )
    panels[0].legend(loc="upper center")
    return figure


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    with jax.enable_x64(True):
        return settle(load("mnist5k").train, seeds, 10 if quick else CHORDS, out)


if __name__ == "__main__":
    run_experiment("convexity", __doc__, body, full_seeds=32, quick_seeds=2, shared="one set of digits")
