"""The alternatives, as a good user of each would write the same job; imported by processes of their own.

The job is common.WIDTHS with ReLU, batches of 128 with a shuffle of its own every epoch, cross-entropy, SGD at 0.1 or
Adam at 0.001, float32, all tensors in memory. Each function makes one peer: a function that trains one epoch on the
first `examples` rows.
"""

import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import threadpoolctl
import torch
from flax import linen
from joblib import cpu_count
from sklearn.neural_network import MLPClassifier
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

WIDTHS = (784, 256, 128, 10)
BATCH = 128
WARM_UP_EXAMPLES = 3 * BATCH + 96  # whole batches, and the smaller one that ends an epoch of 60,000

__all__ = ["BATCH", "PEERS", "WIDTHS", "cpu_count", "start", "train_epoch", "warm_up"]

Epoch = Callable[[int], None]


def network() -> torch.nn.Sequential:
    """One network, initialised as PyTorch does."""
    dense = [torch.nn.Linear(inputs, outputs) for inputs, outputs in pairwise(WIDTHS)]
    return torch.nn.Sequential(dense[0], torch.nn.ReLU(), dense[1], torch.nn.ReLU(), dense[2])


def torch_optimizer(name: str, parameters: Any, **options: Any) -> torch.optim.Optimizer:
    """SGD or Adam."""
    if name == "SGD":
        return torch.optim.SGD(parameters, lr=0.1, **options)
    return torch.optim.Adam(parameters, lr=1e-3, **options)


def eager(
    optimizer_name: str, x: np.ndarray, y: np.ndarray, *, compiled: bool = False, mixed: bool = False, **options: Any
) -> Epoch:
    """PyTorch, one network.

    `compiled`: loss and gradient through torch.compile, one graph for each batch size; `mixed`: products in bfloat16.
    """
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    model = network()
    optimizer = torch_optimizer(optimizer_name, model.parameters(), **options)

    def loss(batch: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            return cross_entropy(model(batch), classes)

    if compiled:
        loss = torch.compile(loss, dynamic=False)

    def epoch(examples: int) -> None:
        for rows in torch.randperm(examples).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss(inputs.index_select(0, rows), labels.index_select(0, rows)).backward()
            optimizer.step()

    return epoch


def data_loader(optimizer_name: str, x: np.ndarray, y: np.ndarray) -> Epoch:
    """PyTorch as tutorials write it: a DataLoader collects each batch row by row."""
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    model = network()
    optimizer = torch_optimizer(optimizer_name, model.parameters())

    def epoch(examples: int) -> None:
        dataset = TensorDataset(inputs[:examples], labels[:examples])
        for batch, classes in DataLoader(dataset, batch_size=BATCH, shuffle=True):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(model(batch), classes).backward()
            optimizer.step()

    return epoch


def func(optimizer_name: str, x: np.ndarray, y: np.ndarray, *, networks: int) -> Epoch:
    """torch.func: vmap over stacked networks, an order of its own for each; both optimizers work by element."""
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    model = network()
    stacked, _ = torch.func.stack_module_state([network() for _ in range(networks)])
    optimizer = torch_optimizer(optimizer_name, stacked.values(), fused=True)

    def loss(parameters: dict[str, torch.Tensor], batch: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return cross_entropy(torch.func.functional_call(model, parameters, (batch,)), classes)

    gradient = torch.func.vmap(torch.func.grad(loss))

    def epoch(examples: int) -> None:
        orders = torch.stack([torch.randperm(examples) for _ in range(networks)])
        for rows in orders.split(BATCH, dim=1):
            parameters = {name: parameter.detach() for name, parameter in stacked.items()}
            for name, slope in gradient(parameters, inputs[rows], labels[rows]).items():
                stacked[name].grad = slope
            optimizer.step()

    return epoch


class Network(linen.Module):
    """The same network in Flax."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in WIDTHS[1:-1]:
            x = linen.relu(linen.Dense(width)(x))
        return linen.Dense(WIDTHS[-1])(x)


def plain_jax(optimizer_name: str, x: np.ndarray, y: np.ndarray, *, networks: int) -> Epoch:
    """JAX as its own documentation writes it: scan over the batches of an epoch, vmap over networks, jit."""
    inputs, labels = jnp.asarray(x), jnp.asarray(y, jnp.int32)
    model = Network()
    optimizer = optax.sgd(0.1) if optimizer_name == "SGD" else optax.adam(1e-3)
    params = jax.vmap(model.init, (0, None))(jax.random.split(jax.random.key(0), networks), inputs[:1])
    state, keys = jax.vmap(optimizer.init)(params), jax.random.split(jax.random.key(1), networks)

    def loss(params: Any, rows: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, inputs[rows]), labels[rows]).mean()

    def step(carry: tuple[Any, Any], rows: jax.Array) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, rows), state, params)
        return (optax.apply_updates(params, updates), state), None

    def train(carry: tuple[Any, Any], key: jax.Array, examples: int) -> tuple[Any, Any]:
        whole = examples // BATCH * BATCH
        order = jax.random.permutation(key, examples)
        carry, _ = jax.lax.scan(step, carry, order[:whole].reshape(-1, BATCH))
        return step(carry, order[whole:])[0] if whole < examples else carry

    trained = {"carry": (params, state), "keys": keys}
    run = jax.jit(jax.vmap(train, (0, 0, None)), static_argnums=2)
    next_keys = jax.jit(jax.vmap(lambda key: jax.random.fold_in(key, 1)))

    def epoch(examples: int) -> None:
        trained["keys"] = next_keys(trained["keys"])
        trained["carry"] = jax.block_until_ready(run(trained["carry"], trained["keys"], examples))

    epoch(len(y))  # each number of examples is a program of its own
    return epoch


def scikit_learn(optimizer_name: str, x: np.ndarray, y: np.ndarray) -> Epoch:
    """scikit-learn's MLPClassifier; `partial_fit` is one shuffled epoch."""
    solver: dict[str, Any] = (
        {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False}
        if optimizer_name == "SGD"
        else {"solver": "adam", "learning_rate_init": 1e-3}
    )
    model = MLPClassifier(WIDTHS[1:-1], alpha=0.0, batch_size=BATCH, early_stopping=False, **solver)

    def epoch(examples: int) -> None:
        model.partial_fit(x[:examples], y[:examples], classes=np.arange(WIDTHS[-1]))

    return epoch


PEERS: dict[str, Callable[[str, np.ndarray, np.ndarray], Epoch]] = {
    "PyTorch eager": eager,
    "PyTorch eager, fused optimizer": lambda *job: eager(*job, fused=True),
    "PyTorch, DataLoader": data_loader,
    "torch.compile": lambda *job: eager(*job, compiled=True, fused=True),
    "torch.func, 8 networks": lambda *job: func(*job, networks=8),
    "torch.func, 32 networks": lambda *job: func(*job, networks=32),
    "plain JAX, 8 networks": lambda *job: plain_jax(*job, networks=8),
    "plain JAX, 64 networks": lambda *job: plain_jax(*job, networks=64),
    "scikit-learn": scikit_learn,
    "bfloat16: PyTorch eager, fused optimizer": lambda *job: eager(*job, mixed=True, fused=True),
    "bfloat16: torch.compile": lambda *job: eager(*job, compiled=True, mixed=True, fused=True),
}
_worker: dict[str, Any] = {}


def start(pixels: np.ndarray, labels: np.ndarray, threads: int | None) -> None:
    """Make this process a worker on these digits, with so many threads; None: as the libraries choose."""
    warnings.filterwarnings("ignore", category=UserWarning)
    if threads is not None:
        torch.set_num_threads(threads)
        threadpoolctl.threadpool_limits(threads)
    _worker.update(x=(pixels.reshape(len(pixels), -1) / 255).astype(np.float32), y=labels.astype(np.int64), epochs={})


def warm_up(peer: str, optimizer: str) -> float:
    """Make the peer and let it train a few batches; the seconds of that, compilation above all."""
    begin = time.perf_counter()
    epoch = PEERS[peer](optimizer, _worker["x"], _worker["y"])
    epoch(WARM_UP_EXAMPLES)
    _worker["epochs"][peer, optimizer] = epoch
    return time.perf_counter() - begin


def train_epoch(peer: str, optimizer: str) -> float:
    """Train one epoch on all examples: its seconds."""
    begin = time.perf_counter()
    _worker["epochs"][peer, optimizer](len(_worker["y"]))
    return time.perf_counter() - begin
