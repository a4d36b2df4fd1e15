"""Where the seeds ended: what counts as the same end, and as the same answer."""

import dataclasses

import numpy as np
import pytest

from mlpjax import MLP, Recipe
from mlpjax.data import Dataset, Split
from mlpjax.findings import endings
from mlpjax.findings.endings import FINDING, KINDS, Endings
from mlpjax.landscape.catalogue import catalogue
from mlpjax.landscape.minima import Kind
from mlpjax.seeds import Trained
from mlpjax.stats import wilson_ci


def test_small_networks_are_polished_and_certified(subject, silent):
    found = FINDING.find(subject, silent)
    assert found.polished
    assert len(found.kind) == 3
    assert sum(FINDING.summarise(found)["kinds"].values()) == 3
    assert (found.loss <= subject.random.history["train_loss"][:, -1] + 1e-6).all()


@pytest.mark.parametrize(("loss", "high"), [("squared_error", 0.7), ("binary_cross_entropy", 0.2)])
def test_a_single_output_answers_as_its_loss_does(subject, silent, tmp_path, monkeypatch, loss, high):
    """Two networks with a constant output: 0.3 and `high`, on the two sides of a half, or of nothing."""
    monkeypatch.setattr(endings, "POLISHED", 0)
    low = 0.3 if loss == "squared_error" else -0.3
    bias = np.array([[low], [high], [low]], np.float32)
    params = {"dense_0": {"kernel": np.zeros((3, 2, 1), np.float32), "bias": bias}}
    x = np.linspace(0, 1, 24, dtype=np.float32).reshape(12, 2)
    split = Split(x, np.arange(12, dtype=np.int32) % 2)
    history = {"train_loss": np.ones((3, 2)), "test_loss": np.ones((3, 2))}
    two = dataclasses.replace(
        subject,
        model=MLP((2, 1)),
        recipe=Recipe(loss=loss, batch_size=None, epochs=1),
        dataset=Dataset("two", split, split, split, classes=2),
        random=Trained(np.arange(3), params, history),
        folder=tmp_path,
    )
    assert FINDING.find(two, silent).disagreement == pytest.approx(2 / 3)


def made(loss, polished=True, kind=Kind.MINIMUM):
    """Networks that ended at these losses."""
    loss = np.asarray(loss, float)
    same = np.ones(len(loss))
    entries = catalogue({"loss": loss}, {"loss": 1e-4}, loss[:, None], 1e-3)
    return Endings(polished, np.full(len(loss), kind), loss, same, same, same, same, entries, 0.25)


def test_one_line_says_that_all_ends_differ():
    (table,) = FINDING.show(made([1, 2, 3]))
    assert "All 3 ends differ up to symmetry, by loss and spectrum." in table.note
    assert "25.0 % of the test examples into different classes" in table.note


def test_a_catalogue_lists_ends_that_several_share():
    kinds, entries = FINDING.show(made([1, 2, 1]))
    assert "differ up to symmetry" not in kinds.note
    assert [row[0] for row in entries.rows] == ["66.7 %", "33.3 %"]
    assert "2 different ends among 3 seeds" in entries.note


def test_one_network_alone_differs_from_none():
    (table,) = FINDING.show(made([1]))
    assert "differ" not in table.note


def test_certified_minima_are_a_tile_with_wilsons_interval():
    (tile,) = FINDING.tiles(made([1, 2, 3]))
    low, high = wilson_ci(3, 3)
    assert tile.value == "100.0 %"
    assert tile.interval == f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, 3 of 3 seeds"
    assert not FINDING.tiles(made([1, 2, 3], polished=False))


def test_every_kind_has_words():
    assert set(KINDS) == set(Kind)
