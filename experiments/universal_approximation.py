"""One hidden layer is enough, if it is wide: how fast the error falls with the width, and who finds that network.

Claim: "MLPs with one (large) hidden layer are universal function approximators". Source: STAT 453 (2025), L09, Wide vs
Deep Architectures, after Cybenko (1989) and Hornik, Stinchcombe and White (1989): whatever the continuous function and
however small epsilon, there is a width at which some network is nowhere further than epsilon from it. And Barron
(1993): the mean squared error need not be more than a constant over the width, so the root mean square falls as
width^-1/2 or faster.

Protocol: two functions on [-1, 1]: a wave, sin(3 pi x), and a root, sqrt(|x|), which is steep at 0. Networks 1-n-1 for
n from 4 to 256. Three ways to their weights:

constructed: n ReLUs with kinks at even distances h = 2/n, whose network joins points of the function by lines. Its
largest error is known: 1 - cos(3 pi h / 2) of the wave at most, about (3 pi h)^2 / 8; sqrt(h) / 4 of the root. So the
rates, the slopes of log error against log n, are -2 and -1/2;

solved: hidden units that stay as drawn, centres U[-1, 1], either sign, steepness 1 (ReLU) or 10 (sigmoid), and output
weights by least squares on 201 even points, in float64;

trained: the same start, output weights N(0, 1/n), all weights by Adam on these points, 5,000 steps of the whole batch,
the rate from 0.01 down to 0 as a cosine. The largest and the root mean square error are over 2,001 even points. The
rate of every seed is fitted through all widths.

Command: python experiments/universal_approximation.py
Wall time on two cores: about 200 s; --quick about 30 s.

Expected: the construction has its rates, -2 and -1/2. Of the wave, sigmoids that stay as drawn come to 3e-7 at 256
units, faster than any power of the width. Trained ones get stuck at 0.004, less than the 0.01 that is asked for, but
15,000 times as far: where the width allows a fit, the training limits it. Drawn ReLUs do worse, and worse again where
there are more of them than points: nothing holds them between the points. In the median no way but the construction
gets the root below 0.05: all of its error is at 0, where a kink or a steep unit must be just right, and it falls slower
than the construction's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Moment, Observe, Recipe, Split, Variables, progress_bar, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.models import dense_layers
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import quantile_band
from mlpjax.typing import Params

WIDTHS = (4, 8, 16, 32, 64, 128, 256)
TARGETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "wave": lambda x: np.sin(3 * np.pi * x),
    "root": lambda x: np.sqrt(np.abs(x)),
}
BOUNDS: dict[str, Callable[[float], float]] = {
    "wave": lambda h: 1 - float(np.cos(3 * np.pi * h / 2)),
    "root": lambda h: float(np.sqrt(h)) / 4,
}
"""The largest error between two points of the function at distance h that a line joins."""
RATES = {"wave": -2.0, "root": -0.5}
"""Of the construction."""
TITLES = {"wave": r"wave: $\sin(3 \pi x)$", "root": r"root: $\sqrt{|x|}$"}
STEEPNESS = {"relu": 1.0, "sigmoid": 10.0}
SMALL = 0.01
"""The epsilon that the widest network is asked for."""
LEARNING_RATE = 0.01
SOLVED, TRAINED = "solved", "trained"
THEOREM = "STAT 453 (2025), L09, Wide vs Deep Architectures, after Cybenko (1989)"
WIDE = "One hidden layer is enough: 256 sigmoids come within 0.01 of a sine wave everywhere."
BOUND: Any = {
    "published": -0.5,
    "relation": "at most",
    "source": "Barron (1993), theorem 1, of the best network of sigmoids",
}
FURTHER: Any = {
    "published": 0,
    "relation": "above",
    "source": "ours, after a run of 2 seeds: the theorem says that a network exists, not that training finds it",
    "settles": "Training all weights of wide networks ends further from a sine wave than solving for those of the "
    "output alone: where the width allows a fit, the training limits it.",
}
LINES = "the error of a line through two points of the function"
COLOURS = {
    ("relu", SOLVED): ORANGE,
    ("sigmoid", SOLVED): GREEN,
    ("relu", TRAINED): VERMILLION,
    ("sigmoid", TRAINED): BLUE,
}


def points(target: str) -> Dataset:
    """Of a function: 201 to fit, and 2,001 to judge by."""
    fitted, judged = (np.linspace(-1, 1, count, dtype=np.float32)[:, None] for count in (201, 2001))
    splits = [Split(x, TARGETS[target](x).astype(np.float32)) for x in (fitted, fitted[:0], judged)]
    return Dataset(target, *splits, source="a formula")


def draw_hidden(seed: int, units: int, steepness: float) -> Params:
    """Hidden units with centres all over [-1, 1], of either sign."""
    rng = np.random.default_rng((seed, units))
    weights = steepness * rng.choice((-1.0, 1.0), units)
    return {"kernel": weights[None], "bias": -weights * rng.uniform(-1, 1, units)}


def construct(target: str, units: int) -> Params:
    """ReLUs that join points of a function by lines: N(x) = f(-1) + sum_i (s_i - s_{i-1}) relu(x - x_i)."""
    knots = np.linspace(-1, 1, units + 1)
    values = TARGETS[target](knots)
    slopes = np.diff(values) / np.diff(knots)
    return {
        "dense_0": {"kernel": np.ones((1, units)), "bias": -knots[:-1]},
        "dense_1": {"kernel": np.diff(slopes, prepend=0.0)[:, None], "bias": values[:1]},
    }


def solve(dataset: Dataset, activation: str, hidden: Params) -> Params:
    """The hidden units with the output weights of least squares."""
    model = MLP((1, hidden["bias"].size, 1), activation)
    blank = {"dense_0": hidden, "dense_1": {"kernel": np.zeros((hidden["bias"].size, 1)), "bias": np.zeros(1)}}
    features = np.asarray(model.activations(jax.tree.map(jnp.asarray, blank), jnp.asarray(dataset.train.x, float))[0])
    columns = np.column_stack([features, np.ones(len(features))])
    weights = np.linalg.lstsq(columns, dataset.train.y.astype(float), rcond=None)[0]
    return {"dense_0": hidden, "dense_1": {"kernel": weights[:-1], "bias": weights[-1]}}


def errors_of(dataset: Dataset, activation: str, params: Params) -> tuple[float, float]:
    """The largest and the root mean square error of one network, in float64."""
    model = MLP((1, dense_layers(params)[0]["bias"].size, 1), activation)
    x = np.linspace(-1, 1, len(dataset.test.x))[:, None]
    outputs, _ = model.apply(Variables(jax.tree.map(jnp.asarray, params)), jnp.asarray(x))
    error = np.abs(np.asarray(outputs) - TARGETS[dataset.name](x))
    return float(error.max()), float(np.sqrt(np.mean(error**2)))


def train(dataset: Dataset, activation: str, units: int, seeds: int, steps: int) -> np.ndarray:
    """The errors, [2, seeds], of networks that are trained from every seed."""
    recipe = Recipe(
        "squared_error", learning_rate=LEARNING_RATE, schedule="cosine", batch_size=None, epochs=steps, eval_every=steps
    )
    starts = []
    for seed in range(seeds):
        rng = np.random.default_rng((seed, units, 1))
        output = {"kernel": rng.normal(size=(units, 1)) / np.sqrt(units), "bias": np.zeros(1)}
        starts.append({"dense_0": draw_hidden(seed, units, STEEPNESS[activation]), "dense_1": output})

    def look(moment: Moment) -> tuple[jax.Array, jax.Array]:
        test = moment.data.test
        outputs = moment.task.predict(moment.state.variables, moment.task.prepare(test.x))
        error = jnp.abs(outputs - jnp.asarray(test.y))
        return jnp.max(error), jnp.sqrt(jnp.mean(error**2))

    with progress_bar(f"{dataset.name}, 1-{units}-1, {activation}", "networks") as on_progress:
        trained = train_many(
            MLP((1, units, 1), activation),
            recipe,
            dataset,
            range(seeds),
            start=jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *starts),
            observe={"end": Observe(look, epochs=[steps])},
            on_progress=on_progress,
        )
    return np.stack(trained.observed["end"])[..., 0].astype(float)


Errors = dict[tuple[str, str], np.ndarray]
"""By activation and way: the largest and the root mean square error, [2, widths, seeds]."""


def approximate(target: str, widths: tuple[int, ...], seeds: int, steps: int) -> tuple[np.ndarray, Errors]:
    """The largest errors of the construction [widths], and the errors of the other ways."""
    dataset, found = points(target), {}
    with jax.enable_x64(True):
        constructed = np.array([errors_of(dataset, "relu", construct(target, units))[0] for units in widths])
        for activation, steepness in STEEPNESS.items():
            of_width = [
                [
                    errors_of(dataset, activation, solve(dataset, activation, draw_hidden(seed, units, steepness)))
                    for seed in range(seeds)
                ]
                for units in widths
            ]
            found[activation, SOLVED] = np.moveaxis(np.array(of_width), -1, 0)
    for activation in STEEPNESS:
        of_width = [train(dataset, activation, units, seeds, steps) for units in widths]
        found[activation, TRAINED] = np.stack(of_width, axis=1)
    return constructed, found


def rate(widths: tuple[int, ...], errors: np.ndarray) -> np.ndarray:
    """The slope of log error [widths, seeds] against log width, of every seed."""
    return np.polyfit(np.log(widths), np.log(errors), 1)[0]


def claims_of(target: str, widths: tuple[int, ...], constructed: np.ndarray, found: Errors) -> list[Claim]:
    """How large the errors are at the largest width, and how fast they fall."""
    bounds = np.array([BOUNDS[target](2 / units) for units in widths])
    # By the last two widths: the wave's rate is that of small h.
    last = float(np.diff(np.log(constructed[-2:])).item() / np.log(widths[-1] / widths[-2]))
    claims = [
        Claim.exact(
            f"{target}, constructed: largest error over the bound, at most",
            float(np.max(constructed / bounds)),
            published=1 + 1e-9,
            relation="at most",
            source=LINES,
            theorem=True,
        ),
        Claim.exact(
            f"{target}, constructed: rate at the largest widths",
            last,
            published=RATES[target],
            relation="about",
            tolerance=0.05,
            tolerance_source="ours, before any run: widths are finite",
            source=LINES,
            theorem=True,
        ),
        Claim.exact(f"{target}, constructed: largest error of {widths[-1]} units", float(constructed[-1])),
    ]
    for (activation, way), (largest, square) in found.items():
        name, smooth = f"{target}, {activation}, {way}", (target, activation) == ("wave", "sigmoid")
        among = np.isfinite(largest).all(axis=0)
        fitted, fitted_square = (rate(widths, np.where(among, errors, 1.0)) for errors in (largest, square))
        if smooth:
            claims.append(
                Claim.every(
                    f"{name}: largest error of {widths[-1]} units at most {SMALL}",
                    largest[-1] <= SMALL,
                    among=among,
                    source=THEOREM if way == SOLVED else "ours, after a run of 4 seeds",
                    settles=WIDE if way == SOLVED else "",
                )
            )
        claims += [
            Claim.mean(f"{name}: largest error of {widths[-1]} units", largest[-1], among=among),
            Claim.mean(f"{name}: rate of the largest error", fitted, among=among),
            # Barron's bound is of smoother functions than the root, whose slope has no end at 0.
            Claim.mean(
                f"{name}: rate of the root mean square error", fitted_square, among=among, **(BOUND if smooth else {})
            ),
        ]
    for activation in STEEPNESS:
        solved, trained = (np.log10(found[activation, way][0][-1]) for way in (SOLVED, TRAINED))
        claims.append(
            Claim.difference(
                f"{target}, {activation}: log10 of the largest error of {widths[-1]} units, trained above solved",
                trained,
                solved,
                among=np.isfinite(trained),
                unit="decades",
                **(FURTHER if (target, activation) == ("wave", "sigmoid") else {}),
            )
        )
    return claims


@mpl.rc_context(STYLE)
def draw(widths: tuple[int, ...], approximated: dict[str, tuple[np.ndarray, Errors]]) -> Figure:
    """The largest error against the width, in every way, for each function."""
    figure = Figure(figsize=(14, 5.6))
    for axes, (target, (constructed, found)) in zip(figure.subplots(1, 2), approximated.items(), strict=True):
        axes.plot(widths, constructed, "k--", label="relu, constructed", lw=1.6)
        for (activation, way), (largest, _) in found.items():
            style: dict[str, Any] = {"color": COLOURS[activation, way]}
            lower, median, upper = quantile_band(largest[:, np.isfinite(largest).all(axis=0)].T)
            axes.plot(widths, median, marker="s" if way == SOLVED else "o", label=f"{activation}, {way}", **style)
            axes.fill_between(widths, lower, upper, alpha=0.2, lw=0, **style)
        axes.axhline(SMALL, color="#777777", ls=":", lw=1.6)
        axes.set(xscale="log", yscale="log", xlabel="units of the hidden layer", title=TITLES[target])
        axes.set_ylabel("largest error on [-1, 1]")
        axes.set_xticks(widths, labels=map(str, widths))
        axes.minorticks_off()
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=5,
        title=f"median over {largest.shape[1]} seeds, and band of the central 95 % of them; dotted: {SMALL}",
    )
    return figure


def settle(widths: tuple[int, ...], seeds: int, steps: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Approximate both functions in every way, draw the figure and state the claims."""
    approximated = {target: approximate(target, widths, seeds, steps) for target in TARGETS}
    (out / "universal_approximation.png").write_bytes(png(draw(widths, approximated)))
    claims = [claim for target, found in approximated.items() for claim in claims_of(target, widths, *found)]
    return claims, {"widths": widths, "steps": steps}


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(WIDTHS[1::4] if quick else WIDTHS, seeds, 500 if quick else 5000, out)


if __name__ == "__main__":
    shared = "two functions of one variable, at 201 points"
    run_experiment("universal_approximation", __doc__, body, full_seeds=16, quick_seeds=2, shared=shared)
