"""Softmax collapse: does rounding keep networks that fit from generalising, where nothing decays their weights?

Claims: without regularisation cross-entropy stalls in float32, since right answers reach a loss of exactly 0, and so
does its slope in their class. This softmax collapse keeps networks from grokking; StableMax in place of softmax, or
more precision, lets them go on. Source: Prieto et al., arXiv:2501.04697.

Protocol: (a + b) mod 31, a and b one-hot, 70 % of the 961 pairs to train on, all at once, that each network draws for
itself, the rest to test on; 62-128-31, squares for activations, no biases, PyTorch's start, cross-entropy or
StableMax, no weight decay, Adam at 0.03 with b2 = 0.99 and epsilon 1e-15, 6,000 steps: the usual 1e-8 stops small
gradients before float32 does. Half of the seeds also train with softmax all in float64 (epsilon 1e-100), from the same
starts: what rounding does it should undo. There: modulo 113, two hidden layers of 200, 40 to 70 % of the pairs, AdamW
without decay at 0.0005 to 0.01 with an epsilon of 1e-25 or 1e-30, up to 100,000 steps, and float64 in the loss alone,
which StableMax has, too; here it is in float32.

Command: python experiments/softmax_collapse.py
Wall time on two cores: 2 minutes for 40 networks; --quick 10 s.

Expected: the collapse is there: all of 16 networks fit, and have all losses at exactly 0 from about 1,300 steps on,
but not to the end, at 6,000, where two have losses again: the claim fails as it stands. The test accuracy is 22 % at
the end with softmax in float32, 43 % in float64, where losses are above 0 until 5,000 steps and the accuracy has begun
to rise, and 99.8 % with StableMax. So rounding is to blame, but for a part: StableMax has 43 % after little more than
a hundred steps. Its losses come to be 0 as well, once it has generalised.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from jaxtyping import Array
from matplotlib.figure import Figure

from mlpjax import MLP, Moment, Observe, Recipe, UserError, make_members, progress_bar, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.generated import make_modular_addition
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

SHARE, FIT, EVERY = 0.7, 99, 10
"""Of the pairs, to train on; the training accuracy, in %, that counts as fitting; and steps between two looks."""
EPSILONS = 1e-15, 1e-100
"""Of Adam, in float32 and in float64: as far down as its estimate of a gradient, a root of squares, can go."""
SOFTMAX, STABLE, EXACT = "softmax", "StableMax", "softmax in float64"
PRIETO = "arXiv:2501.04697"
COLLAPSES = "Without weight decay softmax collapses in float32: every training loss ends at exactly 0."
MENDS = "Where softmax has collapsed, StableMax generalises."
BLAMED = "It is float32 that keeps softmax from generalising: in float64, where no loss is 0, it does better."


class Size(NamedTuple):
    """How much is trained."""

    p: int
    """The modulus."""
    units: int
    steps: int


FULL = Size(31, 128, 6000)
QUICK = FULL._replace(steps=200)


class Curves(NamedTuple):
    """How networks with one loss got on: arrays [seeds, evaluations]."""

    steps: np.ndarray
    """[evaluations]"""
    train: np.ndarray
    """Training accuracy, in %."""
    test: np.ndarray
    """Accuracy on what was not trained on, in %."""
    lost: np.ndarray
    """Share of the training losses that are exactly 0, in %."""
    diverged: np.ndarray
    """[seeds]"""


def square(z: Array) -> Array:
    """Gromov's activation, with which two layers can add."""
    return z * z


def stablemax(outputs: Array, labels: Array) -> Array:
    """Cross-entropy with StableMax in place of softmax: -log(s(f_y) / sum_k s(f_k)), s as below.

    s(f) = f + 1 for f >= 0, else 1 / (1 - f).

    Source: Prieto et al., arXiv:2501.04697.
    """
    scores = jnp.where(outputs >= 0, outputs + 1, 1 / (1 - jnp.minimum(outputs, 0)))
    own = jnp.sum(jax.nn.one_hot(labels, outputs.shape[1]) * scores, axis=1)
    return jnp.log(scores.sum(axis=1)) - jnp.log(own)


def lost(moment: Moment) -> Array:
    """How many of the training examples have a loss of exactly 0; as a mean, all of them would be rounded."""
    x, y = moment.data.train
    losses = moment.task.losses(moment.task.predict(moment.state.variables, moment.task.prepare(x)), y)
    return jnp.sum(losses == 0)


def own_adam(eps: float) -> Callable[[optax.Schedule], optax.GradientTransformation]:
    """Adam that the smallest gradients move, too: its usual 1e-8 would stop them before rounding does."""
    return lambda rate: optax.adam(rate, b2=0.99, eps=eps)


def train(name: str, size: Size, seeds: int) -> Curves:
    """Train with softmax or StableMax on a share of the pairs, that each network draws for itself.

    All pairs are tested, and those that were trained on are taken out of the accuracy.
    """
    dataset = make_modular_addition(size.p)
    model = MLP((2 * size.p, size.units, size.p), square, initializer="torch", bias="none")
    pairs, double = len(dataset.train.y), name == EXACT
    seen = round(SHARE * pairs)
    recipe = Recipe(
        stablemax if name == STABLE else "cross_entropy",
        own_adam(EPSILONS[double]),
        learning_rate=0.03,
        batch_size=None,
        epochs=size.steps,
        eval_every=EVERY,
        sample_size=seen,
    )
    drawn = jax.vmap(lambda key: model.init(key).params)(make_members(range(seeds)).keys.init)
    start = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), drawn) if double else None
    observe = {"lost": Observe(lost, range(0, size.steps + 1, EVERY))}
    with jax.enable_x64(double), progress_bar(name, "networks") as on_progress:
        trained = train_many(
            model, recipe, dataset, range(seeds), start=start, observe=observe, on_progress=on_progress
        )
    fitted, tested = (100 - trained.error(split) for split in ("train", "test"))
    right = np.rint(pairs * tested / 100) - np.rint(seen * fitted / 100)
    rest = 100 * right / (pairs - seen)
    return Curves(trained.epochs, fitted, rest, 100 * trained.observed["lost"] / seen, trained.diverged)


def collapse_claims(found: dict[str, Curves]) -> list[Claim]:
    """Whether softmax loses its gradient in float32, what generalises where it does, and whether float64 does."""
    softmax, stable, exact = (found[name] for name in (SOFTMAX, STABLE, EXACT))
    few = len(exact.diverged)
    among = ~(softmax.diverged | stable.diverged)
    claims = []
    for name, curves in found.items():
        own: Any = {"among": ~curves.diverged, "unit": "%"}
        claims += [
            Claim.mean(f"{name}: test accuracy at the end", curves.test[:, -1], **own),
            Claim.mean(f"{name}: training losses of exactly 0 at the end", curves.lost[:, -1], **own),
        ]
    stated: Any = {"published": 0, "relation": "above", "source": PRIETO, "unit": "points"}
    fits, gone = (softmax.train >= FIT).any(axis=1), softmax.lost == 100
    return [
        *claims,
        Claim.share(f"{SOFTMAX}: fit, and have all losses 0 at some time", fits & gone.any(axis=1), among=among),
        Claim.every(f"{SOFTMAX}: fit, and end with all losses 0", fits & gone[:, -1], among=among, source=PRIETO,
            settles=COLLAPSES),
        Claim.difference(f"test accuracy at the end, {STABLE} above {SOFTMAX}", stable.test[:, -1],
            softmax.test[:, -1], among=among, settles=MENDS, **stated),
        Claim.difference(f"test accuracy at the end, {EXACT} above {SOFTMAX}", exact.test[:, -1],
            softmax.test[:few, -1], among=(~softmax.diverged)[:few] & ~exact.diverged, settles=BLAMED, **stated),
    ]  # fmt: skip


@mpl.rc_context(STYLE)
def draw(found: dict[str, Curves]) -> Figure:
    """Accuracies and lost losses against steps, without the start, which a log axis has no room for."""
    figure = Figure(figsize=(14, 5.5))
    accuracies, stalled = figure.subplots(1, 2)
    for (name, own), colour in zip(found.items(), (VERMILLION, BLUE, GREEN), strict=True):
        for axes, values, look in (
            (accuracies, own.test, {"label": name}),
            (accuracies, own.train, {"ls": ":"}),
            (stalled, own.lost, {"label": name}),
        ):
            low, mean, high = mean_band(values[~own.diverged, 1:])
            axes.plot(own.steps[1:], mean, color=colour, **look)
            axes.fill_between(own.steps[1:], low, high, color=colour, alpha=0.25, lw=0)
    accuracies.set(ylabel="accuracy (%)", title="test accuracy (dotted: training)")
    stalled.set(ylabel="training losses of exactly 0 (%)", title="softmax collapse")
    for axes in (accuracies, stalled):
        axes.set(xscale="log", xlabel="step", ylim=(-3, 103))
        axes.legend()
    seeds, few = (len(found[name].diverged) for name in (SOFTMAX, EXACT))
    figure.suptitle(
        f"modular addition, {100 * SHARE:g} % of the pairs, no weight decay: means over {seeds} seeds, {few} in "
        "float64, with 95 % intervals"
    )
    return figure


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train with every loss, draw the figure and state the claims."""
    if seeds < 4:
        raise UserError(f"--seeds {seeds}: give at least 4; half of them train in float64, too")
    rate, begin = float32_rate(), time.perf_counter()
    found = {name: train(name, size, seeds // 2 if name == EXACT else seeds) for name in (SOFTMAX, STABLE, EXACT)}
    seconds = time.perf_counter() - begin
    (out / "softmax_collapse.png").write_bytes(png(draw(found)))
    networks = sum(len(own.diverged) for own in found.values())
    passes = networks * size.steps * SHARE * size.p**2
    operations = passes * flops_per_example((2 * size.p, size.units, size.p))
    config = {
        "data": f"(a + b) mod {size.p}",
        "networks": networks,
        "diverged": int(sum(own.diverged.sum() for own in found.values())),
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {operations / 1e12:,.1f} TFLOP in products in {seconds:,.0f} s: "
            f"{100 * operations / 1e9 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, compiling, "
            "looking and float64 included."
        ],
    }
    return collapse_claims(found), config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "nothing; each network draws its own pairs"
    run_experiment("softmax_collapse", __doc__, body, full_seeds=16, quick_seeds=4, shared=shared)
