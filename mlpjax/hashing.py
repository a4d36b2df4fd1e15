"""Cheap random bits: a keyed hash of a counter, for shuffling, dropout and deformations.

JAX's own threefry is a cipher, and `jax.random.permutation` sorts twice; inside a training loop both cost more than the
randomness is worth. Here the key still comes from threefry, once an epoch or a step, and is then stretched by a hash.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from mlpjax.typing import Number

ROUNDS = 8
"""Rounds of the Feistel network; four of ideal round functions make a strong pseudo-random permutation."""
SORT_BELOW = 1024
"""A shuffle of fewer is sorted: there the halves of a Feistel network are too short to mix, and sorting is cheap."""


def mix(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of 32-bit words in which every input bit flips every output bit about half the time.

    Args:
        x: any words.

    Returns:
        one word for each, the same for the same word.

    Source: the constants of lowbias32, C. Wellons, "Prospecting for Hash Functions" (2018).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def random_bits(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """Random words: mix(mix(i ^ k0) + k1) for the counter i and two words k0, k1 drawn with the key.

    Args:
        key: the random key; another key gives words that have nothing to do with these.
        shape: how many words, fewer than 2^32.

    Returns:
        uniformly distributed 32-bit words.
    """
    k0, k1 = jax.random.bits(key, (2,), jnp.uint32)
    counter = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return mix(mix(counter ^ k0) + k1)


def uniform(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Uniform in [0, 1), to a resolution of 2^-24, independently in every place.

    Args:
        key: the random key.
        shape: how many, fewer than 2^32.

    Returns:
        the draws.
    """
    return (random_bits(key, shape) >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def bernoulli(key: Key[Array, ""], probability: Number, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """True with the given probability, to a resolution of 2^-24, independently in every place.

    Args:
        key: the random key.
        probability: in [0, 1].
        shape: how many.

    Returns:
        the draws.
    """
    return uniform(key, shape) < probability


def permutation(key: Key[Array, ""], count: int) -> Int[Array, " count"]:
    """A random order of 0 .. count - 1: a Feistel network on the next power of two, walked until it lands inside.

    A Feistel network with any round function is a bijection of the words of b bits. Applying it again to what falls at
    or beyond `count` makes it a bijection of 0 .. count - 1.

    Args:
        key: the random key.
        count: how many, in [1, 2^31).

    Returns:
        every number once.

    Source: M. Luby and C. Rackoff, SIAM J. Comput. 17, 373 (1988); J. Black and P. Rogaway, "Ciphers with Arbitrary
    Finite Domains" (2002), section 4; for shuffling, R. Mitchell et al., arXiv:2106.06161.
    """
    if count < SORT_BELOW:
        return jax.random.permutation(key, count)
    bits = (count - 1).bit_length()
    low_bits = bits // 2
    low_mask, high_mask = jnp.uint32(2**low_bits - 1), jnp.uint32(2 ** (bits - low_bits) - 1)
    keys = jax.random.bits(key, (ROUNDS,), jnp.uint32)

    def feistel(x: UInt32[Array, " count"]) -> UInt32[Array, " count"]:
        low, high = x & low_mask, x >> low_bits
        for i in range(0, ROUNDS, 2):
            high ^= mix(low ^ keys[i]) & high_mask
            low ^= mix(high ^ keys[i + 1]) & low_mask
        return (high << low_bits) | low

    def walk(x: UInt32[Array, " count"]) -> UInt32[Array, " count"]:
        return jnp.where(x >= count, feistel(x), x)

    inside = jax.lax.while_loop(lambda x: jnp.any(x >= count), walk, feistel(jax.lax.iota(jnp.uint32, count)))
    return inside.astype(jnp.int32)
