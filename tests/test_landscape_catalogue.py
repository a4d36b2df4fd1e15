"""The catalogue recovers planted groups, counts them, and flags what the features cannot see."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax.errors import UserError
from mlpjax.landscape.catalogue import catalogue, summarise
from mlpjax.stats import wilson_ci


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 2**16))
@settings(deadline=None)
def test_planted_groups_are_recovered_in_any_order(planted: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = 10.0 * np.arange(5)[:, None] + np.array([[0.0, 1.0, 2.0]])
    labels = np.array(planted)
    noisy = centres[labels] + rng.uniform(-1e-7, 1e-7, (len(labels), 3))
    entries = catalogue(
        {"loss": noisy[:, 0], "spectrum": noisy}, {"loss": 1e-6, "spectrum": 1e-6}, noisy[:, 1:], output_tolerance=1e-6
    )
    counts = np.bincount(labels)
    assert [len(entry.members) for entry in entries] == sorted(counts[counts > 0], reverse=True)
    for entry in entries:
        assert len(set(labels[entry.members])) == 1
        assert entry.share == len(entry.members) / len(labels)
        assert entry.ci95 == wilson_ci(len(entry.members), len(labels))
        assert entry.spread < 1e-6
        assert entry.twins == ()
    assert sorted(np.concatenate([entry.members for entry in entries])) == [*range(len(labels))]


def test_the_same_function_under_other_features_is_flagged() -> None:
    units = np.array([1.0, 1.0, 2.0, 3.0])
    outputs = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0 + 1e-9], [5.0, 1.0]])
    entries = catalogue({"units": units}, {"units": 1e-6}, outputs, 1e-6)
    assert [entry.members.tolist() for entry in entries] == [[0, 1], [2], [3]]
    assert [entry.twins for entry in entries] == [(1,), (0,), ()]


def test_other_functions_under_the_same_features_show_in_the_spread() -> None:
    entries = catalogue({"loss": np.ones(3)}, {"loss": 0.0}, np.array([0.0, 0.25, -0.5]), 1e-6)
    assert [entry.spread for entry in entries] == [0.5]


def test_an_entrys_numbers_are_ready_for_json() -> None:
    entries = catalogue({"loss": np.array([1.0, 1.0, 2.0])}, {"loss": 0.1}, np.array([0.0, 0.25, 0.0]), 0.5)
    assert json.loads(json.dumps(summarise(entries[0]))) == {
        "seeds": 2,
        "share, with ci95": [2 / 3, *wilson_ci(2, 3)],
        "outputs differ by": 0.25,
        "twins": [1],
    }


def test_tolerance_is_relative_above_one() -> None:
    spectrum = np.array([[1000.0, 0.0], [1000.5, 0.0], [1000.0, 0.5]])
    entries = catalogue({"spectrum": spectrum}, {"spectrum": 1e-3}, np.zeros(3), 0.0)
    assert [entry.members.tolist() for entry in entries] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("features", "tolerances", "outputs", "message"),
    [
        ({"loss": np.ones(2)}, {}, np.ones(2), "give one for each"),
        ({"loss": np.ones(3)}, {"loss": 0.1}, np.ones(2), "loss: 3 rows for 2 networks"),
        ({"loss": np.array([1, np.nan])}, {"loss": 0.1}, np.ones(2), "loss: not all values are finite"),
        ({"loss": np.ones(2)}, {"loss": 0.1}, np.array([np.inf, 0]), "outputs: not all values"),
        ({"loss": np.ones(0)}, {"loss": 0.1}, np.ones(0), "at least one"),
    ],
)
def test_nonsense_is_refused(features: dict, tolerances: dict, outputs: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        catalogue(features, tolerances, outputs, 1e-6)
