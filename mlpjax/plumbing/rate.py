"""The arithmetic of a training, and how much of it this machine does in a second."""

import time
from collections.abc import Sequence
from itertools import pairwise

import jax
import numpy as np

SIDE = 2048
"""Of the matrices that are multiplied: large enough to reach the machine's rate."""


def flops_per_example(widths: Sequence[int]) -> int:
    """Floating-point operations of training an MLP on one example, in its products alone.

    3 sum_l 2 n_l n_(l+1) - 2 n_0 n_1: forward, for the weights' gradients, and for those of all inputs but the first
    layer's.

    Args:
        widths: units of every layer.
    """
    products = [2 * inputs * outputs for inputs, outputs in pairwise(widths)]
    return 3 * sum(products) - products[0]


def float32_rate() -> float:
    """What all devices reach together in products of 2048 x 2048, in GFLOP/s: the median of seven turns."""
    mesh = jax.make_mesh((len(jax.devices()),), ("devices",))
    matrices = np.ones((len(jax.devices()), SIDE, SIDE), np.float32)
    spread = jax.device_put(matrices, jax.NamedSharding(mesh, jax.P("devices")))
    product = jax.jit(lambda a: a @ a)
    turns = []
    for _ in range(8):
        begin = time.perf_counter()
        product(spread).block_until_ready()
        turns.append(time.perf_counter() - begin)
    return 2 * matrices.size * SIDE / float(np.median(turns[1:])) / 1e9
