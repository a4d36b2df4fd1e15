"""The values of every seed, as a table beside the results: from it every interval can be computed anew."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from mlpjax.claims.verdict import Claim


def tidy(claims: Iterable[Claim]) -> pd.DataFrame:
    """The values of the seeds that count, one a row.

    Args:
        claims: each under a name of its own.

    Returns:
        Columns `claim` (its name), `row` (0; 1 for the second of two settings that are compared), `seed` (from 0) and
        `value`, in the claim's unit, a share's as 0 and 1.
    """
    tables = []
    for claim in claims:
        rows, seeds = np.nonzero(np.isfinite(claim.values))
        columns = {"row": rows.astype(np.int8), "seed": seeds.astype(np.int32), "value": claim.values[rows, seeds]}
        tables.append(pd.DataFrame({"claim": claim.name} | columns))
    table = pd.concat(tables, ignore_index=True)
    return table.astype({"claim": "category"})


def by_claim(table: pd.DataFrame) -> Mapping[str, Float[np.ndarray, "rows seeds"]]:
    """The `values` of each claim that has any, by its name: the inverse of `tidy`."""
    found = {}
    for name, group in table.groupby("claim", observed=True):
        values = np.full((group["row"].max() + 1, group["seed"].max() + 1), np.nan)
        values[group["row"], group["seed"]] = group["value"]
        found[str(name)] = values
    return found
