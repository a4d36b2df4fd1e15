"""The landscape's alternatives, as a good user of each would write the same job; imported by processes of their own.

The job is the curvature and the surface of common.WIDTHS with ReLU, at given parameters, on given digits all at once,
cross-entropy, float32. Results come back in mlpjax's form of the parameters, so that one side can judge both.
"""

import itertools
import time
import warnings
from typing import Any, NamedTuple

import curvlinops
import loss_landscapes
import numpy as np
import pyhessian
import threadpoolctl
import torch
from joblib import cpu_count
from loss_landscapes.metrics import Loss
from peers import network
from scipy.sparse.linalg import eigsh
from torch.nn import CrossEntropyLoss

__all__ = ["cpu_count", "curvlinops_top", "plane", "pyhessian_density", "pyhessian_top", "start", "surface"]

_worker: dict[str, Any] = {}


class Found(NamedTuple):
    """Eigenpairs, and what they took."""

    seconds: float
    values: np.ndarray
    vectors: dict[str, dict[str, np.ndarray]]
    """In the form of the parameters, with a leading axis."""


def start(
    pixels: np.ndarray, labels: np.ndarray, networks: list[dict[str, dict[str, np.ndarray]]], threads: int | None
) -> None:
    """Make this process a worker on these digits and networks, with so many threads; None: as torch chooses."""
    warnings.filterwarnings("ignore")
    if threads is not None:
        torch.set_num_threads(threads)
        threadpoolctl.threadpool_limits(threads)
    torch.eig = eig  # type: ignore[assignment]
    x = torch.from_numpy((pixels.reshape(len(pixels), -1) / 255).astype(np.float32))
    y = torch.from_numpy(labels.astype(np.int64))
    _worker.update(data=(x, y), models=[to_torch(params) for params in networks])


def eig(matrix: torch.Tensor, eigenvectors: bool = True) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG001
    """What PyHessian 0.1 asks torch for and newer versions have no more: eigenvalues as pairs of real numbers."""
    values, vectors = torch.linalg.eig(matrix)
    return torch.view_as_real(values), vectors.real


def to_torch(params: dict[str, dict[str, np.ndarray]]) -> torch.nn.Sequential:
    """The network with these parameters."""
    model = network()
    with torch.no_grad():
        for index, layer in enumerate(module for module in model if isinstance(module, torch.nn.Linear)):
            layer.weight.copy_(torch.from_numpy(np.array(params[f"dense_{index}"]["kernel"].T)))
            layer.bias.copy_(torch.from_numpy(np.array(params[f"dense_{index}"]["bias"])))
    return model


def to_params(vectors: list[list[np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Vectors in the order of torch's parameters, in mlpjax's form."""
    stacked = [np.stack(leaves) for leaves in zip(*vectors, strict=True)]
    return {
        f"dense_{index}": {"kernel": np.swapaxes(weight, 1, 2), "bias": bias}
        for index, (weight, bias) in enumerate(zip(stacked[::2], stacked[1::2], strict=True))
    }


def pyhessian_top(which: int, top: int, tolerance: float, most: int) -> Found:
    """PyHessian: power iteration with deflation, until an eigenvalue changes by less than the tolerance, relatively."""
    torch.manual_seed(which)
    begin = time.perf_counter()
    hessian = pyhessian.hessian(_worker["models"][which], CrossEntropyLoss(), data=_worker["data"], cuda=False)
    values, vectors = hessian.eigenvalues(maxIter=most, tol=tolerance, top_n=top)
    seconds = time.perf_counter() - begin
    return Found(seconds, np.array(values), to_params([[leaf.numpy() for leaf in vector] for vector in vectors]))


def curvlinops_top(which: int, top: int, tolerance: float) -> Found:
    """The Hessian of curvlinops in SciPy's eigsh: restarted Lanczos, until relative residuals are small enough."""
    model = _worker["models"][which]
    begin = time.perf_counter()
    hessian = curvlinops.HessianLinearOperator(
        model, CrossEntropyLoss(), list(model.parameters()), [_worker["data"]], check_deterministic=False
    )
    # A start of its own, always the same: by default it is random, and so is how often eigsh starts anew.
    v0 = np.random.default_rng(which).standard_normal(hessian.shape[0], np.float32)
    values, vectors = eigsh(hessian.to_scipy(np.float32), k=top, which="LA", tol=tolerance, v0=v0)
    seconds = time.perf_counter() - begin
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    split = [
        [part.reshape(shape) for part, shape in zip(np.split(vector, cuts), shapes, strict=True)]
        for vector in vectors.T[::-1]
    ]
    return Found(seconds, values[::-1], to_params(split))


def pyhessian_density(which: int, probes: int, steps: int) -> tuple[float, np.ndarray, np.ndarray]:
    """PyHessian's stochastic Lanczos quadrature: seconds, nodes and weights [probes, steps]."""
    begin = time.perf_counter()
    hessian = pyhessian.hessian(_worker["models"][which], CrossEntropyLoss(), data=_worker["data"], cuda=False)
    nodes, weights = hessian.density(iter=steps, n_v=probes)
    return time.perf_counter() - begin, np.array(nodes), np.array(weights)


def surface(which: int, points: int) -> tuple[float, np.ndarray]:
    """The package loss-landscapes: seconds, and the loss on a plane of two filter-normalised directions."""
    begin = time.perf_counter()
    with torch.no_grad():
        losses = loss_landscapes.random_plane(
            _worker["models"][which],
            Loss(CrossEntropyLoss(), *_worker["data"]),
            distance=1,
            steps=points,
            normalization="filter",
            deepcopy_model=True,
        )
    return time.perf_counter() - begin, losses


def plane(which: int, directions: dict[str, dict[str, np.ndarray]], at: list[float]) -> np.ndarray:
    """The loss of a network moved along two given directions, point by point, for checking: [at, at]."""
    one, other = (
        to_torch({layer: {name: leaf[i] for name, leaf in leaves.items()} for layer, leaves in directions.items()})
        for i in range(2)
    )
    x, y = _worker["data"]
    losses = np.empty((len(at), len(at)))
    with torch.no_grad():
        for (row, alpha), (column, beta) in itertools.product(enumerate(at), enumerate(at)):
            moved = network()
            models = (moved, _worker["models"][which], one, other)
            for place, centre, first, second in zip(*(model.parameters() for model in models), strict=True):
                place.copy_(centre + alpha * first + beta * second)
            losses[row, column] = CrossEntropyLoss()(moved(x), y)
    return losses
