"""Training one network: a single step, and the whole of it as one compiled program."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from mlpjax.data import Dataset, Split
from mlpjax.data.streamed import take
from mlpjax.errors import UserError
from mlpjax.hashing import permutation
from mlpjax.keys import Keys, make_keys
from mlpjax.losses import loss_of
from mlpjax.models import MLP, Model
from mlpjax.recipe import Recipe, make_optimizer
from mlpjax.task import Batch, Examples, Task, evaluate
from mlpjax.typing import Variables
from mlpjax.vgg import VGG


class Splits(NamedTuple):
    """Arrays that one training sees; an empty validation split is left out of the history."""

    train: Split
    valid: Split
    test: Split


class TrainState(NamedTuple):
    """What one step hands to the next."""

    params: PyTree
    stats: PyTree
    opt_state: optax.OptState
    step: Int[Array, ""]

    @property
    def variables(self) -> Variables:
        """The network itself."""
        return Variables(self.params, self.stats)


Differentiated: TypeAlias = Callable[[PyTree, PyTree, Batch, Keys], tuple[tuple[Float[Array, ""], PyTree], PyTree]]
"""(parameters, statistics, batch, keys of the step) -> ((loss, statistics after it), gradient)."""


class StepMetrics(NamedTuple):
    """What one step saw before it moved."""

    loss: Float[Array, ""]
    """Mean loss of the minibatch with its penalties."""
    grad_norm: Float[Array, ""]
    """Euclidean length of the whole gradient, before clipping."""


def init_state(task: Task, recipe: Recipe, key: Key[Array, ""], x: Examples) -> TrainState:
    """Draw one network and the empty state of its optimizer; of the stored examples x only shape and type count."""
    return begin_with(task.init(key, x), recipe)


def begin_with(variables: Variables, recipe: Recipe) -> TrainState:
    """A network at the start of its training, with the empty state of its optimizer."""
    opt_state = make_optimizer(recipe, steps=1).init(variables.params)
    return TrainState(variables.params, variables.stats, opt_state, jnp.int32(0))


def make_train_step(
    task: Task, recipe: Recipe, steps: int
) -> Callable[[TrainState, Batch, Keys], tuple[TrainState, StepMetrics]]:
    """Make `train_step(state, batch, keys)`: the gradient of one minibatch and one step down it.

    Jitted, and `state` is donated: its memory becomes the new state's. An optimizer that asks for more than the
    gradient is given the loss (`value`), the gradient (`grad`) and the loss on the same minibatch as a function of the
    parameters (`value_fn`); one whose update names a `grad_fn`, as SAM's, the gradient as a function of the parameters.

    Args:
        task: the network's.
        recipe: how to train it.
        steps: how many steps the whole training takes, for the schedule.

    Returns:
        The jitted step: the state after it, and the loss and gradient norm before it. Its keys are those `at` a step.
    """
    optimizer = make_optimizer(recipe, steps)
    wants_grad_fn = "grad_fn" in inspect.signature(optimizer.update).parameters

    def objective(params: PyTree, stats: PyTree, batch: Batch, keys: Keys) -> tuple[Float[Array, ""], PyTree]:
        return task.objective(Variables(params, stats), batch, keys)

    differentiate: Differentiated = jax.value_and_grad(objective, has_aux=True)
    if recipe.microbatch is not None:
        differentiate = over_microbatches(differentiate, recipe.microbatch)

    def train_step(state: TrainState, batch: Batch, keys: Keys) -> tuple[TrainState, StepMetrics]:
        (loss, stats), grads = differentiate(state.params, state.stats, batch, keys)
        more: dict[str, Any] = {
            "value": loss,
            "grad": grads,
            "value_fn": lambda params: differentiate(params, state.stats, batch, keys)[0][0],
        }
        if wants_grad_fn:
            more = {"grad_fn": lambda params, _: differentiate(params, state.stats, batch, keys)[1]}
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **more)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, stats, opt_state, state.step + 1), StepMetrics(loss, optax.tree.norm(grads))

    return jax.jit(train_step, donate_argnums=0)


def over_microbatches(differentiate: Differentiated, size: int) -> Differentiated:
    """Let a minibatch go through the network a few examples at a time: gradient accumulation.

    loss = sum_m w_m loss_m / sum_m w_m, w_m the weight of all examples of microbatch m, and the gradient likewise; a
    network's statistics go on from each to the next. So batch norm takes the moments of a microbatch: ghost batch norm.

    Args:
        differentiate: the loss of a batch with its statistics, and its gradient.
        size: examples of a microbatch; must divide the minibatch.

    Returns:
        The same of a minibatch.

    Source: Hoffer, Hubara and Soudry, Train longer, generalize better, arXiv:1705.08741 (ghost batch norm).
    """

    def accumulate(
        params: PyTree, stats: PyTree, batch: Batch, keys: Keys
    ) -> tuple[tuple[Float[Array, ""], PyTree], PyTree]:
        parts = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), batch)
        total = batch.weight.sum()

        def add(carry: tuple[PyTree, ...], xs: tuple[Batch, Array]) -> tuple[tuple[PyTree, ...], None]:
            (loss, stats, grads), (part, number) = carry, xs
            share = part.weight.sum() / total
            part = part._replace(weight=jnp.where(share > 0, part.weight, 1.0))  # a mean of nothing is no number
            (own, stats), slope = differentiate(params, stats, part, keys.at(number))
            return (loss + share * own, stats, jax.tree.map(lambda sum, leaf: sum + share * leaf, grads, slope)), None

        start = (jnp.float32(0), stats, jax.tree.map(jnp.zeros_like, params))
        (loss, stats, grads), _ = jax.lax.scan(add, start, (parts, jnp.arange(len(parts.y))))
        return (loss, stats), grads

    return accumulate


def steps_per_epoch(examples: int, batch_size: int | None) -> int:
    """Steps in one epoch: ceil(examples / batch_size); 60,000 at 128 are 469, the last on 96 examples."""
    return 1 if batch_size is None else math.ceil(examples / batch_size)


def epoch_order(
    key: Key[Array, ""], examples: int, batch_size: int
) -> tuple[Int[Array, "steps batch"], Float[Array, "steps batch"]]:
    """Shuffle one epoch into minibatches, every example in just one of them.

    Args:
        key: the epoch's own key.
        examples: how many there are.
        batch_size: how many a minibatch takes, `examples` at most; the last is filled up with the first rows of the
            epoch, of weight 0, which only batch norm sees.

    Returns:
        The rows of every minibatch, and their weights, 1 or 0.
    """
    steps = steps_per_epoch(examples, batch_size)
    filler = steps * batch_size - examples
    rows = jnp.pad(permutation(key, examples), (0, filler), mode="wrap")
    weight = jnp.pad(jnp.ones(examples), (0, filler))
    return rows.reshape(steps, batch_size), weight.reshape(steps, batch_size)


def sampled_rows(keys: Keys, examples: int, size: int) -> Int[Array, " size"]:
    """The training examples that a network draws for itself, where the recipe has a `sample_size`.

    Args:
        keys: the network's.
        examples: how many there are to draw from, at least 1.
        size: how many it draws, without replacement; at most `examples`.

    Returns:
        Their rows in the training split. What no row names, the network never saw.
    """
    return permutation(keys.sample, examples)[:size]


class Moment(NamedTuple):
    """A network in the middle of its training, as it is shown to `observe` and `stop`."""

    task: Task
    state: TrainState
    data: Splits
    """What the network is trained and tested on."""
    history: dict[str, Float[Array, " evaluations"]]
    """`{split}_loss`, the task's `{split}_{metric}` and `grad_norm`, at the start and at every `eval_every` epochs;
    NaN at what is still to come."""
    epoch: Int[Array, ""] | int
    """Epochs that are behind it."""


class Observe(NamedTuple):
    """A function of the network, recorded while it trains: parameters need not be kept to be looked at."""

    function: Callable[[Moment], PyTree]
    """Any tree of arrays."""
    epochs: Sequence[int] = ()
    """When it is recorded: after so many epochs, 0 being the start."""
    steps: Sequence[int] = ()
    """Also after so many steps. Looks between two epochs cost a little at every step; looks after an epoch do not."""


Stop = Callable[[Moment], Bool[Array, ""]]
"""Asked after every epoch; True ends the training of this network."""


def patience(epochs: int, eval_every: int = 1) -> Stop:
    """Early stopping: stop when the validation loss has not been lower for so many epochs than at its best.

    Stops after epoch t where t - argmin_(s <= t) loss(s) >= epochs. The network is then the one at the stop; how good
    it was at its best is in the history.

    Args:
        epochs: how many, at least 1.
        eval_every: as in the recipe.

    Returns:
        What `train_many` takes as `stop`.

    Raises:
        UserError: fewer than one epoch.

    Source: Prechelt, Early stopping - but when? (1998); Goodfellow, Bengio and Courville, Deep Learning (2016),
    algorithm 7.1.
    """
    if epochs < 1:
        raise UserError(f"patience {epochs}: give at least 1 epoch")

    def stop(moment: Moment) -> Bool[Array, ""]:
        if "valid_loss" not in moment.history:
            raise UserError("patience: the data has no validation split to judge by; hold some examples out")
        losses = moment.history["valid_loss"]
        best = jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses))
        return moment.epoch - eval_every * best >= epochs

    return stop


class Training(NamedTuple):
    """What one network's training has come to."""

    state: TrainState
    history: dict[str, Float[Array, " evaluations"]]
    """As in `Moment`. After a network has stopped, its last figures."""
    observed: dict[str, PyTree]
    """By name, along a leading axis of the times of each `Observe`, in rising order; what is still to come, or was
    never reached, is NaN (integers: 0)."""
    stopped_at: Int[Array, ""]
    """Epochs after which it stopped; -1 where it did not."""


@dataclass(frozen=True)
class Train:
    """Training as pure functions of one network: `train(key, data)`, or piece by piece.

    `advance` takes the periods (of `eval_every` epochs) to run as arguments, so that one compiled program serves any
    piece and where a training was cut never changes its result.
    """

    start: Callable[[Keys, Splits, TrainState | None], Training]
    """Draw the network, or begin with the one that is given, and evaluate it."""
    advance: Callable[[Keys, Splits, Training, Int[Array, ""] | int, Int[Array, ""] | int], Training]
    """Train from the end of one period, as many as are done, to the end of another."""
    periods: int
    """Periods in the whole training."""

    def __call__(self, keys: Keys | Key[Array, ""], data: Splits) -> Training:
        """Train one network from nothing to the end.

        Args:
            keys: its keys, or one key that they are made of.
            data: the arrays it sees.

        Returns:
            The trained state, the history and what was observed.
        """
        keys = keys if isinstance(keys, Keys) else make_keys(keys)
        return self.advance(keys, data, self.start(keys, data, None), 0, self.periods)


def make_train(
    task: Task,
    recipe: Recipe,
    *,
    observe: Mapping[str, Observe] | None = None,
    stop: Stop | None = None,
    first_step: int = 0,
) -> Train:
    """Make the pure function `train(key, data)` that trains one network; `jit` and `vmap` it as you like.

    An epoch is one shuffled pass over the training examples in minibatches; where the batch size does not divide
    them, the last minibatch is smaller, its loss averaged over the examples that it has.

    Args:
        task: the network's.
        recipe: how to train it.
        observe: by name, what to record on the way.
        stop: asked after every epoch whether this network's training is over; None: it goes to the end.
        first_step: steps that the network it begins with has behind it; the schedule counts on from there.

    Returns:
        The training, whole (call it) or in pieces (`start`, `advance`).

    Raises:
        UserError: an observation at a time that the training never reaches.
    """
    observe = observe or {}

    def times(data: Splits) -> tuple[int, dict[str, np.ndarray]]:
        """Steps of an epoch, and the steps after which each observation is due."""
        each = steps_per_epoch(len(data.train.y), recipe.batch_size)
        due = {}
        for name, look in observe.items():
            due[name] = np.unique([*(each * epoch for epoch in look.epochs), *look.steps]).astype(np.int32)
            if not len(due[name]) or due[name][0] < 0 or due[name][-1] > each * recipe.epochs:
                raise UserError(
                    f"{name}: must be observed at one time or more, from epoch 0 to {recipe.epochs} "
                    f"(step 0 to {each * recipe.epochs})"
                )
        return each, due

    def record(state: TrainState, data: Splits, grad_norm: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
        row = {"grad_norm": grad_norm}
        for name, split in data._asdict().items():
            if split.y.shape[0]:
                figures = evaluate(task, state.variables, split)
                row |= {f"{name}_{figure}": value for figure, value in figures.items()}
        return row

    def own_sample(keys: Keys, data: Splits) -> Splits:
        if recipe.sample_size is None:
            return data
        data = jax.tree.map(jnp.asarray, data)
        rows = sampled_rows(keys, data.train.y.shape[0], recipe.sample_size)
        return data._replace(train=Split(data.train.x[rows], data.train.y[rows]))

    def look(
        training: Training, data: Splits, due: Mapping[str, np.ndarray], step: Int[Array, ""] | int, epoch: Any
    ) -> Training:
        """Record what is due after this step, unless the network has stopped before."""
        observed = dict(training.observed)
        moment = Moment(task, training.state, data, training.history, epoch)
        for name, steps in due.items():
            place = jnp.minimum(jnp.searchsorted(steps, jnp.asarray(step, jnp.int32)), len(steps) - 1)
            old = jax.tree.map(lambda leaf, place=place: leaf[place], observed[name])
            # Where `step` is no batch's but the program's own, only what is due is computed.
            new = jax.lax.cond(
                jnp.asarray(steps)[place] == step, lambda _, n=name: observe[n].function(moment), lambda old: old, old
            )
            new = jax.tree.map(lambda a, b: jnp.where(training.stopped_at < 0, a, b), new, old)
            observed[name] = jax.tree.map(
                lambda leaf, value, place=place: leaf.at[place].set(value), observed[name], new
            )
        return training._replace(observed=observed)

    def start(keys: Keys, data: Splits, begin: TrainState | None = None) -> Training:
        data = own_sample(keys, data)
        x = data.train.x
        state = init_state(task, recipe, keys.init, jnp.zeros((1, *x.shape[1:]), x.dtype)) if begin is None else begin
        row = record(state, data, jnp.float32(jnp.nan))
        history = {name: jnp.full(recipe.evaluations + 1, jnp.nan).at[0].set(value) for name, value in row.items()}
        _, due = times(data)
        observed = {}
        for name, steps in due.items():
            form = jax.eval_shape(lambda n=name: observe[n].function(Moment(task, state, data, history, 0)))
            count = len(steps)
            observed[name] = jax.tree.map(lambda leaf, n=count: _blank((n, *leaf.shape), leaf.dtype), form)
        return look(Training(state, history, observed, jnp.int32(-1)), data, due, 0, 0)

    def advance(
        keys: Keys, data: Splits, training: Training, done: Int[Array, ""] | int, until: Int[Array, ""] | int
    ) -> Training:
        data = own_sample(keys, data)
        x, y = data.train.x, jnp.asarray(data.train.y)
        examples = len(y)
        batch_size = recipe.batch_size
        each, due = times(data)
        within = {name: steps for name, steps in due.items() if (steps % each).any()}
        after = {name: steps for name, steps in due.items() if name not in within}
        train_step = make_train_step(task, recipe, first_step + each * recipe.epochs)

        def batch_of(x: Examples, y: Array, weight: Array) -> Batch:
            return Batch(task.prepare(x), y, weight)

        def minibatch(training: Training, xs: tuple[Array, Array, Array, Array]) -> tuple[Training, Array]:
            rows, following, weight, step = xs
            batch = batch_of(take(x, rows, following), y[rows], weight)
            state, metrics = train_step(training.state, batch, keys.at(training.state.step))
            training = training._replace(state=state)
            return look(training, data, within, step + 1, (step + 1) // each), metrics.grad_norm

        def steps_of(epoch: Int[Array, ""], training: Training) -> tuple[Training, Float[Array, ""]]:
            if batch_size is None:
                batch = batch_of(x, y, jnp.ones(examples))
                state, metrics = train_step(training.state, batch, keys.at(training.state.step))
                return training._replace(state=state), metrics.grad_norm
            key = jax.random.fold_in(keys.order, training.state.step)
            rows, weight = epoch_order(key, examples, batch_size)
            steps = epoch * each + jnp.arange(each)
            training, norms = jax.lax.scan(minibatch, training, (rows, jnp.roll(rows, -1, axis=0), weight, steps))
            return training, jnp.mean(norms)

        def one_epoch(epoch: Int[Array, ""], training: Training) -> tuple[Training, Float[Array, ""]]:
            if stop is None:
                training, norm = steps_of(epoch, training)
            else:
                training, norm = jax.lax.cond(
                    training.stopped_at < 0,
                    lambda training: steps_of(epoch, training),
                    lambda training: (training, jnp.float32(jnp.nan)),
                    training,
                )
            return look(training, data, after, (epoch + 1) * each, epoch + 1), norm

        def ask(training: Training, epochs: Int[Array, ""]) -> Training:
            if stop is None:
                return training
            over = stop(Moment(task, training.state, data, training.history, epochs))
            stops = over & (training.stopped_at < 0)
            return training._replace(stopped_at=jnp.where(stops, epochs.astype(jnp.int32), training.stopped_at))

        def period(index: Int[Array, ""], training: Training) -> Training:
            first, last = index * recipe.eval_every, (index + 1) * recipe.eval_every - 1
            if recipe.eval_every > 1:  # a loop of no epochs takes as long to compile
                # Only the last epoch's norms are wanted, and a loop of epochs without them is a good deal faster.
                training = jax.lax.fori_loop(
                    first, last, lambda epoch, training: ask(one_epoch(epoch, training)[0], epoch + 1), training
                )
            stopped = training.stopped_at >= 0
            training, norm = one_epoch(last, training)
            if stop is not None:
                norm = jnp.where(stopped, training.history["grad_norm"][index], norm)
            row = record(training.state, data, norm)
            history = {name: training.history[name].at[index + 1].set(value) for name, value in row.items()}
            return ask(training._replace(history=history), last + 1)

        return jax.lax.fori_loop(jnp.asarray(done, jnp.int32), jnp.asarray(until, jnp.int32), period, training)

    return Train(start, advance, recipe.evaluations)


def _blank(shape: tuple[int, ...], dtype: Any) -> Array:
    return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.floating) else 0, dtype)


def check_fit(model: Model, recipe: Recipe, task: Task, dataset: Dataset) -> None:
    """Refuse a network or a recipe that does not fit the data.

    Args:
        model: the network.
        recipe: how to train it.
        task: made of the two.
        dataset: what it is to learn.

    Raises:
        UserError: an MLP's first width is not the number of features, the outputs fit neither the targets nor the loss,
            or a minibatch or the sample is larger than the training split.
    """
    name = "model"
    if isinstance(model, MLP):
        name = f"widths {model.name}"
    elif isinstance(model, VGG):
        name = f"classes {model.classes}"
    if isinstance(model, MLP) and model.widths[0] != dataset.features:
        raise UserError(
            f"{name}: {dataset.name} has {dataset.features} features, so the first width must be {dataset.features}"
        )
    x = dataset.train.x[:1]
    outputs = jax.eval_shape(lambda: task.predict(task.init(jax.random.key(0), x), task.prepare(x))).shape[-1]
    one_output = dataset.classes == 2 and loss_of(recipe.loss).threshold is not None
    allowed = [dataset.outputs] + [1] * one_output
    if outputs not in allowed:
        what = f"{dataset.outputs} {'targets' if dataset.classes is None else 'classes'}"
        wanted = f"it must give, in place of {outputs} outputs,"
        if isinstance(model, MLP | VGG):
            wanted = "the last width must be" if isinstance(model, MLP) else "there must be"
        loss = recipe.loss if isinstance(recipe.loss, str) else "this loss"
        raise UserError(f"{name}: {dataset.name} has {what}, so with {loss} {wanted} {' or '.join(map(str, allowed))}")
    examples = len(dataset.train.y)
    if recipe.sample_size is not None and recipe.sample_size > examples:
        raise UserError(f"sample_size {recipe.sample_size}: larger than the training split, {examples} examples")
    available = recipe.sample_size or examples
    if recipe.batch_size is not None and recipe.batch_size > available:
        raise UserError(
            f"batch_size {recipe.batch_size}: larger than the training split, {available} examples; "
            f"give at most {available}, or None for all at once"
        )
