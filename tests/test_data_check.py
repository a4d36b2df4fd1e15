"""The check at the door: what it refuses, what it counts, what it says."""

from dataclasses import replace

import numpy as np
import pytest

from mlpjax.data import Dataset, Split, check
from mlpjax.errors import UserError


def split(n=12, features=3, classes=2, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return Split((100 * rng.random((n, features))).astype(dtype), (np.arange(n) % classes).astype(np.int32))


def dataset(**changes):
    parts = {"train": split(seed=1), "valid": split(n=4, seed=2), "test": split(n=6, seed=3), "classes": 2}
    return Dataset(name="toy", source="made here", **(parts | changes))


def with_value(good, row, feature, value):
    x = good.x.copy()
    x[row, feature] = value
    return good._replace(x=x)


def with_label(good, row, label):
    y = good.y.copy()
    y[row] = label
    return good._replace(y=y)


GOOD = split()
REPEATED = (
    "2 of 3 test rows are identical to a training row: take them out of one of the two, or the test error is too low"
)
BAD = [
    (GOOD._replace(x=GOOD.x[0]), "x has 1 dimensions; want rows"),
    (GOOD._replace(y=GOOD.y[:, None]), "y is int32 with 2 dimensions; want int32 labels"),
    (GOOD._replace(x=GOOD.x[:, :0]), "no features"),
    (
        GOOD._replace(x=GOOD.x.astype(np.float64)),
        "x is float64; want uint8 or float32",
    ),
    (GOOD._replace(y=GOOD.y.astype(np.int64)), "y is int64 with 1 dimensions; want int32"),
    (GOOD._replace(y=GOOD.y[:-1]), "12 rows in x but 11 in y"),
    (with_value(GOOD, 7, 2, np.nan), "row 7, feature 2 is nan"),
    (with_value(GOOD, 5, 0, -np.inf), "row 5, feature 0 is -inf"),
    (with_label(GOOD, 9, 2), "row 9 has label 2, outside the 2 classes 0..1"),
    (with_label(GOOD, 4, -1), "row 4 has label -1, outside"),
]


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_data_are_refused_with_split_and_first_row(part, bad, message):
    with pytest.raises(UserError, match=f"^toy, {part}: {message}") as caught:
        check(dataset(**{part: bad}))
    assert "\n" not in str(caught.value)


def test_the_first_of_several_bad_rows_is_named():
    with pytest.raises(UserError, match="row 3, feature 1"):
        check(dataset(test=with_value(with_value(GOOD, 8, 0, np.nan), 3, 1, np.inf)))


def test_splits_must_agree_on_the_features():
    with pytest.raises(UserError, match="toy, test: 4 features but train has 3"):
        check(dataset(test=split(features=4)))


@pytest.mark.parametrize("part", ["train", "test"])
def test_train_and_test_must_have_rows(part):
    with pytest.raises(UserError, match=f"toy, {part}: no rows"):
        check(dataset(**{part: split(n=0)}))


def test_validation_may_be_empty():
    facts = check(dataset(valid=split(n=0)))
    assert facts.rows["valid"] == 0
    assert facts.repeated == {"test": 0}


def test_one_class_alone_cannot_be_trained_on():
    with pytest.raises(UserError, match="toy, train: all labels are 0; give at least two classes"):
        check(dataset(train=split(classes=1)))


def test_the_facts_are_the_numbers_of_the_data():
    train = Split(np.array([[[0, 7, 3]], [[200, 7, 4]], [[9, 7, 5]]], np.uint8), np.array([0, 1, 1], np.int32))
    test = Split(np.array([[[9, 7, 5]], [[9, 7, 5]], [[1, 2, 3]]], np.uint8), np.array([1, 0, 0], np.int32))
    facts = check(Dataset("toy", train, Split(train.x[:0], train.y[:0]), test, classes=2))
    assert (facts.low, facts.high, facts.constant) == (0, 200, 1)
    assert facts.balance == {"train": (1, 2), "test": (1, 2)}
    assert facts.repeated == {"test": 2}
    assert facts.notes == (REPEATED,)
    assert facts.table() == [
        ("verdict", "read the note below first"),
        ("data", "toy"),
        ("source", ""),
        ("rows", "train 3, valid 0, test 3"),
        ("features", "3 = 1 x 3 pixels, uint8"),
        ("values in train", "0 to 200; 1 features constant"),
        ("classes", "2"),
        ("rows per class", "train 1 to 2, test 1 to 2"),
        ("rows also in train", "test 2"),
        ("note", REPEATED),
    ]


def test_targets_are_numbers_or_labels_and_are_told_apart():
    x, y = np.ones((4, 3), np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
    facts = check(Dataset("toy", Split(x, y), Split(x[:0], y[:0]), Split(x, y)))
    assert (facts.classes, facts.outputs, facts.balance) == (None, 2, {})
    assert ("targets", "2") in facts.table()
    for targets, said in (
        (y[:, 0], "toy, test: y is float32 with 1 dimensions and there are no classes; for regression give float32"),
        (np.zeros(4, np.int32), "toy, test: y is int32 with 1 dimensions and there are no classes"),
        (np.where(y == 3, np.inf, y).astype(np.float32), "toy, test: row 1, target 1 is inf; mend or drop the row"),
        (y[:, :1], "toy, test: 1 targets but train has 2"),
    ):
        with pytest.raises(UserError, match=said):
            check(Dataset("toy", Split(x, y), Split(x[:0], y[:0]), Split(x, targets)))


def test_repeats_by_design_are_counted_but_not_complained_of():
    good = split()
    facts = check(dataset(train=good, valid=good, test=good, repeats_expected=True))
    assert facts.repeated == {"valid": 12, "test": 12}
    assert facts.notes == ()


def test_missing_classes_and_imbalance_are_noted():
    y = np.array([0] * 9 + [1] * 3, np.int32)
    facts = check(dataset(train=GOOD._replace(y=y), test=split(n=6, classes=1, seed=3)))
    assert facts.notes == (
        "test has no rows of class 1: add some, or leave the class out",
        "the commonest training class has 3.0 times the rows of the rarest: an error means little until it is well "
        "below that of naming the commonest",
    )
    assert facts.verdict == "read the 2 notes below first"


def test_good_data_get_no_notes():
    facts = check(dataset())
    assert (facts.notes, facts.verdict) == ((), "nothing looks wrong")


def test_facts_are_found_once_for_a_data_set_and_anew_for_another():
    one = dataset()
    facts = check(one)
    assert check(one) is facts
    assert check(replace(one, name="other")).name == "other"
    bad = dataset(train=split(n=0))
    for _ in range(2):
        with pytest.raises(UserError, match="no rows"):
            check(bad)
