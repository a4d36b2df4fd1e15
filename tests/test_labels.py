"""Confusions, doubt and rankings: against scikit-learn, and counted one by one."""

import numpy as np
import pytest
from sklearn import metrics

from mlpjax import UserError
from mlpjax.labels import confusion_matrix, doubt, precision_recall, votes

RNG = np.random.default_rng(0)
ALL = 500


def test_confusions_are_counted_as_by_scikit_learn() -> None:
    """Also of a class that nobody sees, and of one that is not there."""
    true, predicted = RNG.integers(0, 5, ALL), RNG.integers(1, 6, ALL)
    found = confusion_matrix(true, predicted, 7)
    np.testing.assert_array_equal(found, metrics.confusion_matrix(true, predicted, labels=range(7)))


def test_doubt_and_votes_are_those_of_the_judges_alone() -> None:
    confidence, predicted = RNG.uniform(size=(4, 30)), RNG.integers(0, 3, (4, 30))
    judges = RNG.uniform(size=(4, 30)) < 0.5
    judges[:, 7] = False
    doubted, counted = doubt(confidence, judges), votes(predicted, judges, 3)
    for example in range(30):
        asked = [network for network in range(4) if judges[network, example]]
        expected = 1 - np.mean([confidence[network, example] for network in asked]) if asked else 0
        assert doubted[example] == pytest.approx(expected, abs=1e-12)
        assert counted[example].tolist() == [sum(predicted[j, example] == label for j in asked) for label in range(3)]
    assert doubted[7] == 0


@pytest.mark.parametrize("digits", [1, 12], ids=["ties", "no ties"])
def test_precision_and_recall_are_those_of_scikit_learn(digits: int) -> None:
    wanted = RNG.uniform(size=ALL) < 0.1
    score = (RNG.normal(size=ALL) + 1.5 * wanted).round(digits)
    curve = precision_recall(wanted, score)
    precision, recall, _ = metrics.precision_recall_curve(wanted, score)
    np.testing.assert_allclose(curve.precision[::-1], precision[:-1])  # theirs falls, and ends at an added (1, 0)
    np.testing.assert_allclose(curve.recall[::-1], recall[:-1])
    assert curve.average_precision == pytest.approx(metrics.average_precision_score(wanted, score))
    assert curve.wanted == wanted.sum()
    for candidates in (60, ALL):
        (limit,) = [curve.candidates[k] for k in np.flatnonzero(curve.candidates <= candidates)[-1:]]
        chosen = wanted[np.argsort(-score, kind="stable")[:limit]]
        assert curve.at(candidates) == pytest.approx((chosen.mean(), chosen.sum() / wanted.sum()))


def test_equal_scores_are_candidates_together() -> None:
    curve = precision_recall(np.array([True, False, True, False]), np.array([2.0, 1.0, 2.0, 1.0]))
    assert curve.candidates.tolist() == [2, 4]
    assert curve.at(1) == (0, 0)
    assert curve.at(3) == (1, 1)
    assert curve.average_precision == 1


def test_where_nothing_is_wanted_nothing_can_be_found() -> None:
    with pytest.raises(UserError, match="none of the examples is wanted"):
        precision_recall(np.zeros(3, bool), np.ones(3))
