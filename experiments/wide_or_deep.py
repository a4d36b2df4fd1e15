"""Wide or deep, with the same number of parameters: what depth gives, and what it costs the gradient.

Claims: more layers "can achieve the same expressiveness with fewer parameters", are "some form of regularization", but
"more layers => vanishing/exploding gradients". Source: STAT 453 (2025), L09, Wide vs Deep Architectures, which cites
Lin, Tegmark and Rolnick, arXiv:1608.08225. There: to multiply n numbers takes 2^n units in one hidden layer, and 4
units for each of n - 1 products where layers multiply two by two. For ReLU layers the signal that goes back is
multiplied per layer by sqrt(sigma_w^2 / 2), where weights have the variance sigma_w^2 / inputs: it neither vanishes nor
explodes at 2. Source: He, Zhang, Ren and Sun, arXiv:1502.01852, section 2.2; a sigmoid's slope is at most 1/4, so its
factor is at most sigma_w / 4.

Protocol, digits: MNIST, networks of the same 100,000 parameters, to within a few units of their width, 1 to 8 hidden
layers of one width, ReLU, He's start, Adam at 0.001 down to 0 as a cosine, batch 128, 15 epochs.

Product: x_1 x_2 ... x_n with x from U[-sqrt 3, sqrt 3], n = 2, 4 and 6, so that its variance is 1; 10,000 points to
train on, 5,000 to test; networks of 2,000 parameters, 1 to 4 hidden layers, tanh, LeCun's start, Adam at 0.003 down to
0, batch 128, 50 epochs. What is not explained is the mean squared error over the variance of the test products. That
eight numbers can be multiplied by 28 units in three layers is shown by such a network of softplus units.

Signal: networks of 16 hidden layers of 128 units at their start, with weights N(0, sigma_w^2 / inputs) and no training;
dL/dz of every layer over 100 digits; its factor per layer, from the last hidden layer to the first. LeCun's start is
sigma_w^2 = 1, as is Glorot's where layers are equally wide; He's is 2.

Command: python experiments/wide_or_deep.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz
or not, or --data tfds:mnist; or set MLPJAX_MNIST to either.
Wall time on two cores: about 10 minutes (556 s with other work on the machine); --quick 40 s.

Expected: on the digits two to four hidden layers err on 2.0 %, one on 2.2 % and eight as well. It is not by
regularisation: the deeper a network, the further its test loss lies above its training loss. Of the product of four
numbers one hidden layer leaves 1.8 % of the variance unexplained, two to four of as many parameters 0.4 to 0.5 %. Of
the product of six it is the other way round, 20 against 29 to 34 %: already in training, 18 against 21 to 27 %, so that
it is the 50 epochs that limit deep networks there; the theorem is about what can be represented. The ReLU signal
follows the theory, and is kept at a variance of 2, He's start; tanh keeps it between 1.5 and 2, where it depends less
on the variance; every layer of sigmoids multiplies it by 0.17 to 0.41, all sixteen by 1e-5 or less.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    Trained,
    load,
    make_keys,
    make_task,
    map_seeds,
    mean_loss,
    progress_bar,
    train_many,
)
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.mnist import load_mnist
from mlpjax.landscape.signals import delta_norms, factor_per_layer
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

DIGITS_BUDGET, PRODUCT_BUDGET = 100_000, 2_000
DIGITS_DEPTHS, PRODUCT_DEPTHS = (1, 2, 3, 4, 6, 8), (1, 2, 3, 4)
FACTORS = (2, 4, 6)
"""How many numbers are multiplied."""
VARIANCES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""sigma_w^2."""
SIGNAL_DEPTH, SIGNAL_WIDTH, SIGNAL_DIGITS = 16, 128, 100
COLOURS = {"relu": GREEN, "tanh": BLUE, "sigmoid": VERMILLION}
FEW = 2
"""The depth of which the headlines are."""
BETTER = "On MNIST two hidden layers err less than one of as many parameters."
TAMER = "With as many parameters two hidden layers overfit less than one: training and test loss lie closer."
MULTIPLIES = "Two hidden layers multiply four numbers better than one of as many parameters."
EDGE = "With ReLU the gradient neither vanishes nor explodes where weights have the variance 2 over inputs, He's start."
VANISHES = "Through layers of sigmoids the gradient vanishes, whatever the usual start."
LECTURE = "STAT 453 (2025), L09, Wide vs Deep Architectures"
LIN = "Lin, Tegmark and Rolnick, arXiv:1608.08225, sections II D and III E"
HE = "He et al., arXiv:1502.01852, section 2.2"
OURS = "ours, before any run"


def parameters(widths: Sequence[int]) -> int:
    """Weights and biases."""
    return sum((inputs + 1) * units for inputs, units in itertools.pairwise(widths))


def equal_widths(inputs: int, outputs: int, depth: int, budget: int) -> tuple[int, ...]:
    """The network of `depth` equally wide hidden layers with the most parameters within the budget."""
    width = 1
    while parameters((inputs, *[width + 1] * depth, outputs)) <= budget:
        width += 1
    return (inputs, *[width] * depth, outputs)


def train(dataset: Dataset, budget: int, depth: int, recipe: Recipe, seeds: int, **network: Any) -> Trained:
    """Train a network of so many layers from every seed."""
    model = MLP(equal_widths(dataset.features, dataset.outputs, depth, budget), **network)
    with progress_bar(f"{dataset.name}, {model.name}", "epochs") as on_progress:
        return train_many(model, recipe, dataset, range(seeds), on_progress=on_progress)


def products(factors: int, examples: int) -> Dataset:
    """Numbers and their product, both of variance 1."""
    x = np.random.default_rng(factors).uniform(-np.sqrt(3), np.sqrt(3), (examples * 3 // 2, factors)).astype(np.float32)
    y = x.prod(axis=1, keepdims=True)
    splits = [Split(x[rows], y[rows]) for rows in (slice(examples), slice(0), slice(examples, None))]
    return Dataset(f"product of {factors}", *splits, source="a formula")


def multiply(a: np.ndarray, b: np.ndarray, size: float) -> np.ndarray:
    """a b by four softplus units: g(u) + g(-u) - g(v) - g(-v), u = size (a + b), v = size (a - b), over size^2.

    An even function with the curvature g''(0) = 1/4 is u^2 / 4, and (a + b)^2 - (a - b)^2 = 4 a b.
    """
    u, v = size * (a + b), size * (a - b)
    return sum(sign * np.logaddexp(0, z) for sign, z in ((1, u), (1, -u), (-1, v), (-1, -v))) / size**2


def tree_error(factors: int, size: float) -> float:
    """How far a tree of such units is from the product of so many numbers (a power of 2) in [-1, 1], at most."""
    layer = np.random.default_rng(0).uniform(-1, 1, (factors, 1000))
    expected = layer.prod(axis=0)
    while len(layer) > 1:
        layer = multiply(layer[::2], layer[1::2], size)
    return float(np.abs(layer[0] - expected).max())


def signal_factors(dataset: Dataset, activation: str, variances: Sequence[float], seeds: int) -> np.ndarray:
    """The factor per layer of the signal on its way back, [variances, seeds]."""
    widths = (dataset.features, *[SIGNAL_WIDTH] * SIGNAL_DEPTH, dataset.outputs)
    model = MLP(widths, activation, initializer=lambda key, shape, dtype: jax.random.normal(key, shape, dtype))
    digits = Split(dataset.train.x[:SIGNAL_DIGITS], dataset.train.y[:SIGNAL_DIGITS])
    # On digits centred and scaled as a whole: of pixels that are never negative all layers would see the mean.
    recipe = Recipe(normalisation="channel")
    loss = mean_loss(make_task(model, recipe, dataset.train))

    def factor(own: tuple[Array, Array], split: Split) -> Array:
        seed, variance = own
        params = model.init(make_keys(seed).init).params
        for layer, inputs in enumerate(widths[:-1]):
            params[f"dense_{layer}"]["kernel"] *= jnp.sqrt(variance / inputs)
        return factor_per_layer(delta_norms(loss, params, split))

    own = (np.tile(np.arange(seeds, dtype=np.int32), len(variances)), np.repeat(np.float32(variances), seeds))
    with progress_bar(f"signal, {activation}", "networks") as on_progress:
        found = map_seeds(factor, own, digits, on_progress=on_progress)
    return np.asarray(found, float).reshape(len(variances), seeds)


def crossing(variances: Sequence[float], factors: np.ndarray) -> np.ndarray:
    """The sigma_w^2 at which the factor of each seed is 1, between the two variances about it; NaN where none is."""
    found = np.full(factors.shape[1], np.nan)
    for seed, logs in enumerate(np.log(factors).T):
        above = np.flatnonzero((logs[:-1] < 0) & (logs[1:] >= 0))
        if len(above):
            at = slice(above[0], above[0] + 2)
            found[seed] = np.exp(np.interp(0, logs[at], np.log(variances[at])))
    return found


def digit_claims(trained: dict[int, Trained]) -> list[Claim]:
    """What depth does to the error on digits, and to the gap between training and test, at equal parameters."""
    among = ~np.any([network.diverged for network in trained.values()], axis=0)

    def error(depth: int, split: str) -> np.ndarray:
        return trained[depth].error(split)[:, -1]

    def gap(depth: int) -> np.ndarray:
        history = trained[depth].history
        return (history["test_loss"][:, -1] - history["train_loss"][:, -1]).astype(float)

    one, *deeper = trained
    claims = []
    for depth in trained:
        claims.append(Claim.mean(f"digits, depth {depth}: test error", error(depth, "test"), unit="%", among=among))
        claims.append(
            Claim.mean(f"digits, depth {depth}: training error", error(depth, "train"), unit="%", among=among)
        )
    beside: Any = {"published": 0, "relation": "below", "source": LECTURE}
    for depth in deeper:
        claims += [
            Claim.difference(
                f"digits: test error, depth {depth} above depth {one}",
                error(depth, "test"),
                error(one, "test"),
                unit="points",
                among=among,
                settles=BETTER if depth == FEW else "",
                **beside,
            ),
            Claim.difference(
                f"digits: test loss above training loss, depth {depth} more than depth {one}",
                gap(depth),
                gap(one),
                unit="nats",
                among=among,
                settles=TAMER if depth == FEW else "",
                **beside,
            ),
        ]
    return claims


def unexplained(trained: Trained, split: str = "test") -> np.ndarray:
    """Mean squared error over the variance of the split's targets, in %, of every seed."""
    return 100 * (1 - trained.history[f"{split}_r2"][:, -1].astype(float))


def product_claims(factors: int, trained: dict[int, Trained]) -> list[Claim]:
    """What depth does to the error of a product, at equal parameters."""
    among = ~np.any([network.diverged for network in trained.values()], axis=0)
    rest = {depth: unexplained(network) for depth, network in trained.items()}
    one, *deeper = trained
    name = f"product of {factors}"
    claims = [
        claim
        for depth, network in trained.items()
        for claim in (
            Claim.mean(f"{name}, depth {depth}: not explained", rest[depth], unit="%", among=among),
            Claim.mean(
                f"{name}, depth {depth}: not explained in training",
                unexplained(network, "train"),
                unit="%",
                among=among,
            ),
        )
    ]
    for depth in deeper:
        claims.append(
            Claim.difference(
                f"{name}: not explained, depth {depth} above depth {one}",
                rest[depth],
                rest[one],
                unit="points",
                among=among,
                published=0,
                relation="below",
                source=LIN,
                settles=MULTIPLIES if (factors, depth) == (4, FEW) else "",
            )
        )
    return claims


def signal_claims(variances: Sequence[float], found: dict[str, np.ndarray]) -> list[Claim]:
    """Where the signal vanishes and where it explodes."""
    claims = []
    for activation, factors in found.items():
        for variance, values in zip(variances, factors, strict=True):
            name = f"signal, {activation}, variance {variance:g}: factor per layer"
            among = np.isfinite(values)
            if activation == "relu":
                theory = float(np.sqrt(variance / 2))
                beside: Any = {"published": theory, "relation": "about", "tolerance": 0.05 * theory}
                claims.append(Claim.mean(name, values, among=among, tolerance_source=OURS, source=HE, **beside))
            elif activation == "sigmoid":
                most = float(np.sqrt(variance)) / 4
                source = "a sigmoid's slope is at most 1/4"
                claims.append(Claim.mean(name, values, among=among, published=most, relation="at most", source=source))
            else:
                claims.append(Claim.mean(name, values, among=among))
    edge = crossing(variances, found["relu"])
    vanishes = np.all(found["sigmoid"] < 1, axis=0)
    return [
        *claims,
        Claim.mean(
            "signal, relu: variance at which it neither vanishes nor explodes",
            edge,
            among=np.isfinite(edge),
            published=2,
            relation="about",
            tolerance=0.1,
            tolerance_source=OURS,
            source=HE,
            settles=EDGE,
        ),
        Claim.every(
            "signal, sigmoid: vanishes at every variance",
            vanishes,
            source=LECTURE,
            settles=VANISHES,
        ),
    ]


def tree_claims() -> list[Claim]:
    """Eight numbers, multiplied two by two."""
    numbers = 8
    return [
        Claim.exact("tree of 8 numbers: units", 4 * (numbers - 1), published=2**numbers, relation="below", source=LIN),
        Claim.exact(
            "tree of 8 numbers: largest error",
            tree_error(numbers, 1e-2),
            published=1e-3,
            relation="below",
            source=LIN,
            theorem=True,
        ),
    ]


def draw_depths(axes: Axes, values: dict[int, np.ndarray], **style: Any) -> None:
    """Mean over seeds against depth, with its interval."""
    low, mean, high = mean_band(np.stack([*values.values()], axis=1))
    axes.errorbar([*values], mean, [mean - low, high - mean], capsize=4, marker="o", **style)


@mpl.rc_context(STYLE)
def draw(
    digits: dict[int, Trained],
    multiplied: dict[int, dict[int, Trained]],
    variances: Sequence[float],
    signals: dict[str, np.ndarray],
) -> Figure:
    """Error against depth at equal parameters, for digits and products; and the factor per layer of the signal."""
    figure = Figure(figsize=(18, 5.6))
    left, middle, right = figure.subplots(1, 3)
    for split, colour in (("test", VERMILLION), ("train", BLUE)):
        errors = {d: t.error(split)[:, -1] for d, t in digits.items()}
        draw_depths(left, errors, color=colour, label=split)
    left.set(xlabel="hidden layers", ylabel="error (%)", title=f"MNIST, {DIGITS_BUDGET:,} parameters")
    left.set_ylim(bottom=0)
    for (factors, trained), colour in zip(multiplied.items(), (BLUE, VERMILLION, GREEN), strict=False):
        label = f"product of {factors}"
        draw_depths(middle, {d: unexplained(t) for d, t in trained.items()}, color=colour, label=label)
    middle.set(xlabel="hidden layers", ylabel="not explained, of the test variance (%)", yscale="log")
    middle.set_title(f"product, {PRODUCT_BUDGET:,} parameters")
    for axes in (left, middle):
        axes.locator_params(axis="x", integer=True)
    left.legend()
    middle.set_ylim(top=10 * middle.get_ylim()[1])  # room for the legend
    middle.legend(loc="upper center", ncols=3, columnspacing=1)
    for activation, factors in signals.items():
        low, mean, high = mean_band(factors.T)
        style: dict[str, Any] = {"color": COLOURS[activation], "marker": "o", "label": activation}
        right.errorbar(variances, mean, [mean - low, high - mean], capsize=4, **style)
    grid = np.linspace(variances[0], variances[-1], 50)
    right.plot(grid, np.sqrt(grid / 2), "--", color=ORANGE, lw=1.6, label=r"theory for relu, $\sqrt{\sigma_w^2 / 2}$")
    right.axhline(1, color="black", lw=1.2)
    right.set(xlabel=r"$\sigma_w^2$, variance of the weights times inputs", ylabel="factor per layer of the signal")
    right.set_title("below 1 it vanishes, above it explodes")
    right.set_ylim(bottom=0)
    right.legend()
    seeds = len(next(iter(digits.values())).seeds)
    figure.suptitle(f"mean over {seeds} seeds, with its 95 % interval", fontsize=12)
    return figure


def settle(
    dataset: Dataset,
    factors: Sequence[int],
    depths: tuple[Sequence[int], Sequence[int]],
    epochs: tuple[int, int],
    seeds: int,
    out: Path,
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims; depths and epochs are of digits and of products."""
    cosine: Any = {"schedule": "cosine", "batch_size": 128}
    recipes = [
        Recipe(learning_rate=1e-3, epochs=epochs[0], eval_every=epochs[0], **cosine),
        Recipe("squared_error", learning_rate=3e-3, epochs=epochs[1], eval_every=epochs[1], **cosine),
    ]
    digits = {depth: train(dataset, DIGITS_BUDGET, depth, recipes[0], seeds) for depth in depths[0]}
    smooth: Any = {"activation": "tanh", "initializer": "lecun"}
    multiplied = {
        n: {
            depth: train(products(n, 10_000), PRODUCT_BUDGET, depth, recipes[1], seeds, **smooth) for depth in depths[1]
        }
        for n in factors
    }
    signals = {activation: signal_factors(dataset, activation, VARIANCES, seeds) for activation in COLOURS}
    (out / "wide_or_deep.png").write_bytes(png(draw(digits, multiplied, VARIANCES, signals)))
    claims = digit_claims(digits)
    for n, trained in multiplied.items():
        claims += product_claims(n, trained)
    claims += [*tree_claims(), *signal_claims(VARIANCES, signals)]
    networks = {
        "digits": [equal_widths(dataset.features, dataset.outputs, depth, DIGITS_BUDGET) for depth in depths[0]],
        "products of 4": [equal_widths(4, 1, depth, PRODUCT_BUDGET) for depth in depths[1]],
    }
    return claims, {"networks": networks, "epochs": epochs}


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k."""
    if quick:
        return settle(load("mnist5k"), FACTORS[1:2], ((1, 2), (1, 2)), (5, 5), seeds, out)
    return settle(load_mnist(data), FACTORS, (DIGITS_DEPTHS, PRODUCT_DEPTHS), (15, 50), seeds, out)


if __name__ == "__main__":
    shared = "MNIST's one split into 60,000 and 10,000 digits, and one draw of numbers to multiply"
    run_experiment("wide_or_deep", __doc__, body, full_seeds=16, quick_seeds=2, needs=MNIST, shared=shared)
