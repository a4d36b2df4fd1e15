"""A catalogue of distinct minima: which of many networks ended at the same one, and how many."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Real

from mlpjax.errors import UserError
from mlpjax.stats import wilson_ci


class Entry(NamedTuple):
    """One minimum of the catalogue."""

    members: Int[np.ndarray, " members"]
    """The networks that ended there; the first one stands for all."""
    share: float
    """Of all networks, in [0, 1]."""
    ci95: tuple[float, float]
    """Wilson's interval of the share."""
    spread: float
    """Largest |f_a - f_1| over members a and outputs: 0 but for rounding where all compute the same function."""
    twins: tuple[int, ...]
    """Entries, by place, that compute the same function though they differ in a feature: perhaps the same minimum, that
    the features failed to match, or another point on one valley."""


def summarise(entry: Entry) -> dict[str, Any]:
    """An entry's numbers, ready for JSON: how many networks, their share, how well their functions agree, its twins."""
    return {
        "seeds": len(entry.members),
        "share, with ci95": [entry.share, *entry.ci95],
        "outputs differ by": entry.spread,
        "twins": list(entry.twins),
    }


def catalogue(
    features: Mapping[str, Real[np.ndarray, "..."]],
    tolerances: Mapping[str, float],
    outputs: Real[np.ndarray, "networks ..."],
    output_tolerance: float,
) -> list[Entry]:
    """Group networks that agree in every feature, and cross-check the groups by the functions that they compute.

    Networks a and b agree in a feature where |a - b| <= tolerance max(1, |b|), number by number. A feature must not
    change under the symmetries that are to be divided out: the loss, the Hessian's eigenvalues in rising order, the
    parameters of a canonical form. Each group is made of all networks that agree with its first. Agreement is no proof
    of being the same, nor disagreement of being different; `spread` and `twins` show where the two part.

    Args:
        features: by name, one row for each of the networks, at least 1; finite.
        tolerances: for every feature its own, at least 0.
        outputs: what the networks, brought to their canonical form where a symmetry moves the inputs, give on some
            inputs that are the same for all.
        output_tolerance: largest difference of the outputs of one function, at least 0.

    Returns:
        The groups, the largest first.

    Raises:
        UserError: no networks, other names in `tolerances`, another number of rows, or a value that is not finite.
    """
    if set(features) != set(tolerances):
        raise UserError(f"tolerances for {sorted(tolerances)}: give one for each of {sorted(features)}")
    networks = len(outputs)
    for name, values in {**features, "outputs": outputs}.items():
        if len(values) != networks or networks == 0:
            raise UserError(f"{name}: {len(values)} rows for {networks} networks; give one for each, and at least one")
        if not np.isfinite(values).all():
            raise UserError(f"{name}: not all values are finite; leave out the networks that diverged")
    tables = {name: values.reshape(networks, -1) for name, values in features.items()}
    answers = outputs.reshape(networks, -1)

    groups = []
    left = np.arange(networks)
    while len(left):
        same = np.ones(len(left), bool)
        for name, table in tables.items():
            first = table[left[0]]
            reach = tolerances[name] * np.maximum(1, np.abs(first))
            same[same] = (np.abs(table[left[same]] - first) <= reach).all(axis=1)
        groups.append(left[same])
        left = left[~same]
    groups.sort(key=len, reverse=True)

    firsts = answers[[group[0] for group in groups]]
    entries = []
    for place, group in enumerate(groups):
        alike = np.flatnonzero((np.abs(firsts - firsts[place]) <= output_tolerance).all(axis=1))
        entries.append(
            Entry(
                group,
                len(group) / networks,
                wilson_ci(len(group), networks),
                float(np.abs(answers[group] - firsts[place]).max()),
                tuple(int(other) for other in alike if other != place),
            )
        )
    return entries
