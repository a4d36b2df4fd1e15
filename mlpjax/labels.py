"""What networks say of labels: which classes they confuse, which labels they doubt, and whether these are wrong."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mlpjax.errors import UserError


def confusion_matrix(
    true: Int[np.ndarray, " examples"], predicted: Int[np.ndarray, " examples"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    """How many examples of each class are given each class: C[t, p] = #{i: true_i = t, predicted_i = p}.

    Args:
        true: the class of each example, 0 .. classes - 1.
        predicted: the class that a network gives it, in the same range.
        classes: how many there are.

    Returns:
        The counts, a row for each true class.
    """
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)


def doubt(
    confidence: Float[np.ndarray, "networks examples"], judges: Bool[np.ndarray, "networks examples"]
) -> Float[np.ndarray, " examples"]:
    """How far networks agree against each label: one less its mean probability, d_i = 1 - mean over judges j of p_ji.

    Args:
        confidence: p, the probability in [0, 1] that each network gives the label of each example.
        judges: which networks are asked about which example; those, say, that were not trained on it.

    Returns:
        The doubt, in [0, 1]; 0 where nobody is asked.

    Source: for one network, the self-confidence of Northcutt, Jiang and Chuang, Confident Learning, arXiv:1911.00068.
    """
    asked = judges.sum(axis=0)
    against = np.where(judges, 1 - confidence, 0).sum(axis=0)
    return against / np.maximum(asked, 1)


def votes(
    predicted: Int[np.ndarray, "networks examples"], judges: Bool[np.ndarray, "networks examples"], classes: int
) -> Int[np.ndarray, "examples classes"]:
    """How many networks give each example each class: V[i, k] = #{j a judge of i: predicted_ji = k}.

    Args:
        predicted: the class, 0 .. classes - 1, that each network gives each example.
        judges: as for `doubt`.
        classes: how many there are.

    Returns:
        The counts, a row for each example.
    """
    return np.stack([(judges & (predicted == label)).sum(axis=0) for label in range(classes)], axis=1)


class Curve(NamedTuple):
    """How well a ranking finds what is wanted, for every number of candidates at which its scores can be cut."""

    candidates: Int[np.ndarray, " cuts"]
    """How many are looked at, rising."""
    precision: Float[np.ndarray, " cuts"]
    """Share of the candidates that are wanted."""
    recall: Float[np.ndarray, " cuts"]
    """Share of the wanted that are candidates."""
    wanted: int
    """How many are to be found."""

    @property
    def average_precision(self) -> float:
        """The area under precision against recall, in steps: sum over cuts k of (R_k - R_(k-1)) P_k, R_0 = 0."""
        return float(np.sum(np.diff(self.recall, prepend=0) * self.precision))

    def at(self, candidates: int) -> tuple[float, float]:
        """Precision and recall at the most candidates that are no more than so many; 0 and 0 where there are none."""
        cut = int(np.searchsorted(self.candidates, candidates, side="right")) - 1
        return (float(self.precision[cut]), float(self.recall[cut])) if cut >= 0 else (0.0, 0.0)


def precision_recall(wanted: Bool[np.ndarray, " examples"], score: Float[np.ndarray, " examples"]) -> Curve:
    """Precision and recall of the examples with the highest scores.

    Args:
        wanted: which examples are to be found; at least one.
        score: by which they are ranked, the highest first. Equal ones become candidates together.

    Returns:
        The curve, with a cut at every distinct score.

    Raises:
        UserError: nothing is wanted.

    Source: Manning, Raghavan and Schuetze, Introduction to Information Retrieval (2008), section 8.4.
    """
    if not wanted.any():
        raise UserError("precision and recall: none of the examples is wanted; give at least one")
    order = np.argsort(-score, kind="stable")
    cuts = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(wanted[order])[cuts]
    return Curve(cuts + 1, hits / (cuts + 1), hits / hits[-1], int(hits[-1]))
