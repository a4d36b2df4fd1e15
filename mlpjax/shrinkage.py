"""What is left of a least-squares fit when descent stops early, under a ridge, and under dropout: in closed form.

Throughout the loss is |y - X w|^2 / (2 n). In the directions of its Hessian X'X / n, with curvatures s_i, a fit is
w_i = k_i w*_i, with w* the minimiser and k_i the share of it that is kept.
"""

import numpy as np
from jaxtyping import Float

RISK_RATIO = 1.69
"""max over x of ((1 - exp(-x)) (1 + x) / x)^2: what early stopping's risk is at most, in that of the matching ridge,
for small steps. Source: Ali, Kolter and Tibshirani, arXiv:1810.10082, theorem 1."""


def kept_by_descent(
    curvatures: Float[np.ndarray, " directions"], rate: float, steps: int
) -> Float[np.ndarray, " directions"]:
    """The share that gradient descent from zero has found after so many steps: k_i = 1 - (1 - rate s_i)^steps.

    Args:
        curvatures: s, >= 0.
        rate: the learning rate, below 2 / max(s).
        steps: at least 0.

    Returns:
        The shares, in [0, 2).

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 7.8.
    """
    return 1 - (1 - rate * curvatures) ** steps


def kept_by_ridge(
    curvatures: Float[np.ndarray, " directions"], strength: float | Float[np.ndarray, " directions"]
) -> Float[np.ndarray, " directions"]:
    """The share that stays under the penalty strength |w|^2 / 2: k_i = s_i / (s_i + strength_i).

    Args:
        curvatures: s, >= 0.
        strength: one for all directions, or one for each, > 0.

    Returns:
        The shares, in [0, 1).

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), section 3.4.1.
    """
    return curvatures / (curvatures + strength)


def equal_ridge(
    curvatures: Float[np.ndarray, " directions"], rate: float, steps: int
) -> Float[np.ndarray, " directions"]:
    """The ridge of each direction that keeps what descent has found: s_i q_i / (1 - q_i), q_i = (1 - rate s_i)^steps.

    For small rate s_i steps it is 1 / (rate steps), the same in all directions: the matching strength.

    Args:
        curvatures: s, > 0 and at most 1 / rate.
        rate: the learning rate.
        steps: at least 1.

    Returns:
        The strengths.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 7.8.
    """
    left = (1 - rate * curvatures) ** steps
    return curvatures * left / (1 - left)


def risk(
    kept: Float[np.ndarray, " directions"],
    curvatures: Float[np.ndarray, " directions"],
    truth: Float[np.ndarray, " directions"],
    noise: float,
) -> float:
    """Expected squared distance of the fit from the truth: sum_i (1 - k_i)^2 b_i^2 + (noise / n) k_i^2 / s_i.

    Args:
        kept: k.
        curvatures: s, > 0.
        truth: b, the true weights in the same directions.
        noise: the variance of the targets' noise over the number of examples.

    Returns:
        Squared bias and variance together.

    Source: Ali, Kolter and Tibshirani, A continuous-time view of early stopping for least squares regression,
    arXiv:1810.10082, section 3.
    """
    return float(np.sum((1 - kept) ** 2 * truth**2 + noise * kept**2 / curvatures))


def ridge_of_dropout(x: Float[np.ndarray, "n features"], rate: float) -> Float[np.ndarray, " features"]:
    """The ridge that dropout of the inputs is: strength_j = rate / (1 - rate) mean_i x_ij^2.

    With m_j = 0 at the rate, else 1 / (1 - rate), independently,
    E |y - (X * m) w|^2 / (2 n) = |y - X w|^2 / (2 n) + sum_j strength_j w_j^2 / 2.

    Args:
        x: the inputs.
        rate: probability of dropping an input, in [0, 1).

    Returns:
        One strength for each feature, for `ridge_fit`; rate / (1 - rate) for all where their mean square is 1.

    Source: Srivastava et al., JMLR 15 (2014), section 9.1; Wager, Wang and Liang, arXiv:1307.1493.
    """
    strengths: Float[np.ndarray, " features"] = rate / (1 - rate) * np.mean(x**2, axis=0)
    return strengths


def ridge_fit(
    x: Float[np.ndarray, "n features"],
    y: Float[np.ndarray, "n *outputs"],
    strength: float | Float[np.ndarray, " features"],
) -> Float[np.ndarray, "features *outputs"]:
    """The weights of least |y - X w|^2 / (2 n) + sum_j strength_j w_j^2 / 2: (X'X / n + diag(strength))^-1 X'y / n.

    Args:
        x, y: inputs and targets, one or several for each row, with no intercept.
        strength: one for all features, or one for each, >= 0.

    Returns:
        The weights, a column for each of several targets.

    Raises:
        numpy.linalg.LinAlgError: without a penalty, features that depend on each other.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), section 3.4.1.
    """
    n, features = x.shape
    return np.linalg.solve(x.T @ x / n + strength * np.eye(features), x.T @ y / n)
