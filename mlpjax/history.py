"""The history of many trainings, as a table and in figures over seeds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlpjax.seeds import Trained
from mlpjax.stats import summarise


def tidy(trained: Trained, eval_every: int) -> pd.DataFrame:
    """The history as one row per figure.

    Args:
        trained: many networks.
        eval_every: epochs between two evaluations.

    Returns:
        Columns seed, epoch, split (train, valid, test; empty for what has none), metric (loss; accuracy as a share, or
        rmse and r2; grad_norm averaged over the epoch's last period, seconds of the period) and value.
    """
    frames = []
    for name, values in trained.history.items():
        split, metric = parts(name)
        evaluations = values.shape[1]
        frames.append(
            pd.DataFrame(
                {
                    "seed": trained.seeds.repeat(evaluations),
                    "epoch": [eval_every * i for i in range(evaluations)] * len(trained.seeds),
                    "split": split,
                    "metric": metric,
                    "value": values.ravel().astype(float),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def parts(name: str) -> tuple[str, str]:
    """Split and metric of a history's name; no split where it has none."""
    split, _, metric = name.partition("_")
    return (split, metric) if split in ("train", "valid", "test") else ("", name)


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
