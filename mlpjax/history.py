"""The history of many trainings, in figures over seeds."""

from collections.abc import Mapping
from typing import Any

from mlpjax.seeds import Trained, parts
from mlpjax.stats import summarise


def error_metric(summary: Mapping[str, Any]) -> str:
    """The figure of a group (`summarise_group`) that says how wrong it is: `error`, or in regression `rmse`."""
    return "error" if "test_error" in summary else "rmse"


def summarise_group(trained: Trained) -> dict[str, Any]:
    """Final figures of one group over its networks.

    Networks that diverged are named and left out of the figures; these are None where none is left.

    Args:
        trained: the group.

    Returns:
        `seeds`, `diverged`, `seconds`, and what `stats.summarise` says of `{split}_loss` and `{split}_error` (in %), or
        in regression of `{split}_loss`, `{split}_rmse` and `{split}_r2`.
    """
    kept = ~trained.diverged
    finals = {}
    for name, values in trained.history.items():
        split, metric = parts(name)
        if not split:
            continue
        final = values[kept, -1]
        if metric == "accuracy":
            name, final = f"{split}_error", 100 * (1 - final.astype(float))
        finals[name] = summarise(final) if kept.any() else None
    return {
        "seeds": len(trained.seeds),
        "diverged": trained.seeds[trained.diverged].tolist(),
        "seconds": float(trained.history["seconds"].sum()),
    } | finals
