"""Training that goes wrong shows why: every fault of a checklist, put in on purpose, is named.

Claim: the inputs, the curves of a training and its gradients by layer tell what is wrong, as checklists for
practitioners say. Sources: Goodfellow, Bengio and Courville, Deep Learning (2016), section 11.5; A. Karpathy, A Recipe
for Training Neural Networks (2019). Neither says how often such signs name the fault.

Protocol: eight faults, in three or four settings each, in networks on the 3,500 / 500 / 1,000 digits of mnist5k, 10
epochs: the rate too high, training labels shuffled, inputs not normalised, dead units, a leaking test set, vanishing
gradients, a class missing from training, the loss on probabilities in place of logits. A fault counts as named where it
is the FIRST of the network's diagnoses (mlpjax/diagnosis.py). Beside them are healthy networks in ten settings, from
softmax regression to five hidden layers: an alarm is any diagnosis of any kind. Every network has a seed and a learning
rate of its own, drawn log-uniformly. The thresholds were fixed beforehand, on other settings and other seeds.

Command: python experiments/diagnosis.py
Wall time on two cores: about 240 s; --quick 60 s.

Expected: every fault is named first in all networks, and no healthy one raises an alarm. The faults are gross ones, as
beginners make them: how faint a fault can be and still be told is not asked.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    Variables,
    load,
    make_keys,
    make_task,
    map_seeds,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.data import check
from mlpjax.diagnosis import Diagnosis, Fault, chance_of, check_before, diagnose, exploded, lose_exploded, make_signs
from mlpjax.report.figures import STYLE, png
from mlpjax.typing import Params

EPOCHS = 10
EXAMINED = 500
"""Training digits on which networks are examined."""
APART = 1000
"""Seeds between two settings."""
OURS = "ours, before any run"
NAMED = 80
"""In %: a fault is to be named in so many networks."""
NAMES = "Each of eight usual faults of a training can be told, and told apart, from its data, curves and gradients."
QUIET = "Diagnosis by fixed thresholds raises no false alarm on healthy networks of very different kinds."
NOTES = [
    "The thresholds of the diagnosis were fixed on 78 healthy and 76 sick networks of 13 and 19 other settings (other "
    "widths, optimizers and rates; seeds from 10,000 on), before the networks here were trained once.",
    "At first a vanishing gradient was sought by comparing the relative gradients of the weights of each layer, which "
    "stay alike where all weights are too small. The measure that took its place was tried on 20 of the sick networks "
    "and on 8 of the healthy ones. The thresholds of leaks and missing classes were not tried.",
    "A leaking test set and missing classes are counted in the data, byte for byte: a test digit that was changed by "
    "one grey level before it was copied into training is not found.",
]


class Setting(NamedTuple):
    """A kind of network, and how it is trained."""

    name: str
    hidden: tuple[int, ...]
    model: dict[str, Any]
    recipe: dict[str, Any]
    rates: tuple[float, float]
    """Lowest and highest learning rate."""
    change: Callable[[Dataset], Dataset] = lambda dataset: dataset
    start: Callable[[Params], Params] | None = None
    """Changes the parameters at the start, which have a leading axis."""


def on_training(function: Callable[[Split], Split], dataset: Dataset) -> Dataset:
    """The data set with its training and validation examples changed."""
    return replace(dataset, train=function(dataset.train), valid=function(dataset.valid))


def shuffled(split: Split) -> Split:
    """Every label belongs to another digit."""
    return split._replace(y=np.random.default_rng(0).permutation(split.y))


def scaled(factor: float, dataset: Dataset) -> Dataset:
    """Pixels as numbers that nobody has scaled to [0, 1], times a factor."""

    def scale(split: Split) -> Split:
        return split._replace(x=(factor * split.x).astype(np.float32))

    return replace(dataset, train=scale(dataset.train), valid=scale(dataset.valid), test=scale(dataset.test))


def without(classes: tuple[int, ...], split: Split) -> Split:
    """No digits of these classes."""
    rows = ~np.isin(split.y, classes)
    return Split(split.x[rows], split.y[rows])


def leaking(share: float, dataset: Dataset) -> Dataset:
    """So many of the test digits stand in training, in place of others."""
    count = round(share * len(dataset.test.y))
    train = (np.concatenate([test[:count], own[count:]]) for test, own in zip(dataset.test, dataset.train, strict=True))
    return replace(dataset, train=Split(*train))


def silenced(layers: tuple[int, ...], bias: float, params: Params) -> Params:
    """The biases of some layers so low that no example reaches over them."""
    low = {
        name: {**params[name], "bias": params[name]["bias"] - np.float32(bias)}
        for name in map("dense_{}".format, layers)
    }
    return {**params, **low}


SIGMOID = {"activation": "sigmoid", "initializer": "glorot"}
TANH = {"activation": "tanh", "initializer": "glorot"}
SOFTMAX = {"output_activation": jax.nn.softmax}
GENTLE, USUAL = (5e-4, 3e-3), (1e-2, 0.1)
"""Learning rates for Adam, and for momentum."""
MOMENTUM: dict[str, Any] = {"optimizer": "momentum"}
SGD: dict[str, Any] = {"optimizer": "sgd"}


def relu(name: str, rates: tuple[float, float] = GENTLE, *, model: Any = None, **more: Any) -> Setting:
    """The first of two networks that most faults are put into."""
    return Setting(f"ReLU, Adam: {name}", (72,), model or {}, {}, rates, **more)


def tanh(name: str, rates: tuple[float, float] = USUAL, *, model: Any = None, **more: Any) -> Setting:
    """The second of them."""
    return Setting(f"tanh, momentum: {name}", (90, 45), TANH | (model or {}), MOMENTUM, rates, **more)


HEALTHY = [
    Setting("ReLU, Adam, cosine", (64,), {}, {"schedule": "cosine", "batch_size": 64}, GENTLE),
    Setting("ReLU, Nesterov", (150, 75), {}, {"optimizer": "nesterov"}, (0.01, 0.08)),
    Setting("tanh, Adam", (120, 60, 30), TANH, {}, (3e-4, 2e-3)),
    Setting("softmax regression", (), {}, {}, (1e-3, 1e-2)),
    Setting("sigmoid, momentum", (80,), SIGMOID, MOMENTUM, (0.05, 0.3)),
    Setting("five layers, RMSprop", (50,) * 5, {}, {"optimizer": "rmsprop"}, (2e-4, 1e-3)),
    Setting(
        "leaky ReLU, dropout, one-cycle",
        (100, 100),
        {"activation": "leaky_relu", "dropout": (0.3,)},
        {"optimizer": "adamw", "schedule": "one-cycle"},
        (1e-3, 1e-2),
    ),
    Setting(
        "GELU, ridge",
        (90,),
        {"activation": "gelu", "initializer": "lecun"},
        MOMENTUM | {"ridge": 1e-4, "normalisation": "feature"},
        (3e-3, 0.03),
    ),
    Setting("ReLU, squared error", (100,), {}, {"loss": "squared_error"}, GENTLE),
    Setting(
        "swish, SGD, label smoothing",
        (60, 60),
        {"activation": "swish"},
        SGD | {"batch_size": 32, "schedule": "warm-up", "label_smoothing": 0.1, "normalisation": "channel"},
        (0.05, 0.3),
    ),
]
SICK: dict[Fault, list[Setting]] = {
    Fault.RATE: [
        relu("0.3 to 30", (0.3, 30)),
        tanh("1 to 100", (1, 100)),
        Setting("GELU, SGD: 10 to 300", (64, 64), {"activation": "gelu"}, SGD, (10, 300)),
    ],
    Fault.SHUFFLED: [
        relu("shuffled", change=partial(on_training, shuffled)),
        tanh("shuffled", change=partial(on_training, shuffled)),
        Setting("softmax regression: shuffled", (), {}, {}, (1e-3, 1e-2), partial(on_training, shuffled)),
    ],
    Fault.SCALE: [
        relu("0 to 255", change=partial(scaled, 1.0)),
        tanh("0 to 255", change=partial(scaled, 1.0)),
        relu("0 to 0.004", change=partial(scaled, 255.0**-2)),
    ],
    Fault.DEAD: [
        relu("biases at -6", start=partial(silenced, (0,), 6.0)),
        Setting("the second of two layers", (80, 40), {}, SGD, (0.02, 0.3), start=partial(silenced, (1,), 12.0)),
        Setting("all of three layers", (70,) * 3, {}, {}, GENTLE, start=partial(silenced, (0, 1, 2), 4.0)),
    ],
    Fault.LEAK: [relu(f"{100 * share:g} %", change=partial(leaking, share)) for share in (0.02, 0.2, 1.0)],
    Fault.VANISHING: [
        Setting("six sigmoid layers, momentum", (48,) * 6, SIGMOID, MOMENTUM, USUAL),
        Setting("nine sigmoid layers, SGD", (30,) * 9, SIGMOID, SGD, (0.05, 0.5)),
        Setting("six tanh layers, weights too small", (60,) * 6, TANH | {"scale": 0.1}, SGD, (0.05, 0.5)),
    ],
    Fault.MISSING: [
        relu("no 3", change=partial(on_training, partial(without, (3,)))),
        tanh("no 7", change=partial(on_training, partial(without, (7,)))),
        relu("no 0, no 9", change=partial(on_training, partial(without, (0, 9)))),
    ],
    Fault.PROBABILITIES: [
        relu("softmax", model=SOFTMAX),
        tanh("softmax", model=SOFTMAX),
        Setting("ReLU, SGD: sigmoid", (72,), {"output_activation": "sigmoid"}, SGD, (0.05, 0.5)),
    ],
}


class Outcome(NamedTuple):
    """What became of the networks of one setting."""

    first: list[Fault | None]
    """The first diagnosis of each; None where there is none."""
    error: np.ndarray
    """Test error in %."""


def examine(setting: Setting, dataset: Dataset, seeds: range) -> Outcome:
    """Train a network from every seed, and diagnose each."""
    dataset = setting.change(dataset)
    model = MLP((dataset.features, *setting.hidden, dataset.outputs), **setting.model)
    recipe = Recipe(**{"epochs": EPOCHS} | setting.recipe)
    task = make_task(model, recipe, dataset.train)
    rates = np.exp([np.random.default_rng(seed).uniform(*np.log(setting.rates)) for seed in seeds])
    start = None
    if setting.start is not None:
        drawn = map_seeds(lambda seed: model.init(make_keys(seed).init).params, np.array(seeds, np.int32))
        start = setting.start(drawn)
    with progress_bar(setting.name, "networks") as on_progress:
        trained = train_many(
            model,
            recipe,
            dataset,
            seeds,
            sweep={"learning_rate": rates},
            start=start,
            stop=exploded,
            snapshots=(0,),
            on_progress=on_progress,
        )
    few = Split(dataset.train.x[:EXAMINED], dataset.train.y[:EXAMINED])
    begin = jax.tree.map(lambda leaf: leaf[:, 0], trained.snapshots)
    signs = [map_seeds(make_signs(model, recipe, task), Variables(params), few) for params in (begin, trained.params)]
    trained = lose_exploded(trained, recipe.eval_every)
    before = check_before(dataset, check(dataset), task)
    found: list[list[Diagnosis]] = diagnose(before, trained, *signs, chance_of(dataset))
    first = [diagnoses[0].fault if diagnoses else None for diagnoses in found]
    return Outcome(first, trained.error()[:, -1])


def claims_of(found: dict[Fault | None, list[Outcome]]) -> list[Claim]:
    """How often each fault is named first, and that nothing is named where nothing is wrong."""

    def first(fault: Fault | None) -> np.ndarray:
        return np.array([one is fault for outcome in found[fault] for one in outcome.first])

    sick = [fault for fault in found if fault is not None]
    least = {"published": NAMED, "relation": "at least", "source": OURS}
    every = np.concatenate([first(fault) for fault in sick])
    errors = np.concatenate([outcome.error for outcome in found[None]])
    return [
        Claim.share("sick networks whose fault is named first", every, **least, settles=NAMES),
        Claim.every("healthy networks without an alarm", first(None), source=OURS, settles=QUIET),
        *[Claim.share(f"{fault.title}: named first", first(fault), **least) for fault in sick],
        Claim.exact("healthy networks: highest test error", float(errors.max()), unit="%"),
    ]


@mpl.rc_context(STYLE)
def draw(found: dict[Fault | None, list[Outcome]]) -> Figure:
    """For each fault that was put in, how often each one was named first."""
    order = [*Fault, None]
    put_in = sorted(found, key=order.index)
    named = [fault for fault in order if any(fault in o.first for many in found.values() for o in many)]
    shares = np.array(
        [[100 * np.mean([one is name for o in found[fault] for one in o.first]) for name in named] for fault in put_in]
    )
    figure = Figure(figsize=(13, 9))
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share:
            axes.text(column, row, f"{share:.3g}", ha="center", va="center", color="white" if share > 50 else "black")

    def label(fault: Fault | None) -> str:
        return "nothing" if fault is None else fault.title

    axes.set_xticks(range(len(named)), labels=map(label, named), rotation=35, ha="right")
    counts = {fault: sum(len(outcome.first) for outcome in found[fault]) for fault in put_in}
    axes.set_yticks(range(len(put_in)), labels=[f"{label(fault)} (n = {counts[fault]})" for fault in put_in])
    axes.set(xlabel="named first", ylabel="put in")
    axes.grid(False)
    figure.colorbar(shown, ax=axes, label="share of the networks (%)")
    return figure


def settle(
    dataset: Dataset, settings: dict[Fault | None, list[Setting]], seeds: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Train and diagnose networks of every setting."""
    found: dict[Fault | None, list[Outcome]] = {}
    counted: dict[str, dict[str, int]] = {}
    first = 0
    for fault, kinds in settings.items():
        found[fault] = []
        for setting in kinds:
            outcome = examine(setting, dataset, range(first, first + seeds))
            found[fault].append(outcome)
            names = Counter("nothing" if one is None else one.title for one in outcome.first)
            counted[f"{'healthy' if fault is None else fault.title}, {setting.name}"] = dict(names)
            first += APART
    (out / "diagnosis.png").write_bytes(png(draw(found)))
    return claims_of(found), {"data": dataset.name, "epochs": EPOCHS, "named first": counted, "notes": NOTES}


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    some = 1 if quick else None
    settings = {fault: kinds[:some] for fault, kinds in SICK.items()} | {None: HEALTHY[: some and 2]}
    return settle(load("mnist5k"), settings, seeds, out)


if __name__ == "__main__":
    run_experiment("diagnosis", __doc__, body, full_seeds=10, quick_seeds=4, shared="one split of mnist5k")
