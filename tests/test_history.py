"""The history as a table and in figures over seeds."""

import numpy as np
import pytest

from mlpjax.history import error_metric, summarise_group
from mlpjax.seeds import Trained
from mlpjax.stats import summarise


def group(**history):
    """Three networks with two evaluations."""
    history = {name: np.asarray(values, np.float32) for name, values in history.items()}
    return Trained(np.array([7, 8, 9]), {}, history | {"seconds": np.full((3, 2), 0.5)})


CLASSES = group(
    train_loss=[[2, 1], [2, 0.5], [2, np.nan]],
    train_accuracy=[[0, 0.75], [0, 0.5], [0, 0]],
    test_loss=np.ones((3, 2)),
    test_accuracy=np.ones((3, 2)),
    grad_norm=[[np.nan, 3]] * 3,
)


def test_every_figure_is_a_row():
    trained = CLASSES._replace(eval_every=5)
    assert trained.select([2]).epochs.tolist() == [0, 5]
    frame = trained.to_frame()
    assert len(frame) == 6 * 3 * 2
    row = frame[(frame["seed"] == 8) & (frame["epoch"] == 5) & (frame["metric"] == "accuracy")]
    assert row[row["split"] == "train"]["value"].tolist() == [0.5]
    assert set(frame[frame["split"] == ""]["metric"]) == {"grad_norm", "seconds"}


def test_a_group_is_told_without_the_networks_that_diverged():
    found = summarise_group(CLASSES)
    assert found["seeds"] == 3
    assert found["diverged"] == [9]
    assert found["seconds"] == 3
    assert found["train_error"] == summarise(np.array([25.0, 50.0]))
    assert found["train_loss"] == summarise(np.array([1, 0.5]))
    assert error_metric(found) == "error"
    assert "test_accuracy" not in found


def test_a_group_that_diverged_as_a_whole_has_no_figures():
    found = summarise_group(group(train_loss=np.full((3, 2), np.inf), train_accuracy=np.zeros((3, 2))))
    assert found["diverged"] == [7, 8, 9]
    assert found["train_loss"] is found["train_error"] is None


def test_a_regression_is_told_by_rmse_and_r2():
    ones = np.ones((3, 2))
    found = summarise_group(group(test_loss=ones, test_rmse=2 * ones, test_r2=ones / 2))
    assert error_metric(found) == "rmse"
    assert found["test_rmse"]["mean"] == pytest.approx(2)
    assert found["test_r2"]["mean"] == pytest.approx(0.5)
