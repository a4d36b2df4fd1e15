"""Matching two MLPs: the symmetry that brings one closest to the other, with signs and lengths."""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from mlpjax.activations import Invariance
from mlpjax.landscape.permutations import Choice, Leaf, Specification, descend, make_leaves, require_matchable
from mlpjax.landscape.symmetries import (
    Element,
    act,
    balancing_factors,
    invariance_of,
    make_layer_element,
)
from mlpjax.models import MLP, dense_layers
from mlpjax.typing import Params

# Compiled once for networks of one form, where the parts alone would be dispatched, or compiled, with every match.
_act = jax.jit(act)
_balancing_factors = jax.jit(balancing_factors)


@partial(jax.jit, static_argnums=0)
def _make_element(
    invariance: Invariance, orders: list[Int[Array, "..."]], factors: list[Float[Array, "..."]]
) -> Element:
    return tuple(itertools.starmap(partial(make_layer_element, invariance), zip(orders, factors, strict=True)))


class Match(NamedTuple):
    """How one network is brought close to another."""

    element: Element
    """Of the group: `act(element, b)` is close to a."""
    distance: float
    """||a - act(element, b)||, over all parameters; never above ||a - b||."""
    passes: int
    """Passes over the layers of the search that found it, the last one, which changed nothing, included."""


def specification_of(params: Params) -> Specification:
    """Which axes of an MLP's parameters are which units; those of hidden layer l have the name dense_l.

    Args:
        params: the network's parameters.

    Returns:
        The specification, for `permute` and `match_permutations`.
    """
    hidden = [f"dense_{layer}" for layer in range(len(dense_layers(params)) - 1)]
    specification: dict[str, Any] = {name: () for name in params if not name.startswith("dense_")}
    for layer, (inputs, units) in enumerate(itertools.pairwise([None, *hidden, None])):
        own = {"kernel": (inputs, units), "bias": (units,)}
        specification[f"dense_{layer}"] = {part: own[part] for part in params[f"dense_{layer}"]}
    return specification


def match(model: MLP, a: Params, b: Params, key: Key[Array, ""], restarts: int = 0) -> Match:
    """Find the group element that brings one network closest to another, by weight matching.

    argmin over g of ||a - g b||: for one hidden layer after the other, in random order, the best permutation with all
    other layers fixed, an assignment problem solved exactly, until no layer changes. The best of several searches: from
    the identity, and from random elements.

    What the paper does for permutations goes for signs too, which leave the length of b as it is: units are assigned by
    max(<w, w'>, <w, -w'>) over incoming and outgoing weights together. (A sigmoid is odd around 1/2, so with the next
    layer's bias counted from there.) Rescaling does change the length, and with it what is close. So where the
    activation allows it, both networks are balanced first, the weights into each unit as long as those out of it, and
    in the end every unit gets the scale of its partner. Not of unit length into each unit: then units that hardly
    reach the output would count as much as others.

    Args:
        model: the network.
        a: parameters of the network that stays.
        b: parameters of the network that is moved.
        key: random key; the same key gives the same match.
        restarts: searches from random elements, besides the one from the identity (>= 0).

    Returns:
        The element, the distance that is left, and the passes it took. It is the identity, after 0 passes, where no
        search came closer.

    Raises:
        UserError: the two are not of the same form, a weight is not finite, or restarts below 0.

    Source: Ainsworth, Hayase and Srinivasa, Git Re-Basin, arXiv:2209.04836, section 3.2 and algorithm 1.
    """
    require_matchable(a, b, restarts)
    invariance = invariance_of(model)
    widths = model.widths[1:-1]
    names = [f"dense_{layer}" for layer in range(len(widths))]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    factors = [[np.ones(width) for width in widths]] * 2
    if invariance.homogeneous:
        factors = [[np.asarray(factor, float) for factor in _balancing_factors(params)] for params in (a, b)]
    ours, theirs = (_comparable(invariance, params, own) for params, own in zip((a, b), factors, strict=True))
    leaves = [_with_flips(leaf, invariance) for leaf in make_leaves(specification_of(a), ours, theirs)]

    identity = [Choice(np.arange(width), np.ones(width)) for width in widths]
    unmoved = _make_element(invariance, [choice.order for choice in identity], [choice.sign for choice in identity])
    best = Match(unmoved, _distance(a, b), 0)
    for start in [identity, *([_random_choice(invariance, width, rng) for width in widths] for _ in range(restarts))]:
        choices, passes = descend(leaves, dict(zip(names, start, strict=True)), rng)
        scales = [
            sign * their[order] / our for (order, sign), our, their in zip(choices.values(), *factors, strict=True)
        ]
        element = _make_element(invariance, [choice.order for choice in choices.values()], scales)
        distance = _distance(a, _act(element, b))
        if distance < best.distance:
            best = Match(element, distance, passes)
    return best


def _distance(a: Params, b: Params) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return float(np.sqrt(sum(np.sum((np.asarray(x, float) - np.asarray(y, float)) ** 2) for x, y in pairs)))


def _random_choice(invariance: Invariance, width: int, rng: np.random.Generator) -> Choice:
    sign = rng.choice((-1.0, 1.0), width) if invariance.flip else np.ones(width)
    return Choice(rng.permutation(width), sign)


def _comparable(invariance: Invariance, params: Params, factors: list[Float[np.ndarray, "..."]]) -> Params:
    """The parameters rescaled, and their biases counted from where the activation is odd."""
    found = dict(params)
    for layer, dense in enumerate(dense_layers(params)):
        before = factors[layer - 1][:, None] if layer > 0 else 1.0
        after = factors[layer] if layer < len(factors) else 1.0
        kernel = np.asarray(dense["kernel"], float) / before
        own = {"kernel": kernel * after}
        if "bias" in dense:
            centre = invariance.flip[1] / 2 * kernel.sum(axis=0) if layer > 0 and invariance.flip else 0.0
            own["bias"] = (np.asarray(dense["bias"], float) + centre) * after
        found[f"dense_{layer}"] = own
    return found


def _with_flips(leaf: Leaf, invariance: Invariance) -> Leaf:
    """A flip turns what comes into a unit, the last axis; and what leaves it where the activation is odd, not even."""
    if not (invariance.flip and leaf.axes):
        return leaf
    *inputs, units = leaf.axes
    outgoing = [axis._replace(flip=1 / invariance.flip[0]) for axis in inputs]
    return leaf._replace(axes=(*outgoing, units._replace(flip=-1.0)))
