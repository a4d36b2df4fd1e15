"""Gradient descent at step size eta sharpens the loss until its largest curvature stands at 2 / eta, and stays there.

Claim: in full-batch gradient descent the sharpness, the largest eigenvalue of the training loss's Hessian, rises to
2 / eta and then hovers right at, or just above, this value, while the loss goes up and down from step to step and yet
falls over long times. Above 2 / eta descent on a quadratic diverges. Source: Cohen, Kaur, Li, Kolter and Talwalkar,
Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability, arXiv:2103.00065, figure 1.

Protocol: as there, tanh units, squared error on one-hot targets, inputs centred by feature, plain gradient descent on
all examples, weights and biases as PyTorch draws them. Smaller: 1,000 digits of mnist5k and 784-64-64-10, where the
paper has 5,000 pictures of CIFAR-10, hidden layers of 200 units and inputs that are also divided by their standard
deviation (which is 0 at the border of digits). The loss is the mean over outputs; the paper's, half the sum, is 5 times
that, so its sharpnesses are 5 times these, and its steps a fifth. Three step sizes, the smaller with more steps: eta
times steps is the same, 3,000, twice what the sharpness needs to rise to the highest edge. The sharpness is by 60 steps
of Lanczos' method on the training data, 30 times through the training. What goes up and down from step to step would
look steady at even steps: so it is measured at an odd spacing, at odd and even steps by turns, and the two are
compared. "Late" is the last third of the training. Step sizes, lengths and the 10 % that count as near were chosen on
seed 0, which is left out: the seeds are 1, 2 and so on.

Command: python experiments/edge_of_stability.py
Wall time on two cores: about 20 minutes (1,359 s with other work on the machine); --quick about 30 s.

Expected: from 0.4 the sharpness of every seed rises to 2 / eta, shoots over it, and then stays just above: by about
5 % at the largest step, 2 % and 1 % at the smaller ones, at odd steps as at even ones. Until it gets there the loss
falls at every step; from then on two steps of five raise it, and it falls all the same, by a third to a half over the
late part.

How far above 2 / eta the sharpness hovers depends on the sizes: in trials with fewer digits, smaller networks and steps
whose 2 / eta is near the sharpness at the start it was some 5 to 10 %, and 20 % or divergence where 2 / eta was below
that: 10 % does not hold for every step.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Moment, Observe, Recipe, Split, load, mean_loss, progress_bar, train_many
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.curvature import eigenpairs, hessian_product
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.task import make_prepare

HIDDEN = (64, 64)
EXAMPLES = 1000
EDGES = (1.0, 2.0, 3.0)
"""2 / eta for the three step sizes."""
TIME = 3000.0
"""Steps times eta."""
MEASUREMENTS = 30
"""How often the sharpness is measured, the start not counted."""
LANCZOS_STEPS = 60
WITHIN = 10
"""% off 2 / eta that count as near."""
CONVERGED = 1
"""% of the sharpness that its residual may be."""
SOURCE = "Cohen et al., arXiv:2103.00065, figure 1"


class Descent(NamedTuple):
    """What gradient descent did at one step size, from every seed."""

    edge: float
    """2 / eta."""
    steps: np.ndarray
    """At which the sharpness was measured."""
    sharpness: np.ndarray
    """[seeds, measurements]"""
    residual: np.ndarray
    """||H v - sharpness v|| for the eigenvector v of length 1, in the form of the sharpness."""
    loss: np.ndarray
    """Of the training examples, [seeds, steps + 1]."""


def centred_digits(examples: int) -> Dataset:
    """The first training digits of mnist5k, and some to test on, each pixel less its mean over the training digits."""
    digits = load("mnist5k")
    pixels = make_prepare("range", None)
    train, test = (np.asarray(pixels(x)) for x in (digits.train.x[:examples], digits.test.x[:100]))
    mean = train.mean(axis=0)
    return Dataset(
        f"{examples:,} centred digits",
        Split(train - mean, digits.train.y[:examples]),
        Split(test[:0], digits.test.y[:0]),
        Split(test - mean, digits.test.y[:100]),
        classes=10,
    )


def sharpness(moment: Moment) -> tuple[jax.Array, jax.Array]:
    """The largest eigenvalue of the training loss's Hessian, and its residual."""
    product = hessian_product(mean_loss(moment.task), moment.state.params, moment.data.train)
    top = eigenpairs(product, moment.state.params, jax.random.key(0), top=1, steps=LANCZOS_STEPS)
    return top.values[0], top.residuals[0]


def descend(dataset: Dataset, edge: float, seeds: int, time: float, measurements: int) -> Descent:
    """Train a network from every seed but 0 at eta = 2 / edge, and measure its sharpness on the way."""
    model = MLP((dataset.features, *HIDDEN, dataset.classes), "tanh", initializer="torch", bias="same")
    every = round(time * edge / 2 / measurements) | 1  # odd, so that odd and even steps come by turns
    steps = every * np.arange(measurements + 1)
    recipe = Recipe("squared_error", "sgd", 2 / edge, batch_size=None, epochs=int(steps[-1]))
    observe = {"sharpness": Observe(sharpness, epochs=tuple(steps.tolist()))}
    with progress_bar(f"2 / eta = {edge:g}", "steps") as on_progress:
        trained = train_many(model, recipe, dataset, range(1, seeds + 1), observe=observe, on_progress=on_progress)
    values, residual = (leaf.astype(float) for leaf in trained.observed["sharpness"])
    return Descent(edge, steps, values, residual, trained.history["train_loss"])


def claims_of(descent: Descent) -> list[Claim]:
    """What became of the sharpness and of the loss at one step size."""
    edge, name = descent.edge, f"2 / eta = {descent.edge:g}"
    finite = np.isfinite(descent.loss).all(axis=1) & np.isfinite(descent.sharpness).all(axis=1)
    start = 2 * len(descent.steps) // 3
    off = 100 * (descent.sharpness / edge - 1)
    late, odd = off[:, start:], descent.steps[start:] % 2 == 1
    precision = 100 * (descent.residual / descent.sharpness).max(axis=1)
    rises = (off[:, 0] < 0) & (off.max(axis=1) >= 0)
    loss = descent.loss.astype(float)
    late_loss = loss[:, descent.steps[start] :]
    # Up to the last measurement before the first one above 2 / eta; to the end, where none is.
    below = np.where(rises, np.argmax(off >= 0, axis=1) - 1, len(descent.steps) - 1)
    steady = np.arange(1, loss.shape[1])[None] <= descent.steps[below][:, None]
    near = np.abs(late.mean(axis=1)) <= WITHIN
    settles = (
        f"Gradient descent with a step of {2 / edge:.2g} sharpens the loss until its curvature stands near {edge:g}."
    )
    claim = {"among": finite, "source": SOURCE}
    return [
        Claim.every(f"{name}: sharpness rises from below 2 / eta to it", rises, **claim),
        Claim.every(f"{name}: late sharpness within {WITHIN} % of 2 / eta", near, settles=settles, **claim),
        Claim.mean(
            f"{name}: late sharpness above 2 / eta",
            late.mean(axis=1),
            unit="%",
            published=0,
            relation="at least",
            **claim,
        ),
        Claim.mean(
            f"{name}: late measurements within {WITHIN} % of 2 / eta",
            100 * (np.abs(late) <= WITHIN).mean(axis=1),
            unit="%",
            among=finite,
        ),
        Claim.difference(
            f"{name}: late sharpness at odd steps above that at even ones",
            late[:, odd].mean(axis=1),
            late[:, ~odd].mean(axis=1),
            unit="% of 2 / eta",
            among=finite,
        ),
        Claim.mean(
            f"{name}: largest residual of the sharpness",
            precision,
            unit="%",
            published=CONVERGED,
            relation="at most",
            among=finite,
            source="ours: a tenth of what counts as near",
        ),
        Claim.mean(f"{name}: sharpness at the start", descent.sharpness[:, 0], among=finite),
        Claim.every(
            f"{name}: every step lowers the loss until the sharpness is at 2 / eta",
            ((np.diff(loss) < 0) | ~steady).all(axis=1),
            **claim,
        ),
        Claim.mean(
            f"{name}: late steps that raise the loss",
            100 * (np.diff(late_loss) > 0).mean(axis=1),
            unit="%",
            published=0,
            relation="above",
            **claim,
        ),
        Claim.every(f"{name}: loss lower at the end than late", late_loss[:, -1] < late_loss[:, 0], **claim),
        Claim.mean(f"{name}: late fall of the loss: last over first", late_loss[:, -1] / late_loss[:, 0], among=finite),
    ]


@mpl.rc_context(STYLE)
def draw(descents: list[Descent]) -> Figure:
    """Sharpness and loss of every seed against the steps."""
    figure = Figure(figsize=(14, 5.6))
    sharpness, losses = figure.subplots(1, 2)
    for colour, descent in zip((BLUE, VERMILLION, GREEN), descents, strict=False):
        thin: dict[str, Any] = {"color": colour, "lw": 1, "alpha": 0.7}
        sharpness.plot(descent.steps, descent.sharpness.T, **thin)
        sharpness.axhline(descent.edge, color=colour, ls="--", lw=1.6)
        losses.plot(np.arange(descent.loss.shape[1]), descent.loss.T, **thin)
        sharpness.plot([], [], color=colour, label=f"2 / eta = {descent.edge:g}, eta = {2 / descent.edge:.3g}")
    sharpness.plot([], [], color="black", ls="--", lw=1.6, label="2 / eta")
    sharpness.set(xlabel="step of gradient descent", ylabel="sharpness: largest eigenvalue\nof the loss's Hessian")
    sharpness.set_ylim(bottom=0)
    losses.set(xlabel="step of gradient descent", ylabel="training loss, mean squared error", yscale="log")
    figure.legend(
        *sharpness.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        title=f"a line for each of {len(descents[0].loss)} seeds",
    )
    return figure


def settle(
    dataset: Dataset, edges: tuple[float, ...], seeds: int, time: float, measurements: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Descend at every step size, draw the figure and state the claims."""
    descents = [descend(dataset, edge, seeds, time, measurements) for edge in edges]
    (out / "edge_of_stability.png").write_bytes(png(draw(descents)))
    config = {
        "data": dataset.name,
        "hidden units": HIDDEN,
        "steps": [int(descent.steps[-1]) for descent in descents],
        "steps of Lanczos' method": LANCZOS_STEPS,
        "seeds": f"1 to {seeds}",
        "notes": [
            "Seed 0, on which the step sizes were chosen, was among the seeds of the former runs, which measured the "
            "sharpness at even steps only, by 30 steps of Lanczos' method with residuals up to 3 %: late sharpness was "
            "5.2, 2.2 and 1.1 % above 2 / eta at 2 / eta = 1, 2 and 3.",
        ],
    }
    return [claim for descent in descents for claim in claims_of(descent)], config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    if quick:
        return settle(centred_digits(200), EDGES[:2], seeds, TIME / 2, 30, out)
    return settle(centred_digits(EXAMPLES), EDGES, seeds, TIME, MEASUREMENTS, out)


if __name__ == "__main__":
    run_experiment("edge_of_stability", __doc__, body, full_seeds=16, quick_seeds=2, shared="one set of digits")
