"""All-zero weights are a trap: hidden units that start equal stay equal.

Claim: with all weights zero, or all equal, every hidden unit of a layer gets the same gradient, so the units
stay one unit for ever, however many there are. Source: Goodfellow, Bengio and Courville, Deep Learning (2016),
section 8.4: the initial parameters need to "break symmetry" between different units. How little noise breaks it, and
when, is asked in experiments/symmetry_breaking.py.

Protocol: 784-48-10 with ReLU, tanh or sigmoid hidden units, softmax cross-entropy, batch 128, SGD with momentum
(0.1, 0.9), 20 epochs on the 3,500 / 1,000 digits of mnist5k. The start is zero; or all weights equal one constant
(0.001, 0.01, 0.1); or, as control, He's. Beside it one hidden unit: with He's start; with this and the rates of 48
equal units; and with these rates and the start of 48 units at 0.01. (48 equal units with output weights v are one unit
with the output weight 48 v, which learns 48 times as fast, and with input weights that learn 1/48 as fast.) The rank
of the hidden layer is that of its activations over 500 test digits, to a relative 1e-3. At the zero start and after a
step, gradients that are exactly zero are counted over 128 digits.

That 48 units stay equal to the last bit takes a matrix product that adds up all of them in the same order: its kernels
take 6, 8 or 16 units at a time, and 48 leaves none over. Beside it are 32 units from 0.01: where kernels take 6, the
last two are added up otherwise, and rounding parts them from the other 30.

Command: python experiments/zero_init.py
Wall time on two cores: about 200 s; --quick 40 s.

Expected: zero ReLU and tanh networks train their output biases and nothing else: 90 % error for ever. Zero
sigmoid networks train, the output kernel first and the hidden layer a step later, but as one unit, of rank 1, and so
do equal constants of 0.01: 64 to 72 % error, where 48 free units come below 9 % (0.1 is too much: none learns more
than the biases). That is 13 to 15 points less than one unit with He's start, which was expected to be alike. But equal
units are one unit with other rates: its error is theirs, in every seed. From He's start one unit with these rates comes
within two points of them: it is the rates that make the difference, more than the start. Where rounding parts two of 32
units, some three epochs in, they go down to 41 to 43 %.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Moment,
    Observe,
    Recipe,
    Split,
    evaluate,
    load,
    make_keys,
    mean_loss,
    progress_bar,
    sweep,
    train_many,
)
from mlpjax.activations import ActivationName
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.landscape.symmetry_breaking import as_equal_units, ranks, zero_gradients
from mlpjax.models import dense_layers
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

COLOURS: dict[ActivationName, str] = {"relu": GREEN, "tanh": BLUE, "sigmoid": VERMILLION}
UNITS, UNEVEN_UNITS = 48, 32
COMPARED = 1e-2
"""The constant whose networks are compared with one unit."""
CONSTANTS = (1e-3, COMPARED, 1e-1)
CLOSE = 1.0
"""Errors are alike that are so many percentage points apart, or fewer."""
LOOKED_AT = 500
"""Test digits over which the rank of the hidden layer is taken."""
RATE, MOMENTUM, BATCH = 0.1, 0.9, 128
ZERO, EQUAL, UNEVEN, FREE = "zero start", "equal constants", f"{UNEVEN_UNITS} units from {COMPARED}", "He's start"
ONE, FASTER, SAME = "one unit", "one unit, rates of equal units", "one unit, rates and start of equal units"
CHAIN_RULE = "chain rule: every gradient but the output bias's has a factor of zero"
SYMMETRY = "Goodfellow, Bengio and Courville, Deep Learning (2016), section 8.4"
NEVER = (
    "A network of tanh or ReLU units whose weights all start at zero learns the frequencies of the classes, no more."
)
STUCK = "Hidden units that start equal stay equal, and are one unit however many they are."
RATES = "Equal hidden units learn as a single one does that has other learning rates."
NOTES = [
    "48 units in place of 32: on a machine whose matrix products take 6 units at a time, rounding alone parts the last "
    "two of 32 from the others; the rows of 32 units say what that does, and depend on the machine.",
    "Equal units were expected to be like one unit with a random start; the comparison at their own rates was added "
    "when a first run had shown that they do better.",
    "Equal constants: a rank of exactly 1 was claimed at first. That held in 32 of 32 seeds with tanh and with sigmoid "
    "and in 0 of 32 with ReLU, whose units all die at 0.1: their rank is 0. It is now claimed to be at most 1.",
]


class Outcome(NamedTuple):
    """What became of networks: an array [scales, seeds] of everything."""

    error: np.ndarray
    """Test error in %."""
    distinct: np.ndarray
    """Distinct hidden units, to a relative tolerance of 1e-3."""
    unequal: np.ndarray
    """The same without tolerance: units that differ in their last bit are distinct."""
    rank: np.ndarray
    """Numerical rank of the hidden activations over test digits."""
    weight: np.ndarray
    """Largest absolute weight into the hidden layer."""
    diverged: np.ndarray


def train(
    dataset: Dataset,
    model: MLP,
    scales: Sequence[float],
    seeds: int,
    epochs: int,
    *,
    stand_for: int = 1,
    start: Any = None,
) -> Outcome:
    """Train networks from every seed at every scale of their start."""
    optimizer = as_equal_units(stand_for, MOMENTUM)
    recipe = Recipe(optimizer=optimizer, learning_rate=RATE, batch_size=BATCH, epochs=epochs, eval_every=epochs)

    def look(moment: Moment) -> dict[str, Any]:
        params, test = moment.state.params, moment.data.test
        return {
            "error": 100 * (1 - evaluate(moment.task, moment.state.variables, test)["accuracy"]),
            "distinct": distinct_units(params)[0],
            "unequal": distinct_units(params, 0.0)[0],
            "rank": ranks(model, params, moment.task.prepare(test.x[:LOOKED_AT])).activations[0],
            "weight": jnp.max(jnp.abs(params["dense_0"]["kernel"])),
        }

    with progress_bar(f"{model.name} {model.activation}, {model.initializer}", "networks") as on_progress:
        swept = sweep(
            model,
            recipe,
            dataset,
            range(seeds),
            {"scale": scales},
            start=start,
            observe={"end": Observe(look, epochs=[epochs])},
            on_progress=on_progress,
        )
    found = {name: values[..., 0] for name, values in swept.observed["end"].items()}
    return Outcome(**found, diverged=swept.diverged)


def equal_start(dataset: Dataset, activation: ActivationName, seeds: int) -> Any:
    """One unit that gives what `UNITS` units give whose weights are all `COMPARED`."""
    model = MLP((dataset.features, 1, dataset.classes), activation, initializer="constant", scale=COMPARED)
    params = jax.tree.map(np.array, model.init(make_keys(0).init).params)
    params["dense_1"]["kernel"] *= UNITS
    return jax.tree.map(lambda leaf: np.stack([leaf] * seeds), params)


def train_all(dataset: Dataset, activation: ActivationName, seeds: int, epochs: int) -> dict[str, Outcome]:
    """Every kind of start, by name."""

    def of(units: int, initializer: Any, scales: Sequence[float], **more: Any) -> Outcome:
        model = MLP((dataset.features, units, dataset.classes), activation, initializer=initializer)
        return train(dataset, model, scales, seeds, epochs, **more)

    return {
        ZERO: of(UNITS, "zeros", [1.0]),
        EQUAL: of(UNITS, "constant", CONSTANTS),
        UNEVEN: of(UNEVEN_UNITS, "constant", [COMPARED]),
        FREE: of(UNITS, "he", [1.0]),
        ONE: of(1, "he", [1.0]),
        FASTER: of(1, "he", [1.0], stand_for=UNITS),
        SAME: of(1, "he", [1.0], stand_for=UNITS, start=equal_start(dataset, activation, seeds)),
    }


def zero_start_gradients(dataset: Dataset, activation: ActivationName, seeds: int, units: int = UNITS) -> list[Any]:
    """Share (%) of gradients that an all-zero start leaves exactly zero, by leaf: in every seed, at once and later.

    At once is at the start, later after a step; both over the digits of one minibatch.
    """
    model = MLP((dataset.features, units, dataset.classes), activation, initializer="zeros")
    recipe = Recipe(optimizer="momentum", learning_rate=RATE, momentum=MOMENTUM, batch_size=BATCH, epochs=1)
    digits = Split(dataset.train.x[:BATCH], dataset.train.y[:BATCH])

    def look(moment: Moment) -> Any:
        return zero_gradients(mean_loss(moment.task), moment.state.params, digits)

    trained = train_many(model, recipe, dataset, range(seeds), observe={"zeros": Observe(look, steps=(0, 1))})
    zeros = jax.tree.map(lambda count, leaf: 100 * count / leaf[0].size, trained.observed["zeros"], trained.params)
    return [jax.tree.map(lambda share, step=step: share[:, step], zeros) for step in range(2)]


def gradient_claims(name: str, zeros: list[Any]) -> list[Claim]:
    """What theory says of gradients at zero: the output bias moves, with sigmoids the output kernel too; then all."""
    learns = 0 if name == "sigmoid" else 100
    (hidden, output), (later, _) = (dense_layers(part) for part in zeros)
    rows = [
        ("zero start: zero gradients of output bias", output["bias"], 0),
        ("zero start: zero gradients of output kernel", output["kernel"], learns),
        ("zero start: zero gradients of hidden bias", hidden["bias"], 100),
        ("zero start: zero gradients of hidden kernel", hidden["kernel"], 100),
        ("after a step: zero gradients of hidden bias", later["bias"], learns),
    ]
    return [
        Claim.every(f"{name}, {what}: {still} %", share == still, source=CHAIN_RULE, theorem=True)
        for what, share, still in rows
    ]


def claims_of(name: str, found: dict[str, Outcome]) -> list[Claim]:
    """What became of the networks of one activation."""
    among = ~np.concatenate([outcome.diverged for outcome in found.values()]).any(axis=0)
    headline = name == "tanh"  # said once of all three

    def every(what: str, hits: np.ndarray, source: str, settles: str = "", theorem: bool = True) -> Claim:
        told = settles if headline else ""
        return Claim.every(f"{name}, {what}", hits, source=source, theorem=theorem, settles=told, among=among)

    def mean(what: str, values: np.ndarray, unit: str = "%") -> Claim:
        return Claim.mean(f"{name}, {what}", values, unit=unit, among=among)

    def above(what: str, one: np.ndarray, other: np.ndarray, **beside: Any) -> Claim:
        return Claim.difference(f"{name}, test error: {what}", one, other, unit="points", among=among, **beside)

    zero, equal = found[ZERO], found[EQUAL]
    errors = {kind: outcome.error[0] for kind, outcome in found.items()}
    errors[EQUAL] = equal.error[CONSTANTS.index(COMPARED)]
    if name == "sigmoid":
        claims = [
            every(f"{ZERO}: one distinct hidden unit", zero.distinct[0] == 1, SYMMETRY),
            every(f"{ZERO}: rank 1 of the hidden layer", zero.rank[0] == 1, SYMMETRY),
            mean(f"{ZERO}: test error", errors[ZERO]),
        ]
    else:
        # 90 % is exact, one answer for all of ten classes of one size, but for float32's rounding.
        still = np.abs(errors[ZERO] - 90) < 1e-4
        claims = [
            every(f"{ZERO}: hidden weights all zero", zero.weight[0] == 0, CHAIN_RULE),
            every(f"{ZERO}: rank 0 of the hidden layer", zero.rank[0] == 0, CHAIN_RULE),
            every(f"{ZERO}: test error 90 %", still, CHAIN_RULE, NEVER),
        ]
    one, exactly = ((field == 1).all(axis=0) for field in (equal.distinct, equal.unequal))
    alike = {"published": 0, "relation": "about", "tolerance": CLOSE, "tolerance_source": "ours, before any run"}
    same = np.abs(errors[EQUAL] - errors[SAME]) <= CLOSE
    return [
        *claims,
        every(f"{EQUAL}: one distinct hidden unit", one, SYMMETRY, STUCK),
        every(
            f"{EQUAL}: no unit differs in its last bit", exactly, "ours: rounding is the same for all", theorem=False
        ),
        every(f"{EQUAL}: rank of the hidden layer at most 1", (equal.rank <= 1).all(axis=0), SYMMETRY),
        mean(f"equal constants of {COMPARED}: test error", errors[EQUAL]),
        mean(f"{ONE}: test error", errors[ONE]),
        above("equal units above one unit", errors[EQUAL], errors[ONE], source=SYMMETRY, **alike),
        every(f"test error: equal units within {CLOSE:g} point of {SAME}", same, "chain rule", RATES),
        above(f"{FASTER}, above one unit", errors[FASTER], errors[ONE]),
        above(f"equal units above {FASTER}", errors[EQUAL], errors[FASTER]),
        Claim.share(f"{name}, {UNEVEN}: parted by rounding", found[UNEVEN].distinct[0] > 1, among=among),
        mean(f"{UNEVEN}: test error", errors[UNEVEN]),
        mean(f"{FREE}: test error", errors[FREE]),
        mean(f"{FREE}: rank of the hidden layer", found[FREE].rank[0], unit=""),
    ]


@mpl.rc_context(STYLE)
def draw(found: dict[ActivationName, dict[str, Outcome]]) -> Figure:
    """The test error of every kind of start: the mean over seeds, its interval, and the seeds."""
    figure = Figure(figsize=(12, 6.4))
    axes = figure.subplots()
    rows: list[str] = []
    for place, (name, outcomes) in enumerate(found.items()):
        errors: dict[str, np.ndarray] = {}
        for kind, outcome in outcomes.items():
            scales = [f"{UNITS} units from {scale}" for scale in CONSTANTS] if kind == EQUAL else [kind]
            errors |= dict(zip(scales, outcome.error, strict=True))
        rows = [*errors]
        low, mean, high = mean_band(np.stack([*errors.values()], axis=1))
        heights = np.arange(len(rows)) + 0.22 * (place - (len(found) - 1) / 2)
        for height, values in zip(heights, errors.values(), strict=True):
            axes.plot(values, np.full(len(values), height), "|", color=COLOURS[name], alpha=0.35, ms=7)
        style = {"color": COLOURS[name], "marker": "o", "ls": "", "capsize": 4, "label": name}
        axes.errorbar(mean, heights, xerr=[mean - low, high - mean], **style)
    seeds = len(next(iter(errors.values())))
    axes.set_yticks(range(len(rows)), labels=[row.replace(", ", ",\n") for row in rows])
    axes.set(xlabel=f"test error (%): mean with 95 % interval, and each of {seeds} seeds", ylabel="start", xlim=(0, 95))
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def settle(
    dataset: Dataset, activations: Sequence[ActivationName], seeds: int, epochs: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    found, claims = {}, []
    for name in activations:
        found[name] = train_all(dataset, name, seeds, epochs)
        claims += claims_of(name, found[name])
        claims += gradient_claims(name, zero_start_gradients(dataset, name, seeds))
    (out / "zero_init.png").write_bytes(png(draw(found)))
    diverged = sum(int(outcome.diverged.sum()) for outcomes in found.values() for outcome in outcomes.values())
    config = {"data": dataset.name, "epochs": epochs, "constants": CONSTANTS, "notes": NOTES, "diverged": diverged}
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(load("mnist5k"), ("tanh", "sigmoid") if quick else (*COLOURS,), seeds, 3 if quick else 20, out)


if __name__ == "__main__":
    shared = "one split of mnist5k, 1,000 test digits"
    run_experiment("zero_init", __doc__, body, full_seeds=32, quick_seeds=3, shared=shared)
