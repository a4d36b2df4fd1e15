"""Backpropagation is the chain rule and nothing else: path by path, layer by layer, and against automatic gradients.

Claims: the derivative of the loss by a weight is the sum over all paths from the weight to the loss of the product of
the derivatives along the path ("Nothing new, really"). Source: STAT 453 (2025), L09, Multilayer Perceptron, whose
w^(1)_{1,1} has two paths, through a^(2)_1 and a^(2)_2. For one hidden layer with squared loss R_i = (y_i - f_i)^2 / 2
the derivatives are -(y_i - f_i) g(z_ik) and -(y_i - f_i) beta_k g'(z_ik) x_ij. Source: Multilayer NN, DL Fitting
(2025), Gradients and Backpropagation; ISLR (2021), section 10.7.1. Layer by layer, with delta_l = dL/dz_l,

    delta_l = (delta_{l+1} W_{l+1}') * g'(z_l),  dL/dW_l = a_{l-1}' delta_l,  dL/db_l = sum of delta_l over examples,

the sum over all paths costs no more than a few products of matrices.

Protocol: all by hand in NumPy. The deck's network is 2-3-2-1 (its formulas name three and two hidden units; its inputs,
which they do not count, are two here), sigmoids, cross-entropy; weights, biases and inputs N(0, 1), from every seed.
Every path is printed for seed 0. The other gradients: ISLR's, of sigmoid and ReLU, over 20 examples; and layer by
layer, 1 to 8 hidden layers of 6 units, of three activations. All are compared in float64 with `jax.grad`, as the length
of the difference over that of the gradient; the deck's also with central differences of many steps h. Then the course's
from-scratch network, 784-50-10, sigmoids, squared error summed over classes, batch 100, rate 0.1 (in mlpjax 1.0 on the
mean over ten classes), is trained on the digits of mnist5k by hand and by mlpjax, from the same starts in the same
order: in float64 for 10 epochs, compared after every step, and in float32 for the time. What it reaches on all of
MNIST, beside the notebook's figures, is in experiments/mnist_losses.py.

Command: python experiments/backprop_by_hand.py
Wall time on two cores: about 50 s; --quick 15 s.

Expected: all gradients agree to float64's rounding, but for central differences, whose best, at h of some 3e-5, is
3e-11 off. After every step in float64 the two networks agree to some 1e-16. By hand is not slower: an epoch takes four
fifths of the processor time that compiled training takes, its evaluations counted. The time goes into the products, and
NumPy's are as fast as any.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from mlpjax import (
    MLP,
    Batch,
    Dataset,
    Recipe,
    Split,
    TrainState,
    load,
    make_keys,
    make_task,
    make_train_step,
    mean_loss,
    progress_bar,
    steps_per_epoch,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.minima import in_float64
from mlpjax.models import dense_layers
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.stats import quantile_band
from mlpjax.train import begin_with, epoch_order
from mlpjax.typing import Variables

Layers: TypeAlias = list[tuple[np.ndarray, np.ndarray]]
"""Weights [inputs, units] and biases [units] of every layer."""

DECK = (2, 3, 2, 1)
COURSE = (784, 50, 10)
DEPTHS = (1, 2, 4, 8)
STEPS = np.logspace(-1, -10, 19)
"""h of the central differences."""
AGREE = 1e-10
"""Gradients in float64 agree that are so far apart, relative to their length, or less."""
NEAR = 1e-8
"""The same of central differences, whose best is of the order of the precision to the power of 2/3, 4e-11."""
BATCH, RATE = 100, 0.1
EPOCHS = 10
PATHS = "STAT 453 (2025), L09, Multilayer Perceptron: Nothing new, really"
FORMULAS = "Multilayer NN, DL Fitting (2025), Gradients and Backpropagation"
RULE = "Rumelhart, Hinton and Williams (1986)"
STENCIL = "Numerical Recipes (2007), section 5.7"
NOTES = [
    "Times are those of processors, all threads together, after compilation: by hand one network after another, with "
    "one thread for its products; compiled all networks, some side by side, with two evaluations.",
]


class Unit(NamedTuple):
    """An activation, and its derivative as a function of what it gave."""

    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


UNITS = {
    "sigmoid": Unit(lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": Unit(np.tanh, lambda a: 1 - a**2),
    "relu": Unit(lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(a.dtype)),
    "identity": Unit(lambda z: z, np.ones_like),
}


def forward(layers: Layers, x: np.ndarray, hidden: Unit, output: Unit) -> list[np.ndarray]:
    """The inputs, and what every layer makes of them: a_l = g(a_{l-1} W_l + b_l)."""
    found = [x]
    for place, (weights, biases) in enumerate(layers, start=1):
        z = found[-1] @ weights + biases
        found.append((output if place == len(layers) else hidden).function(z))
    return found


def backward(layers: Layers, found: list[np.ndarray], delta: np.ndarray, hidden: Unit) -> Layers:
    """The gradient of every layer, from delta = dL/dz of the output layer [examples, outputs] backwards."""
    gradients = []
    for place in reversed(range(len(layers))):
        gradients.append((found[place].T @ delta, delta.sum(axis=0)))
        if place:
            delta = delta @ layers[place][0].T * hidden.slope(found[place])
    return gradients[::-1]


class Route(NamedTuple):
    """One way from a weight to the loss."""

    layer: int
    """Whose weight it is, counted from 1."""
    source: int
    """The unit before the weight, counted from 1; 0 for the bias."""
    units: tuple[int, ...]
    """The unit in this layer and in every later one, counted from 1."""
    factors: tuple[float, ...]
    """dl/do, the derivative of every unit by the one before it, and that of the first unit by the weight."""

    def __str__(self) -> str:
        last = self.layer + len(self.units) - 1
        names = [f"a({self.layer + place})_{unit}" for place, unit in enumerate(self.units)]
        names[-1] = "o"
        weight = f"w({self.layer})_{self.units[0]}{self.source}"
        chain = ["l", *reversed(names), weight]
        product = " · ".join(f"d{one}/d{other}" for one, other in itertools.pairwise(chain))
        values = " · ".join(f"({factor:.4f})" for factor in self.factors)
        return f"{weight}, layer {self.layer} of {last}: {product} = {values} = {math.prod(self.factors):.6f}"


def routes(layers: Layers, found: list[np.ndarray], loss_slope: float, hidden: Unit, output: Unit) -> list[Route]:
    """Every path from every weight and bias to the loss, for one example and one output."""
    ways = []
    slopes = [hidden.slope(a) for a in found[1:-1]] + [output.slope(found[-1])]
    for place, (weights, _) in enumerate(layers):
        below = [1.0, *found[place]]
        later = [range(w.shape[1]) for w, _ in layers[place + 1 :]]
        for source, first in itertools.product(range(len(below)), range(weights.shape[1])):
            for rest in itertools.product(*later):
                units = (first, *rest)
                factors = [slopes[place][first] * below[source]]
                for step, (one, other) in enumerate(itertools.pairwise(units), start=place + 1):
                    factors.append(slopes[step][other] * layers[step][0][one, other])
                factors = [loss_slope, *reversed(factors)]
                ways.append(Route(place + 1, source, tuple(u + 1 for u in units), tuple(map(float, factors))))
    return ways


def add_up(ways: list[Route], layers: Layers) -> Layers:
    """The gradient: of every weight and bias the sum over its paths."""
    sums = [np.zeros((len(weights) + 1, len(biases))) for weights, biases in layers]
    for way in ways:
        sums[way.layer - 1][way.source, way.units[0] - 1] += math.prod(way.factors)
    return [(total[1:], total[0]) for total in sums]


def count_paths(widths: Sequence[int]) -> int:
    """Paths from all weights to the loss: of the first layer the product of all widths, and so on; without biases."""
    return sum(math.prod(widths[place:]) for place in range(len(widths) - 1))


def flat(layers: Any) -> np.ndarray:
    """All parameters or derivatives in a row; `layers` may be JAX's tree."""
    if isinstance(layers, dict):
        layers = [(layer["kernel"], layer["bias"]) for layer in dense_layers(layers)]
    return np.concatenate([np.ravel(np.asarray(part)) for layer in layers for part in layer])


def apart(one: Any, other: Any) -> float:
    """How far two gradients or networks are apart, relative to the length of the second."""
    return float(np.linalg.norm(flat(one) - flat(other)) / np.linalg.norm(flat(other)))


def as_params(layers: Layers) -> dict[str, Any]:
    """The same as mlpjax has it."""
    return {f"dense_{place}": {"kernel": w, "bias": b} for place, (w, b) in enumerate(layers)}


def from_params(params: Any) -> Layers:
    """Copies that can be trained in place."""
    return [(np.array(layer["kernel"]), np.array(layer["bias"])) for layer in dense_layers(params)]


def random_layers(rng: np.random.Generator, widths: Sequence[int], scale: float = 1.0) -> Layers:
    """Weights and biases, all N(0, scale^2)."""
    return [(scale * rng.normal(size=pair), scale * rng.normal(size=pair[1])) for pair in itertools.pairwise(widths)]


def by_jax(model: MLP, loss: str, networks: list[Layers], x: np.ndarray, y: np.ndarray) -> list[Any]:
    """The gradients of the mean loss by `jax.grad`, of every seed's network on its own x and y, in float64."""
    params = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *map(as_params, networks))
    function = mean_loss(make_task(model, Recipe(loss), Split(x[0], y[0])))
    gradients = jax.jit(jax.vmap(jax.grad(function)))(params, Split(jnp.asarray(x), jnp.asarray(y)))
    return [jax.tree.map(lambda leaf, seed=seed: leaf[seed], gradients) for seed in range(len(networks))]


class Deck(NamedTuple):
    """What came of the deck's network: an array with an entry of every seed."""

    ways: list[Route]
    """Of seed 0."""
    by_path: np.ndarray
    """How far the sum over all paths is from `jax.grad`."""
    by_layer: np.ndarray
    differences: np.ndarray
    """How far central differences are, [seeds, steps]."""


def deck_network(seeds: int) -> Deck:
    """The network of the slides: all its paths, and its gradient in four ways."""
    sigmoid = UNITS["sigmoid"]
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    networks = [random_layers(rng, DECK) for rng in generators]
    x = np.stack([rng.normal(size=(1, DECK[0])) for rng in generators]).astype(np.float32)
    y = np.stack([rng.integers(0, 2, size=1) for rng in generators]).astype(np.int32)
    automatic = by_jax(MLP(DECK, "sigmoid"), "binary_cross_entropy", networks, x, y)
    found: list[list[Any]] = []
    for layers, inputs, label, expected in zip(networks, x.astype(np.float64), y, automatic, strict=True):

        def loss(layers: Layers, inputs: np.ndarray = inputs, label: np.ndarray = label) -> float:
            output = forward(layers, inputs, sigmoid, sigmoid)[-1].item()
            return -math.log(output if label.item() else 1 - output)

        activations = forward(layers, inputs, sigmoid, sigmoid)
        output = activations[-1].item()
        loss_slope = (output - label.item()) / (output * (1 - output))
        ways = routes(layers, [a[0] for a in activations], loss_slope, sigmoid, sigmoid)
        delta = loss_slope * sigmoid.slope(activations[-1])
        found.append(
            [
                ways,
                apart(add_up(ways, layers), expected),
                apart(backward(layers, activations, delta, sigmoid), expected),
                [apart(central(loss, layers, h), expected) for h in STEPS],
            ]
        )
    ways, *rest = zip(*found, strict=True)
    return Deck(ways[0], *map(np.array, rest))


def central(loss: Callable[[Layers], float], layers: Layers, h: float) -> Layers:
    """The gradient by central differences: (L(theta + h e) - L(theta - h e)) / 2h, one parameter after another."""
    layers = [tuple(part.copy() for part in layer) for layer in layers]  # type: ignore[misc]
    gradients = [tuple(np.empty_like(part) for part in layer) for layer in layers]
    for place, gradient in zip(itertools.chain(*layers), itertools.chain(*gradients), strict=True):
        for index in np.ndindex(place.shape):
            value = place[index]
            sides = []
            for side in (h, -h):
                place[index] = value + side
                sides.append(loss(layers))
            place[index] = value
            gradient[index] = (sides[0] - sides[1]) / (2 * h)
    return gradients  # type: ignore[return-value]


def book_formulas(seeds: int, name: str, examples: int = 20, p: int = 4, units: int = 5) -> np.ndarray:
    """How far ISLR's formulas for one hidden layer are from `jax.grad`, for every seed."""
    g = UNITS[name]
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    networks = [random_layers(rng, (p, units, 1)) for rng in generators]
    x = np.stack([rng.normal(size=(examples, p)) for rng in generators]).astype(np.float32)
    y = np.stack([rng.normal(size=(examples, 1)) for rng in generators]).astype(np.float32)
    found = []
    for layers, inputs, target in zip(networks, *in_float64((x, y)), strict=True):
        (w, w0), (beta, beta0) = layers
        activations = g.function(inputs @ w + w0)
        error = -(target - (activations @ beta + beta0))  # -(y_i - f_i), [examples, 1]
        inner = error * beta[:, 0] * g.slope(activations)  # -(y_i - f_i) beta_k g'(z_ik), [examples, units]
        by_weight = np.einsum("ik,ij->jk", inner, inputs)
        by_beta = np.einsum("io,ik->ko", error, activations)
        found.append([(by_weight, inner.sum(axis=0)), (by_beta, error.sum(axis=0))])
    # R is the sum of halves over the examples, mlpjax's loss the mean of wholes.
    expected = [
        jax.tree.map(lambda leaf: leaf * examples / 2, gradient)
        for gradient in by_jax(MLP((p, units, 1), name), "squared_error", networks, x, y)
    ]
    return np.array([*map(apart, found, expected)])


def layer_by_layer(seeds: int, name: str, depth: int, examples: int = 8, units: int = 6) -> np.ndarray:
    """How far backpropagation through so many hidden layers is from `jax.grad`, for every seed."""
    widths = (4, *[units] * depth, 3)
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    networks = [random_layers(rng, widths, 1 / math.sqrt(units / 2)) for rng in generators]
    x = np.stack([rng.normal(size=(examples, widths[0])) for rng in generators]).astype(np.float32)
    y = np.stack([rng.normal(size=(examples, widths[-1])) for rng in generators]).astype(np.float32)
    found = []
    for layers, inputs, target in zip(networks, *in_float64((x, y)), strict=True):
        activations = forward(layers, inputs, UNITS[name], UNITS["identity"])
        delta = 2 * (activations[-1] - target) / target.size
        found.append(backward(layers, activations, delta, UNITS[name]))
    return np.array([*map(apart, found, by_jax(MLP(widths, name), "squared_error", networks, x, y))])


def step_by_hand(layers: Layers, x: np.ndarray, targets: np.ndarray) -> None:
    """One step of the course's network, in place: squared error summed over classes, averaged over the minibatch."""
    sigmoid = UNITS["sigmoid"]
    found = forward(layers, x, sigmoid, sigmoid)
    delta = 2 * (found[-1] - targets) / len(x) * sigmoid.slope(found[-1])
    for layer, gradient in zip(layers, backward(layers, found, delta, sigmoid), strict=True):
        for part, slope in zip(layer, gradient, strict=True):
            part -= RATE * slope


class Course(NamedTuple):
    """What came of the course's network: a row of every seed."""

    distance: np.ndarray
    """After every step in float64, by hand from compiled, relative to the length of the parameters."""
    seconds: np.ndarray
    """Of a processor, per epoch by hand in float32."""
    compiled_seconds: float


def course_network(dataset: Dataset, seeds: int, epochs: int) -> Course:
    """Train the course's network by hand and compiled, from the same starts in the same order."""
    classes = dataset.classes or 0
    model = MLP((dataset.features, *COURSE[1:-1], classes), "sigmoid", "sigmoid", initializer="normal", scale=0.1)
    # The mean over ten classes has a tenth of the gradient of the sum.
    recipe = Recipe("squared_error", "sgd", RATE * classes, batch_size=BATCH, epochs=epochs, eval_every=epochs)
    x = dataset.train.x.reshape(len(dataset.train.x), -1) / 255.0
    targets = np.eye(classes)[dataset.train.y]
    each = steps_per_epoch(len(x), BATCH)
    for attempt in ("compiled", "compiled, for the time"):  # the second has nothing to compile
        start = time.process_time()
        with progress_bar(attempt, "epochs") as on_progress:
            train_many(model, recipe, dataset, range(seeds), on_progress=on_progress)
        compiled_seconds = (time.process_time() - start) / (seeds * epochs)
    seconds, distance = [], []
    with progress_bar("by hand", "networks") as on_progress, threadpool_limits(limits=1, user_api="blas"):
        for seed in range(seeds):
            keys = make_keys(seed)
            order = [
                row[used > 0]
                for epoch in range(epochs)
                for row, used in zip(
                    *map(np.asarray, epoch_order(jax.random.fold_in(keys.order, epoch * each), len(x), BATCH)),
                    strict=True,
                )
            ]
            params = model.init(keys.init).params
            layers, pixels, wanted = from_params(params), x.astype(np.float32), targets.astype(np.float32)
            start = time.process_time()
            for rows in order:
                step_by_hand(layers, pixels[rows], wanted[rows])
            seconds.append((time.process_time() - start) / epochs)
            with jax.enable_x64(True):
                distance.append(side_by_side(model, recipe, in_float64(params), x, dataset.train.y, order))
            on_progress(seed + 1, seeds)
    return Course(np.array(distance), np.array(seconds), compiled_seconds)


def side_by_side(
    model: MLP, recipe: Recipe, start: Any, x: np.ndarray, y: np.ndarray, order: list[np.ndarray]
) -> list[float]:
    """Training in float64, by hand and by the compiled step: how far they are apart after every step."""
    targets = np.eye(model.widths[-1])[y]
    keys, layers = make_keys(0), from_params(start)
    train_step = make_train_step(make_task(model, recipe), recipe, len(order))
    state: TrainState = begin_with(Variables(jax.tree.map(jnp.asarray, start)), recipe)
    found = []
    for rows in order:
        state, _ = train_step(state, Batch(jnp.asarray(x[rows]), jnp.asarray(y[rows]), jnp.ones(len(rows))), keys)
        step_by_hand(layers, x[rows], targets[rows])
        found.append(apart(layers, state.params))
    return found


def claims_of(
    deck: Deck, formulas: dict[str, np.ndarray], layered: dict[str, np.ndarray], course: Course
) -> list[Claim]:
    """What agrees with what, and what it costs."""
    at = [int(np.argmin(np.abs(STEPS - h))) for h in (1e-2, 1e-3)]
    order = np.log10(deck.differences[:, at[0]] / deck.differences[:, at[1]])
    best = deck.differences.min(axis=1)
    return [
        Claim.every(
            f"deck: sums over all paths within {AGREE:.0e} of the gradient",
            deck.by_path <= AGREE,
            source=PATHS,
            theorem=True,
            settles="Backpropagation is the chain rule: the products along all paths from a weight to the loss add up "
            "to its derivative.",
        ),
        Claim.every(
            f"deck: layer by layer within {AGREE:.0e} of the gradient",
            deck.by_layer <= AGREE,
            source=RULE,
            theorem=True,
        ),
        Claim.every(
            f"deck: central differences within {NEAR:.0e} at the best step", best <= NEAR, source=STENCIL, theorem=True
        ),
        Claim.mean(
            "deck: order of central differences, from h = 0.01 to 0.001",
            order,
            published=2,
            relation="about",
            tolerance=0.1,
            tolerance_source="ours, before any run",
            source=STENCIL,
            theorem=True,
        ),
        *(
            Claim.every(f"{name}: within {AGREE:.0e} of the gradient", off <= AGREE, source=source, theorem=True)
            for source, group in ((FORMULAS, formulas), (RULE, layered))
            for name, off in group.items()
        ),
        Claim.exact(f"paths from the weights of {MLP().name} to the loss", count_paths(MLP().widths)),
        Claim.every(
            f"course: by hand within {AGREE:.0e} of the compiled network after every step",
            course.distance.max(axis=1) <= AGREE,
            source=RULE,
            theorem=True,
            settles="A network trained by hand-written backpropagation is, step for step, the one that the compiled "
            "library trains.",
        ),
        Claim.mean("course: processor time of an epoch by hand", course.seconds, unit="s"),
        Claim.mean(
            "course: processor time by hand over that of the compiled", course.seconds / course.compiled_seconds
        ),
    ]


def draw_network(axes: Axes, ways: list[Route]) -> None:
    """The deck's network, with the paths of w(1)_11 and the derivatives along them."""
    places = {
        (layer, unit): (layer, (units - 1) / 2 - unit + 1)
        for layer, units in enumerate((*DECK, 1))
        for unit in range(1, units + 1)
    }
    for (layer, unit), start in places.items():
        for end in (place for (other, _), place in places.items() if other == layer + 1):
            axes.plot(*zip(start, end, strict=True), color="#bbbbbb", lw=1.2, zorder=1)
        text = ("$x_{}$", "$a^{{(1)}}_{}$", "$a^{{(2)}}_{}$", "$o$", "$l$")[layer].format(unit)
        axes.text(*start, text, ha="center", va="center", zorder=4)
    axes.plot(*zip(*places.values(), strict=True), "o", ms=30, mfc="white", mec="black", ls="", zorder=3)
    ways = [way for way in ways if (way.layer, way.source, way.units[0]) == (1, 1, 1)]
    for way, colour in zip(ways, (BLUE, VERMILLION), strict=True):
        chain = [(0, 1), *((layer, unit) for layer, unit in enumerate(way.units, start=1)), (len(DECK), 1)]
        for place, (one, other) in enumerate(itertools.pairwise(chain)):
            start, end = np.array(places[one]), np.array(places[other])
            shared = place in (0, len(chain) - 2)
            axes.plot(*zip(start, end, strict=True), color="black" if shared else colour, lw=3, zorder=2)
            if not shared or way is ways[0]:
                factor = f"{way.factors[-1 - place]:.3f}"
                middle = start + (0.62 if place == 1 else 0.5) * (end - start)
                axes.text(
                    *middle, factor, ha="center", va="center", fontsize=11, bbox={"fc": "white", "pad": 1, "lw": 0}
                )
    products = [math.prod(way.factors) for way in ways]
    axes.set_title(
        "derivative of $l$ by $w^{(1)}_{1,1}$, seed 0:\n"
        f"{products[0]:.5f} + {products[1]:.5f} = {sum(products):.5f}"
    )
    axes.set_axis_off()
    axes.margins(0.12)


@mpl.rc_context(STYLE)
def draw(deck: Deck, course: Course) -> Figure:
    """The paths, the central differences, and the distance between two trainings."""
    figure = Figure(figsize=(18, 5.6))
    network, stencil, training = figure.subplots(1, 3)
    draw_network(network, deck.ways)
    lower, median, upper = quantile_band(deck.differences)
    stencil.plot(STEPS, median, color=BLUE, label="central differences")
    stencil.fill_between(STEPS, lower, upper, color=BLUE, alpha=0.25, lw=0)
    for values, style, colour, label in (
        (deck.by_path, "-", ORANGE, "sum over all paths"),
        (deck.by_layer, "--", GREEN, "layer by layer"),
    ):
        stencil.axhline(max(float(np.median(values)), 1e-18), color=colour, ls=style, label=label)
    stencil.set(xscale="log", yscale="log", xlabel="step h of the differences", ylim=(1e-19, 1e-2))
    stencil.set_ylabel("distance from jax.grad,\nrelative to its length")
    stencil.legend(loc="upper center", bbox_to_anchor=(0.5, 0.45))
    lower, median, upper = quantile_band(course.distance)
    steps = np.arange(1, len(median) + 1)
    training.plot(steps, median, color=BLUE, label="float64")
    training.fill_between(steps, lower, upper, color=BLUE, alpha=0.25, lw=0)
    training.axhline(AGREE, color="black", ls=":", lw=1.6, label="claimed, at most")
    training.set(xscale="log", yscale="log", xlabel="step of training, 784-50-10", ylim=(1e-19, 1e-8))
    training.set_ylabel("distance by hand from compiled,\nrelative to the parameters' length")
    training.legend()
    seeds = len(course.distance)
    figure.suptitle(f"median over {seeds} seeds, and band of the central 95 % of them", fontsize=12)
    return figure


def settle(dataset: Dataset, seeds: int, epochs: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Compare all, draw the figure and state the claims."""
    with jax.enable_x64(True):
        deck = deck_network(seeds)
        formulas = {f"ISLR's formulas, {name}": book_formulas(seeds, name) for name in ("sigmoid", "relu")}
        layered = {
            f"layer by layer, {name}, {', '.join(map(str, DEPTHS))} hidden layers": np.max(
                [layer_by_layer(seeds, name, depth) for depth in DEPTHS], axis=0
            )
            for name in ("sigmoid", "tanh", "relu")
        }
    print(*deck.ways, sep="\n")
    course = course_network(dataset, seeds, epochs)
    (out / "backprop_by_hand.png").write_bytes(png(draw(deck, course)))
    config = {"data": dataset.name, "epochs": epochs, "paths": [str(way) for way in deck.ways], "notes": NOTES}
    return claims_of(deck, formulas, layered, course), config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(load("mnist5k"), seeds, 2 if quick else EPOCHS, out)


if __name__ == "__main__":
    run_experiment("backprop_by_hand", __doc__, body, full_seeds=16, quick_seeds=2, shared="the digits of mnist5k")
