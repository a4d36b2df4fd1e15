"""Units of any network in another order: which axes of which parameters they are, and the order closest to another's.

A specification is a tree like the parameters, or like all variables, with a tuple for every leaf: for each of its axes
the name of the units along it, or None. Axes of one name are permuted together. For a convolution of 8 channels with
batch normalisation, pooled to 4 x 4 and flattened into a dense layer of 10 outputs:

    {"Conv_0": {"kernel": (None, None, None, "channels"), "bias": ("channels",)},
     "BatchNorm_0": {"scale": ("channels",), "bias": ("channels",)},
     "Dense_0": {"kernel": ("channels", None), "bias": (None,)}}

An axis may be several times as long as there are units, as that of 4 * 4 * 8 = 128 inputs here: then it is made of
blocks of them, as flattening leaves them where the channels are the last axis.

On the host, in NumPy and float64, around SciPy's assignment. Measured for the similarities of 128, 256 and 512 units of
unrelated networks: SciPy takes 0.3, 1.5 and 7 ms, `optax.assignment.hungarian_algorithm` 2, 6.5 and 28 ms and 0.4 s to
compile; both find the same total. Under vmap the latter would also run every network for as many rounds as the slowest
needs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree
from scipy.optimize import linear_sum_assignment

from mlpjax.errors import UserError
from mlpjax.landscape.loss import require_same_form

Specification: TypeAlias = PyTree
"""In the form of the parameters: for every leaf a tuple, with the name of the units along each axis, or None."""
Permutations: TypeAlias = Mapping[str, Int[np.ndarray | Array, " units"]]
"""By name: unit j becomes what unit order[j] was."""


class Axis(NamedTuple):
    """An axis of a leaf, with one entry for each unit of that name."""

    name: str | None
    flip: float = 1.0
    """By which the entries of a unit are multiplied where its sign is turned; 1 of all axes: it has none."""


class Leaf(NamedTuple):
    """A leaf of two networks that are to be matched."""

    axes: tuple[Axis, ...]
    ours: Float[np.ndarray, "..."]
    theirs: Float[np.ndarray, "..."]


class Choice(NamedTuple):
    """What a search has chosen for the units of one name: unit j is the other's unit order[j], times sign[j]."""

    order: Int[np.ndarray, " units"]
    sign: Float[np.ndarray, " units"]


def permute(specification: Specification, permutations: Permutations, tree: PyTree) -> PyTree:
    """The same network with its units in another order.

    Args:
        specification: in the form of the tree.
        permutations: for every name in it the order of its units.
        tree: parameters, or all variables.

    Returns:
        A tree of the same form; where the specification is right, it computes the same function.

    Raises:
        UserError: the specification is of another form, or has a name without a permutation, or with one of another
            size.
    """

    def moved(leaf: Array, path: str, names: tuple[str | None, ...]) -> Array:
        for axis, name in enumerate(names):
            if name is None:
                continue
            if name not in permutations:
                raise UserError(f"permutations: {name} is missing; it has {', '.join(sorted(permutations))}")
            order, length = jnp.asarray(permutations[name]), leaf.shape[axis]
            if length % len(order):
                raise UserError(
                    f"permutations of {name}: {len(order)} units do not divide the axis of {length} of {path}"
                )
            blocks = jnp.arange(0, length, len(order), dtype=order.dtype)
            leaf = jnp.take(leaf, (blocks[:, None] + order[None]).reshape(-1), axis=axis)
        return leaf

    leaves, treedef = jax.tree.flatten(tree)
    named = _names(specification, tree)
    return jax.tree.unflatten(
        treedef, [moved(jnp.asarray(leaf), *names) for leaf, names in zip(leaves, named, strict=True)]
    )


def match_permutations(
    specification: Specification, a: PyTree, b: PyTree, key: Key[Array, ""], restarts: int = 0
) -> dict[str, Int[np.ndarray, " units"]]:
    """Find the order of a network's units that brings it closest to another network, by weight matching.

    argmin over P of ||a - P b||: for the units of one name after the other, in random order, the best permutation with
    all others fixed, an assignment problem solved exactly, until none changes. The best of several searches: from the
    order as it is, and from random ones. An MLP's units also have signs and lengths: see `matching.match`.

    Args:
        specification: in the form of the parameters. No name twice on one leaf, as of a recurrent kernel: then the best
            permutation is no assignment problem.
        a: the network that stays: its parameters, or whatever of it is to come close.
        b: the same of the network whose units are permuted.
        key: random key; the same key gives the same permutations.
        restarts: searches from random orders, besides the one from the order as it is (>= 0).

    Returns:
        For every name the order, for `permute`; as it was where no search came closer.

    Raises:
        UserError: a, b and the specification are not of one form, a name is twice on one leaf, a weight is not finite,
            or restarts below 0.

    Source: Ainsworth, Hayase and Srinivasa, Git Re-Basin, arXiv:2209.04836, section 3.2 and algorithm 1.
    """
    require_matchable(a, b, restarts)
    leaves = make_leaves(specification, a, b)
    units = {
        axis.name: size
        for leaf in leaves
        for axis, size in zip(leaf.axes, leaf.ours.shape, strict=True)
        if axis.name is not None
    }
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    best = {name: np.arange(size) for name, size in units.items()}
    starts = [best, *({name: rng.permutation(size) for name, size in units.items()} for _ in range(restarts))]
    for start in starts:
        choices = {name: Choice(order, np.ones(len(order))) for name, order in start.items()}
        found = {name: choice.order for name, choice in descend(leaves, choices, rng)[0].items()}
        if _closeness(leaves, found) > _closeness(leaves, best):
            best = found
    return best


def require_matchable(a: PyTree, b: PyTree, restarts: int) -> None:
    """Refuse what cannot be matched.

    Raises:
        UserError: the two are not of the same form, a weight is not finite, or restarts below 0.
    """
    require_same_form(a, b)
    if restarts < 0:
        raise UserError(f"restarts {restarts}: must be at least 0")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((a, b))):
        raise UserError("a weight is not a finite number: leave out networks that diverged")


def make_leaves(specification: Specification, a: PyTree, b: PyTree) -> list[Leaf]:
    """The leaves of two networks with their axes named, those made of blocks split.

    Args:
        specification: in the form of both.
        a: the network that stays.
        b: the network whose units are permuted.

    Raises:
        UserError: the specification is of another form, a name is twice on one leaf, or an axis is not made of blocks.
    """
    named = _names(specification, a)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(a)]
    sizes: dict[str, int] = {}
    for (_, names), shape in zip(named, shapes, strict=True):
        for name, length in zip(names, shape, strict=True):
            if name is not None:
                sizes[name] = min(length, sizes.get(name, length))
    leaves = []
    for (path, names), ours, theirs in zip(named, *map(jax.tree.leaves, (a, b)), strict=True):
        axes: list[Axis] = []
        split: list[int] = []
        for name, length in zip(names, np.shape(ours), strict=True):
            size = length if name is None else sizes[name]
            if length % size:
                raise UserError(f"specification of {path}: an axis of {length} is not made of blocks of {size} {name}")
            if name is not None and Axis(name) in axes:
                raise UserError(f"specification of {path}: {name} is there twice, and can then not be matched")
            axes += [Axis(None)] * (length > size) + [Axis(name)]
            split += [length // size] * (length > size) + [size]
        leaves.append(Leaf(tuple(axes), *(np.asarray(leaf, float).reshape(split) for leaf in (ours, theirs))))
    return leaves


def descend(
    leaves: Sequence[Leaf], start: Mapping[str, Choice], rng: np.random.Generator
) -> tuple[dict[str, Choice], int]:
    """Assign the units of one name after the other until none gets better; also how many passes that took.

    Args:
        leaves: of the two networks.
        start: a choice for every name.
        rng: for the order of the names in every pass.
    """
    choices, names = dict(start), list(start)
    passes, improved = 0, True
    while improved:
        passes, improved = passes + 1, False
        for place in rng.permutation(len(names)):
            name = names[place]
            kept, flipped = _similarities(leaves, name, choices)
            gains = np.maximum(kept, flipped)
            units, order = linear_sum_assignment(gains, maximize=True)
            sign = np.where(flipped[units, order] > kept[units, order], -1.0, 1.0)
            now = np.where(choices[name].sign[:, None] < 0, flipped, kept)[units, choices[name].order]
            if gains[units, order].sum() - now.sum() > 1e-9 * np.abs(gains).max():  # more than rounding
                choices[name], improved = Choice(order, sign), True
    return choices, passes


def _similarities(
    leaves: Sequence[Leaf], name: str, choices: Mapping[str, Choice]
) -> tuple[Float[np.ndarray, "units units"], Float[np.ndarray, "units units"]]:
    """<our unit, their unit> over all their weights, for their units as they are and with the sign turned."""
    size = len(choices[name].order)
    kept, flipped = np.zeros((2, size, size))
    for leaf in leaves:
        for axis, (own, flip) in enumerate(leaf.axes):
            if own == name:
                theirs = _moved(leaf, {other: choice for other, choice in choices.items() if other != name})
                one, other = (np.moveaxis(array, axis, 0).reshape(size, -1) for array in (leaf.ours, theirs))
                similarity = one @ other.T
                kept += similarity
                flipped += flip * similarity
    return kept, flipped


def _moved(leaf: Leaf, choices: Mapping[str, Choice]) -> Float[np.ndarray, "..."]:
    """Their leaf with what has been chosen for its axes."""
    theirs = leaf.theirs
    for axis, (name, flip) in enumerate(leaf.axes):
        if name is not None and name in choices:
            order, sign = choices[name]
            factor = np.where(sign < 0, flip, 1.0).reshape([-1 if axis == other else 1 for other in range(theirs.ndim)])
            theirs = np.take(theirs, order, axis) * factor
    return theirs


def _closeness(leaves: Sequence[Leaf], orders: Mapping[str, Int[np.ndarray, " units"]]) -> float:
    """<a, P b>: permutations leave ||b|| as it is, so that the largest is the closest."""
    choices = {name: Choice(order, np.ones(len(order))) for name, order in orders.items()}
    return float(sum(np.sum(leaf.ours * _moved(leaf, choices)) for leaf in leaves))


def _is_names(node: Any) -> bool:
    return type(node) is tuple and all(name is None or isinstance(name, str) for name in node)


def _names(specification: Specification, tree: PyTree) -> list[tuple[str, tuple[str | None, ...]]]:
    """Path and names of every leaf of the tree, in order."""

    def by_path(tree: PyTree, **options: Any) -> dict[str, Any]:
        found = jax.tree_util.tree_flatten_with_path(tree, **options)[0]
        return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in found}

    named, leaves = by_path(specification, is_leaf=_is_names), by_path(tree)
    for path in sorted(named.keys() | leaves.keys()):
        if path not in leaves:
            raise UserError(f"specification: has {path}, which the network has not")
        if path not in named or not _is_names(named[path]):
            raise UserError(
                f"specification of {path}: give a name or None for each of its {np.ndim(leaves[path])} axes"
            )
        if len(named[path]) != np.ndim(leaves[path]):
            raise UserError(f"specification of {path}: {len(named[path])} names for its {np.ndim(leaves[path])} axes")
    return [(path, named[path]) for path in leaves]
