"""Grokking: do networks that fit their training data generalise long after, and what makes them wait?

Claims: on small algorithmic tasks a network fits its training examples long before it generalises, weight decay and
more data shorten the wait. Source: Power et al., arXiv:2201.02177. On modular addition two layers with quadratic units
do it without any regularisation; their weights become periodic, and analytic weights solve the task. Source: Gromov,
arXiv:2301.02679. Digits are grokked, too, where the weights start eight times as large. Source: Liu et al., Omnigrok,
arXiv:2210.01117. Without weight decay cross-entropy stalls in float32, since right answers reach a loss of exactly 0;
StableMax in its place goes on. Source: Prieto et al., arXiv:2501.04697. GELU groks up to 4.3 times as fast as ReLU.
Source: arXiv:2603.25009, of 3 to 5 seeds.

Protocol: (a + b) mod 31, a and b one-hot, all 961 pairs. Each network draws its own share of them to train on, all at
once, and is tested on the rest. Gromov's network: 62-256-31 without biases, squares for activations, outputs divided by
62 * 256, weights from N(0, 1), squared error, gradient descent at 10,000 (the divisor makes gradients small) with
momentum 0.9, under a ridge penalty of none, 1e-8 or 3e-8 on 45 % of the pairs, and of none or 1e-8 on 60 %. It fits at
the first evaluation, of one in ten steps, with 99 % of the training pairs right, and generalises at that with 95 % of
the others. A unit's weights have a spectrum over each of its two inputs: the Fourier share is what part of the power
lies in the strongest of the 15 frequencies, the constant left out; of weights at random it is H_15 / 15.

Omnigrok's: 1,000 digits of mnist5k to train on and 1,000 to test, 784-200-200-10, ReLU, PyTorch's start times 8 or 1,
squared error on one-hot targets, AdamW at 0.001 with decay 0.01 of all parameters, batch 200; there up to 100,000 steps
in float64. Here float32: some seeds also take some steps in float64 from the same starts.

Softmax: the same pairs, Gromov's network undivided, from PyTorch's start, cross-entropy or StableMax, Adam, no decay.
Activations: 62-128-31, ReLU or GELU, cross-entropy, AdamW.

Command: python experiments/grokking.py
Wall time on two cores: TODO

Expected: TODO
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

from mlpjax import (
    MLP,
    Dataset,
    Moment,
    Observe,
    Recipe,
    Split,
    Trained,
    Variables,
    load,
    progress_bar,
    sweep,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.plumbing.rate import float32_rate
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

P, UNITS, GELU_UNITS = 31, 256, 128
DECAYS, FEW, MORE, MOST = (0.0, 1e-8, 3e-8), 0.45, 0.6, 0.8
"""Ridge penalties, and shares of the pairs to train on."""
FIT, GENERAL, EVERY = 99, 95, 10
"""Accuracies, in %, that count as fitting and as generalising; and steps between two looks."""
LONG = 5
"""Times the steps to fit that count as long after."""
LARGE, USUAL, BATCH, LOOK_EPOCHS = 8.0, 1.0, 200, 20
"""Times the usual start; examples in a minibatch of digits, and epochs between two looks."""
SOFTMAX, STABLE, EXACT = "softmax", "StableMax", "softmax in float64"
POWER, GROMOV, OMNIGROK, PRIETO, GELU = (
    f"arXiv:{number}" for number in ("2201.02177", "2301.02679", "2210.01117", "2501.04697", "2603.25009")
)
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
COLLAPSES = "Without weight decay softmax collapses in float32: every training loss ends at exactly 0."
MENDS = "With StableMax networks generalise better where softmax has collapsed."
FASTER = "GELU generalises in fewer steps than ReLU."
LATER: dict[float, Any] = {
    LARGE: {"published": 0, "relation": "above", "settles": LATE_DIGITS},
    USUAL: {
        "published": 0,
        "relation": "about",
        "tolerance": 2,
        "tolerance_source": "ours, before any full run",
        "settles": AT_ONCE,
    },
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
    large: int
    """Epochs on digits from the large start."""
    usual: int
    """Epochs from the usual one."""
    exact: int
    """Epochs in float64."""
    softmax: int
    """Steps with softmax and with StableMax."""
    units: int
    """Steps with ReLU and with GELU."""
    fewer: int
    """Seeds of these two comparisons, at most."""
    least: int
    """Seeds on digits, at most."""


FULL = Size(3000, 1000, 1000, (200, 200), 10_000, 1000, 1000, 2000, 3000, 16, 8)
QUICK = Size(1500, 300, 400, (100, 100), 200, 40, 40, 300, 300, 4, 2)


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

    def reach(self, accuracy: np.ndarray, level: float) -> np.ndarray:
        """Steps to the first evaluation with such an accuracy, [seeds]; infinite where there is none."""
        hit = accuracy >= level
        return np.where(hit.any(axis=1), self.steps[hit.argmax(axis=1)], np.inf)

    @property
    def fit(self) -> np.ndarray:
        """Steps to fit, [seeds]."""
        return self.reach(self.train, FIT)

    @property
    def general(self) -> np.ndarray:
        """Steps to generalise, [seeds]."""
        return self.reach(self.test, GENERAL)

    def at(self, values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """What was observed of every seed after so many steps, [seeds]; at the end where they are infinite."""
        places = np.minimum(np.searchsorted(self.steps, steps), len(self.steps) - 1)
        return values[np.arange(len(values)), places]


def modular_addition(p: int) -> Dataset:
    """All pairs (a, b), as two one-hot vectors, with (a + b) mod p as class, to train and to test on."""
    a, b = np.divmod(np.arange(p * p), p)
    one = np.eye(p, dtype=np.float32)
    pairs = Split(np.concatenate([one[a], one[b]], axis=1), ((a + b) % p).astype(np.int32))
    none = Split(pairs.x[:0], pairs.y[:0])
    return Dataset(f"(a + b) mod {p}", pairs, none, pairs, classes=p, repeats_expected=True)


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

    W1 = [cos(2 pi k a / p + u), cos(2 pi k b / p + v)], W2 = cos(2 pi k c / p + u + v) for each unit's k, u and v: the
    units' squares add up to p / 4 at c = a + b and to noise elsewhere.

    Source: Gromov, arXiv:2301.02679, equations 9 and 10.
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


def stablemax(outputs: Array, labels: Array) -> Array:
    """Cross-entropy with StableMax in place of softmax: -log(s(f_y) / sum_k s(f_k)), s as below.

    s(f) = f + 1 for f >= 0, else 1 / (1 - f).

    Source: Prieto et al., arXiv:2501.04697, equation 8.
    """
    scores = jnp.where(outputs >= 0, outputs + 1, 1 / (1 - jnp.minimum(outputs, 0)))
    own = jnp.sum(jax.nn.one_hot(labels, outputs.shape[1]) * scores, axis=1)
    return jnp.log(scores.sum(axis=1)) - jnp.log(own)


def lost(moment: Moment) -> Array:
    """Share of the training examples, in %, whose loss is exactly 0 in float32."""
    x, y = moment.data.train
    losses = moment.task.losses(moment.task.predict(moment.state.variables, moment.task.prepare(x)), y)
    return 100 * jnp.mean(losses == 0)


def unseen(trained: Trained, pairs: int, seen: int) -> Curves:
    """Accuracies on the pairs that a network trains on, and on those that it does not.

    Args:
        trained: tested on all pairs.
        pairs: how many there are.
        seen: how many each network trains on.
    """
    train, everything = (100 * trained.history[f"{split}_accuracy"].astype(float) for split in ("train", "test"))
    rest = (pairs * everything - seen * train) / (pairs - seen)
    return Curves(trained.epochs, train, rest, trained.observed["look"], trained.diverged)


def on_pairs(
    what: str, model: MLP, recipe: Recipe, share: float, seeds: int, over: dict[str, Sequence[Any]], see: Any = look
) -> list[Curves]:
    """Train at every setting on a share of the pairs, each network on its own."""
    dataset = modular_addition(model.widths[-1])
    pairs = len(dataset.train.y)
    own = replace(recipe, sample_size=round(share * pairs), batch_size=None, eval_every=EVERY)
    observe = {"look": Observe(see, epochs=range(0, recipe.epochs + 1, EVERY))}
    with progress_bar(what, "networks") as on_progress:
        swept = sweep(model, own, dataset, range(seeds), over, observe=observe, on_progress=on_progress)
    return [unseen(trained, pairs, round(share * pairs)) for trained in swept.trained]


def decayed(rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW as PyTorch has it: biases decay, too."""
    return optax.adamw(rate, weight_decay=0.01)


def length(moment: Moment) -> Array:
    """Of all weights."""
    found: Array = optax.tree.norm(moment.state.params)
    return found


def on_digits(
    what: str, size: Size, scale: float, seeds: int, epochs: int, start: PyTree = None
) -> tuple[Curves, PyTree]:
    """Omnigrok's, with weights that start so many times as large; also where they started."""
    digits = load("mnist5k")
    x, y = digits.train
    train, none = Split(x[: size.digits], y[: size.digits]), Split(x[:0], y[:0])
    model = MLP((784, *size.hidden, 10), initializer="torch", bias="same", scale=scale)
    own = Recipe("squared_error", decayed, batch_size=BATCH, epochs=epochs, eval_every=LOOK_EPOCHS)
    observe = {"look": Observe(length, epochs=range(0, epochs + 1, LOOK_EPOCHS))}
    with progress_bar(what, "networks") as on_progress:
        trained = train_many(
            model,
            own,
            replace(digits, train=train, valid=none),
            range(seeds),
            start=start,
            observe=observe,
            snapshots=(0,),
            on_progress=on_progress,
        )
    accuracy = [100 - trained.error(split) for split in ("train", "test")]
    steps = trained.epochs * (size.digits // BATCH)
    curves = Curves(steps, *accuracy, trained.observed["look"], trained.diverged)
    return curves, jax.tree.map(lambda leaf: leaf[:, 0], trained.snapshots)


def log_ratio(more: np.ndarray, fewer: np.ndarray) -> np.ndarray:
    """How many times as many, as a power of ten; 0 where either is infinite, which is left out."""
    both = np.isfinite(more) & np.isfinite(fewer)
    return np.log10(np.where(both, more, 1) / np.where(both, fewer, 1))


def waiting_claims(name: str, found: Curves) -> list[Claim]:
    """How many fit and generalise, after how many steps, and how long they wait."""
    among, fit, general = ~found.diverged, found.fit, found.general
    does = among & np.isfinite(general)
    return [
        Claim.share(f"{name}: networks that fit", np.isfinite(fit), among=among),
        Claim.share(f"{name}: networks that generalise", np.isfinite(general), among=among),
        Claim.median(f"{name}: steps to fit", fit, unit="steps", among=among & np.isfinite(fit)),
        Claim.median(f"{name}: steps to generalise, of those that do", general, unit="steps", among=does),
        Claim.median(f"{name}: steps to generalise over steps to fit, of those that do", general / fit, among=does),
        Claim.mean(f"{name}: test accuracy at the fit", found.at(found.test, fit), unit="%", among=among),
        Claim.mean(f"{name}: test accuracy at the end", found.test[:, -1], unit="%", among=among),
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
        claims += waiting_claims(setting(share, decay), curves)
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
        (f"{100 * FEW:g} % of the pairs: ridge {DECAYS[2]:g} below {DECAYS[1]:g}", strong, weak, DECAY),
        (f"ridge {DECAYS[1]:g}: {100 * MORE:g} % of the pairs below {100 * FEW:g} %", more, weak, DATA),
        (f"{100 * MORE:g} % of the pairs: ridge {DECAYS[1]:g} below {DECAYS[0]:g}", more, free, ""),
    )
    for name, one, other, settles in sooner:
        both = among & np.isfinite(one.general) & np.isfinite(other.general)
        stated: Any = {"published": 0, "relation": "below", "source": POWER, "unit": "powers of ten"}
        claims += [
            Claim.every(f"{name}: fewer steps to generalise", one.general < other.general, among=among, source=POWER,
                settles=settles),
            Claim.difference(f"{name}: steps to generalise", log_ratio(one.general, np.ones(())),
                log_ratio(other.general, np.ones(())), among=both, **stated),
            Claim.difference(f"{name}: steps to generalise over steps to fit", log_ratio(one.general, one.fit),
                log_ratio(other.general, other.fit), among=both, **stated),
        ]  # fmt: skip
    return claims + inside_claims(few, weak, none)


def inside_claims(name: str, weak: Curves, none: Curves) -> list[Claim]:
    """What became of the weights of networks that grok, and of those without decay."""
    among, frequencies = ~weak.diverged, (P - 1) // 2
    does = among & np.isfinite(weak.general)
    chance = 100 * float(np.sum(1 / np.arange(1, frequencies + 1))) / frequencies
    fourier, lengths = weak.observed["fourier"], weak.observed["norm"]
    at_fit, at_general, at_end = (weak.at(fourier, steps) for steps in (weak.fit, weak.general, np.inf))
    risen = 100 * (np.array([at_fit, at_general]) - fourier[:, 0]) / (at_end - fourier[:, 0])
    stated: Any = {"source": GROMOV, "among": does}
    claims = [
        Claim.mean(f"{name}: Fourier share at the start", fourier[:, 0], unit="%", among=among, published=chance,
            relation="about", tolerance=0.5, tolerance_source="ours, before any full run", theorem=True,
            source="Rényi: the largest of K exponentials is H_K of their means"),
        Claim.every(f"{name}: Fourier share higher when it generalises than when it fits", at_general > at_fit,
            settles=PERIODIC, **stated),
        Claim.difference(f"{name}: Fourier share, when it generalises above when it fits", at_general, at_fit,
            unit="points", published=0, relation="above", **stated),
        Claim.mean(f"{name}: Fourier share when it fits", at_fit, unit="%", among=does),
        Claim.mean(f"{name}: Fourier share when it generalises", at_general, unit="%", among=does),
        Claim.mean(f"{name}: Fourier share at the end", at_end, unit="%", among=does),
        Claim.mean(f"{name}: part of the rise of the Fourier share done when it fits", risen[0], unit="%",
            published=50, relation="below", **stated),
        Claim.mean(f"{name}: part of the rise of the Fourier share done when it generalises", risen[1], unit="%",
            among=does),
        Claim.mean(f"{setting(FEW, 0)}: Fourier share at the end", none.observed["fourier"][:, -1], unit="%",
            among=~none.diverged),
    ]  # fmt: skip
    for what, values in (("length of the weights", lengths), ("effective rank", weak.observed["rank"])):
        stated = {"published": 0, "relation": "below", "source": OMNIGROK, "among": does}
        one, other = (weak.at(values, steps) for steps in (weak.general, weak.fit))
        claims.append(Claim.difference(f"{name}: {what}, when it generalises below when it fits", one, other, **stated))
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
                among=among, source=OMNIGROK, published=0, relation="below"),
        ]  # fmt: skip
    large = found[LARGE]
    few, looks = exact.test.shape
    return [
        *claims,
        Claim.difference(f"digits, start times {LARGE:g}: test accuracy after {exact.steps[-1]:,} steps, float64 above "
            "float32", exact.test[:, -1], large.test[:few, looks - 1], unit="points", published=0, relation="about",
            tolerance=float(large.test[:, looks - 1].std(ddof=1)), tolerance_source="standard deviation over seeds",
            source=OMNIGROK, settles=ROUNDING),
    ]  # fmt: skip


def collapse_claims(found: dict[str, Curves]) -> list[Claim]:
    """Whether softmax loses its gradient in float32, and what generalises where it does not."""
    softmax, stable, exact = (found[name] for name in (SOFTMAX, STABLE, EXACT))
    few = len(exact.diverged)
    among = ~np.any([curves.diverged for curves in (softmax, stable)], axis=0)
    claims = []
    for name, curves in found.items():
        own: Any = {"among": ~curves.diverged, "unit": "%"}
        claims += [
            Claim.mean(f"{name}: test accuracy at the end", curves.test[:, -1], **own),
            Claim.mean(f"{name}: training losses of exactly 0 at the end", curves.observed[:, -1], **own),
        ]
    stated: Any = {"published": 0, "relation": "above", "source": PRIETO, "unit": "points"}
    return [
        *claims,
        Claim.every(f"{SOFTMAX}: fit, and end with every training loss exactly 0",
            np.isfinite(softmax.fit) & (softmax.observed[:, -1] == 100), among=among, source=PRIETO, settles=COLLAPSES),
        Claim.difference(f"test accuracy at the end, {STABLE} above {SOFTMAX}", stable.test[:, -1],
            softmax.test[:, -1], among=among, settles=MENDS, **stated),
        Claim.every(f"{STABLE}: generalise", np.isfinite(stable.general), among=among, source=PRIETO),
        Claim.difference(f"test accuracy at the end, {EXACT} above {SOFTMAX}", exact.test[:, -1],
            softmax.test[:few, -1], among=among[:few], **stated),
    ]  # fmt: skip


def activation_claims(relu: Curves, gelu: Curves) -> list[Claim]:
    """How many times as fast GELU generalises."""
    among = ~(relu.diverged | gelu.diverged)
    both = among & np.isfinite(relu.general) & np.isfinite(gelu.general)
    claims = [*waiting_claims("ReLU", relu), *waiting_claims("GELU", gelu)]
    return [
        *claims,
        Claim.every("GELU generalises in fewer steps than ReLU", gelu.general < relu.general, among=among, source=GELU,
            settles=FASTER),
        Claim.difference("steps to generalise, ReLU above GELU", log_ratio(relu.general, np.ones(())),
            log_ratio(gelu.general, np.ones(())), among=both, published=0, relation="above", source=GELU,
            unit="powers of ten"),
        Claim.median("steps to generalise, ReLU over GELU", relu.general / gelu.general, among=both, published=4.3,
            relation="at most", source=GELU),
    ]  # fmt: skip


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
    added: dict[tuple[float, float], Curves],
    digits: dict[float, Curves],
    softmax: dict[str, Curves],
    activations: dict[str, Curves],
) -> Figure:
    """Accuracies against steps, what becomes of the weights, steps to generalise, and lost gradients."""
    figure = Figure(figsize=(20, 16))
    (few, more, large), (inside, lengths, waits), (collapse, stalled, units) = figure.subplots(3, 3)
    for axes, share in ((few, FEW), (more, MORE)):
        own = {f"ridge {decay:g}": curves for (part, decay), curves in added.items() if part == share}
        accuracies(axes, own, f"modular addition, {100 * share:g} % of the pairs")
    accuracies(large, {f"start times {scale:g}": own for scale, own in digits.items()}, "1,000 digits")
    for decay, colour in zip(DECAYS, (VERMILLION, BLUE, GREEN), strict=True):
        own = added[FEW, decay]
        for axes, what in ((inside, "fourier"), (lengths, "norm")):
            band(axes, own.steps, own.observed[what], own.diverged, color=colour, label=f"ridge {decay:g}")
    inside.set(xscale="log", xlabel="step", ylabel="Fourier share (%)", title=f"{100 * FEW:g} % of the pairs: spectrum")
    lengths.set(xscale="log", xlabel="step", ylabel="length of all weights", title=f"{100 * FEW:g} % of the pairs")
    inside.legend()
    lengths.legend()
    names = []
    for place, ((share, decay), own) in enumerate(added.items()):
        names.append(f"{100 * share:g} %,\nridge {decay:g}")
        for steps, colour, shift in ((own.fit, BLUE, -0.15), (own.general, VERMILLION, 0.15)):
            waits.plot(np.full(len(steps), place + shift), steps, "_", color=colour, ms=12, alpha=0.4)
    waits.set_xticks(range(len(names)), names)
    waits.plot([], [], color=BLUE, label="fit")
    waits.plot([], [], color=VERMILLION, label="generalise")
    waits.set(yscale="log", xlabel="training pairs", ylabel="steps", title="a tick for each seed that does")
    waits.legend()
    accuracies(collapse, softmax, f"{100 * MORE:g} % of the pairs, no decay")
    for (name, own), colour in zip(softmax.items(), (VERMILLION, BLUE, GREEN), strict=True):
        band(stalled, own.steps, own.observed, own.diverged, color=colour, label=name)
    stalled.set(xscale="log", xlabel="step", ylabel="training losses of exactly 0 (%)", title="softmax collapse")
    stalled.legend()
    accuracies(units, activations, f"{100 * MOST:g} % of the pairs, cross-entropy, AdamW")
    seeds = len(added[FEW, 0.0].diverged)
    few_seeds, least = (len(next(iter(group.values())).diverged) for group in (activations, digits))
    figure.suptitle(
        f"test accuracy (dotted: training), mean over {seeds} seeds with 95 % intervals; {least} seeds on digits, "
        f"{few_seeds} in the last row"
    )
    return figure


def solved(seeds: int) -> np.ndarray:
    """Share of the pairs, in %, that analytic weights get right, by each seed's draw of them."""
    pairs, model = modular_addition(P).train, gromov(P, UNITS)
    drawn = jax.tree.map(lambda *leaves: jnp.float32(np.stack(leaves)), *(analytic(P, UNITS, s) for s in range(seeds)))
    outputs = jax.vmap(lambda params: model.apply(Variables(params), jnp.asarray(pairs.x))[0])(drawn)
    return 100 * np.mean(np.asarray(outputs).argmax(axis=2) == pairs.y, axis=1)


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    rate, begin = float32_rate(), time.perf_counter()
    recipe = Recipe("squared_error", "momentum", 1e4)
    added: dict[tuple[float, float], Curves] = {}
    for share, steps, decays in ((FEW, size.few, DECAYS), (MORE, size.more, DECAYS[:2])):
        what, own = f"{100 * share:g} % of the pairs", replace(recipe, epochs=steps)
        found = on_pairs(what, gromov(P, UNITS), own, share, seeds, {"ridge": decays})
        added |= {(share, decay): curves for decay, curves in zip(decays, found, strict=True)}
    least, fewer = min(seeds, size.least), min(seeds, size.fewer)
    digits = {}
    digits[LARGE], start = on_digits(f"digits, start times {LARGE:g}", size, LARGE, least, size.large)
    digits[USUAL], _ = on_digits(f"digits, start times {USUAL:g}", size, USUAL, least, size.usual)
    half = least // 2
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: leaf[:half].astype(np.float64), start)
        exact, _ = on_digits("digits in float64", size, LARGE, half, size.exact, double)
    model = MLP((2 * P, UNITS, P), square, initializer="torch", bias="none")
    adam = Recipe(learning_rate=0.03, epochs=size.softmax)
    softmax = {
        name: on_pairs(name, model, replace(adam, loss=loss), MORE, fewer, {"learning_rate": [0.03]}, lost)[0]
        for name, loss in ((SOFTMAX, "cross_entropy"), (STABLE, stablemax))
    }
    adamw = Recipe(optimizer="adamw", learning_rate=0.01, weight_decay=2, epochs=size.units)
    activations = {
        name: on_pairs(name, MLP((2 * P, GELU_UNITS, P), name.lower(), initializer="torch", bias="same"), adamw, MOST,
            fewer, {"weight_decay": [2.0]})[0]
        for name in ("ReLU", "GELU")
    }  # fmt: skip
    seconds = time.perf_counter() - begin
    (out / "grokking.png").write_bytes(png(draw(added, digits, softmax, activations)))
    claims = addition_claims(added, solved(seeds)) + digit_claims(digits, exact)
    claims += collapse_claims(softmax) + activation_claims(*activations.values())
    config = {"seconds": seconds}
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of digits; of pairs each network draws its own"
    run_experiment("grokking", __doc__, body, full_seeds=64, quick_seeds=4, shared=shared)
