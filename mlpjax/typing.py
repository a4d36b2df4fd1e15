"""The types that several modules speak of."""

from typing import Any, TypeAlias

from jaxtyping import Array, Float

Params: TypeAlias = dict[str, Any]
"""A network's parameters: `{"dense_0": {"kernel": [inputs, units], "bias": [units]}, ...}`."""

Number: TypeAlias = int | float | Float[Array, ""]
"""A number of a recipe. A plain number is compiled in; a traced scalar is one member's value in a sweep."""


def is_zero(number: Number) -> bool:
    """Whether a number is plainly 0, so that its term can be left out; a sweep's traced scalar may be anything."""
    return isinstance(number, int | float) and number == 0
