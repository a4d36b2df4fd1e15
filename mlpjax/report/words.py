"""Names and numbers as text."""

from collections.abc import Sequence
from typing import Any

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
"""In words."""
METRICS = {"loss": "loss", "error": "error (%)", "rmse": "RMSE", "r2": "R²"}
"""In words, with their unit."""


def counted(count: int, noun: str) -> str:
    """How many there are, in words: "1 seed", "1,000 seeds"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def typed(value: Any) -> str:
    """A value of a field as the command line reads it: several numbers are joined by hyphens."""
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def number(value: float | None) -> str:
    """A number as text, to four digits; nothing for None."""
    return "" if value is None else f"{value:.4g}"


def interval(ends: Sequence[float] | None) -> str:
    """An interval as text; nothing for None."""
    return "" if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}"
