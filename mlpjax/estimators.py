"""scikit-learn's view of many networks: a classifier and a regressor that average over seeds.

Needs scikit-learn, an extra.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Integral
from typing import Any, Literal, TypeAlias, get_args

import jax
import numpy as np
import scipy.special
from jaxtyping import Array, Float32, Float64, PyTree, Shaped

from mlpjax.activations import Activation, ActivationName
from mlpjax.data import Dataset, Split
from mlpjax.errors import UserError, require_choice
from mlpjax.models import MLP, Initializer, Rates
from mlpjax.recipe import MakeOptimizer, OptimizerName, Recipe, ScheduleName
from mlpjax.seeds import MakeTask, Trained, numbers_of, train_many
from mlpjax.task import Task, make_task, regression
from mlpjax.typing import Variables, is_zero

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import Tags, check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError(
        "SeedsClassifier and SeedsRegressor need scikit-learn, 1.6 or later: pip install 'mlpjax[sklearn]'"
    ) from None

BLOCK = 128
"""Rows that are evaluated at a time: activations then take about as much memory as the weights do. Always as many, so
that a row's prediction does not depend, not even by rounding, on how many others there are."""

Scaling: TypeAlias = Literal["feature", "range"]


@partial(jax.jit, static_argnums=0)
def _outputs(model: MLP, params: PyTree, x: Float32[Array, "block features"]) -> Float32[Array, "seeds block outputs"]:
    return jax.vmap(lambda own: model.apply(Variables(own), x)[0])(params)


def _regression(model: MLP, recipe: Recipe, train: Split) -> Task:
    """Without the mean of the targets, which is 0 but for rounding: it would be compiled in, anew for each fold."""
    del train
    return regression(model, recipe)


@dataclass(kw_only=True, eq=False, repr=False)
class _Seeds(BaseEstimator):
    """What classifier and regressor have in common."""

    hidden: tuple[int, ...] = (256, 128)
    """Units of every hidden layer; () leaves a linear model."""
    activation: ActivationName | Callable[..., Array] | Activation = "relu"
    dropout: Rates = (0.0,)
    initializer: Initializer = "he"
    optimizer: OptimizerName | MakeOptimizer = "adam"
    learning_rate: float = 1e-3
    schedule: ScheduleName = "constant"
    momentum: float | None = None
    weight_decay: float | None = None
    batch_size: int | None = 128
    """Examples in a minibatch; where there are fewer, all. None: all examples at once."""
    epochs: int = 30
    ridge: float = 0.0
    lasso: float = 0.0
    clip: float | None = None
    normalisation: Scaling = "feature"
    """What the networks see of the inputs: feature, each feature less its mean and over its standard deviation in the
    training rows; range, the features as they are."""
    n_seeds: int = 8
    """Networks, each from a seed of its own (>= 1)."""
    random_state: int | np.random.RandomState | None = None
    """What the seeds are drawn with, as in all of scikit-learn: a whole number gives the same networks at every call,
    and with a larger `n_seeds` more of them."""

    def _options(self, kind: type) -> dict[str, Any]:
        """Those of the parameters that are fields of the MLP, or of the recipe."""
        own = self.get_params(deep=False)
        return {field.name: own[field.name] for field in fields(kind) if field.name in own}

    def _train(
        self,
        x: Float64[np.ndarray, "rows features"],
        y: Shaped[np.ndarray, "rows ..."],
        classes: int | None,
        loss: str,
        task: MakeTask,
    ) -> None:
        if not isinstance(self.n_seeds, Integral) or self.n_seeds < 1:
            raise UserError(f"n_seeds {self.n_seeds}: give a whole number, at least 1")
        if not isinstance(self.hidden, tuple):
            raise UserError(f"hidden {self.hidden}: give a tuple of the hidden layers' units, such as (64,)")
        require_choice("normalisation", self.normalisation, get_args(Scaling))
        # Normalised below, in 64 bits: the recipe would have mean and deviation compiled in, anew for each fold.
        recipe = Recipe(**self._options(Recipe) | {"loss": loss, "normalisation": "range"})
        if recipe.batch_size is not None:
            recipe = replace(recipe, batch_size=min(recipe.batch_size, len(x)))
        self.model_: MLP = MLP((x.shape[1], *self.hidden, classes or y.shape[1]), **self._options(MLP))
        scale = self.normalisation == "feature"
        self.scaler_: Any = StandardScaler(with_mean=scale, with_std=scale).fit(x)
        train = Split(self.scaler_.transform(x).astype(np.float32), y)
        none, one = (Split(train.x[:rows], train.y[:rows]) for rows in (0, 1))
        # A data set must have a test split: its figures are left out below.
        dataset = Dataset("X and y", train, none, one, classes)
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self.n_seeds).tolist()
        # What a sweep could change is not compiled in: a grid search compiles one program for all values.
        numbers = {name: getattr(recipe, name) for name in numbers_of(recipe)}
        sweep = {name: np.full(len(seeds), n) for name, n in numbers.items() if n is not None and not is_zero(n)}
        trained = train_many(self.model_, recipe, dataset, seeds, task=task, sweep=sweep)
        history = {name: figures for name, figures in trained.history.items() if not name.startswith("test_")}
        trained, gone = trained._replace(history=history), trained.diverged
        if gone.all():
            raise UserError(f"all of the {len(seeds)} networks diverged: lower learning_rate")
        if gone.any():
            named = ", ".join(map(str, trained.seeds[gone]))
            warnings.warn(
                f"{gone.sum()} of {len(seeds)} networks diverged and are left out, of seeds {named}: "
                "lower learning_rate",
                ConvergenceWarning,
                stacklevel=3,
            )
            trained = trained.select(np.flatnonzero(~gone))
        self.trained_: Trained = trained

    def _blocks(self, X: Any) -> Iterator[Float64[np.ndarray, "seeds block outputs"]]:
        """What every network gives for the rows, block by block."""
        check_is_fitted(self)
        x = self.scaler_.transform(validate_data(self, X, dtype=np.float64, reset=False)).astype(np.float32)
        params = jax.device_put(self.trained_.params)
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK]
            filled = np.pad(rows, ((0, BLOCK - len(rows)), (0, 0)))
            yield np.asarray(_outputs(self.model_, params, filled), np.float64)[:, : len(rows)]


@dataclass(kw_only=True, eq=False, repr=False)
class SeedsClassifier(ClassifierMixin, _Seeds):
    """A scikit-learn classifier: the mean of what networks from several seeds hold likely, a deep ensemble.

    p(c | x) = mean_s softmax(f_s(x))_c over the networks s, trained by cross-entropy.

    Parameters are those that `MLP` and `Recipe` have by the same names; `hidden`, the units of every hidden layer;
    `n_seeds` networks, whose seeds are drawn with `random_state`; and `normalisation`, "feature" or, for features as
    they are, "range". After `fit` there are `classes_`; `trained_`, the networks and their curves as a `Trained`;
    `model_`, the MLP; and `scaler_`, from rows to what the networks see. Computed in 32-bit floats.

    Source: Lakshminarayanan, Pritzel and Blundell, arXiv:1612.01474.

    Example:
        >>> import mlpjax
        >>> x, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
        >>> classifier = mlpjax.SeedsClassifier(hidden=(), learning_rate=0.1, n_seeds=2, random_state=0)
        >>> classifier.fit(x, y).predict([[-1.0], [4.0]]).tolist()
        ['low', 'high']
    """

    label_smoothing: float = 0.0

    def fit(self, X: Any, y: Any) -> "SeedsClassifier":
        """Train the networks.

        Args:
            X: finite numbers [rows, features].
            y: the class of each row, a word or a whole number; two classes at least.

        Returns:
            The classifier itself.

        Raises:
            UserError: a parameter outside its range, a single class, or networks that all diverged.

        Warns:
            ConvergenceWarning: some networks diverged; they are left out.
        """
        x, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"y: holds one class, {self.classes_[0]}; give at least two")
        self._train(x, labels.astype(np.int32), len(self.classes_), "cross_entropy", make_task)
        return self

    def predict(self, X: Any) -> Shaped[np.ndarray, " rows"]:
        """The class that the mean over the networks holds likeliest, of equal ones the first in `classes_`."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "rows classes"]:
        """The mean over the networks of each class's probability, in the order of `classes_`."""
        means = [scipy.special.softmax(outputs, axis=2).mean(axis=0) for outputs in self._blocks(X)]
        return np.concatenate(means)

    def predict_proba_seeds(self, X: Any) -> Float64[np.ndarray, "seeds rows classes"]:
        """What each network alone holds likely; `predict_proba` is the mean over the first axis."""
        return np.concatenate([scipy.special.softmax(outputs, axis=2) for outputs in self._blocks(X)], axis=1)


class SeedsRegressor(RegressorMixin, _Seeds):
    """A scikit-learn regressor: the mean of what networks from several seeds predict, a deep ensemble.

    f(x) = mean_s [m + d f_s(x)] over the networks s, trained by squared error on (y - m) / d, with the mean m and the
    standard deviation d of each target over the training rows. Penalties and the curves of the loss are in these units.

    Parameters are those of `SeedsClassifier`, but for `label_smoothing`. After `fit` there are `trained_`, the networks
    and their curves as a `Trained`; `model_`, the MLP; `scaler_` and `target_scaler_`, from rows and targets to what
    the networks see. Computed in 32-bit floats.

    Source: Lakshminarayanan, Pritzel and Blundell, arXiv:1612.01474, section 2.4, without the predicted variance.

    Example:
        >>> import mlpjax
        >>> x, y = [[0.0], [1.0], [2.0], [3.0]], [10.0, 30.0, 50.0, 70.0]
        >>> regressor = mlpjax.SeedsRegressor(hidden=(), learning_rate=0.1, epochs=200, n_seeds=2, random_state=0)
        >>> regressor.fit(x, y).predict([[4.0]]).round(1).tolist()
        [90.0]
    """

    def fit(self, X: Any, y: Any) -> "SeedsRegressor":
        """Train the networks.

        Args:
            X: finite numbers [rows, features].
            y: the targets, [rows] or [rows, targets].

        Returns:
            The regressor itself.

        Raises:
            UserError: a parameter outside its range, or networks that all diverged.

        Warns:
            ConvergenceWarning: some networks diverged; they are left out.
        """
        x, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self._target_shape = y.shape[1:]
        y = y.reshape(len(y), -1)
        self.target_scaler_ = StandardScaler().fit(y)
        self._train(x, self.target_scaler_.transform(y).astype(np.float32), None, "squared_error", _regression)
        return self

    def predict(self, X: Any) -> Float64[np.ndarray, "rows *targets"]:
        """The mean over the networks, in the shape of the targets that `fit` was given."""
        return np.concatenate([own.mean(axis=0) for own in self._predictions(X)])

    def predict_seeds(self, X: Any) -> Float64[np.ndarray, "seeds rows *targets"]:
        """What each network alone predicts; `predict` is the mean over the first axis.

        The spread is that of initialisation and order, on one training set: where it is wide, other seeds would predict
        something else. It says nothing of the noise in y. `mlpjax.stats.mean_band` gives the 95 % interval of the mean
        over all seeds.
        """
        return np.concatenate([*self._predictions(X)], axis=1)

    def _predictions(self, X: Any) -> Iterator[Float64[np.ndarray, "seeds block *targets"]]:
        for outputs in self._blocks(X):
            targets = outputs * self.target_scaler_.scale_ + self.target_scaler_.mean_
            yield targets.reshape(*outputs.shape[:2], *self._target_shape)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
