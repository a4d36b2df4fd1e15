"""Adversarial attacks: the perturbation of an image, of at most epsilon a pixel, on which a network does worst.

An `Attack` goes into `adversarial(task, attack)` to train against it, and into `strongest` to test what was trained.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mlpjax.losses import Labels, to_targets
from mlpjax.typing import Number

Attack: TypeAlias = Callable[
    [Key[Array, ""], Callable[[Array], Float[Array, ""]], Float[Array, "batch *features"]],
    Float[Array, "batch *features"],
]
"""(key, objective, images with pixels from 0 to 1) -> images at which the objective is larger. The objective is a sum
or a mean over the images, so that the gradient of each is its own."""


def fgsm(epsilon: Number) -> Attack:
    """The fast gradient sign method: one step, as long as allowed.

    x + epsilon sign(dL/dx), cut off at 0 and 1: where L is linear and no pixel is cut off, the worst that there is.

    Args:
        epsilon: by how much a pixel may change, at least 0.

    Returns:
        The attack, in which nothing is random.

    Source: Goodfellow, Shlens and Szegedy, arXiv:1412.6572.
    """

    def attack(
        _: Key[Array, ""], objective: Callable[[Array], Float[Array, ""]], x: Float[Array, "batch *features"]
    ) -> Float[Array, "batch *features"]:
        return jnp.clip(x + epsilon * jnp.sign(jax.grad(objective)(x)), 0, 1)

    return attack


def pgd(epsilon: Number, step: Number, steps: int) -> Attack:
    """Projected gradient ascent from a random start.

    x_0 = x + U(-epsilon, epsilon),  x_(t+1) = P(x_t + step sign(dL/dx_t)),  P: onto [x - epsilon, x + epsilon] and
    [0, 1], to which x_0 is brought, too.

    Args:
        epsilon: by how much a pixel may change, at least 0.
        step: of every pixel, above 0.
        steps: how many, at least 0, where only the start is taken. One of 1.25 epsilon is that of fast adversarial
            training (Wong, Rice and Kolter, arXiv:2001.03994).

    Returns:
        The attack.

    Source: Madry, Makelov, Schmidt, Tsipras and Vladu, arXiv:1706.06083.
    """

    def attack(
        key: Key[Array, ""], objective: Callable[[Array], Float[Array, ""]], x: Float[Array, "batch *features"]
    ) -> Float[Array, "batch *features"]:
        low, high = jnp.maximum(x - epsilon, 0), jnp.minimum(x + epsilon, 1)
        climb = jax.grad(objective)
        noise = epsilon * jax.random.uniform(key, x.shape, x.dtype, -1, 1)
        return jax.lax.fori_loop(
            0, steps, lambda _, at: jnp.clip(at + step * jnp.sign(climb(at)), low, high), jnp.clip(x + noise, low, high)
        )

    return attack


def margins(outputs: Float[Array, "batch outputs"], labels: Labels) -> Float[Array, " batch"]:
    """By how much the best wrong class is ahead of the right one: above 0 where a network errs.

    max_(k != y) f_k - f_y. Unlike the cross-entropy it does not flatten where a network is sure, so that its gradient
    always leads an attack on.

    Args:
        outputs: logits f, at least two.
        labels: the class y of each example.

    Source: Carlini and Wagner, arXiv:1608.04644, section V.
    """
    right = to_targets(outputs, labels)
    return jnp.max(jnp.where(right > 0, -jnp.inf, outputs), axis=1) - jnp.sum(right * outputs, axis=1)


def strongest(
    attack: Attack,
    key: Key[Array, ""],
    losses: Callable[[Array], Float[Array, " batch"]],
    x: Float[Array, "batch *features"],
    restarts: int,
) -> Float[Array, "batch *features"]:
    """The worst for each example of several runs of an attack; the example itself, where none is worse.

    Args:
        attack: whose objective is the sum of the losses.
        key: of the random starts.
        losses: images -> what is made large of each, such as `margins`; a network that errs on any run's image errs on
            the one that is kept.
        x: the images.
        restarts: how many runs, at least 1.
    """

    def again(
        best: tuple[Float[Array, "batch *features"], Float[Array, " batch"]], key: Key[Array, ""]
    ) -> tuple[tuple[Float[Array, "batch *features"], Float[Array, " batch"]], None]:
        kept, loss = best
        tried = attack(key, lambda x: jnp.sum(losses(x)), x)
        found = losses(tried)
        worse = (found > loss).reshape(-1, *[1] * (x.ndim - 1))
        return (jnp.where(worse, tried, kept), jnp.maximum(found, loss)), None

    return jax.lax.scan(again, (x, losses(x)), jax.random.split(key, restarts))[0][0]
