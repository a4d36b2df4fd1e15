"""Running statistics taken anew: the moments of the batches by hand, whatever the module's momentum, and the loss."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import Recipe, Split, Variables, from_linen, make_task
from mlpjax.landscape.running_statistics import recomputed_loss, recomputed_stats

RNG = np.random.default_rng(0)
SPLIT = Split(RNG.normal(3, 2, (30, 4)).astype(np.float32), (np.arange(30) % 2).astype(np.int32))


class Normed(nn.Module):
    """Two layers with batch norms, of which the second has a momentum of its own and the third is never updated."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.tanh(nn.BatchNorm(use_running_average=not train, momentum=0.3)(nn.Dense(3)(x)))
        return nn.BatchNorm(use_running_average=True)(nn.Dense(2)(x))


@pytest.fixture(scope="module")
def network() -> tuple:
    task = make_task(from_linen(Normed(), flag="train"), Recipe(normalisation="range"))
    drawn = task.init(jax.random.key(1), SPLIT.x)
    rng = np.random.default_rng(1)
    return task, Variables(drawn.params, jax.tree.map(lambda s: rng.uniform(1, 9, s.shape).astype("f4"), drawn.stats))


def moments(values: list[np.ndarray]) -> dict[str, np.ndarray]:
    weights = np.array([len(v) for v in values]) / 30
    return {
        "mean": sum(w * v.mean(axis=0) for w, v in zip(weights, values, strict=True)),
        "var": sum(w * v.var(axis=0) for w, v in zip(weights, values, strict=True)),
    }


def test_they_are_the_mean_of_the_batches_own(network: tuple) -> None:
    """By NumPy, in batches of 12, 12 and 6: each normalised by its own moments, as in training."""
    task, variables = network
    found = jax.jit(lambda v: recomputed_stats(task, v, SPLIT, 12))(variables)["batch_stats"]
    batches = [SPLIT.x[start : start + 12].astype(float) for start in (0, 12, 24)]
    dense = {name: np.asarray(value, float) for name, value in variables.params["Dense_0"].items()}
    behind = [(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) @ dense["kernel"] + dense["bias"] for x in batches]
    for name, expected in (("BatchNorm_0", moments(batches)), ("BatchNorm_1", moments(behind))):
        for moment, value in expected.items():
            np.testing.assert_allclose(found[name][moment], value, rtol=1e-4, atol=1e-5)
    for moment, value in variables.stats["batch_stats"]["BatchNorm_2"].items():
        np.testing.assert_array_equal(found["BatchNorm_2"][moment], value)


def test_many_passes_of_the_running_average_come_to_the_same(network: tuple) -> None:
    """All examples are one batch: the average forgets its start, and its values before do not matter."""
    task, variables = network
    found = recomputed_stats(task, variables, SPLIT, 30)
    model = from_linen(Normed(), flag="train")

    @jax.jit
    def passes(variables: Variables) -> Variables:
        def one(_: int, stats: dict) -> dict:
            return model.apply(Variables(variables.params, stats), jnp.asarray(SPLIT.x), jax.random.key(0))[1]

        return jax.lax.fori_loop(0, 300, one, variables.stats)

    for place in ("BatchNorm_0", "BatchNorm_1"):
        for moment, value in passes(variables)["batch_stats"][place].items():
            np.testing.assert_allclose(found["batch_stats"][place][moment], value, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_with_the_statistics_taken_anew(network: tuple) -> None:
    """Of the whole split in one batch it is the loss of training; and it is a function of the parameters alone."""
    task, variables = network
    outputs = from_linen(Normed(), flag="train").apply(variables, jnp.asarray(SPLIT.x), jax.random.key(0))[0]
    expected = jnp.mean(task.losses(outputs, jnp.asarray(SPLIT.y)))
    found = recomputed_loss(task, variables.stats, 30)(variables.params, SPLIT)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
