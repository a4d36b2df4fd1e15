"""The learning coefficient: how many of its parameters does a network make use of?

Claims: near a minimum a network's posterior has as many effective parameters as twice its learning coefficient lambda,
which is at most half of their number and less where the minimum is degenerate; it can be estimated by sampling around
the network. Sources: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009); Lau, Furman, Wang, Murfet and
Wei, arXiv:2308.12108. It grows while a network learns: Hoogland et al., arXiv:2402.02364. Where networks of quadratic
units grok modular addition, it falls: what memorises is given up for what generalises and needs less. Source: Cullen,
Estan-Ruiz, Danait and Li, arXiv:2603.01192.

Protocol, known models: reduced-rank regression of five shapes at a true matrix of zero (Aoyagi and Watanabe, Neural
Networks 18, 2005), and three normal crossings w_1^2 w_2^2p, p = 0, 2 and 3, estimated from 100 to 100,000 examples'
mean loss, 10 chains of 3,000 draws after 3,000 of burn-in each.

Networks: mnist5k's 3,500 training digits, averaged to 14 x 14; 196-H-10, ReLU, cross-entropy, Adam at 0.01 down to 0
as a cosine, batch 128, 200 epochs, H from 4 to 32; that of 8 units also at earlier epochs. 4 chains of 1,500 draws
after 1,500 of burn-in. Beside it the Hessian of the training loss, by stochastic Lanczos quadrature: its trace, and
what the coefficient would be were the loss a parabola, 1/2 sum_i n beta h_i / (n beta h_i + gamma) over its positive
eigenvalues h_i, with beta = 1 / log n and the localisation gamma = 1 of the chains; and its rank, how many of them are
above gamma / (n beta), so that the data hold their directions more tightly than the localisation does.

Grokking: (a + b) mod 31, a and b one-hot, one draw of the pairs that are trained on, all at once, by all seeds; the
rest are tested. Quadratic units, as in the experiment on grokking: 62-256-31 without biases, outputs divided by
62 * 256, weights from N(0, 1), squared error, gradient descent at 10,000 with momentum 0.9, ridge 1e-8, 45 % of the
pairs. As a likelihood an output has Gaussian noise of standard deviation 0.1. ReLU: 62-128-31, cross-entropy, AdamW at
0.003 with decay 2, 80 % of the pairs. Both are looked at when they fit, when they have memorised (after 300 steps the
training loss is 2 % of the first, and a tenth) and until the end, with chains as above; penalties are no part of what
is sampled.

Command: python experiments/learning_coefficient.py
Wall time on two cores: 22 minutes for 96 networks; --quick a minute.

Expected: the exact coefficients are approached from below; from 100,000 examples reduced-rank regression comes within a
twentieth, and the two degenerate crossings stay 8 % short. The coefficient of networks hardly grows with the width, 114
with 4 units, 138 with 8 and 149 with 16 and with 32: twice that is 27 % of the parameters of the narrowest and 4.5 % of
those of the widest. It drifts by up to 6 % while it is sampled, so it is rather a little too small. The Hessian alone
is no substitute: a third too large for networks that do not fit the training digits, and a quarter of the coefficient
with 32 units, where the loss, and all of its curvature, is almost zero. Through training the coefficient grows; after
two epochs it is below zero, which says that the network is at no minimum yet, and nothing else. Quadratic units that
grok make use of fewer parameters in the end: the coefficient is 530 when they have memorised and 418 when they
generalise, falls in every seed, and is what the Hessian alone says. With ReLU and cross-entropy it does not fall at
all, from 500 to 528, while the Hessian's trace falls to 39 % and its rank to 18 %.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float, PyTree
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Recipe, Split, load, make_task, map_seeds, mean_loss, progress_bar, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.generated import make_modular_addition
from mlpjax.landscape.curvature import hessian_product, spectral_density
from mlpjax.landscape.learning_coefficient import deep_linear_coefficient, learning_coefficient
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

KNOWN_CHAINS = 10
CHAINS, LOCALISATION = 4, 1.0
PROBES, LANCZOS_STEPS = 4, 60
MIDDLE = 8
"""Units of the network that is looked at through training."""
SHAPES = ((5, 3, 5), (5, 4, 5), (4, 3, 8), (8, 3, 4), (3, 8, 4))
"""Inputs, hidden units and outputs of reduced-rank regression."""
CROSSINGS = (0, 2, 3)
NEAR = 0.05
P, NOISE, MEMORISED, LOOK = 31, 0.1, 300, 10
"""Modulus of the addition; standard deviation of an output as a likelihood; steps until the pairs are memorised; and
steps between two evaluations."""
QUADRATIC, RELU = "quadratic units", "ReLU"
WATANABE, LAU, HOOGLAND, CULLEN = (
    "Watanabe, Algebraic Geometry and Statistical Learning Theory (2009)",
    "arXiv:2308.12108",
    "arXiv:2402.02364",
    "arXiv:2603.01192",
)
CLOSER = "With more examples the estimated learning coefficient comes closer to the exact one."
FEWER = "The wider a network, the smaller the share of its parameters that it makes use of."
GROWS = "While a network learns, its learning coefficient grows."
CURVED = "The Hessian alone tells how many parameters a network makes use of."
SIMPLER = {
    QUADRATIC: "Where networks of quadratic units grok, the learning coefficient falls.",
    RELU: "So it does where networks of ReLU units do, with cross-entropy.",
}


class Size(NamedTuple):
    """How much of it all is measured."""

    known: Sequence[int]
    """Examples of the models whose coefficient is known."""
    examples: int
    widths: Sequence[int]
    epochs: Sequence[int]
    """When the network in the middle is looked at; the last is the end of the training of all."""
    draws: int
    """Of a chain around a network, after as many of burn-in."""
    known_draws: int
    """Around a known model."""
    steps: Mapping[str, Sequence[int]]
    """When networks on modular addition are looked at, `MEMORISED` among them."""


FULL = Size(
    (100, 1000, 10_000, 100_000),
    3500,
    (4, 8, 16, 32),
    (2, 6, 20, 60, 200),
    1500,
    3000,
    {QUADRATIC: (130, MEMORISED, 1000, 2500), RELU: (150, MEMORISED, 1000, 3000)},
)
QUICK = Size((100, 100_000), 500, (2, 8), (6, 60), 200, 300, {QUADRATIC: (MEMORISED, 400), RELU: (MEMORISED, 400)})


class Model(NamedTuple):
    """One whose learning coefficient at zero is known."""

    loss: Callable[[PyTree, PyTree], Float[Array, ""]]
    zero: PyTree
    coefficient: float


class Complexity(NamedTuple):
    """Of networks along any axes."""

    coefficient: np.ndarray
    drift: np.ndarray
    """Of the mean over the chains, from the first half of the draws to the second."""
    parabola: np.ndarray
    """What the coefficient would be by the Hessian alone."""
    trace: np.ndarray
    """Of the Hessian."""
    rank: np.ndarray
    """How many of its eigenvalues the data hold more tightly than the localisation does."""


class Grokked(NamedTuple):
    """Networks on modular addition at several times: arrays [times, seeds]."""

    complexity: Complexity
    train: np.ndarray
    """Training accuracy, in %."""
    test: np.ndarray
    """Test accuracy, in %."""


class Grokking(NamedTuple):
    """How networks on modular addition are trained, and what is sampled."""

    model: MLP
    recipe: Recipe
    share: float
    """Of the pairs, that is trained on."""
    scale: float
    """Times the mean loss is minus a log-likelihood."""


def known_models() -> dict[str, Model]:
    """By name."""
    models = {}
    for inputs, hidden, outputs in SHAPES:
        zero = {"a": jnp.zeros((hidden, inputs)), "b": jnp.zeros((outputs, hidden))}
        exact = deep_linear_coefficient((inputs, hidden, outputs), 0)
        models[f"reduced rank {inputs}-{hidden}-{outputs}"] = Model(
            lambda w, _: jnp.sum((w["b"] @ w["a"]) ** 2) / 2, zero, exact
        )
    for power in CROSSINGS:
        name = f"crossing w1^2 w2^{2 * power}" if power else "crossing w1^2"
        models[name] = Model(lambda w, _, p=power: w[0] ** 2 * w[1] ** (2 * p), jnp.zeros(2), 1 / (2 * max(1, power)))
    return models


def of_known(model: Model, sizes: Sequence[int], seeds: int, draws: int) -> np.ndarray:
    """Estimates [sizes, seeds], each the mean of its chains."""

    def one(key: Array, examples: Array) -> Array:
        found = learning_coefficient(
            model.loss, model.zero, examples, key, chains=KNOWN_CHAINS, draws=draws, burn_in=draws
        )
        return jnp.mean(found.chains)

    keys = jax.random.split(jax.random.key(0), seeds)
    return np.stack([map_seeds(one, keys, jnp.zeros(size)) for size in sizes])


def coarse(dataset: Dataset, examples: int) -> Dataset:
    """So many of its digits to train on, averaged to 14 x 14 pixels."""

    def halved(split: Split) -> Split:
        x = split.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4), dtype=np.float32) / 255
        return Split(x.reshape(len(x), -1), split.y)

    train = Split(dataset.train.x[:examples], dataset.train.y[:examples])
    return replace(dataset, train=halved(train), valid=halved(dataset.valid), test=halved(dataset.test))


def parameters(features: int, width: int) -> int:
    """Of a network with one hidden layer and ten classes."""
    return (features + 1) * width + (width + 1) * 10


def measure(
    what: str, loss: Callable[[PyTree, Split], Array], snapshots: PyTree, train: Split, draws: int
) -> Complexity:
    """Arrays [seeds, times] of networks with these two axes in front."""
    seeds, times = jax.tree.leaves(snapshots)[0].shape[:2]
    n_beta = len(train.y) / math.log(len(train.y))

    def one(own: tuple[Array, PyTree], train: Split) -> Complexity:
        (chain_key, probe_key), params = jax.random.split(own[0]), own[1]
        found = learning_coefficient(
            loss, params, train, chain_key, chains=CHAINS, draws=draws, burn_in=draws, localisation=LOCALISATION
        )
        spectrum = spectral_density(hessian_product(loss, params, train), params, probe_key, PROBES, LANCZOS_STEPS)
        weights = spectrum.weights / PROBES * sum(leaf.size for leaf in jax.tree.leaves(params))
        stiff = n_beta * jnp.maximum(spectrum.nodes, 0)
        parabola = jnp.sum(weights * stiff / (stiff + LOCALISATION)) / 2
        trace, rank = jnp.sum(weights * spectrum.nodes), jnp.sum(jnp.where(stiff > LOCALISATION, weights, 0))
        return Complexity(jnp.mean(found.chains), jnp.mean(found.drift), parabola, trace, rank)  # type: ignore[arg-type]

    keys = jax.random.split(jax.random.key(1), (seeds, times))
    with progress_bar(f"sampling around {what}", "networks") as on_progress:
        return map_seeds(
            lambda own, train: jax.lax.map(lambda row: one(row, train), own),
            (keys, snapshots),
            train,
            chunk=1,
            on_progress=on_progress,
        )


def of_networks(dataset: Dataset, size: Size, seeds: int) -> tuple[Complexity, Complexity, np.ndarray]:
    """At every width, [widths, seeds]; of the middle one, [epochs, seeds]; and test errors in %, [widths, seeds]."""
    last = size.epochs[-1]
    recipe = Recipe(learning_rate=0.01, schedule="cosine", epochs=last, eval_every=last)
    found, errors = {}, []
    for width in size.widths:
        model = MLP((dataset.features, width, 10))
        loss = mean_loss(make_task(model, recipe, dataset.train))
        epochs = size.epochs if width == MIDDLE else [last]
        with progress_bar(f"training {width} units", "networks") as on_progress:
            trained = train_many(model, recipe, dataset, range(seeds), snapshots=epochs, on_progress=on_progress)
        measured = measure(f"{width} units", loss, trained.snapshots, dataset.train, size.draws)
        found[width] = Complexity(*(values.T for values in measured))
        errors.append(trained.error()[:, -1])
    by_width = Complexity(*(np.stack([values[-1] for values in parts]) for parts in zip(*found.values(), strict=True)))
    return by_width, found[MIDDLE], np.stack(errors)


def square(z: Array) -> Array:
    """The activation of quadratic units."""
    return z * z


def grokking_settings(units: int = 256, narrow: int = 128) -> dict[str, Grokking]:
    """The two settings, by the name of their units."""
    quadratic = MLP((2 * P, units, P), square, lambda z: z / (2 * P * units), initializer="normal", bias="none")
    descent = Recipe("squared_error", "momentum", 1e4, batch_size=None, ridge=1e-8)
    relu = MLP((2 * P, narrow, P), initializer="torch", bias="same")
    adamw = Recipe(optimizer="adamw", learning_rate=0.003, weight_decay=2.0, batch_size=None)
    return {
        QUADRATIC: Grokking(quadratic, descent, 0.45, P / (2 * NOISE**2)),  # the loss is a mean over the outputs
        RELU: Grokking(relu, adamw, 0.8, 1.0),
    }


def addition(share: float) -> Dataset:
    """A share of the pairs to train on, and the others to test, one draw for all."""
    pairs = make_modular_addition(P)
    x, y = pairs.train
    order = np.random.default_rng(0).permutation(len(y))
    train, test = np.split(order, [round(share * len(y))])
    return replace(pairs, train=Split(x[train], y[train]), test=Split(x[test], y[test]))


def of_grokking(name: str, setting: Grokking, steps: Sequence[int], draws: int, seeds: int) -> Grokked:
    """Train on modular addition, and look at the networks on the way."""
    dataset = addition(setting.share)
    recipe = replace(setting.recipe, epochs=steps[-1], eval_every=LOOK)
    with progress_bar(f"training {name}", "networks") as on_progress:
        trained = train_many(setting.model, recipe, dataset, range(seeds), snapshots=steps, on_progress=on_progress)
    mean = mean_loss(make_task(setting.model, recipe, dataset.train))
    measured = measure(
        name, lambda params, rows: setting.scale * mean(params, rows), trained.snapshots, dataset.train, draws
    )
    places = [step // LOOK for step in steps]
    right = (100 - trained.error(split)[:, places].T for split in ("train", "test"))
    return Grokked(Complexity(*(values.T for values in measured)), *right)


def known_claims(sizes: Sequence[int], found: Mapping[str, tuple[float, np.ndarray]]) -> list[Claim]:
    """How close the estimates [sizes, seeds] come to the exact coefficient, and whether they come closer."""
    claims = []
    for name, (exact, values) in found.items():
        *early, last = (f"{name}: estimate from {examples:,} examples" for examples in sizes)
        claims += [Claim.mean(told, row) for told, row in zip(early, values[:-1], strict=True)]
        claims.append(
            Claim.mean(last, values[-1], published=exact, relation="about", tolerance=NEAR * exact,
                tolerance_source="ours, before any full run: a twentieth", source=f"exact: {WATANABE}")
        )  # fmt: skip
    few, many = (
        100 * np.mean([abs(values[row] / exact - 1) for exact, values in found.values()], axis=0) for row in (0, -1)
    )
    told = f"known models: distance from the exact coefficient, {sizes[-1]:,} examples above {sizes[0]:,}"
    stated: Any = {"published": 0, "relation": "below", "source": WATANABE, "settles": CLOSER, "unit": "%"}
    return [*claims, Claim.difference(told, many, few, **stated)]


def network_claims(features: int, size: Size, by_width: Complexity, by_epoch: Complexity) -> list[Claim]:
    """How the coefficient goes with the width and the time, and whether the Hessian tells it."""
    counts = np.array([parameters(features, width) for width in size.widths])
    used = 100 * 2 * by_width.coefficient / counts[:, None]
    ratio = by_width.coefficient / by_width.parabola
    claims = []
    for row, width in enumerate(size.widths):
        name = f"{width} units, {counts[row]:,} parameters"
        claims += [
            Claim.mean(f"{name}: learning coefficient", by_width.coefficient[row]),
            Claim.mean(f"{name}: its drift while sampled", by_width.drift[row]),
            Claim.mean(f"{name}: twice it over the parameters", used[row], unit="%"),
            Claim.mean(f"{name}: trace of the Hessian", by_width.trace[row]),
            Claim.mean(f"{name}: rank of the Hessian", by_width.rank[row]),
            Claim.mean(f"{name}: learning coefficient over the parabola's", ratio[row], published=1, relation="about",
                tolerance=0.1, tolerance_source="ours, before any full run: a tenth", source=LAU,
                settles=CURVED * (width == size.widths[-1])),
        ]  # fmt: skip
    claims.append(
        Claim.difference(
            f"twice the coefficient over the parameters, {size.widths[-1]} units above {size.widths[0]}",
            used[-1], used[0], unit="points", published=0, relation="below", source=WATANABE, settles=FEWER)
    )  # fmt: skip
    claims += [
        Claim.mean(f"{MIDDLE} units after {epoch} epochs: {what}", values[row])
        for row, epoch in enumerate(size.epochs[:-1])
        for what, values in (("learning coefficient", by_epoch.coefficient), ("trace of the Hessian", by_epoch.trace))
    ]
    rises = by_epoch.coefficient[-1] > by_epoch.coefficient[0]
    told = f"{MIDDLE} units: learning coefficient after {size.epochs[-1]} epochs above that after {size.epochs[0]}"
    return [*claims, Claim.every(told, rises, source=HOOGLAND, settles=GROWS)]


def grokking_claims(steps: Mapping[str, Sequence[int]], found: Mapping[str, Grokked]) -> list[Claim]:
    """What becomes of the coefficient, the trace and the rank, from where pairs are memorised to the end."""
    claims = []
    for name, grokked in found.items():
        own, times = grokked.complexity, steps[name]
        for row, step in enumerate(times):
            told = f"addition, {name}, {step:,} steps"
            claims += [
                Claim.mean(f"{told}: training accuracy", grokked.train[row], unit="%"),
                Claim.mean(f"{told}: test accuracy", grokked.test[row], unit="%"),
                Claim.mean(f"{told}: learning coefficient", own.coefficient[row]),
                Claim.mean(f"{told}: its drift while sampled", own.drift[row]),
                Claim.mean(f"{told}: trace of the Hessian", own.trace[row]),
                Claim.mean(f"{told}: rank of the Hessian", own.rank[row]),
            ]
        start = list(times).index(MEMORISED)
        told = f"addition, {name}, {times[-1]:,} steps below {MEMORISED}"
        for what, values in (("trace", own.trace), ("rank", own.rank)):
            claims.append(Claim.every(f"{told}: {what} of the Hessian", values[-1] < values[start], source=CULLEN))
        falls = own.coefficient[-1] < own.coefficient[start]
        claims.append(Claim.every(f"{told}: learning coefficient", falls, source=CULLEN, settles=SIMPLER[name]))
        difference: Any = {"published": 0, "relation": "below", "source": CULLEN}
        values = own.coefficient[[-1, start]]
        claims.append(Claim.difference(f"{told}: learning coefficient, difference", *values, **difference))
    return claims


@mpl.rc_context(STYLE)
def draw(
    size: Size,
    features: int,
    known: Mapping[str, tuple[float, np.ndarray]],
    by_width: Complexity,
    by_epoch: Complexity,
    grokked: Mapping[str, Grokked],
) -> Figure:
    """Estimates beside the exact; the coefficient by width and through training, beside the Hessian's figures."""
    figure = Figure(figsize=(19, 11))
    (exact, widths, times), (*adding, right) = figure.subplots(2, 3)
    looks = zip(known.items(), "osD^v<>p", strict=False)
    for place, ((name, (truth, values)), marker) in enumerate(looks):
        low, mean, high = mean_band(values.T / truth)
        colour = (BLUE, VERMILLION, GREEN, ORANGE)[place % 4]
        exact.plot(size.known, mean, marker=marker, color=colour, label=f"{name} ({truth:.3g})")
        exact.fill_between(size.known, low, high, color=colour, alpha=0.25, lw=0)
    exact.axhline(1, color="black", ls="--", lw=1.2)
    exact.set(xscale="log", xlabel="examples", ylabel="estimate over exact coefficient", title="known models")
    exact.legend(fontsize=8)
    of_addition = [
        (axes, size.steps[name], grokked[name].complexity, "step") for axes, name in zip(adding, grokked, strict=True)
    ]
    for axes, places, found, label in (
        (widths, size.widths, by_width, "hidden units"),
        (times, size.epochs, by_epoch, "epoch"),
        *of_addition,
    ):
        for values, colour, ls, name in (
            (found.coefficient, BLUE, "-", "learning coefficient"),
            (found.parabola, VERMILLION, "--", "by the Hessian alone"),
            (found.trace, GREEN, ":", "trace of the Hessian"),
            (found.rank, ORANGE, "-.", "rank of the Hessian"),
        ):
            low, mean, high = mean_band(values.T)
            axes.plot(places, mean, color=colour, ls=ls, marker="o", ms=4, label=name)
            axes.fill_between(places, low, high, color=colour, alpha=0.25, lw=0)
        axes.set(xscale="log", xlabel=label, ylabel="learning coefficient, trace or rank")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    counts = [parameters(features, width) for width in size.widths]
    widths.plot(size.widths, [count / 2 for count in counts], color="black", lw=1.2, label="half of the parameters")
    widths.set(yscale="log", title="networks on MNIST, by width")
    widths.legend()
    times.set_title(f"{MIDDLE} units, while training")
    for axes, (name, own), colour in zip(adding, grokked.items(), (BLUE, VERMILLION), strict=True):
        axes.set(yscale="log", title=f"modular addition, {name}")
        for values, ls, split in ((own.train, ":", "training"), (own.test, "-", "test")):
            low, mean, high = mean_band(values.T)
            right.plot(size.steps[name], mean, color=colour, ls=ls, marker="o", ms=4, label=f"{name}, {split}")
            right.fill_between(size.steps[name], low, high, color=colour, alpha=0.25, lw=0)
    right.set(xscale="log", xlabel="step", ylabel="accuracy (%)", title="modular addition")
    right.set_xticks([150, 300, 1000, 3000], ["150", "300", "1000", "3000"])
    right.minorticks_off()
    right.legend()
    seeds = by_width.trace.shape[1]
    figure.suptitle(f"mean over {seeds} seeds, with 95 % intervals")
    return figure


def operations(features: int, size: Size) -> float:
    """Of one seed's networks in products: their training, and the chains around them."""

    def of(widths: Sequence[int], examples: int, steps: int, looks: int) -> float:
        return flops_per_example(widths) * examples * (steps + looks * CHAINS * 2 * size.draws)

    total = 0.0
    for width in size.widths:
        looks = len(size.epochs) if width == MIDDLE else 1
        total += of((features, width, 10), size.examples, size.epochs[-1], looks)
    for name, setting in grokking_settings().items():
        times = size.steps[name]
        total += of(setting.model.widths, round(setting.share * P * P), times[-1], len(times))
    return total


def settle(digits: Dataset, size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Measure everything, draw the figure and state the claims."""
    rate, known = float32_rate(), {}
    with progress_bar("known models", "models") as on_progress:
        models = known_models()
        for done, (name, model) in enumerate(models.items(), 1):
            known[name] = model.coefficient, of_known(model, size.known, seeds, size.known_draws)
            on_progress(done, len(models))
    dataset, begin = coarse(digits, size.examples), time.perf_counter()
    by_width, by_epoch, errors = of_networks(dataset, size, seeds)
    grokked = {
        name: of_grokking(name, setting, size.steps[name], size.draws, seeds)
        for name, setting in grokking_settings().items()
    }
    seconds = time.perf_counter() - begin
    flops, networks = seeds * operations(dataset.features, size), seeds * (len(size.widths) + len(grokked))
    told = (
        f"{networks} networks, {flops / 1e12:,.1f} TFLOP in products of training and sampling in {seconds:,.0f} s: "
        f"{100 * flops / 1e9 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, noise, "
        "the Hessian and compiling included."
    )
    figure = draw(size, dataset.features, known, by_width, by_epoch, grokked)
    (out / "learning_coefficient.png").write_bytes(png(figure))
    config = {
        "data": [f"{dataset.name}, {len(dataset.train.y):,} digits of 14 x 14", f"(a + b) mod {P}"],
        "networks": networks,
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "widths": [*size.widths],
        "epochs": [*size.epochs],
        "chains of a network": CHAINS,
        "draws of a chain, after as many of burn-in": size.draws,
        "the same for known models": size.known_draws,
        "localisation": LOCALISATION,
        "test error (%)": {width: float(row.mean()) for width, row in zip(size.widths, errors, strict=True)},
        "notes": [
            told,
            "An earlier full run had 2 units, too. Some of these networks were at no minimum: their estimates were "
            "below zero (mean 21, 95 % interval -45 to 87), and whether the share of the parameters falls from 2 to 32 "
            "units was undecided. All else was as here.",
        ],
    }
    claims = [*known_claims(size.known, known), *network_claims(dataset.features, size, by_width, by_epoch)]
    return [*claims, *grokking_claims(size.steps, grokked)], config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(load("mnist5k"), QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one split of mnist5k, and one of the pairs to add"
    run_experiment("learning_coefficient", __doc__, body, full_seeds=16, quick_seeds=2, shared=shared)
