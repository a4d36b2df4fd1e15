"""Grokking: do networks that fit their training data generalise long after, and what makes them wait?

Claims: on small algorithmic tasks a network fits its training examples long before it generalises, weight decay and
more data shorten the wait. Source: Power et al., arXiv:2201.02177. On modular addition two layers with quadratic units
do it under gradient descent without any regularisation; their weights become periodic, and analytic weights solve the
task. Source: Gromov, arXiv:2301.02679. Digits are grokked, too, where the weights start eight times as large. Source:
Liu et al., Omnigrok, arXiv:2210.01117. GELU groks up to 4.3 times as fast as ReLU, where regularisation lets networks
memorise. Source: Manir and Rupa, arXiv:2603.25009, modulo 97, of 3 to 5 seeds.

Protocol: (a + b) mod 31, a and b one-hot, all 961 pairs. Each network draws its own share of them to train on, all at
once, and is tested on the rest. Gromov's network: 62-256-31 without biases, squares for activations, outputs divided by
62 * 256, weights from N(0, 1), squared error, gradient descent, there without momentum, here with 0.9, at 10,000 (the
divisor makes gradients small), under a ridge penalty of none, 1e-8 or 3e-8 on 45 % of the pairs, and of none or 1e-8 on
60 %. It fits at the first evaluation, of one in ten steps, with 99 % of the training pairs right, and generalises at
that with 95 % of the others. A unit's weights have a spectrum over each of its two inputs: the Fourier share is what
part of the power lies in the strongest of the 15 frequencies, the constant left out; of weights at random it is
H_15 / 15.

Omnigrok's: 1,000 digits of mnist5k to train on and 1,000 to test, 784-200-200-10, ReLU, PyTorch's start times 8 or 1,
squared error on one-hot targets, AdamW at 0.001 with decay 0.01 of all parameters, batch 200; there up to 100,000 steps
in float64. Here 40,000 in float32, and 3,000 from the usual start; half of the seeds also take 5,000 in float64 from
the same starts.

Activations, here: 80 % of the pairs, 62-128-31, ReLU or GELU, cross-entropy, AdamW at 0.003, each under the best of
three decays, chosen by half of the seeds and judged by the others.

Command: python experiments/grokking.py
Wall time on two cores: 14 minutes for 436 networks, with tests beside it; --quick 35 s.

Expected: on 45 % of the pairs, with the weaker ridge, all of 64 networks fit after 130 steps, with 0.02 % of the other
pairs right, and generalise after 1,450, 11 times as many; with three times the ridge after 420, and without one never.
On 60 % they need none: 58 of 64 generalise within 1,000 steps, and six do not, so that the claim for all fails.
Weights become periodic on the way: the Fourier share rises from 29 % at the fit to 56 % where they generalise, in
every seed, and to 98 % with the stronger ridge. The weights do not get shorter on the way (373 to 551), as decay alone
would have it, nor does the rank of the first layer fall; both do later. Digits from the large start are fitted after
2,000 steps with 19 % of the test digits right, and 86 % are right at 40,000 (still rising); from the usual start 92 %
are right at the fit and at the end. float64 changes nothing in the first 5,000 steps (-0.1 points [-1.3, 1.1]). GELU
is not faster than ReLU here: in none of eight seeds, and three have not generalised at the end.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mlpjax import (
    MLP,
    Moment,
    Observe,
    Recipe,
    Split,
    UserError,
    Variables,
    load,
    make_members,
    progress_bar,
    sweep,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.generated import make_modular_addition
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

P, UNITS, NARROW = 31, 256, 128
DECAYS, FEW, MORE, MOST = (0.0, 1e-8, 3e-8), 0.45, 0.6, 0.8
"""Ridge penalties, and shares of the pairs to train on."""
FIT, GENERAL, EVERY = 99, 95, 10
"""Accuracies, in %, that count as fitting and as generalising; and steps between two looks."""
LONG = 5
"""Times the steps to fit that count as long after."""
LARGE, USUAL, BATCH, LOOK_EPOCHS = 8.0, 1.0, 200, 20
"""Times the usual start; examples in a minibatch of digits, and epochs between two looks."""
UNIT_DECAYS = (0.5, 1.0, 2.0)
"""Of AdamW, for ReLU and GELU."""
POWER, GROMOV, OMNIGROK, GELU = "arXiv:2201.02177", "arXiv:2301.02679", "arXiv:2210.01117", "arXiv:2603.25009"
OURS = "ours, before any full run"
SOLVES = "Analytic weights, cosines whose phases add up, solve modular addition."
GROKS = "Networks that fit their training pairs early generalise long after: they grok."
NEEDED = "On less than half of the pairs they generalise with weight decay and not without."
UNNEEDED = "On three fifths of the pairs they generalise without any regularisation."
DECAY = "More weight decay lets them generalise after fewer steps."
DATA = "More training pairs let them generalise after fewer steps."
PERIODIC = "Between fitting and generalising the weights of a network that groks become periodic."
LATE_DIGITS = "A network that starts eight times as large groks digits: its test accuracy rises long after the fit."
AT_ONCE = "From the usual start digits are not grokked: test accuracy is all there when the network fits."
ROUNDING = "Digits are grokked in float32 as in float64."
FASTER = "GELU generalises in fewer steps than ReLU."
INSIDE: dict[str, Any] = {
    "fourier": ("Fourier share", {"unit": "points", "published": 0, "relation": "above", "source": GROMOV}),
    "norm": ("length of the weights", {"published": 0, "relation": "below", "source": OMNIGROK}),
    "rank": ("effective rank of the first layer", {}),
}
"""What is observed, and what is said to become of it between fitting and generalising."""
LATER: dict[float, Any] = {
    LARGE: {"published": 0, "relation": "above"},
    USUAL: {"published": 0, "relation": "about", "tolerance": 2, "tolerance_source": OURS, "settles": AT_ONCE},
}
"""What becomes of the test accuracy on digits after the fit, by how large the start is."""


class Size(NamedTuple):
    """How much of it all is trained."""

    few: int
    """Steps on few pairs."""
    more: int
    """Steps on more of them."""
    digits: int
    hidden: tuple[int, int]
    epochs: tuple[int, int, int]
    """On digits, from the large start, from the usual one, and in float64."""
    units: int
    """Steps with ReLU and with GELU."""
    seeds: tuple[int, int]
    """On digits, and with ReLU and with GELU, at most."""


FULL = Size(2500, 1500, 1000, (200, 200), (8000, 600, 1000), 3000, (8, 16))
QUICK = Size(400, 200, 400, (50, 50), (60, 40, 20), 100, (2, 4))


class Curves(NamedTuple):
    """How networks of one setting got on: arrays [seeds, evaluations]."""

    steps: np.ndarray
    """[evaluations]"""
    train: np.ndarray
    """Training accuracy, in %."""
    test: np.ndarray
    """Accuracy on what was not trained on, in %."""
    observed: Any
    """[seeds, evaluations]"""
    diverged: np.ndarray
    """[seeds]"""

    @property
    def fit(self) -> np.ndarray:
        """Steps to fit, [seeds]; infinite where it never does."""
        return first(self.steps, self.train >= FIT)

    @property
    def general(self) -> np.ndarray:
        """Steps to generalise, likewise."""
        return first(self.steps, self.test >= GENERAL)

    def at(self, values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """What was observed of every seed after so many steps, [seeds]; at the end where they are infinite."""
        places = np.minimum(np.searchsorted(self.steps, steps), len(self.steps) - 1)
        return values[np.arange(len(values)), places]


def first(steps: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """The first step of each row that is hit, infinite where none is."""
    return np.where(hit.any(axis=1), steps[hit.argmax(axis=1)], np.inf)


def ratio(more: np.ndarray, fewer: np.ndarray) -> np.ndarray:
    """How many times as many steps, infinite where either are."""
    known = np.isfinite(fewer)
    return np.where(known, more / np.where(known, fewer, 1), np.inf)


def square(z: Array) -> Array:
    """Gromov's activation."""
    return z * z


def gromov(p: int, units: int) -> MLP:
    """Gromov's network: f(a, b) = W2 (W1 [a; b])^2 / (2 p units), all weights from N(0, 1)."""

    def divided(z: Array) -> Array:
        return z / (2 * p * units)

    return MLP((2 * p, units, p), square, divided, initializer="normal", bias="none")


def analytic(p: int, units: int, seed: int) -> PyTree:
    """Weights that solve the task: cosines of random frequencies, in phase where a + b is the class.

    W1 = [cos(2 pi k a / p + u), cos(2 pi k b / p + v)], W2 = cos(2 pi k c / p + u + v) for each unit's k, u and v. In
    the mean over these a unit's square adds 1 / 2 to the output c = a + b, and -1 / (2 (p - 1)) to the others.

    Source: Gromov, arXiv:2301.02679.
    """
    rng = np.random.default_rng(seed)
    k, u, v = rng.integers(1, p, units), *rng.uniform(0, 2 * np.pi, (2, units))
    angle = 2 * np.pi * np.outer(np.arange(p), k) / p
    first, second, last = np.cos(angle + u), np.cos(angle + v), np.cos(angle + u + v)
    return {"dense_0": {"kernel": np.concatenate([first, second])}, "dense_1": {"kernel": last.T}}


def fourier_share(kernel: Array) -> Array:
    """Share of the power of units' weights that lies in the strongest frequency of each input, the constant left out.

    Args:
        kernel: of the first layer, [2 p, units].

    Returns:
        sum of the strongest over the sum of all, over units and inputs, in %.
    """
    p = kernel.shape[0] // 2
    power = jnp.abs(jnp.fft.rfft(kernel.reshape(2, p, -1), axis=1)[:, 1:]) ** 2
    return 100 * power.max(axis=1).sum() / power.sum()


def effective_rank(kernel: Array) -> Array:
    """How many directions a matrix has: (sum s^2)^2 / sum s^4, with s its singular values."""
    gram = kernel @ kernel.T
    return jnp.trace(gram) ** 2 / jnp.sum(gram**2)


def look(moment: Moment) -> dict[str, Array]:
    """What is observed: the length of all weights, the first layer's spectrum and rank."""
    kernel = moment.state.params["dense_0"]["kernel"]
    return {
        "norm": optax.tree.norm(moment.state.params),
        "fourier": fourier_share(kernel),
        "rank": effective_rank(kernel),
    }


def own_adamw(rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW as PyTorch has it: biases decay, too."""
    return optax.adamw(rate, weight_decay=0.01)


def on_pairs(
    what: str, model: MLP, recipe: Recipe, share: float, seeds: int, over: dict[str, Sequence[Any]]
) -> list[Curves]:
    """Train at every setting on a share of the pairs, that each network draws for itself.

    All pairs are tested, and those that were trained on are taken out of the accuracy.
    """
    dataset = make_modular_addition(model.widths[-1])
    pairs = len(dataset.train.y)
    seen = round(share * pairs)
    own = replace(recipe, sample_size=seen, batch_size=None, eval_every=EVERY)
    observe = {"look": Observe(look, epochs=range(0, recipe.epochs + 1, EVERY))}
    with progress_bar(what, "networks") as on_progress:
        swept = sweep(model, own, dataset, range(seeds), over, observe=observe, on_progress=on_progress)
    found = []
    for trained in swept.trained:
        train, test = (100 - trained.error(split) for split in ("train", "test"))
        right = np.rint(pairs * test / 100) - np.rint(seen * train / 100)
        rest = 100 * right / (pairs - seen)
        found.append(Curves(trained.epochs, train, rest, trained.observed["look"], trained.diverged))
    return found


def on_digits(what: str, size: Size, scale: float, seeds: int, epochs: int, double: bool = False) -> Curves:
    """Omnigrok's training from a start so many times as large; what is observed is the length of all weights."""
    digits = load("mnist5k")
    x, y = digits.train
    few = replace(digits, train=Split(x[: size.digits], y[: size.digits]), valid=Split(x[:0], y[:0]))
    own = Recipe("squared_error", own_adamw, batch_size=BATCH, epochs=epochs, eval_every=LOOK_EPOCHS)
    observe = {"look": Observe(lambda moment: optax.tree.norm(moment.state.params), range(0, epochs + 1, LOOK_EPOCHS))}
    model = MLP((784, *size.hidden, 10), initializer="torch", bias="same", scale=scale)
    drawn = jax.vmap(lambda key: model.init(key).params)(make_members(range(seeds)).keys.init)
    start = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), drawn) if double else None
    with jax.enable_x64(double), progress_bar(what, "networks") as on_progress:
        trained = train_many(model, own, few, range(seeds), start=start, observe=observe, on_progress=on_progress)
    train, test = (100 - trained.error(split) for split in ("train", "test"))
    return Curves(trained.epochs * (size.digits // BATCH), train, test, trained.observed["look"], trained.diverged)


def waiting_claims(name: str, found: Curves, among: np.ndarray) -> list[Claim]:
    """How many generalise, after how many steps, and how long they wait."""
    fit, general = found.fit, found.general
    does: Any = {"among": among & np.isfinite(general)}
    return [
        Claim.share(f"{name}: networks that generalise", np.isfinite(general), among=among),
        Claim.median(f"{name}: steps to fit", fit, unit="steps", among=among & np.isfinite(fit)),
        Claim.median(f"{name}: steps to generalise, of those that do", general, unit="steps", **does),
        Claim.median(f"{name}: steps to generalise over steps to fit, of those that do", ratio(general, fit), **does),
        Claim.mean(f"{name}: test accuracy at the fit", found.at(found.test, fit), unit="%", among=among),
    ]


def setting(share: float, decay: float) -> str:
    """As claims name it."""
    return f"{100 * share:g} % of the pairs, ridge {decay:g}"


def addition_claims(found: dict[tuple[float, float], Curves], solved: np.ndarray) -> list[Claim]:
    """What the networks on modular addition came to, and what share of the pairs analytic weights get right."""
    claims = [
        Claim.every(f"analytic weights, {UNITS} units: all pairs right", solved == 100, source=GROMOV, settles=SOLVES)
    ]
    for (share, decay), curves in found.items():
        claims += waiting_claims(setting(share, decay), curves, ~curves.diverged)
    none, weak, strong = (found[FEW, decay] for decay in DECAYS)
    free, more = (found[MORE, decay] for decay in DECAYS[:2])
    among = ~np.any([curves.diverged for curves in found.values()], axis=0)
    few = setting(FEW, DECAYS[1])
    late = np.isfinite(weak.general) & (weak.general >= LONG * weak.fit)
    needed = np.isfinite(weak.general) & np.isinf(none.general)
    claims += [
        Claim.every(f"{few}: at least {LONG} times as many steps to generalise as to fit", late, among=among,
            source=POWER, settles=GROKS),
        Claim.every(f"{100 * FEW:g} % of the pairs: generalise with ridge {DECAYS[1]:g} and not with none", needed,
            among=among, source=POWER, settles=NEEDED),
        Claim.every(f"{setting(MORE, 0)}: generalise", np.isfinite(free.general), among=among, source=GROMOV,
            settles=UNNEEDED),
    ]  # fmt: skip
    sooner = (
        (f"{100 * FEW:g} % of the pairs: ridge {DECAYS[2]:g} before {DECAYS[1]:g}", strong, weak, DECAY),
        (f"ridge {DECAYS[1]:g}: {100 * MORE:g} % of the pairs before {100 * FEW:g} %", more, weak, DATA),
        (f"{100 * MORE:g} % of the pairs: ridge {DECAYS[1]:g} before {DECAYS[0]:g}", more, free, ""),
    )
    for name, one, other, settles in sooner:
        both = among & np.isfinite(one.general) & np.isfinite(other.general)
        claims += [
            Claim.every(f"{name}: generalise after fewer steps", one.general < other.general, among=among,
                source=POWER, settles=settles),
            Claim.difference(f"{name}: steps to generalise over steps to fit", ratio(one.general, one.fit),
                ratio(other.general, other.fit), among=both, published=0, relation="below", source=POWER),
        ]  # fmt: skip
    return claims + inside_claims(few, weak, none)


def inside_claims(name: str, weak: Curves, none: Curves) -> list[Claim]:
    """What became of the weights of networks that grok, and of those without decay."""
    does, frequencies = ~weak.diverged & np.isfinite(weak.general), (P - 1) // 2
    chance = 100 * float(np.sum(1 / np.arange(1, frequencies + 1))) / frequencies
    at_fit, at_general = (
        {what: weak.at(values, steps) for what, values in weak.observed.items()} for steps in (weak.fit, weak.general)
    )
    fourier = weak.observed["fourier"]
    claims = [
        Claim.mean(f"{name}: Fourier share at the start", fourier[:, 0], unit="%", published=chance, relation="about",
            tolerance=0.5, tolerance_source=OURS, theorem=True,
            source="Rényi: the largest of K exponentials is H_K of their means"),
        Claim.every(f"{name}: Fourier share higher when they generalise than when they fit",
            at_general["fourier"] > at_fit["fourier"], among=does, source=GROMOV, settles=PERIODIC),
        Claim.mean(f"{name}: Fourier share at the end", fourier[:, -1], unit="%", among=does),
        Claim.mean(f"{setting(FEW, 0)}: Fourier share at the end", none.observed["fourier"][:, -1], unit="%",
            among=~none.diverged),
    ]  # fmt: skip
    for what, (called, stated) in INSIDE.items():
        told = f"{name}: {called}, when they generalise above when they fit"
        claims.append(Claim.difference(told, at_general[what], at_fit[what], among=does, **stated))
        claims.append(Claim.mean(f"{name}: {called} when they fit", at_fit[what], among=does))
    return claims


def digit_claims(found: dict[float, Curves], exact: Curves) -> list[Claim]:
    """Whether digits are grokked from a large start, and not from the usual one, and what float64 is worth."""
    claims = []
    for scale, curves in found.items():
        among, name = ~curves.diverged, f"digits, start times {scale:g}"
        at_fit, end, lengths = curves.at(curves.test, curves.fit), curves.test[:, -1], curves.observed
        claims += [
            Claim.median(f"{name}: steps to fit", curves.fit, unit="steps", among=among & np.isfinite(curves.fit)),
            Claim.mean(f"{name}: test accuracy at the fit", at_fit, unit="%", among=among),
            Claim.mean(f"{name}: test accuracy at the end", end, unit="%", among=among),
            Claim.difference(f"{name}: test accuracy, the end above the fit", end, at_fit, unit="points", among=among,
                source=OMNIGROK, **LATER[scale]),
            Claim.difference(f"{name}: length of the weights, the end above the start", lengths[:, -1], lengths[:, 0],
                among=among),
        ]  # fmt: skip
    large = found[LARGE]
    middle = (large.at(large.test, large.fit) + large.test[:, -1]) / 2
    half_risen = first(large.steps, large.test >= middle[:, None])
    few, looks = exact.test.shape
    return [
        *claims,
        Claim.every(f"digits, start times {LARGE:g}: at least {LONG} times as many steps to half the later rise of "
            "test accuracy as to the fit", half_risen >= LONG * large.fit, among=~large.diverged, source=OMNIGROK,
            settles=LATE_DIGITS),
        Claim.difference(f"digits, start times {LARGE:g}: test accuracy after {exact.steps[-1]:,} steps, float64 above "
            "float32", exact.test[:, -1], large.test[:few, looks - 1], unit="points", published=0, relation="about",
            tolerance=float(large.test[:, looks - 1].std(ddof=1)), tolerance_source="standard deviation over seeds",
            source=OMNIGROK, settles=ROUNDING),
    ]  # fmt: skip


def activation_claims(found: dict[str, list[Curves]]) -> tuple[list[Claim], dict[str, Curves]]:
    """How many times as fast GELU generalises, each activation under the best of the decays; also these curves.

    The best has most networks that generalise, then the fewest steps, among half of the seeds; the others judge.
    """
    best, half = {}, len(found["ReLU"][0].diverged) // 2
    for name, every in found.items():
        scores = [(np.isinf(curves.general[:half]).sum(), np.median(curves.general[:half])) for curves in every]
        best[name] = scores.index(min(scores))
    relu, gelu = chosen = [every[best[name]] for name, every in found.items()]
    among = (np.arange(len(relu.diverged)) >= half) & ~(relu.diverged | gelu.diverged)
    both = among & np.isfinite(relu.general) & np.isfinite(gelu.general)
    claims = [
        claim
        for name, curves in zip(found, chosen, strict=True)
        for claim in waiting_claims(f"{name}, decay {UNIT_DECAYS[best[name]]:g}", curves, among)
    ]
    claims += [
        Claim.every("GELU generalises after fewer steps than ReLU", gelu.general < relu.general, among=among,
            source=GELU, settles=FASTER),
        Claim.median("steps to generalise, ReLU over GELU", ratio(relu.general, gelu.general), among=both,
            published=4.3, relation="at most", source=GELU),
    ]  # fmt: skip
    return claims, dict(zip(found, chosen, strict=True))


def band(axes: Axes, steps: np.ndarray, values: np.ndarray, diverged: np.ndarray, **look: Any) -> None:
    """Mean over seeds [seeds, steps] with its 95 % interval, without the start, which a log axis has no room for."""
    low, mean, high = mean_band(values[~diverged, 1:])
    (line,) = axes.plot(steps[1:], mean, **look)
    axes.fill_between(steps[1:], low, high, color=line.get_color(), alpha=0.25, lw=0)


def accuracies(axes: Axes, curves: dict[str, Curves], title: str) -> None:
    """Test accuracy as a line, training accuracy dotted."""
    for (name, own), colour in zip(curves.items(), (VERMILLION, BLUE, GREEN), strict=False):
        band(axes, own.steps, own.test, own.diverged, color=colour, label=name)
        band(axes, own.steps, own.train, own.diverged, color=colour, ls=":")
    axes.set(xscale="log", xlabel="step", ylabel="accuracy (%)", ylim=(-3, 103), title=title)
    axes.legend()


@mpl.rc_context(STYLE)
def draw(
    added: dict[tuple[float, float], Curves], digits: dict[float, Curves], activations: dict[str, Curves]
) -> Figure:
    """Accuracies against steps, what becomes of the weights, and steps to generalise."""
    figure = Figure(figsize=(25, 11))
    (few, more, large, units), (inside, lengths, ranks, waits) = figure.subplots(2, 4)
    for axes, share in ((few, FEW), (more, MORE)):
        own = {f"ridge {decay:g}": curves for (part, decay), curves in added.items() if part == share}
        accuracies(axes, own, f"modular addition, {100 * share:g} % of the pairs")
    accuracies(large, {f"start times {scale:g}": own for scale, own in digits.items()}, "1,000 digits")
    accuracies(units, activations, f"{100 * MOST:g} % of the pairs, cross-entropy, AdamW")
    told = {"fourier": "Fourier share (%)", "norm": "length of all weights", "rank": "effective rank, first layer"}
    for axes, (what, label) in zip((inside, lengths, ranks), told.items(), strict=True):
        for decay, colour in zip(DECAYS, (VERMILLION, BLUE, GREEN), strict=True):
            own = added[FEW, decay]
            band(axes, own.steps, own.observed[what], own.diverged, color=colour, label=f"ridge {decay:g}")
        axes.set(xscale="log", xlabel="step", ylabel=label, title=f"{100 * FEW:g} % of the pairs")
        axes.legend()
    names = []
    for place, ((share, decay), own) in enumerate(added.items()):
        names.append(f"{100 * share:g} %,\nridge {decay:g}")
        for steps, colour, shift in ((own.fit, BLUE, -0.15), (own.general, VERMILLION, 0.15)):
            waits.plot(np.full(len(steps), place + shift), steps, "_", color=colour, ms=12, alpha=0.4)
    waits.set_xticks(range(len(names)), names)
    waits.plot([], [], color=BLUE, label="fit")
    waits.plot([], [], color=VERMILLION, label="generalise")
    waits.set(yscale="log", xlabel="training pairs", ylabel="steps", title="a tick for each seed that does")
    waits.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    waits.yaxis.set_minor_locator(NullLocator())
    waits.yaxis.set_major_formatter("{x:,g}")
    waits.legend()
    seeds = len(added[FEW, 0.0].diverged)
    few_seeds, least = (len(next(iter(group.values())).diverged) for group in (activations, digits))
    figure.suptitle(
        f"test accuracy (dotted: training), mean over {seeds} seeds with 95 % intervals; {least} seeds on digits, "
        f"{few_seeds} with ReLU and GELU"
    )
    return figure


def solved(seeds: int) -> np.ndarray:
    """Share of the pairs, in %, that analytic weights get right, by each seed's draw of them."""
    pairs, model = make_modular_addition(P).train, gromov(P, UNITS)
    drawn = jax.tree.map(lambda *leaves: jnp.float32(np.stack(leaves)), *(analytic(P, UNITS, s) for s in range(seeds)))
    outputs = jax.vmap(lambda params: model.apply(Variables(params), jnp.asarray(pairs.x))[0])(drawn)
    return 100 * np.mean(np.asarray(outputs).argmax(axis=2) == pairs.y, axis=1)


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 4:
        raise UserError(f"--seeds {seeds}: give at least 4; half of some choose what the others are asked")
    rate, begin = float32_rate(), time.perf_counter()
    few, some = (min(seeds, most) for most in size.seeds)
    added: dict[tuple[float, float], Curves] = {}
    for share, steps, decays in ((FEW, size.few, DECAYS), (MORE, size.more, DECAYS[:2])):
        recipe = Recipe("squared_error", "momentum", 1e4, epochs=steps)
        found = on_pairs(f"{100 * share:g} % of the pairs", gromov(P, UNITS), recipe, share, seeds, {"ridge": decays})
        added |= {(share, decay): curves for decay, curves in zip(decays, found, strict=True)}
    digits = {
        scale: on_digits(f"digits, start times {scale:g}", size, scale, few, epochs)
        for scale, epochs in zip((LARGE, USUAL), size.epochs, strict=False)
    }
    exact = on_digits("digits in float64", size, LARGE, few // 2, size.epochs[2], double=True)
    units = {}
    for name in ("ReLU", "GELU"):
        model = MLP((2 * P, NARROW, P), name.lower(), initializer="torch", bias="same")
        recipe = Recipe(optimizer="adamw", learning_rate=0.003, epochs=size.units)
        units[name] = on_pairs(name, model, recipe, MOST, some, {"weight_decay": UNIT_DECAYS})
    seconds = time.perf_counter() - begin
    unit_claims, best = activation_claims(units)
    (out / "grokking.png").write_bytes(png(draw(added, digits, best)))
    groups = [*added.values(), *digits.values(), exact, *(own for every in units.values() for own in every)]
    wide, narrow = (P * P * flops_per_example((2 * P, width, P)) for width in (UNITS, NARROW))
    steps = wide * seeds * (3 * FEW * size.few + 2 * MORE * size.more)
    steps += narrow * some * 2 * len(UNIT_DECAYS) * MOST * size.units
    large_epochs, usual_epochs, exact_epochs = size.epochs
    passes = few * (large_epochs + usual_epochs + exact_epochs / 2)
    operations = steps + passes * size.digits * flops_per_example((784, *size.hidden, 10))
    networks = sum(len(curves.diverged) for curves in groups)
    told = (
        f"{networks:,} networks, {operations / 1e12:,.1f} TFLOP in products in {seconds:,.0f} s: "
        f"{100 * operations / 1e9 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, compiling, "
        "looking and float64 included."
    )
    config = {
        "data": [f"(a + b) mod {P}", "mnist5k"],
        "networks": networks,
        "diverged": int(sum(curves.diverged.sum() for curves in groups)),
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            told,
            "A network that never fits or generalises has no number of steps, and is in no median of them.",
        ],
    }
    return [*addition_claims(added, solved(seeds)), *digit_claims(digits, exact), *unit_claims], config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of digits; of pairs each network draws its own"
    run_experiment("grokking", __doc__, body, full_seeds=64, quick_seeds=4, shared=shared)
