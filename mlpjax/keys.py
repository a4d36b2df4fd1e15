"""The random keys of one network, one for each purpose of chance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key


class Keys(NamedTuple):
    """One key for each thing that chance decides.

    The place of a field is its number: a key is the seed's own with this number folded in. So a new purpose goes to the
    end, and changes no draw of the others.
    """

    init: Key[Array, ""]
    """Draws the first parameters."""
    order: Key[Array, ""]
    """Shuffles the training examples at every epoch."""
    dropout: Key[Array, ""]
    """Chooses the hidden units that are dropped."""
    sample: Key[Array, ""]
    """Draws the training examples, where the recipe has a `sample_size`."""
    augment: Key[Array, ""]
    """Deforms the training examples, where the task is `augmented`."""
    attack: Key[Array, ""]
    """Where an attack starts, if the task is `adversarial`."""

    def at(self, step: Int[Array, ""] | int) -> "Keys":
        """The keys of one step of training."""
        return Keys(*(jax.random.fold_in(key, step) for key in self))


def make_keys(seed: Int[Array, ""] | Key[Array, ""] | int) -> Keys:
    """The keys of one seed.

    Args:
        seed: at least 0; or a random key in its place.
    """
    own = jax.random.key(seed) if not _is_key(seed) else seed
    return Keys(*jax.vmap(jax.random.fold_in, (None, 0))(own, jnp.arange(len(Keys._fields))))


def _is_key(seed: Int[Array, ""] | Key[Array, ""] | int) -> bool:
    return isinstance(seed, jax.Array) and jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key)
