"""Tables and tiles say what the figures are, with their intervals."""

import numpy as np

from mlpjax.report.page import Tile
from mlpjax.report.tables import SUMMARY_HEADER, error_tile, mean_tile, share_tile, summary_rows
from mlpjax.report.words import counted
from mlpjax.stats import summarise, wilson_ci

VALUES = summarise(np.array([1.0, 2.0, 3.0, 4.0]))
ONE = summarise(np.array([2.5]))


def test_a_group_is_a_row_for_each_figure():
    rows = summary_rows({"seeds": 4, "train_loss": VALUES, "test_error": ONE, "valid_r2": VALUES, "test_loss": None})
    assert [row[0] for row in rows] == ["train loss", "validation R²", "test error (%)"]
    assert all(len(row) == len(SUMMARY_HEADER) for row in rows)
    assert rows[0][1:3] == ("2.5", "{:.4g} to {:.4g}".format(*VALUES["ci95"]))
    assert rows[2][2:4] == ("", "")  # one seed has no interval
    assert summary_rows({"train_loss": None})[0][0] == "every network diverged"


def test_a_mean_carries_its_interval():
    interval = "{:.4g} to {:.4g}".format(*VALUES["ci95"])
    assert mean_tile("Loss", VALUES, "{:.2f} %", "4 seeds") == Tile(
        "Loss", "2.50 %", f"95 % interval {interval}, 4 seeds"
    )
    assert mean_tile("Loss", ONE, "{:.3g}", "1 seed") == Tile("Loss", "2.5", "1 seed")


def test_a_count_carries_wilsons_interval():
    low, high = wilson_ci(3, 8)
    tile = share_tile("Diverged", 3, 8, "seeds")
    assert tile == Tile("Diverged", "37.5 %", f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, 3 of 8 seeds")


def test_the_error_is_in_percent_or_an_rmse():
    group = {"seeds": 5, "diverged": [3]}
    (error,) = error_tile("Test", group | {"test_error": ONE}, "test")
    (rmse,) = error_tile("Test", group | {"test_rmse": ONE}, "test")
    assert error == Tile("Test error", "2.50 %", "4 seeds")
    assert rmse == Tile("Test RMSE", "2.5", "4 seeds")
    assert error_tile("Test", group | {"test_error": None}, "test") == []


def test_one_is_not_in_the_plural():
    assert [counted(count, "seed") for count in (0, 1, 2, 1000)] == ["0 seeds", "1 seed", "2 seeds", "1,000 seeds"]
