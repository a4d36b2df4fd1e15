"""How to train: one frozen dataclass, and the optax transformation it stands for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from mlpjax.errors import UserError, require_choice
from mlpjax.losses import Loss, LossName, kernel_mask, loss_of
from mlpjax.typing import Number, is_zero

OptimizerName = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
ScheduleName = Literal["constant", "step", "cosine", "one-cycle", "warm-up"]
Normalisation = Literal["range", "feature", "channel"]
MakeOptimizer: TypeAlias = Callable[[optax.Schedule], optax.GradientTransformation]
"""learning rate, a function of the step -> optax transformation: `optax.lion`, or `lambda rate: optax.chain(...)`."""
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
"""What these are where nothing else is said."""


@dataclass(frozen=True)
class Recipe:
    """How to train one network: loss, optimizer, schedule, minibatches and penalties.

    Every `Number` may be a traced scalar, so that a sweep gives each network its own.

    Raises:
        UserError: an unknown name, or a number outside its range.
    """

    loss: LossName | Callable[..., Array] | Loss = "cross_entropy"
    """What is minimised, averaged over the batch: cross_entropy of a softmax on logits, squared_error averaged
    over the outputs, binary_cross_entropy on a logit; in Python any function (outputs, labels) -> [batch]."""
    optimizer: OptimizerName | MakeOptimizer = "adam"
    """Rule that turns a gradient into a step; in Python any function of the learning rate that makes an optax
    transformation, such as optax.lion."""
    learning_rate: Number = 1e-3
    """Step size (> 0); the peak of the schedule."""
    schedule: ScheduleName = "constant"
    """Learning rate over time: constant; step, divided by 10 at 1/2 and again at 3/4 of training; cosine, down to 0;
    one-cycle, up from 1/25 over the first 30 % and down to almost 0 (Smith, arXiv:1708.07120); warm-up, from 0 over the
    first 10 %."""
    momentum: Number | None = None
    """Share of the last step that is kept, in [0, 1); for momentum and nesterov. None: 0.9."""
    weight_decay: Number | None = None
    """Decoupled decay of the weights, not the biases (>= 0); for adamw (Loshchilov and Hutter, arXiv:1711.05101).
    None: 0.0001."""
    batch_size: int | None = 128
    """Examples in a minibatch; the last one of an epoch takes the rest. None: all examples at once."""
    microbatch: int | None = None
    """Examples of a minibatch that go through the network at a time, for large networks: what they take stays in a
    core's cache, or in a device's memory. Must divide `batch_size`. Gradients are averaged over the minibatch all the
    same; batch norm takes the moments of each microbatch (ghost batch norm). None: all at once."""
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
    normalisation: Normalisation = "range"
    """What the network sees of the inputs: range, pixels from 0 to 1 and other features as they are; feature or
    channel, less their mean and over their standard deviation in the training split, each feature or each colour
    channel for itself."""

    def __post_init__(self) -> None:
        loss = loss_of(self.loss)
        if isinstance(self.optimizer, optax.GradientTransformation):
            raise UserError("optimizer: give a function of the learning rate, such as lambda rate: optax.chain(...)")
        if not callable(self.optimizer):
            require_choice("optimizer", self.optimizer, get_args(OptimizerName))
        require_choice("schedule", self.schedule, get_args(ScheduleName))
        require_choice("normalisation", self.normalisation, get_args(Normalisation))
        for field, users in (("momentum", ("momentum", "nesterov")), ("weight_decay", ("adamw",))):
            if getattr(self, field) is not None and self.optimizer not in users:
                named = str(self.optimizer) if isinstance(self.optimizer, str) else "one of your own"
                raise UserError(f"{field}: is for optimizer {' or '.join(users)}, not {named}; leave it out")
        if self.clip is not None and not isinstance(self.optimizer, str):
            raise UserError(
                "clip: is for the optimizers with a name; put optax.clip_by_global_norm into your own chain"
            )
        _require("learning_rate", self.learning_rate, above=True)
        _require("ridge", self.ridge)
        _require("lasso", self.lasso)
        _require("label_smoothing", self.label_smoothing, high=1)
        if self.momentum is not None:
            _require("momentum", self.momentum, high=1)
        if self.weight_decay is not None:
            _require("weight_decay", self.weight_decay)
        if self.clip is not None:
            _require("clip", self.clip, above=True)
        for field in ("batch_size", "microbatch", "sample_size"):
            if getattr(self, field) is not None:
                _require_count(field, getattr(self, field))
        _require_count("epochs", self.epochs)
        _require_count("eval_every", self.eval_every)
        if self.microbatch is not None and (self.batch_size is None or self.batch_size % self.microbatch):
            raise UserError(f"microbatch {self.microbatch}: must divide batch_size, {self.batch_size}")
        if self.epochs % self.eval_every:
            raise UserError(f"eval_every {self.eval_every}: must divide epochs, {self.epochs}")
        if not loss.smooths and not is_zero(self.label_smoothing):
            named = self.loss if isinstance(self.loss, str) else "a loss of your own"
            raise UserError(f"label_smoothing: is for cross_entropy and squared_error, not {named}")

    @property
    def evaluations(self) -> int:
        """How often a network is evaluated in training, the start not counted."""
        return self.epochs // self.eval_every


def _require(field: str, value: Any, high: Number = math.inf, above: bool = False) -> None:
    """Refuse what is no number in [0, high) or, with `above`, (0, high); traced scalars pass."""
    if value is None or isinstance(value, str):
        raise UserError(f"{field} {value!r}: give a number")
    if isinstance(value, int | float) and not (0 < value < high if above else 0 <= value < high):
        limits = f"{'above' if above else 'at least'} 0" + (f" and below {high}" if high < math.inf else "")
        raise UserError(f"{field} {value}: must be {limits}")


def _require_count(field: str, value: Any) -> None:
    """Refuse what is no whole number above 0."""
    if not isinstance(value, Integral):
        raise UserError(f"{field} {value!r}: give a whole number")
    if value < 1:
        raise UserError(f"{field} {value}: must be at least 1")


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


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformationExtraArgs:
    """The optax transformation of a recipe: clipping, then the optimizer with its schedule.

    RMSprop keeps 0.9 of the mean square and Adam its usual 0.9 and 0.999, as optax has them.

    Args:
        recipe: how to train.
        steps: how many steps the whole training takes.

    Returns:
        A gradient transformation, which may ask for more than the gradient, as `make_train_step` says; AdamW's decay
        touches the weights, not the biases.
    """
    rate = make_schedule(recipe, steps)
    momentum = MOMENTUM if recipe.momentum is None else recipe.momentum
    weight_decay = WEIGHT_DECAY if recipe.weight_decay is None else recipe.weight_decay
    optimizers: dict[str, MakeOptimizer] = {
        "sgd": optax.sgd,
        "momentum": lambda rate: optax.sgd(rate, momentum=momentum),
        "nesterov": lambda rate: optax.sgd(rate, momentum=momentum, nesterov=True),
        "rmsprop": optax.rmsprop,
        "adam": optax.adam,
        "adamw": lambda rate: optax.adamw(rate, weight_decay=weight_decay, mask=kernel_mask),
    }
    make = optimizers[recipe.optimizer] if isinstance(recipe.optimizer, str) else recipe.optimizer
    if recipe.clip is None:
        return optax.with_extra_args_support(make(rate))
    return optax.with_extra_args_support(optax.chain(optax.clip_by_global_norm(recipe.clip), make(rate)))


def soft_threshold(rate: optax.Schedule, strength: Number) -> optax.GradientTransformation:
    """The proximal step of a lasso, which follows the step before it in a chain: weights that it brings to 0 are 0.

    w <- sign(w) max(|w| - rate strength, 0): after a gradient step, the minimiser of |u - w|^2 / 2 + rate strength |u|.
    After plain gradient descent this minimises loss + strength * sum |w|; after an optimizer that scales its steps, the
    penalty stands beside the scaled gradient, as AdamW's decay does. Biases and PReLU's alpha are left alone.

    Args:
        rate: the learning rate as a function of the step, as `Recipe.optimizer` is given it.
        strength: lambda (>= 0).

    Returns:
        The transformation, for the end of a chain: `optax.chain(optax.rmsprop(rate), soft_threshold(rate, 0.01))`.

    Source: Daubechies, Defrise and De Mol, An iterative thresholding algorithm for linear inverse problems (2004).
    """

    def init(_: PyTree) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(count=jnp.int32(0))

    def update(
        updates: PyTree, state: optax.ScaleByScheduleState, params: PyTree | None = None
    ) -> tuple[PyTree, optax.ScaleByScheduleState]:
        threshold = rate(state.count) * strength

        def shrink(is_kernel: bool, step: Array, old: Array) -> Array:
            new = old + step
            return jnp.sign(new) * jnp.maximum(jnp.abs(new) - threshold, 0.0) - old if is_kernel else step

        shrunk = jax.tree.map(shrink, kernel_mask(params), updates, params)
        return shrunk, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)
