"""How to train: one frozen dataclass, and the optax transformation it stands for."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mlpjax.errors import UserError, require_choice
from mlpjax.losses import kernel_mask
from mlpjax.products import PrecisionName
from mlpjax.typing import Number, is_zero

LossName = Literal["cross_entropy", "squared_error", "binary_cross_entropy"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
ScheduleName = Literal["constant", "step", "cosine", "one-cycle", "warm-up"]


@dataclass(frozen=True)
class Recipe:
    """How to train one network: loss, optimizer, schedule, minibatches and penalties.

    Every `Number` may be a traced scalar, so that a sweep gives each network its own.

    Raises:
        UserError: an unknown name, or a number outside its range.
    """

    loss: LossName = "cross_entropy"
    """What is minimised, averaged over the batch: cross_entropy of a softmax on logits, squared_error averaged
    over the outputs, binary_cross_entropy on a logit."""
    optimizer: OptimizerName = "adam"
    """Rule that turns a gradient into a step."""
    learning_rate: Number = 1e-3
    """Step size (> 0); the peak of the schedule."""
    schedule: ScheduleName = "constant"
    """Learning rate over time: constant; step, divided by 10 at 1/2 and again at 3/4 of training; cosine, down to 0;
    one-cycle, up from 1/25 over the first 30 % and down to almost 0 (Smith, arXiv:1708.07120); warm-up, from 0 over the
    first 10 %."""
    momentum: Number = 0.9
    """Share of the last step that is kept, in [0, 1); for momentum and nesterov."""
    weight_decay: Number = 1e-4
    """Decoupled decay of the weights, not the biases (>= 0); for adamw (Loshchilov and Hutter, arXiv:1711.05101)."""
    batch_size: int | None = 128
    """Examples in a minibatch; the last one of an epoch takes the rest. None: all examples at once."""
    epochs: int = 30
    """Passes over the training examples."""
    eval_every: int = 1
    """Epochs between two evaluations on the whole of train, validation and test; must divide `epochs`."""
    ridge: Number = 0.0
    """Penalty on the sum of the squared weights, not the biases (>= 0)."""
    lasso: Number = 0.0
    """Penalty on the sum of the absolute weights, not the biases (>= 0)."""
    clip: Number | None = None
    """Longest gradient (global norm, > 0); a longer one is scaled down. None: no limit."""
    label_smoothing: Number = 0.0
    """Share of the label that is spread evenly over all classes, in [0, 1)."""
    sample_size: int | None = None
    """Training examples that each network draws for itself, without replacement. None: all of them."""
    precision: PrecisionName = "float32"
    """How layers multiply while training: float32, or mixed, with factors rounded to bfloat16 and sums, weights and
    optimizer in float32: faster where the processor has units for it. Evaluation is float32 either way."""

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, get_args(LossName))
        require_choice("optimizer", self.optimizer, get_args(OptimizerName))
        require_choice("schedule", self.schedule, get_args(ScheduleName))
        require_choice("precision", self.precision, get_args(PrecisionName))
        _require("learning_rate", self.learning_rate, above=True)
        _require("momentum", self.momentum, high=1)
        _require("weight_decay", self.weight_decay)
        _require("ridge", self.ridge)
        _require("lasso", self.lasso)
        _require("clip", self.clip, above=True)
        _require("label_smoothing", self.label_smoothing, high=1)
        _require("batch_size", self.batch_size, low=1)
        _require("epochs", self.epochs, low=1)
        _require("eval_every", self.eval_every, low=1)
        _require("sample_size", self.sample_size, low=1)
        if self.epochs % self.eval_every:
            raise UserError(f"eval_every {self.eval_every}: must divide epochs, {self.epochs}")
        if self.loss == "binary_cross_entropy" and not is_zero(self.label_smoothing):
            raise UserError("label_smoothing: is for cross_entropy and squared_error, not binary_cross_entropy")

    @property
    def evaluations(self) -> int:
        """How often a network is evaluated in training, the start not counted."""
        return self.epochs // self.eval_every


def _require(field: str, value: Number | None, low: int = 0, high: Number = math.inf, above: bool = False) -> None:
    """Refuse a plain number outside [low, high) or, with `above`, (low, high); traced scalars pass."""
    if not isinstance(value, int | float):
        return
    if not (value > low if above else value >= low) or not value < high:
        limits = f"{'above' if above else 'at least'} {low}" + (f" and below {high}" if high < math.inf else "")
        raise UserError(f"{field} {value}: must be {limits}")


def make_schedule(recipe: Recipe, steps: int) -> optax.Schedule:
    """Learning rate at every step: `learning_rate` times a factor in [0, 1] that depends on the schedule alone.

    Args:
        recipe: names the schedule and its peak.
        steps: how many steps the whole training takes.

    Returns:
        A function from the step (counted from 0) to the learning rate.
    """
    shapes: dict[str, optax.Schedule] = {
        "constant": optax.constant_schedule(1.0),
        "step": optax.piecewise_constant_schedule(1.0, {steps // 2: 0.1, steps * 3 // 4: 0.1}),
        "cosine": optax.cosine_decay_schedule(1.0, steps),
        "one-cycle": optax.cosine_onecycle_schedule(max(steps, 4), 1.0),
        "warm-up": optax.linear_schedule(0.0, 1.0, max(1, steps // 10)),
    }
    shape = shapes[recipe.schedule]

    def learning_rate(step: Int[Array, ""]) -> Float[Array, ""]:
        return recipe.learning_rate * jnp.asarray(shape(step.astype(jnp.float32)), jnp.float32)

    return learning_rate


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """The optax transformation of a recipe: clipping, then the optimizer with its schedule.

    RMSprop keeps 0.9 of the mean square and Adam its usual 0.9 and 0.999, as optax has them.

    Args:
        recipe: how to train.
        steps: how many steps the whole training takes.

    Returns:
        A gradient transformation; AdamW's decay touches the weights, not the biases.
    """
    rate = make_schedule(recipe, steps)
    optimizers = {
        "sgd": lambda: optax.sgd(rate),
        "momentum": lambda: optax.sgd(rate, momentum=recipe.momentum),
        "nesterov": lambda: optax.sgd(rate, momentum=recipe.momentum, nesterov=True),
        "rmsprop": lambda: optax.rmsprop(rate),
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=recipe.weight_decay, mask=kernel_mask),
    }
    optimizer = optimizers[recipe.optimizer]()
    if recipe.clip is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(recipe.clip), optimizer)
