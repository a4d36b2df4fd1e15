"""Running statistics of networks that were not trained to them, as on the way from one network to another."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlpjax.data import Split
from mlpjax.keys import make_keys
from mlpjax.landscape.loss import mean_over_batches, whole_loss
from mlpjax.task import Batch, MeanLoss, Task, mean_loss
from mlpjax.typing import Variables

KEY = 0
"""Seed of what chance does in training besides, such as dropout before a batch norm."""


def recomputed_stats(task: Task, variables: Variables, split: Split, batch_size: int) -> PyTree:
    """The running statistics that a network has where it is: the mean over batches of each batch's own.

    Training makes s <- m s + (1 - m) s_b of every batch b. That is linear in s: from s = 0 it gives (1 - m) s_b, and
    its derivative is m. So s_b is known without m being told, and sum_b n_b s_b / n is what a running average over
    endless batches comes to at these parameters.

    Args:
        task: the network's; its objective with keys is what updates the statistics.
        variables: the network; the values of its statistics do not matter, but of those that training leaves alone.
        split: examples, those of the training.
        batch_size: examples in a batch, at least 2; the last may be smaller.

    Returns:
        The statistics, in the form of those of `variables`.

    Source: Wortsman et al., arXiv:2102.10472, and Jordan et al., REPAIR, arXiv:2211.08403, on why an interpolated
    network needs them; `torch.optim.swa_utils.update_bn` takes the same mean (of Izmailov et al., arXiv:1803.05407).
    """
    params, stats = variables
    kind = jax.tree.leaves(params)[0].dtype

    def own(rows: Split) -> PyTree:
        batch = Batch(task.prepare(rows.x).astype(kind), jnp.asarray(rows.y), jnp.ones(len(rows.y), kind))

        def updated(stats: PyTree) -> PyTree:
            return task.objective(Variables(params, stats), batch, make_keys(KEY))[1]

        zeros, ones = jax.tree.map(jnp.zeros_like, stats), jax.tree.map(jnp.ones_like, stats)
        added, kept = jax.jvp(updated, (zeros,), (ones,))
        return jax.tree.map(
            lambda old, a, m: jnp.where(m == 1, old, a / jnp.where(m == 1, 1, 1 - m)), stats, added, kept
        )

    return mean_over_batches(own, split, batch_size)


def recomputed_loss(task: Task, stats: PyTree, batch_size: int) -> MeanLoss:
    """The loss as a function of parameters alone, of a network that has statistics: with those recomputed each time.

    Args:
        task: the network's.
        stats: in the form of its statistics.
        batch_size: examples at a time, at least 2.

    Returns:
        `loss(params, split)`, over the whole split, which the statistics are of as well.
    """

    def loss(params: PyTree, split: Split) -> Float[Array, ""]:
        own = recomputed_stats(task, Variables(params, stats), split, batch_size)
        return whole_loss(mean_loss(task, own), params, split, batch_size)

    return loss
