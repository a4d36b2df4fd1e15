"""The types that several modules speak of."""

from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array, Float, PyTree

Params: TypeAlias = dict[str, Any]
"""A network's parameters; those of an MLP: `{"dense_0": {"kernel": [inputs, units], "bias": [units]}, ...}`."""


class Variables(NamedTuple):
    """All arrays of one network: what is trained, and what training keeps beside it."""

    params: PyTree
    stats: PyTree = {}  # noqa: RUF012  an empty tree, that nobody writes into
    """Running statistics, such as batch normalisation's moments; an empty dict where there are none."""


Number: TypeAlias = int | float | Float[Array, ""]
"""A number of a recipe. A plain number is compiled in; a traced scalar is one member's value in a sweep."""


def is_zero(number: Number) -> bool:
    """Whether a number is plainly 0, so that its term can be left out; a sweep's traced scalar may be anything."""
    return isinstance(number, int | float) and number == 0
