"""Symmetries of a network: changes of its parameters that leave its function as it is.

Hidden units can be permuted. Where the activation allows it, a unit's incoming weights can also change their sign or
their length, if its outgoing weights make up for it. Not in the group: what single networks have besides (equal units
share their outgoing weights in any proportion; dead ones have any weights), the invertible matrices between the layers
of a linear network, of which only the scaled permutations are here, and PReLU's flip of a whole layer with
alpha -> 1/alpha.
"""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mlpjax.activations import Invariance, activation_of
from mlpjax.landscape.loss import require_same_form
from mlpjax.models import MLP, dense_layers
from mlpjax.typing import Params

BALANCING_SWEEPS = 1000
"""At most so many; three hidden layers take about 25 in float32."""


def invariance_of(model: MLP) -> Invariance:
    """What the activation of a network's hidden layers allows; a flip that moves the next bias needs one."""
    found = activation_of(model.activation).invariance
    if model.bias == "none" and found.flip and found.flip[1] != 0:
        return found._replace(flip=None)
    return found


class LayerElement(NamedTuple):
    """What a group element does to one hidden layer: unit j becomes what unit order[j] was, with other weights."""

    order: Int[Array, " units"]
    factor: Float[Array, " units"]
    """c, by which the incoming weights and the bias of (the new) unit j are multiplied."""
    gain: Float[Array, " units"]
    """f(c z) = gain f(z) + offset; what comes after makes up for it."""
    offset: Float[Array, " units"]


Element: TypeAlias = tuple[LayerElement, ...]
"""An element of the group: the `LayerElement` of every hidden layer."""


def make_layer_element(
    invariance: Invariance, order: Int[Array, " units"], factor: Float[Array, " units"]
) -> LayerElement:
    """One layer's part of a group element.

    Args:
        invariance: what the activation allows.
        order: a permutation of 0 .. units - 1.
        factor: by which the incoming weights are multiplied: 1; -1 where the activation has a flip; with any size
            where it can be scaled.
    """
    gain, offset = invariance.flip or (1.0, 0.0)
    flipped, size = factor < 0, jnp.abs(factor)
    return LayerElement(
        order, factor, jnp.where(flipped, gain * size, size), jnp.where(flipped, offset * size, 0 * size)
    )


def random_element(key: Key[Array, ""], model: MLP) -> Element:
    """Draw a group element: uniform permutations and signs, log-normal sizes exp(N(0, 1/4)).

    Args:
        key: random key.
        model: the network, whose activation says what there is to draw.
    """
    invariance = invariance_of(model)
    element = []
    for units, layer_key in zip(model.widths[1:-1], jax.random.split(key, model.hidden_layers), strict=True):
        order_key, sign_key, size_key = jax.random.split(layer_key, 3)
        factor = jnp.ones(units)
        if invariance.homogeneous:
            factor = jnp.exp(0.5 * jax.random.normal(size_key, (units,)))
        if invariance.flip:
            factor = jnp.where(jax.random.bernoulli(sign_key, shape=(units,)), -factor, factor)
        element.append(make_layer_element(invariance, jax.random.permutation(order_key, units), factor))
    return tuple(element)


def act(element: Element, params: Params) -> Params:
    """The parameters that a group element makes of a network's; the function stays as it is.

    For every hidden layer, with order p, factors c, and f(c z) = g f(z) + o:
    w_j <- c_j w_p(j),  b_j <- c_j b_p(j),  v_j <- v_p(j) / g_j,  next bias <- next bias - sum_j o_j v_p(j) / g_j,
    with w_j and b_j the weights and the bias into unit j and v_j the weights out of it.

    Args:
        element: of the group of this network.
        params: the network's parameters.

    Returns:
        Parameters of the same form.
    """
    params = jax.tree.map(jnp.asarray, params)
    for layer, units in enumerate(element):
        params = _act_on_layer(units, layer, params)
    return params


def _act_on_layer(units: LayerElement, layer: int, params: Params) -> Params:
    own, after = params[f"dense_{layer}"], params[f"dense_{layer + 1}"]
    order, (factor, gain, offset) = units.order, (part.astype(own["kernel"].dtype) for part in units[1:])
    moved = {"kernel": own["kernel"][:, order] * factor[None, :]}
    then = {"kernel": after["kernel"][order] / gain[:, None]}
    if "bias" in own:
        moved["bias"] = own["bias"][order] * factor
        then["bias"] = after["bias"] - jnp.sum(offset[:, None] * then["kernel"], axis=0)
    return params | {f"dense_{layer}": moved, f"dense_{layer + 1}": then}


def balancing_factors(params: Params) -> list[Float[Array, " units"]]:
    """Factors that make the weights into every hidden unit (with its bias) as long as those out of it.

    argmin over c > 0 of sum_l ||diag(c_{l-1})^-1 W_l diag(c_l)||^2 + ||b_l c_l||^2,

    layer by layer, each exactly, in sweeps until nothing changes: what Osborne's balancing of matrices does. It is
    convex in log c, and the answer is the shortest network that rescaling can reach.

    Args:
        params: the network's parameters.

    Returns:
        For every hidden layer the factor of each unit's incoming weights, above 0; 1 for units with nothing but zeros
        on one side, for which there is no best one.

    Source: E. E. Osborne, On pre-conditioning of matrices, J. ACM 7, 338 (1960); for networks P. Stock et al.,
    Equi-normalization of neural networks, arXiv:1902.10416.
    """
    layers = dense_layers(params)
    squares = [jnp.asarray(layer["kernel"]) ** 2 for layer in layers]
    biases = [
        jnp.asarray(layer["bias"]) ** 2 if "bias" in layer else jnp.zeros(1, squares[0].dtype) for layer in layers
    ]
    ends = [jnp.zeros(width, squares[0].dtype) for width in (squares[0].shape[0], squares[-1].shape[1])]
    tolerance = 8 * float(jnp.finfo(squares[0].dtype).eps)

    def sweep(state: tuple[list[Array], Array, Array]) -> tuple[list[Array], Array, Array]:
        logs, _, done = state
        new = list(logs)
        for layer in range(len(logs)):
            before = [ends[0], *new][layer]
            after = [*new, ends[1]][layer + 1]
            incoming = jnp.sum(squares[layer] * jnp.exp(-2 * before)[:, None], axis=0) + biases[layer]
            outgoing = jnp.sum(squares[layer + 1] * jnp.exp(2 * after)[None, :], axis=1)
            both = (incoming > 0) & (outgoing > 0)
            new[layer] = jnp.where(both, (jnp.log(outgoing) - jnp.log(incoming)) / 4, 0.0)
        moves = [jnp.max(jnp.abs(one - other)) for one, other in zip(new, logs, strict=True)]
        return new, jnp.max(jnp.stack(moves)), done + 1

    def unfinished(state: tuple[list[Array], Array, Array]) -> Bool[Array, ""]:
        _, move, done = state
        return (move > tolerance) & (done < BALANCING_SWEEPS)

    logs = [jnp.zeros(kernel.shape[1], kernel.dtype) for kernel in squares[:-1]]
    if logs:
        logs, _, _ = jax.lax.while_loop(unfinished, sweep, sweep((logs, jnp.asarray(jnp.inf), jnp.int32(0))))
    return [jnp.exp(log) for log in logs]


def balanced(model: MLP, params: Params) -> Params:
    """The network with the weights into every hidden unit as long as those out of it, where it can be rescaled."""
    invariance = invariance_of(model)
    if not invariance.homogeneous:
        return jax.tree.map(jnp.asarray, params)
    factors = balancing_factors(params)
    return act(tuple(make_layer_element(invariance, jnp.arange(len(factor)), factor) for factor in factors), params)


def _incoming(params: Params, layer: int) -> Float[Array, "units inputs"]:
    """The weights into every unit of a layer, and its bias."""
    dense = params[f"dense_{layer}"]
    parts = [dense["kernel"], *([dense["bias"][None, :]] if "bias" in dense else [])]
    return jnp.concatenate(parts, axis=0).T


def canonical(model: MLP, params: Params) -> Params:
    """One network for all that the group makes of it.

    Rescaled so that the weights into every unit are as long as those out of it; then, layer by layer from the input,
    units with weights w (and bias) get the sign that makes <r, w> positive and are sorted by it, for one fixed random
    direction r. Balanced and not of unit length: both sides of a unit count alike, and it is the shortest network of
    all. By a random projection and not by the length or the largest component: symmetric solutions, which are common,
    have units of equal length and components of equal size, and rounding would then decide.

    Rounding still decides where a projection is nearly 0 (the sign) or two of them are nearly equal (the order). With
    n units the closest two differ by about 1/n^2 of their spread: in float32 that happens for hundreds of units, so
    compare wide networks with `equal_up_to_symmetry`, which does not sort. It always happens for equal units, whose
    outgoing weights then stand in any order; and units with nothing but zeros on one side keep their length.

    Args:
        model: the network.
        params: its parameters.

    Returns:
        Parameters of the same form and function.
    """
    invariance = invariance_of(model)
    params = balanced(model, params)
    for layer in range(model.hidden_layers):
        weights = _incoming(params, layer)
        # From NumPy: the same numbers in float32 and float64.
        direction = jnp.asarray(np.random.default_rng(layer).standard_normal(weights.shape[1]), weights.dtype)
        projection = jnp.sum(weights * direction[None, :], axis=1)
        flipped = (projection < 0) & (invariance.flip is not None)
        sign = jnp.where(flipped, -jnp.ones_like(projection), 1.0)
        order = jnp.argsort(projection * sign)
        params = _act_on_layer(make_layer_element(invariance, order, sign[order]), layer, params)
    return params


def equal_up_to_symmetry(model: MLP, a: Params, b: Params, tolerance: float = 1e-4) -> Bool[Array, ""]:
    """Whether a group element makes one network of the other.

    Both are balanced; then, layer by layer from the input, every unit of a takes the nearest unit of b that is still
    free, in either sign where the activation has a flip. With distinct units the right partners are the nearest, so
    that this needs no sorting and no search. Two units of equal incoming weights may take each other's partner: then
    equal networks can be called different, but different ones never equal.

    Args:
        model: the network.
        a: parameters of one.
        b: parameters of the other.
        tolerance: largest difference of two weights in a layer, relative to the layer's largest.

    Returns:
        Whether all weights agree.

    Raises:
        UserError: the two are not of the same form.
    """
    require_same_form(a, b)
    invariance = invariance_of(model)
    a, b = balanced(model, a), balanced(model, b)
    for layer in range(model.hidden_layers):
        theirs = _incoming(b, layer)
        signs = jnp.asarray([1.0, -1.0] if invariance.flip else [1.0], theirs.dtype)
        signed = signs[:, None, None] * theirs[None]

        def take(
            taken: Bool[Array, " units"], weights: Float[Array, " inputs"], signed: Array = signed, signs: Array = signs
        ) -> tuple[Bool[Array, " units"], tuple[Array, Array]]:
            distance = jnp.max(jnp.abs(signed - weights[None, None, :]), axis=2)
            nearest = jnp.argmin(jnp.where(taken[None, :], jnp.inf, distance))
            sign, unit = jnp.unravel_index(nearest, distance.shape)
            return taken.at[unit].set(True), (unit, signs[sign])

        _, (order, sign) = jax.lax.scan(take, jnp.zeros(len(theirs), bool), _incoming(a, layer))
        b = _act_on_layer(make_layer_element(invariance, order, sign), layer, b)
    agree = []
    for name in a:
        one, other = (jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree[name])]) for tree in (a, b))
        largest = jnp.maximum(jnp.max(jnp.abs(one)), jnp.max(jnp.abs(other)))
        agree.append(jnp.max(jnp.abs(one - other)) <= tolerance * largest)
    return jnp.all(jnp.stack(agree))


def distinct_units(params: Params, tolerance: float = 1e-3) -> Int[Array, " hidden_layers"]:
    """How many different hidden units every hidden layer has.

    Two units of a layer are the same where their weights v and w (the kernel's column with the bias) have
    ||v - w|| <= tolerance max(||v||, ||w||), with ||.|| the largest absolute component: whatever the input, they then
    give the same output. Equal weights may differ by rounding, since a matrix product adds up different columns in
    different orders; the tolerance allows that.

    Args:
        params: the network's parameters.
        tolerance: relative distance below which two units are the same.

    Returns:
        For every hidden layer the number of units that repeat no unit before them, at least 1.
    """
    return jnp.stack([_distinct_columns(layer, tolerance) for layer in dense_layers(params)[:-1]])


def _distinct_columns(layer: Params, tolerance: float) -> Int[Array, ""]:
    columns = layer["kernel"].T
    if "bias" in layer:
        columns = jnp.concatenate([columns, layer["bias"][:, None]], axis=1)
    lengths = jnp.max(jnp.abs(columns), axis=1)  # no squares, which underflow where weights are tiny

    def repeats(unit: Int[Array, ""]) -> Array:
        distance: Float[Array, " units"] = jnp.max(jnp.abs(columns - columns[unit][None]), axis=1)
        same = distance <= tolerance * jnp.maximum(lengths, lengths[unit])
        return jnp.any(same & (jnp.arange(len(lengths)) < unit))

    return jnp.sum(~jax.lax.map(repeats, jnp.arange(len(lengths))), dtype=jnp.int32)
