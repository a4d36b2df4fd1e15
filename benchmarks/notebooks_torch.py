"""What the public notebooks and devinterp do, as they do it; imported by processes of their own.

Double descent and lottery tickets are those of MNIST-1D's repository: PyTorch, one network after the other. The
learning coefficient is devinterp's, one chain after the other.
"""

import time
import warnings
from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import Any

import numpy as np
import torch
from devinterp.optim.sgld import SGLD
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from joblib import cpu_count
from torch.nn.functional import cross_entropy, linear
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["chains", "cpu_count", "curve", "start", "ticket"]

_worker: dict[str, Any] = {}


def start(x: np.ndarray, y: np.ndarray, threads: int | None) -> None:
    """Make this process a worker on these examples, with so many threads; None: as torch chooses."""
    warnings.filterwarnings("ignore")
    if threads is not None:
        torch.set_num_threads(threads)
    _worker.update(x=torch.from_numpy(x), y=torch.from_numpy(y.astype(np.int64)))


def network(widths: Sequence[int]) -> torch.nn.Sequential:
    """ReLU between layers, initialised as PyTorch does."""
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def curve(shapes: Sequence[Sequence[int]], batch: int, loader: bool) -> float:
    """One epoch of a network of every shape, SGD with momentum: its seconds. A DataLoader, or tensors in memory."""
    x, y = _worker["x"], _worker["y"]
    begin = time.perf_counter()
    for widths in shapes:
        model = network(widths)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        batches: Any = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
        if not loader:
            batches = ((x[rows], y[rows]) for rows in torch.randperm(len(y)).split(batch))
        for inputs, labels in batches:
            optimizer.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    return time.perf_counter() - begin


def ticket(widths: Sequence[int], batch: int, kept: float, steps: int) -> float:
    """Adam on a network under masks, which its weights are multiplied with at every step: seconds of a step."""
    x, y = _worker["x"], _worker["y"]
    model = network(widths)
    layers = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    masks = [[(torch.rand(part.shape) < kept).float() for part in layer.parameters()] for layer in layers]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    slices = cycle(range(0, len(y), batch))
    begin = time.perf_counter()
    for _ in range(steps):
        first = next(slices)
        outputs = x[first : first + batch]
        for layer, (weight, bias) in zip(layers, masks, strict=True):
            outputs = linear(outputs, layer.weight * weight, layer.bias * bias)
            outputs = outputs if layer is layers[-1] else outputs.relu()
        optimizer.zero_grad()
        cross_entropy(outputs, y[first : first + batch]).backward()
        optimizer.step()
    return (time.perf_counter() - begin) / steps


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    """Examples that a DataLoader takes a batch at a time from, and not row by row."""

    def __len__(self) -> int:
        return len(_worker["y"])

    def __getitems__(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return _worker["x"][rows], _worker["y"][rows]


def chains(widths: Sequence[int], count: int, steps: int) -> float:
    """SGLD around a network on all examples at a time: seconds of a step of one chain."""
    examples = len(_worker["y"])
    loader = DataLoader(Rows(), batch_size=examples, collate_fn=lambda batch: batch)
    begin = time.perf_counter()
    estimate_learning_coeff_with_summary(
        network(widths),
        loader,
        evaluate=lambda model, data: cross_entropy(model(data[0]), data[1]),
        sampling_method=SGLD,
        optimizer_kwargs={"lr": 1e-6, "localization": 1.0, "nbeta": examples / np.log(examples)},
        num_chains=count,
        num_draws=steps,
        verbose=False,
    )
    return (time.perf_counter() - begin) / (count * steps)
