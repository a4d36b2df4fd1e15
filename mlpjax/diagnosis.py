"""What is wrong with a training, by name, with the mend: checks before, a monitor during, a reading of it afterwards.

Every threshold stands here once, with its reason. Where a reason is a distance between healthy and sick networks, these
were other seeds and settings than those that experiments/diagnosis.py judges.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from mlpjax.data import Dataset, Split
from mlpjax.data.check import Facts
from mlpjax.losses import loss_of
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained
from mlpjax.task import Task
from mlpjax.train import Moment
from mlpjax.typing import Variables
from mlpjax.vgg import VGG

LEAKED = 0.01
"""Share of the test examples that stand in training: fewer can lower an error by no more than 1 % of itself."""
LARGEST_INPUT, SMALLEST_INPUT = 10.0, 0.003
"""Root mean square of the inputs. Initialisers are made for 1; the curvature of the loss in the first layer's weights
grows with its square, a hundredfold from 1 to 10. One-hot inputs of 100,000 features have 0.003, and can be learnt."""
EXPLODED = 1000.0
"""Times its value at the start: a loss that comes there comes to nothing. Healthy ones hardly rise above it at all."""
RISEN = 1.5
"""Times its value at the start: no better than untrained, a loss has been thrown uphill."""
DEAD = 0.9
"""Share of a layer's units that give the same for all examples: a tenth of the layer is left."""
VANISHED = 0.01
"""Gradient at the inputs over that at the outputs: four sigmoid layers, whose slope is at most 1/4, leave 0.004. Of
healthy networks 0.1 or more comes through."""
AT_CHANCE = 0.1
"""Skill, from 0 for one that names the commonest class to 1 for one that is always right."""
MEMORISED = 0.03
"""Skill on the training examples beyond that on the test examples: three standard errors of that on 1,000 examples."""
POOR = 0.5
"""Skill on the training examples: half of what is to be learnt."""
SPIKED = 0.25
"""Rise of the training loss from one evaluation to the next, over its value at the start."""
FLAT = 0.01
"""Change of the training loss over the second half of training, over its value at the start."""
OVERFITTED = 2.0
"""Final loss on examples not trained on, over its lowest: twice as much is lost as when training should have ended."""


class Fault(Enum):
    """What can be wrong, causes before symptoms: the first that is found says most."""

    LEAK = (
        "test examples stand in training",
        "Take them out of the training split: the test error says nothing as it is.",
    )
    MISSING = ("class missing from training", "Put examples of it into training, or take it out of the test.")
    SCALE = (
        "inputs not normalised",
        "Scale the inputs to a size of about 1: pixels by 1 / 255, features with normalisation feature.",
    )
    PROBABILITIES = (
        "loss on probabilities in place of logits",
        "Leave the softmax or sigmoid after the last layer out: the loss has its own.",
    )
    RATE = ("learning rate too high", "Divide learning_rate by ten, or give a clip.")
    DEAD = (
        "dead hidden units",
        "Start the biases at zero and the weights with he, or take an activation without a flat side (leaky_relu).",
    )
    VANISHING = (
        "vanishing gradient",
        "Take fewer layers, or ReLU with he in place of sigmoid or tanh, or tanh with glorot.",
    )
    SHUFFLED = (
        "learning at chance: labels shuffled",
        "Look at examples beside their labels: the labels do not belong to these inputs.",
    )
    SPIKE = ("spike of the loss", "Halve learning_rate, or give a clip.")
    PLATEAU = ("plateau", "Raise learning_rate, or start from larger weights: the network hardly moves.")
    UNDERFIT = ("underfit", "Train for more epochs or at a higher learning_rate, or take wider layers.")
    OVERFIT = ("overfit", "Stop where the validation loss was lowest, or take dropout, ridge or more examples.")

    def __init__(self, title: str, mend: str) -> None:
        self.title = title
        self.mend = mend


class Diagnosis(NamedTuple):
    """One fault, and how it showed."""

    fault: Fault
    seen: str
    """What was seen, with its numbers."""


class Signs(NamedTuple):
    """How one network does inside, on some examples."""

    still: Float[Array, " hidden_layers"]
    """Share of each hidden layer's units that give the same for all examples; of a convolution's channels."""
    gain: Float[Array, ""]
    """|dL/dx| / |dL/df|, in Frobenius norms: how much of the gradient at the outputs f comes through all layers to the
    inputs x; NaN where there is none."""
    lowest: Float[Array, ""]
    highest: Float[Array, ""]
    """Of the outputs."""
    probabilities: Bool[Array, ""]
    """Whether the outputs are probabilities and the loss takes logits."""


def make_signs(model: MLP | VGG, recipe: Recipe, task: Task) -> Callable[[Variables, Split], Signs]:
    """Make the pure function that examines one network.

    Args:
        model: the network.
        recipe: names the loss.
        task: made of the two.

    Returns:
        `signs(variables, split)`: a few hundred examples do.
    """
    takes_logits = loss_of(recipe.loss).logits

    def layers(network: Variables, x: Array) -> list[Array]:
        return model.activations(network.params, x) if isinstance(model, MLP) else model.activations(network, x)

    def signs(network: Variables, split: Split) -> Signs:
        x, y = task.prepare(split.x), jnp.asarray(split.y)
        *hidden, outputs = layers(network, x)
        at_outputs = jax.grad(lambda outputs: task.losses(outputs, y).sum())(outputs)
        at_inputs = jax.grad(lambda x: task.losses(layers(network, x)[-1], y).sum())(x)
        inside = ((outputs >= 0) & (outputs <= 1)).all()
        # Logits of a dead network can lie in [0, 1], too, but are the same for all examples and do not sum to 1.
        sums = outputs.shape[1] > 1 and (jnp.abs(outputs.sum(axis=1) - 1) < 1e-3).all()
        varied = (outputs.max(axis=0) > outputs.min(axis=0)).any()
        return Signs(
            still=jnp.array([jnp.mean(_still(layer)) for layer in hidden]),
            gain=optax.tree.norm(at_inputs) / optax.tree.norm(at_outputs),
            lowest=outputs.min(),
            highest=outputs.max(),
            probabilities=takes_logits & inside & (sums | varied),
        )

    return signs


def _still(layer: Float[Array, "examples *places units"]) -> Bool[Array, " units"]:
    """Which units, or channels, give the same for all examples, and at all places of an image."""
    rows = layer.reshape(-1, layer.shape[-1])
    return rows.max(axis=0) == rows.min(axis=0)


def exploded(moment: Moment) -> Bool[Array, ""]:
    """Whether the network is lost: a `stop` for `train_many`.

    True where the training loss of an evaluation was above `EXPLODED` times that at the start, or a parameter is no
    finite number.
    """
    losses = moment.history["train_loss"]
    finite = jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(moment.state.params)]).all()
    return (jnp.nanmax(losses) > EXPLODED * losses[0]) | ~finite


def lose_exploded(trained: Trained, eval_every: int) -> Trained:
    """Count networks that `exploded` stopped as diverged: their losses are infinite from there on.

    Args:
        trained: with `stop=exploded`.
        eval_every: epochs between two evaluations.
    """
    if trained.stopped_at is None:
        return trained
    evaluations = np.arange(trained.history["seconds"].shape[1])
    gone = (trained.stopped_at[:, None] >= 0) & (evaluations * eval_every >= trained.stopped_at[:, None])
    history = {
        name: np.where(gone, np.inf, values) if name.endswith("_loss") else values
        for name, values in trained.history.items()
    }
    return trained._replace(history=history)


def check_before(dataset: Dataset, facts: Facts, task: Task) -> list[Diagnosis]:
    """What can be told before training.

    Args:
        dataset: what is to be learnt.
        facts: what `check` found of it.
        task: makes of the stored examples what the network sees.
    """
    found = []
    repeated, rows = facts.repeated["test"], len(dataset.test.y)
    if repeated >= LEAKED * rows and not dataset.repeats_expected:
        found.append(Diagnosis(Fault.LEAK, f"{repeated:,} of {rows:,} test examples stand in training as well"))
    if missing := sorted(set(facts.absent.get("train", ())) - set(facts.absent.get("test", ()))):
        classes = ", ".join(map(str, missing))
        found.append(Diagnosis(Fault.MISSING, f"no training example of class {classes}, which is in the test"))
    inputs = np.asarray(task.prepare(dataset.train.x[:1000]), np.float64)
    size = float(np.sqrt(np.mean(inputs**2)))
    if not SMALLEST_INPUT <= size <= LARGEST_INPUT:
        found.append(Diagnosis(Fault.SCALE, f"the inputs have a root mean square of {size:.3g}"))
    return found


class Course(NamedTuple):
    """How the training of one network went."""

    history: Mapping[str, Float[np.ndarray, " evaluations"]]
    start: Signs
    """Before the first step."""
    end: Signs
    chance: Mapping[str, float] | None
    """Share of the commonest class in each split; None in regression."""

    def skill(self, split: str) -> Float[np.ndarray, " evaluations"]:
        """(accuracy - chance) / (1 - chance): 0 for one that names the commonest class, 1 for one that is always right;
        in regression R^2, which is the same for one that names the mean."""
        if self.chance is None:
            return self.history[f"{split}_r2"]
        chance = self.chance[split]
        return (self.history[f"{split}_accuracy"] - chance) / (1 - chance)


def chance_of(dataset: Dataset) -> dict[str, float] | None:
    """The accuracy, in each split, of one that always names the commonest class; None in regression."""
    if dataset.classes is None:
        return None
    splits = {"train": dataset.train, "test": dataset.test}
    return {name: float(np.bincount(split.y).max() / len(split.y)) for name, split in splits.items()}


def read(course: Course) -> list[Diagnosis]:
    """What can be told after training, causes before symptoms.

    Args:
        course: of one network.

    Returns:
        The diagnoses; none where all is well.
    """
    found = [*_causes(course)]
    if not np.isfinite(course.history["train_loss"]).all():
        return found
    return [*found, *_symptoms(course, bool(found))]


def _causes(course: Course) -> Iterator[Diagnosis]:
    loss, start, end = course.history["train_loss"], course.start, course.end
    if start.probabilities and end.probabilities:
        seen = f"all outputs lie between {end.lowest:.3g} and {end.highest:.3g}, and the loss takes logits"
        yield Diagnosis(Fault.PROBABILITIES, seen)
    layer = int(np.argmax(end.still)) if len(end.still) else 0
    before, after = (float(np.max(signs.still[layer : layer + 1], initial=0.0)) for signs in (start, end))
    if not np.isfinite(loss).all():
        seen = (
            f"the training loss, {loss[0]:.3g} at the start, exploded before evaluation {np.argmin(np.isfinite(loss))}"
        )
        yield Diagnosis(Fault.RATE, seen)
    elif loss[1:].max() > RISEN * loss[0]:
        yield Diagnosis(Fault.RATE, f"the training loss rose from {loss[0]:.3g} to {loss[1:].max():.3g}")
    elif before < DEAD <= after:
        seen = f"{100 * after:.0f} % of the units of hidden layer {layer + 1} died: {100 * before:.0f} % at the start"
        yield Diagnosis(Fault.RATE, seen)
    if min(before, after) >= DEAD:
        seen = f"{100 * after:.0f} % of the units of hidden layer {layer + 1} give the same for all examples"
        yield Diagnosis(Fault.DEAD, f"{seen}, from the start on")
    if start.gain < VANISHED and (end.gain < VANISHED or course.skill("train")[-1] < POOR):
        seen = f"of the gradient at the outputs a share of {start.gain:.1g} comes to the inputs at the start"
        yield Diagnosis(Fault.VANISHING, f"{seen}, and {end.gain:.1g} at the end")


def _symptoms(course: Course, explained: bool) -> Iterator[Diagnosis]:
    loss, train, test = course.history["train_loss"], course.skill("train"), course.skill("test")
    if test[-1] < AT_CHANCE and train[-1] - test[-1] > MEMORISED:
        seen = f"{100 * train[-1]:.0f} % of the way from chance to perfect in training, {100 * test[-1]:.0f} % in test"
        yield Diagnosis(Fault.SHUFFLED, seen)
        explained = True
    rise = np.diff(loss).max(initial=0.0)
    if rise > SPIKED * loss[0] and not explained:
        place = int(np.diff(loss).argmax())
        yield Diagnosis(Fault.SPIKE, f"the training loss rose from {loss[place]:.3g} to {loss[place + 1]:.3g} at once")
        explained = True
    if train[-1] < POOR and not explained:
        moved = abs(loss[-1] - loss[len(loss) // 2]) / loss[0]
        seen = f"{100 * train[-1]:.0f} % of the way from chance to perfect in training"
        if moved < FLAT:
            yield Diagnosis(Fault.PLATEAU, f"{seen}; the loss moved by {100 * moved:.1g} % in the second half")
        else:
            yield Diagnosis(Fault.UNDERFIT, f"{seen}; the loss is {loss[-1]:.3g}, from {loss[0]:.3g}")
    name = "valid" if "valid_loss" in course.history else "test"
    unseen = course.history[f"{name}_loss"]
    if unseen[-1] > OVERFITTED * unseen.min() and not explained:
        seen = f"the {name} loss rose from {unseen.min():.3g} to {unseen[-1]:.3g}"
        yield Diagnosis(Fault.OVERFIT, seen)


def diagnose(
    before: Sequence[Diagnosis], trained: Trained, start: Signs, end: Signs, chance: Mapping[str, float] | None
) -> list[list[Diagnosis]]:
    """What is wrong with each of many networks.

    Args:
        before: what was told of all of them before training.
        trained: the networks.
        start, end: their signs, along a leading axis.
        chance: as in `Course`.

    Returns:
        For each network its diagnoses, causes before symptoms; an empty list where all is well.
    """
    found = []
    for place in range(len(trained.seeds)):
        history = {name: values[place] for name, values in trained.history.items()}
        first, last = (Signs(*(field[place] for field in group)) for group in (start, end))
        found.append([*before, *read(Course(history, first, last, chance))])
    return found
