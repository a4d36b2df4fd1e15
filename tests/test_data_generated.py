"""XOR blobs against closed-form moments, MNIST-1D against the package that makes it, modular addition by hand."""

import inspect
import random

import numpy as np
import pytest
from mnist1d.data import get_dataset_args, make_dataset
from scipy.stats import norm

from mlpjax.data import Dataset, check, generated, load
from mlpjax.data.generated import make_mnist1d, make_modular_addition
from mlpjax.errors import UserError

CORNERS = {(1, 1): 0, (-1, -1): 0, (-1, 1): 1, (1, -1): 1}


def test_noiseless_xor_of_four_rows_is_the_four_corners_in_every_split():
    data = load("xor", n=4, noise=0, corner=1)
    for split in (data.train, data.valid, data.test):
        assert {tuple(map(int, row)): int(label) for row, label in zip(*split, strict=True)} == CORNERS
        assert split.x.dtype == np.float32
        assert split.y.dtype == np.int32
    assert check(data).notes == ()
    assert check(data).repeated == {"valid": 4, "test": 4}


def test_xor_blobs_have_the_moments_they_are_asked_for():
    n, noise, corner = 40_000, 0.36, 0.93
    data = load("xor", n=n)
    assert data.classes == 2
    x, y = data.train
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    for first, sign in enumerate(signs):
        blob = x[first::4]
        assert len(blob) == n // 4
        # Five standard errors of a mean and of a standard deviation.
        np.testing.assert_allclose(blob.mean(0), corner * sign, atol=5 * noise / np.sqrt(n / 4))
        np.testing.assert_allclose(blob.std(0), noise, atol=5 * noise / np.sqrt(n / 2))
        assert set(y[first::4]) == {CORNERS[tuple(sign)]}
    q = norm.cdf(-corner / noise)
    crossed = np.mean((x[:, 0] * x[:, 1] < 0) != y)
    assert abs(crossed - 2 * q * (1 - q)) < 5 * np.sqrt(0.01 / n)


@pytest.mark.parametrize("n", [4, 5, 6, 7, 750])
def test_xor_corners_are_as_equally_frequent_as_n_allows(n):
    data = load("xor", n=n, noise=0)
    _, counts = np.unique(data.train.x, axis=0, return_counts=True)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_xor_splits_are_independent_draws_fixed_by_the_seed():
    data, again, other = load("xor", seed=3), load("xor", seed=3), load("xor", seed=4)
    np.testing.assert_array_equal(data.test.x, again.test.x)
    assert not np.array_equal(data.train.x, other.train.x)
    residuals = [split.x - 0.93 * np.sign(split.x) for split in (data.train, data.valid, data.test)]
    correlations = np.corrcoef([r.ravel() for r in residuals])
    assert np.abs(correlations - np.eye(3)).max() < 0.15  # 0.026 is one standard error


@pytest.mark.parametrize(
    "option", [{"n": 3}, {"noise": -0.1}, {"noise": np.nan}, {"corner": 0}, {"corner": np.inf}, {"seed": -1}]
)
def test_xor_refuses_arguments_out_of_range_by_name(option):
    (name,) = option
    with pytest.raises(UserError, match=f"xor: {name} is"):
        load("xor", **option)


def test_mnist1d_is_what_its_package_makes_by_default():
    arguments = get_dataset_args()
    own = {name: option.default for name, option in inspect.signature(make_mnist1d).parameters.items()}
    assert own == {name: getattr(arguments, name) for name in own}
    assert own == {"num_samples": 5000, "train_split": 0.8, "seed": 42}
    arguments.num_samples = 1000  # all of them take seconds
    made, data = make_dataset(arguments), load("mnist1d", num_samples=1000)
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [720, 80, 200]
    np.testing.assert_array_equal(np.concatenate([data.train.x, data.valid.x]), made["x"].astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([data.train.y, data.valid.y]), made["y"])
    np.testing.assert_array_equal(data.test.x, made["x_test"].astype(np.float32))
    np.testing.assert_array_equal(data.test.y, made["y_test"])
    assert data.features == 40
    assert data.image_shape is None


def unchecked(**fields):
    made = object.__new__(Dataset)
    made.__dict__.update(fields)
    return made


def test_mnist1d_leaves_the_global_generators_and_the_folder_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    wanted = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    # Not through `load`, nor the data set's own `__init__`: their annotations make beartype draw from `random`.
    monkeypatch.setattr(generated, "Dataset", unchecked)
    data = make_mnist1d(num_samples=100, train_split=0.5, seed=1)
    assert (random.random(), np.random.random()) == wanted  # noqa: NPY002
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [45, 5, 50]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [{"num_samples": 9}, {"train_split": 1.0}, {"seed": -1}])
def test_mnist1d_refuses_arguments_out_of_range_by_name(option):
    (name,) = option
    with pytest.raises(UserError, match=f"mnist1d: {name} is"):
        load("mnist1d", **option)


@pytest.mark.parametrize("p", [2, 5])
def test_modular_addition_has_every_pair_once_with_its_sum(p):
    data = make_modular_addition(p)
    assert (len(data.train.y), len(data.valid.y), data.features, data.classes) == (p * p, 0, 2 * p, p)
    assert data.test is data.train
    first, second = data.train.x[:, :p].argmax(axis=1), data.train.x[:, p:].argmax(axis=1)
    np.testing.assert_array_equal(data.train.x[:, :p].sum(axis=1), 1)
    np.testing.assert_array_equal(data.train.x.sum(axis=1), 2)
    np.testing.assert_array_equal(data.train.y, (first + second) % p)
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == p * p
    check(data)


def test_modular_addition_refuses_a_modulus_below_two():
    with pytest.raises(UserError, match="modular addition: p is 1"):
        make_modular_addition(1)
