"""Embedding: examples replaced by what a frozen network makes of them, once, before many networks train on them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from mlpjax.data import Dataset, Split
from mlpjax.errors import UserError
from mlpjax.plumbing.devices import AXIS, device_mesh
from mlpjax.plumbing.progress import progress_bar

BATCH = 32
"""Examples at a time on each device: VGG16's activations for them, at 224 x 224 pixels, take less than 1 GB."""


def embedded(dataset: Dataset, function: Callable[..., Array], *shared: PyTree) -> Dataset:
    """The data set with each example of its three splits replaced by what a function gives for it.

    x -> f(x), computed once, on all devices, batch by batch; a bar shows how far it is. With the body of a trained
    network as f, networks that train on the result are heads of one frozen body.

    Args:
        dataset: whose targets, classes and splits stay.
        function: `function(x, *shared)`, pure and in JAX: a batch of examples as stored (uint8 pixels are 0..255) ->
            an array with a row for each, which depends on this example alone.
        shared: further arguments, trees of arrays: the body's variables. What the function holds itself is compiled in,
            which takes long where it is large.

    Returns:
        The data set; its examples are uint8 where the function gives that, else float32.

    Raises:
        UserError: the function gives something else than an array with a row for each example.
    """
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    x = dataset.train.x
    form = jax.eval_shape(function, jax.ShapeDtypeStruct((BATCH, *x.shape[1:]), x.dtype), *shared)
    if not isinstance(form, jax.ShapeDtypeStruct) or form.shape[:1] != (BATCH,):
        given = f"{list(form.shape)}" if isinstance(form, jax.ShapeDtypeStruct) else f"a {type(form).__name__}"
        raise UserError(
            f"embedded {dataset.name}: the function gives {given} for {BATCH} examples; return one array with a row "
            "for each (a model's apply returns statistics, too)"
        )
    mesh = device_mesh(len(x))
    batch, spread, everywhere = BATCH * mesh.size, PartitionSpec(AXIS), PartitionSpec()
    specs = spread, *(everywhere for _ in shared)
    lifted = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False))
    shared = jax.device_put(shared, NamedSharding(mesh, everywhere))
    total, done = sum(len(split.x) for split in splits.values()), 0
    found: dict[str, Any] = {}
    with progress_bar("embedding", "examples") as on_progress:
        for part, split in splits.items():
            rows = len(split.x)
            values = np.empty((rows, *form.shape[1:]), np.uint8 if form.dtype == np.uint8 else np.float32)
            for start in range(0, rows, batch):
                # The last batch is filled up with copies, so that all share one compiled program.
                places = np.minimum(np.arange(start, start + batch), rows - 1)
                values[start : start + batch] = np.asarray(lifted(split.x[places], *shared))[: rows - start]
                done += min(batch, rows - start)
                on_progress(done, total)
            found[part] = Split(values, split.y)
    return replace(dataset, name=f"{dataset.name}, embedded", **found)
