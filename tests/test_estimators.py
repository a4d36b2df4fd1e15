"""Means over networks as scikit-learn wants them: its own checks, NumPy's forward pass, and `train_many`'s networks."""

import importlib
import pickle
import sys

import jaxtyping
import numpy as np
import pytest
import scipy.special
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import mlpjax
from mlpjax import UserError, estimators
from mlpjax.plumbing import compilation

RNG = np.random.default_rng(0)
X = RNG.normal([3.0, -2.0, 100.0], [1.0, 5.0, 20.0], size=(40, 3))
WORDS = np.where(X[:, 0] + X[:, 1] / 5 > 2.6, "warm", "cold")
TARGETS = np.stack([50 + 10 * X[:, 0], X[:, 1] - X[:, 2]], axis=1)
OPTIONS = {"hidden": (4,), "n_seeds": 3, "batch_size": 16, "epochs": 2, "learning_rate": 0.02, "random_state": 0}


@pytest.fixture(scope="module")
def classifier():
    return mlpjax.SeedsClassifier(**OPTIONS).fit(X, WORDS)


@pytest.fixture(scope="module")
def regressor():
    return mlpjax.SeedsRegressor(**OPTIONS).fit(X, TARGETS)


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def forward(params, x):
    """Outputs of all networks, in float64."""
    (w, b), (v, c) = (
        (np.float64(params[layer]["kernel"]), np.float64(params[layer]["bias"])[:, None])
        for layer in ("dense_0", "dense_1")
    )
    return np.maximum(x @ w + b, 0) @ v + c


def test_probabilities_are_the_mean_over_the_networks(classifier):
    each = scipy.special.softmax(forward(classifier.trained_.params, standardised(X)), axis=2)
    np.testing.assert_allclose(classifier.predict_proba_seeds(X), each, atol=1e-6)
    np.testing.assert_allclose(classifier.predict_proba(X), each.mean(axis=0), atol=1e-6)
    assert np.ptp(each, axis=0).max() > 0.1


def test_words_are_answered_with_words(classifier):
    assert classifier.classes_.tolist() == ["cold", "warm"]
    likeliest = classifier.predict_proba(X).argmax(axis=1)
    assert classifier.predict(X).tolist() == [("cold", "warm")[place] for place in likeliest]
    assert set(likeliest) == {0, 1}


def test_predictions_are_in_the_units_and_the_shape_of_the_targets(regressor):
    each = TARGETS.mean(axis=0) + TARGETS.std(axis=0) * forward(regressor.trained_.params, standardised(X))
    np.testing.assert_allclose(regressor.predict_seeds(X), each, rtol=1e-5)
    np.testing.assert_allclose(regressor.predict(X), each.mean(axis=0), rtol=1e-5)
    assert regressor.predict(X).shape == (40, 2)
    flat = mlpjax.SeedsRegressor(**OPTIONS).fit(X, TARGETS[:, 0])
    column = mlpjax.SeedsRegressor(**OPTIONS).fit(X, TARGETS[:, :1])
    assert flat.predict_seeds(X).shape == (3, 40)
    np.testing.assert_array_equal(flat.predict(X)[:, None], column.predict(X))


def test_networks_are_those_of_train_many(classifier, regressor):
    x = standardised(X).astype(np.float32)
    for estimator, y, loss in (
        (classifier, WORDS, "cross_entropy"),
        (regressor, standardised(TARGETS), "squared_error"),
    ):
        dataset = mlpjax.Dataset.from_arrays(x, y, valid=0, test=(x[:2], y[:2]))
        trained = mlpjax.train_many(
            mlpjax.MLP((3, 4, 2)),
            mlpjax.Recipe(loss=loss, batch_size=16, epochs=2, learning_rate=0.02),
            dataset,
            estimator.trained_.seeds.tolist(),
        )
        for layer, arrays in trained.params.items():
            for name, values in arrays.items():
                np.testing.assert_allclose(estimator.trained_.params[layer][name], values, atol=1e-5)
        np.testing.assert_allclose(estimator.trained_.history["train_loss"], trained.history["train_loss"], rtol=1e-5)
        assert not any(name.startswith("test") for name in estimator.trained_.history)


def test_a_row_does_not_depend_on_the_others(classifier):
    rows = np.tile(X, (5, 1))
    assert len(rows) > estimators.BLOCK
    together = classifier.predict_proba(rows)
    np.testing.assert_array_equal(together[:40], together[-40:])
    np.testing.assert_array_equal(together[7], classifier.predict_proba(X[7:8])[0])


def test_features_are_taken_as_they_are_where_that_is_wanted(classifier):
    own = clone(classifier).set_params(normalisation="range").fit(standardised(X), WORDS)
    np.testing.assert_allclose(own.predict_proba(standardised(X)), classifier.predict_proba(X), atol=1e-5)


@pytest.mark.slow
def test_works_with_what_scikit_learn_offers(classifier, monkeypatch):
    pipeline = make_pipeline(MinMaxScaler(), clone(classifier))
    assert cross_val_score(pipeline, X, WORDS, cv=2).shape == (2,)
    compiled = []
    compile_program = compilation._compile
    monkeypatch.setattr(compilation, "_compile", lambda *args: compiled.append(args) or compile_program(*args))
    search = GridSearchCV(pipeline, {"seedsclassifier__learning_rate": [1e-6, 0.05]}, cv=2).fit(X, WORDS)
    assert search.best_params_ == {"seedsclassifier__learning_rate": 0.05}
    assert not compiled
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(search)).predict_proba(X), search.best_estimator_.predict_proba(X)
    )


def test_seeds_follow_from_the_random_state(monkeypatch):
    given = []

    def train_many(*args, **_):
        given.append(args[3])
        raise InterruptedError

    monkeypatch.setattr(estimators, "train_many", train_many)
    for random_state, n_seeds in ((0, 8), (0, 8), (0, 16), (1, 8)):
        with pytest.raises(InterruptedError):
            mlpjax.SeedsRegressor(n_seeds=n_seeds, random_state=random_state).fit(X, TARGETS)
    first, again, more, other = given
    assert first == again == more[:8]
    assert not {*more} & {*other}
    assert len({*more}) == 16


def test_networks_that_diverged_are_left_out_and_named(classifier, monkeypatch):
    def train_many(*args, **options):
        trained = mlpjax.train_many(*args, **options)
        trained.history["train_loss"][1, 1:] = np.nan
        return trained

    monkeypatch.setattr(estimators, "train_many", train_many)
    gone = classifier.trained_.seeds[1]
    with pytest.warns(ConvergenceWarning, match=f"1 of 3 networks diverged and are left out, of seeds {gone}: lower"):
        left = clone(classifier).fit(X, WORDS)
    assert left.trained_.seeds.tolist() == classifier.trained_.seeds[[0, 2]].tolist()
    expected = classifier.predict_proba_seeds(X)[[0, 2]].mean(axis=0)
    np.testing.assert_allclose(left.predict_proba(X), expected, atol=1e-6)


def test_no_network_left_is_refused(classifier):
    with pytest.raises(UserError, match="all of the 3 networks diverged: lower learning_rate"):
        clone(classifier).set_params(learning_rate=1e30).fit(X, WORDS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_seeds": 0}, "n_seeds 0: give a whole number, at least 1"),
        ({"n_seeds": 2.5}, "n_seeds 2.5: give a whole number"),
        ({"hidden": 8}, r"hidden 8: give a tuple of the hidden layers' units, such as \(64,\)"),
        ({"hidden": (0,)}, "widths 3-0-2: every width must be at least 1"),
        ({"normalisation": "channel"}, "unknown normalisation 'channel'.*choose from feature, range"),
        ({"learning_rate": -1.0}, "learning_rate -1.0: must be above 0"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0: must be"),
        ({"batch_size": 0}, "batch_size 0: must be at least 1"),
    ],
)
def test_what_cannot_be_used_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        mlpjax.SeedsClassifier().set_params(**options).fit(X, WORDS)


def test_one_class_is_refused():
    with pytest.raises(UserError, match="y: holds one class, warm; give at least two"):
        mlpjax.SeedsClassifier().fit(X, ["warm"] * 40)


def test_scikit_learn_that_is_missing_is_named_with_the_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "mlpjax.estimators")
    for look in (lambda: mlpjax.SeedsClassifier, lambda: importlib.import_module("mlpjax.estimators")):
        with pytest.raises(ImportError, match=r"need scikit-learn, 1.6 or later: pip install 'mlpjax\[sklearn\]'$"):
            look()


SMALL = {"hidden": (16,), "n_seeds": 2, "epochs": 30, "learning_rate": 0.03, "batch_size": 32}


@pytest.fixture
def any_type():
    """One of the checks gives every parameter values of every type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.usefixtures("any_type")
@parametrize_with_checks([mlpjax.SeedsClassifier(**SMALL), mlpjax.SeedsRegressor(**SMALL)])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
