"""A VGG16 with batch norm in plain JAX, as its documentation writes it; imported by a process of its own."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

CONVOLUTIONS = (2, 2, 3, 3, 3)
CHANNELS = (64, 128, 256, 512, 512)
UNITS = 4096
BATCH = 128
_worker: dict[str, Any] = {}


class Network(linen.Module):
    """VGG16 with batch norm."""

    width: float
    classes: int

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for convolutions, channels in zip(CONVOLUTIONS, CHANNELS, strict=True):
            for _ in range(convolutions):
                x = linen.Conv(round(self.width * channels), (3, 3))(x)
                x = linen.relu(linen.BatchNorm(use_running_average=False)(x))
            x = linen.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = linen.relu(linen.Dense(round(self.width * UNITS))(x))
        return linen.Dense(self.classes)(x)


def start(width: float, classes: int) -> None:
    """Make this process a worker."""
    _worker["model"] = Network(width, classes)


def rate(train: Any) -> float:
    """Train one epoch in shuffled minibatches, after a step to compile: images a second."""
    images, labels = map(jnp.asarray, train)
    model, optimizer = _worker["model"], optax.sgd(0.01)

    @jax.jit
    def step(state: tuple[Any, Any, Any], images: jax.Array, labels: jax.Array) -> tuple[Any, Any, Any]:
        params, stats, of_optimizer = state

        def loss(params: Any) -> tuple[jax.Array, Any]:
            variables = {"params": params, "batch_stats": stats}
            logits, changed = model.apply(variables, images / 255.0, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), changed["batch_stats"]

        grads, stats = jax.grad(loss, has_aux=True)(params)
        updates, of_optimizer = optimizer.update(grads, of_optimizer)
        return optax.apply_updates(params, updates), stats, of_optimizer

    if "state" not in _worker:
        drawn = model.init(jax.random.key(0), images[:1] / 255.0)
        state = drawn["params"], drawn["batch_stats"], optimizer.init(drawn["params"])
        _worker.update(state=jax.block_until_ready(step(state, images[:BATCH], labels[:BATCH])), step=step)
    state, step = _worker["state"], _worker["step"]
    order = np.random.default_rng(0).permutation(len(labels))
    begin = time.perf_counter()
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        state = step(state, images[rows], labels[rows])
    _worker["state"] = jax.block_until_ready(state)
    return len(labels) / (time.perf_counter() - begin)
