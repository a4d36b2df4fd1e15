"""How much less does a network err that never sees a digit twice, and how far does a wide one come with it?

Claims: deformed digits lower the test error on MNIST, elastic deformations more than affine ones; with them 784-800-10
errs on 0.70 %. Source: Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis, ICDAR 2003. A network of 12.1 million weights, 784-2500-2000-1500-1000-500-10, errs on 0.35 %, after
114 hours on a graphics card. Source: Ciresan, Meier, Gambardella and Schmidhuber, Neural Computation 22 (2010),
arXiv:1003.0358. A committee of seven such networks errs on 0.31 %. Source: Meier et al., ICDAR 2011, arXiv:1103.4487.
The project's own aim: at most 0.6 % by one network and 0.45 % by a committee, trained within an hour on two cores.

Protocol: every minibatch is deformed anew inside the compiled step, by keys of the seed's own; what is evaluated is
never deformed. Adam, one-cycle with its peak at 0.003, products in bfloat16. Small: 784-256-128-10, batch 128, 10
epochs, the same seeds with every kind of deformation and without. Wide: 784-800-800-10, six seeds, batch 256, every
kind at once, trained for 10, 30 and 90 epochs, each with a schedule of its own. A committee chooses the class of the
largest mean probability; of fewer than six all there are. What it would take to come below 0.35 %: a power law of error
and epochs, fitted to the three trainings of every seed, and the same of the committee; and the operations of Ciresan's
network at the rate of this run.

Command: python experiments/augmentation.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz
or not, or --data tfds:mnist; or set MLPJAX_MNIST to either. A run that was killed goes on where it was.
Wall time on two cores: 64 minutes, beside other work; --quick 40 s, on mnist5k.

Expected: every deformation helps the small network, by 0.22 points of test error (stretch) to 0.54 (elastic); elastic
ones help more than affine ones, and all at once no more than elastic ones alone. The wide network errs on 0.60 %
[0.46, 0.74], single seeds on 0.50 to 0.72 %, and the committee of six on 0.48 %: both aims, 0.6 and 0.45 %, are just
missed, in 0.59 hours. After 30 epochs it errs on no more than after 90; so the power law's exponent, 0.13 [-0.02,
0.29], and with it the way to 0.35 %, stays open.
"""

import itertools
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Checkpoints,
    Dataset,
    Deformation,
    Recipe,
    Trained,
    UserError,
    Variables,
    augmented,
    count_parameters,
    load,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.mnist import load_mnist
from mlpjax.report.figures import BLUE, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

PLAIN, ALL = "none", "all"
KINDS = {
    PLAIN: None,
    "shift": Deformation(shift=2),
    "rotation": Deformation(rotation=15),
    "stretch": Deformation(stretch=0.15),
    "elastic": Deformation(elastic=36, smoothness=5),
    ALL: Deformation(shift=1, rotation=10, stretch=0.15, elastic=36, smoothness=5),
}
AFFINE = ("shift", "rotation", "stretch")
SEEDS = 16
SMALL_BATCH, WIDE_BATCH = 128, 256
SMALL, SMALL_EPOCHS = (256, 128), 10
WIDE, NETWORKS, LENGTHS = (800, 800), 6, (10, 30, 90)
"""Hidden units, how many networks, and the epochs of their trainings, each with a schedule of its own."""
MANY = 200
"""Committees of one size that are asked, where there are more."""
SINGLE, COMMITTEE, HOURS = 0.6, 0.45, 1.0
"""What the project wants: errors in %, and hours."""
BELOW = 0.35
CIRESAN_WIDTHS, CIRESAN_EPOCHS = (784, 2500, 2000, 1500, 1000, 500, 10), 800
SIMARD = "Simard, Steinkraus and Platt, ICDAR 2003"
CIRESAN = "Ciresan et al., arXiv:1003.0358"
MEIER = "Meier et al., arXiv:1103.4487, a committee of seven"
AIM = "this project's own aim, which nobody published"
NOTES = [
    "The deformations and the recipe of the wide networks were chosen on 10,000 of the training digits, held out in "
    "trials; test digits played no part.",
    f"Of Ciresan's network {CIRESAN_EPOCHS} epochs are assumed.",
    "The power law has no floor; so what it says of the way to 0.35 % is rather the least that it takes.",
]


class Wide(NamedTuple):
    """What became of the wide networks."""

    parameters: int
    epochs: np.ndarray
    """Of the longest training, at its evaluations."""
    curves: np.ndarray
    """Test error in % there, [networks, evaluations]."""
    lengths: Sequence[int]
    finals: np.ndarray
    """At the end of every training, [networks, lengths]."""
    probabilities: np.ndarray
    """Of the classes of all test digits, [lengths, networks, digits, classes]."""
    labels: np.ndarray
    hours: float
    """That all networks' longest training took."""
    flops: float
    """Of one network's epoch: two for each weight and digit on the way there, and four on the way back."""


def make_recipe(epochs: int, eval_every: int, batch_size: int) -> Recipe:
    """How all networks are trained."""
    return Recipe(learning_rate=3e-3, schedule="one-cycle", batch_size=batch_size, epochs=epochs, eval_every=eval_every)


def train(
    what: str, model: MLP, recipe: Recipe, dataset: Dataset, deformation: Deformation | None, seeds: int, out: Path
) -> Trained:
    """Train on digits deformed so, and keep what is done."""

    def task(*parts: Any) -> Any:
        return make_task(*parts) if deformation is None else augmented(make_task(*parts), deformation)

    store = Checkpoints(out / "checkpoints" / what.replace(" ", "-"))
    with progress_bar(what, "evaluations") as on_progress:
        trained = train_many(model, recipe, dataset, range(seeds), task=task, store=store, on_progress=on_progress)
    trained.require_finite()
    return trained


def train_small(
    dataset: Dataset, kinds: Sequence[str], hidden: Sequence[int], epochs: int, seeds: int, out: Path
) -> dict[str, np.ndarray]:
    """Test error in % of every seed, by the kind of deformation."""
    model = MLP((dataset.features, *hidden, dataset.outputs), precision="mixed")
    recipe = make_recipe(epochs, epochs, SMALL_BATCH)
    return {
        kind: train(f"small {kind}", model, recipe, dataset, KINDS[kind], seeds, out).error()[:, -1] for kind in kinds
    }


def train_wide(dataset: Dataset, hidden: Sequence[int], lengths: Sequence[int], networks: int, out: Path) -> Wide:
    """Train the same networks for several numbers of epochs, and ask them all test digits."""
    model = MLP((dataset.features, *hidden, dataset.outputs), precision="mixed")
    found, probabilities = [], []
    for length in lengths:
        recipe = make_recipe(length, lengths[0], WIDE_BATCH)
        found.append(train(f"wide {length} epochs", model, recipe, dataset, KINDS[ALL], networks, out))
        task = make_task(model, recipe, dataset.train)

        def ask(variables: Variables, digits: Any, task: Any = task) -> Any:
            return jax.nn.softmax(task.predict(variables, task.prepare(digits)))

        probabilities.append(map_seeds(ask, found[-1].variables, dataset.test.x))
    longest = found[-1]
    parameters = sum(count_parameters(jax.tree.map(lambda leaf: leaf[0], longest.params)))
    return Wide(
        parameters,
        np.arange(lengths[-1] // lengths[0] + 1) * lengths[0],
        longest.error(),
        lengths,
        np.stack([trained.error()[:, -1] for trained in found], axis=1),
        np.asarray(probabilities, float),
        dataset.test.y,
        float(longest.history["seconds"].sum()) / 3600,
        epoch_flops(model.widths, len(dataset.train.y)),
    )


def epoch_flops(widths: Sequence[int], examples: int) -> float:
    """Floating-point operations of an epoch: six for each weight and example."""
    return 6.0 * examples * sum(a * b for a, b in itertools.pairwise(widths))


def committee_errors(probabilities: np.ndarray, labels: np.ndarray, size: int) -> np.ndarray:
    """Test error in % of committees of so many networks: the class of the largest mean probability.

    Of all committees there are, or of `MANY` drawn from them.
    """
    networks = len(probabilities)
    if math.comb(networks, size) <= MANY:
        members = [*itertools.combinations(range(networks), size)]
    else:
        rng = np.random.default_rng(size)
        members = [tuple(rng.choice(networks, size, replace=False)) for _ in range(MANY)]
    wrong = [probabilities[list(committee)].mean(axis=0).argmax(axis=1) != labels for committee in members]
    return 100 * np.mean(wrong, axis=1)


def power_law(epochs: Sequence[int], errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a and b of error = a epochs^-b, by least squares on the logarithms, for every row of errors."""
    slope, level = np.polyfit(np.log(epochs), np.log(errors).T, 1)
    return np.exp(level), -slope


def epochs_until(goal: float, epochs: Sequence[int], errors: np.ndarray) -> np.ndarray:
    """Epochs at which the power law of every row of errors comes to the goal; NaN where it never does."""
    a, b = power_law(epochs, errors)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        found = np.exp(np.log(a / goal) / b)
    return np.where((b > 0) & np.isfinite(found), found, np.nan)


def claims_of_small(errors: dict[str, np.ndarray]) -> list[Claim]:
    """What every kind of deformation is worth to the small network, and which is worth most."""
    claims = [Claim.mean(f"small network, {kind}: test error", values, unit="%") for kind, values in errors.items()]
    above: Any = {"unit": "points", "published": 0, "relation": "above", "source": SIMARD}
    told = {
        "elastic": "Elastic deformations of the training digits lower a small network's test error.",
        ALL: "Shift, rotation, stretch and elastic deformation together lower a small network's test error.",
    }
    for kind in [kind for kind in errors if kind != PLAIN]:
        name = f"small network: test error, without above with {kind}"
        claims.append(Claim.difference(name, errors[PLAIN], errors[kind], settles=told.get(kind, ""), **above))
    for kind in [kind for kind in AFFINE if kind in errors]:
        name = f"small network: test error, with {kind} above with elastic"
        claims.append(Claim.difference(name, errors[kind], errors["elastic"], **above))
    name = "small network: test error, with elastic above with all"
    return [*claims, Claim.difference(name, errors["elastic"], errors[ALL], unit="points")]


def claims_of_wide(wide: Wide, published: bool) -> list[Claim]:
    """How often one wide network errs, and a committee of all of them and of fewer."""

    def most(figure: float, source: str, settles: str = "") -> Any:
        return {"unit": "%", "published": figure, "relation": "at most", "source": source, "settles": settles}

    single, everyone = wide.finals[:, -1], len(wide.finals)
    errors = [committee_errors(wide.probabilities[-1], wide.labels, size + 1) for size in range(everyone)]
    last, name, whole = float(errors[-1][0]), "wide network: test error", f"committee of {everyone}: test error"
    if published:
        simard = "A multilayer perceptron that sees deformed digits errs on at most 0.70 % of MNIST's test digits."
        within = f"Within an hour on two cores one multilayer perceptron comes to {SINGLE:g} % test error on MNIST."
        together = f"Within an hour on two cores a committee of multilayer perceptrons comes to {COMMITTEE:g} %."
        claims = [
            Claim.mean(name, single, **most(0.70, SIMARD, simard)),
            Claim.mean(f"{name}, beside the project's aim", single, **most(SINGLE, AIM, within)),
            Claim.mean(f"{name}, beside a network ten times as large", single, **most(BELOW, CIRESAN)),
            Claim.share(f"wide network: errs on at most {SINGLE:g} %", single <= SINGLE),
            Claim.exact(whole, last, **most(0.31, MEIER)),
            Claim.exact(f"{whole}, beside the project's aim", last, **most(COMMITTEE, AIM, together)),
        ]
    else:
        claims = [Claim.mean(name, single, unit="%"), Claim.exact(whole, last, unit="%")]
    claims.append(Claim.mean("wide network above the committee: test error", single - last, unit="points"))
    for size, values in enumerate(errors[1:-1], start=2):
        claims.append(Claim.exact(f"committees of {size}: mean test error", float(values.mean()), unit="%"))
    for length, values in zip(wide.lengths[:-1], wide.finals.T, strict=False):
        claims.append(Claim.mean(f"wide network, {length} epochs: test error", values, unit="%"))
    wrong = 100 * np.mean(wide.probabilities.argmax(axis=-1) != wide.labels, axis=-1)
    alike = np.abs(wrong.T - wide.finals).max(axis=1) < 1e-3
    as_is = "wide network: reported is the error on the digits as they are"
    return [*claims, Claim.every(as_is, alike, source="mlpjax.augmented", theorem=True)]


def claims_of_cost(wide: Wide, published: bool) -> list[Claim]:
    """What was spent, and what it would take to come below 0.35 %."""
    networks, longest = len(wide.finals), wide.lengths[-1]
    rate = networks * longest * wide.flops / wide.hours  # an hour
    limit: Any = {"published": HOURS, "relation": "at most", "source": AIM} if published else {}
    theirs = CIRESAN_EPOCHS * epoch_flops(CIRESAN_WIDTHS, 60_000)
    need = epochs_until(BELOW, wide.lengths, wide.finals)
    together = [committee_errors(part, wide.labels, networks)[0] for part in wide.probabilities]
    committee_needs = epochs_until(BELOW, wide.lengths, np.array([together]))
    an_epoch = wide.flops / rate
    until, whole = f"until {BELOW:g} %, if the power law goes on", f"committee of {networks}"
    return [
        Claim.exact(f"wide networks: training of all {networks}", wide.hours, unit="hours", **limit),
        Claim.mean(
            "wide network: exponent of the power law of error and epochs", power_law(wide.lengths, wide.finals)[1]
        ),
        Claim.median(f"wide network: epochs {until}", need, unit="epochs", among=np.isfinite(need)),
        Claim.median(f"wide network: hours {until}", need * an_epoch, unit="hours", among=np.isfinite(need)),
        Claim.of(
            "exact",
            f"{whole}: hours {until}",
            networks * an_epoch * committee_needs,
            unit="hours",
            among=np.isfinite(committee_needs),
        ),
        Claim.exact(
            f"Ciresan's network: hours for {CIRESAN_EPOCHS} epochs at the rate of this run", theirs / rate, unit="hours"
        ),
    ]


def mark(axes: Axes, x: float, values: np.ndarray, colour: str) -> None:
    """Every seed, and the mean with its interval beside them."""
    low, mean, high = (end.item() for end in mean_band(values[:, None]))
    axes.plot(np.full(len(values), x - 0.15), values, "_", color=colour, ms=10, mew=1.2)
    axes.errorbar(x, mean, [[mean - low], [high - mean]], fmt="o", color=colour, ms=8, capsize=5)


def beside(axes: Axes, lines: dict[str, float]) -> None:
    """Figures to compare with, named on the left."""
    for name, figure in lines.items():
        axes.axhline(figure, color="black", lw=1, ls="--")
        axes.annotate(f"{name}: {figure:g} %", (0.01, figure), (0, 3), ("axes fraction", "data"), "offset points")


@mpl.rc_context(STYLE)
def draw(errors: dict[str, np.ndarray], wide: Wide, published: bool) -> Figure:
    """What every kind gains; error against epochs, with the power law; error against the size of a committee."""
    figure = Figure(figsize=(20, 6))
    gains, law, committee = figure.subplots(1, 3)
    kinds = [kind for kind in errors if kind != PLAIN]
    for place, kind in enumerate(kinds):
        mark(gains, place, errors[PLAIN] - errors[kind], BLUE)
    gains.axhline(0, color="black", lw=1)
    gains.set_xticks(range(len(kinds)), kinds)
    gains.set(xlabel="deformation", ylabel="gain (points of test error)", title="small network")
    for place, curve in enumerate(wide.curves):
        style: dict[str, Any] = {"color": BLUE, "lw": 1, "alpha": 0.5}
        label = "" if place else f"on the way to {wide.lengths[-1]}, every seed"
        law.plot(wide.epochs[1:], curve[1:], label=label, **style)
    low, mean, high = mean_band(wide.finals)
    bars = [mean - low, high - mean]
    law.errorbar(wide.lengths, mean, bars, fmt="o", color=VERMILLION, ms=8, capsize=5, label="at the end of training")
    a, b = power_law(wide.lengths, mean[None])
    grid = np.geomspace(wide.lengths[0], 30 * wide.lengths[-1])  # beyond the last training it is a forecast
    law.plot(grid, a * grid**-b, color=ORANGE, lw=1.6, label=f"power law, epochs$^{{{-b[0]:.2f}}}$")
    law.set(xlabel="epochs", ylabel="test error (%)", title="wide network", xscale="log", yscale="log")
    ticks = [tick for tick in (0.3, 0.5, 0.7, 1, 2, 5, 10, 20, 50) if 0.3 <= tick <= wide.finals.max()]
    law.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    shown = [*wide.lengths, *(wide.lengths[-1] * factor for factor in (3, 10, 30))]
    law.set_xticks(shown, [f"{epochs:,}" for epochs in shown])
    law.minorticks_off()
    law.set_ylim(bottom=0.25)
    law.legend(loc="upper right")
    sizes = np.arange(len(wide.finals)) + 1
    every = [committee_errors(wide.probabilities[-1], wide.labels, size) for size in sizes]
    for size, values in zip(sizes, every, strict=True):
        label = "one committee" if size == 1 else ""
        committee.plot(np.full(len(values), size - 0.1), values, "_", color=BLUE, ms=10, mew=1.2, label=label)
    committee.plot(sizes, [values.mean() for values in every], "o-", color=VERMILLION, label="mean over committees")
    committee.set(xlabel="networks in the committee", ylabel="test error (%)", title="committees of wide networks")
    committee.set_xticks(sizes)
    committee.set_xlim(-0.25 * len(sizes), len(sizes) + 0.5)  # room for the names of the lines
    committee.legend(loc="upper right")
    if published:
        beside(law, {"Simard": 0.70, "Ciresan": BELOW})
        beside(committee, {"the aim": COMMITTEE, "Ciresan": BELOW, "Meier": 0.31})
    low, high = committee.get_ylim()
    committee.set_ylim(top=high + (high - low) / 4)  # room for the legend
    figure.suptitle("mean over seeds with its 95 % interval, and every seed", fontsize=12)
    return figure


@mpl.rc_context(STYLE)
def draw_digits(dataset: Dataset) -> Figure:
    """The first digit of every class, as it is and deformed in every way."""
    rows = [int(np.flatnonzero(dataset.train.y == digit)[0]) for digit in range(dataset.outputs)]
    digits = np.asarray(dataset.train.x[rows], np.float32) / 255
    figure = Figure(figsize=(len(rows) + 0.8, len(KINDS)))
    for row, (kind, deformation) in enumerate(KINDS.items()):
        shown = digits if deformation is None else deformation(jax.random.key(row), jax.numpy.asarray(digits))
        for column, image in enumerate(np.asarray(shown)):
            axes = figure.add_subplot(len(KINDS), len(rows), row * len(rows) + column + 1)
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if not column:
                axes.set_ylabel(kind, rotation=0, ha="right", va="center")
    return figure


def settle(
    dataset: Dataset,
    small: tuple[Sequence[str], Sequence[int], int],
    wide_hidden: Sequence[int],
    lengths: Sequence[int],
    seeds: int,
    networks: int,
    out: Path,
    published: bool,
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figures and state the claims."""
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2; one does not tell how far they lie apart")
    errors = train_small(dataset, *small, seeds, out)
    wide = train_wide(dataset, wide_hidden, lengths, networks, out)
    (out / "augmentation.png").write_bytes(png(draw(errors, wide, published)))
    (out / "augmentation_digits.png").write_bytes(png(draw_digits(dataset)))
    shutil.rmtree(out / "checkpoints")
    claims = [*claims_of_small(errors), *claims_of_wide(wide, published), *claims_of_cost(wide, published)]
    config = {
        "examples": len(dataset.train.y),
        "wide": {"hidden": wide_hidden, "parameters": wide.parameters, "epochs": lengths, "networks": networks},
        "FLOPs of an epoch": wide.flops,
        "deformations": {kind: str(deformation) for kind, deformation in KINDS.items()},
        "notes": NOTES,
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k, of which nothing was published."""
    if quick:
        small = (PLAIN, "rotation", "elastic", ALL), (16,), 2
        return settle(load("mnist5k"), small, (32, 32), (1, 3), seeds, 2, out, published=False)
    networks = max(2, seeds * NETWORKS // SEEDS)
    return settle(
        load_mnist(data), ([*KINDS], SMALL, SMALL_EPOCHS), WIDE, LENGTHS, seeds, networks, out, published=True
    )


if __name__ == "__main__":
    shared = "MNIST's one split into 60,000 and 10,000 digits"
    run_experiment("augmentation", __doc__, body, full_seeds=SEEDS, quick_seeds=2, needs=MNIST, shared=shared)
