"""The cheap random bits: are they permutations, and do they look like chance?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlpjax.hashing import SORT_BELOW, bernoulli, mix, permutation, random_bits


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


compiled_permutation = jax.jit(permutation, static_argnums=1)


@settings(max_examples=12, deadline=None)
@given(count=st.integers(1, 5000), seed=st.integers(0, 2**31 - 1))
def test_permutation_holds_every_number_once(count, seed):
    order = compiled_permutation(jax.random.key(seed), count)
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


@pytest.mark.parametrize("count", [SORT_BELOW - 1, SORT_BELOW, SORT_BELOW + 1, 60000])
def test_permutation_at_the_edges(count):
    orders = jax.jit(jax.vmap(lambda key: permutation(key, count)))(keys(3))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(count), (3, 1)))
    assert (orders[0] != orders[1]).mean() > 0.99
    np.testing.assert_array_equal(orders[0], permutation(keys(3)[0], count))


@pytest.mark.parametrize("count", [1030, pytest.param(2000, marks=pytest.mark.slow)])
def test_places_and_neighbours_of_a_permutation_are_uniform(count):
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, count)))(keys(4000)))
    bins = 20

    def uniform(values):
        observed = np.bincount(np.asarray(values).ravel() * bins // count, minlength=bins)
        return stats.chisquare(observed).pvalue

    assert uniform(orders[:, 0]) > 1e-4
    assert uniform(orders[:, count // 2]) > 1e-4
    assert uniform((orders[:, 1] - orders[:, 0]) % count) > 1e-4
    pairs = np.histogram2d(orders[:, 3], orders[:, 700], bins=8)[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-4
    ranks = (np.arange(count) - (count - 1) / 2) / np.sqrt(count * (count**2 - 1) / 12)  # of length 1, so that
    correlations = (orders[:500] - (count - 1) / 2) @ ranks / np.sqrt(count * (count**2 - 1) / 12)  # this is Spearman's
    assert stats.kstest(correlations * np.sqrt(count - 1), "norm").pvalue > 1e-4


def test_fixed_points_of_a_permutation_are_as_rare_as_chance_has_them():
    orders = np.asarray(jax.vmap(lambda key: permutation(key, 1500))(keys(2000, seed=1)))
    fixed = (orders == np.arange(1500)).sum(axis=1)  # Poisson with mean 1
    assert abs(fixed.mean() - 1) < 4 / np.sqrt(2000)
    assert abs(fixed.var() - 1) < 0.2


def test_mix_is_the_published_function_and_one_to_one():
    def reference(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    words = [0, 1, 2, 12345, 2**31, 2**32 - 1]
    assert [int(word) for word in mix(jnp.asarray(words, jnp.uint32))] == [reference(word) for word in words]
    assert len(np.unique(mix(jnp.arange(2**16, dtype=jnp.uint32)))) == 2**16


def test_random_bits_are_balanced_and_independent_of_place_and_key():
    words = np.asarray(jax.vmap(lambda key: random_bits(key, (64, 256)))(keys(8))).reshape(8, -1)
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    flips = bits.reshape(8, -1).mean(axis=1)
    assert np.abs(flips - 0.5).max() < 4 * 0.5 / np.sqrt(bits[0].size)
    signs = 2.0 * bits[..., 5] - 1
    assert np.abs(np.corrcoef(signs) - np.eye(8)).max() < 5 / np.sqrt(signs.shape[1])
    for lag in (1, 2, 256):
        assert abs(np.mean(signs[:, lag:] * signs[:, :-lag])) < 5 / np.sqrt(signs.size)
    assert stats.kstest(words[0] / 2**32, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.6, 1.0])
def test_bernoulli_has_its_probability(probability):
    draws = np.asarray(bernoulli(jax.random.key(3), jnp.float32(probability), (500, 400)))
    assert abs(draws.mean() - probability) <= 4 * np.sqrt(probability * (1 - probability) / draws.size)
