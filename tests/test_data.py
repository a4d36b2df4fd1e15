"""The front door `load` and the stratified hold-out."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpjax.data import LOADERS, Split, load
from mlpjax.data.dataset import stratified_holdout, with_label_noise, without_validation
from mlpjax.errors import UserError


def test_a_split_is_a_pytree():
    split = Split(np.zeros((2, 3), np.float32), np.zeros(2, np.int32))
    assert [leaf.shape for leaf in jax.tree.leaves(split)] == [(2, 3), (2,)]


def test_features_is_the_width_of_the_rows():
    assert load("xor", n=4).features == 2


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_holdout_partitions_the_rows_and_keeps_every_class_share(labels, data):
    y = np.array(labels)
    size = data.draw(st.integers(0, len(y)))
    kept, held = stratified_holdout(y, size, seed=0)
    assert len(held) == size
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(y)))
    share = size * np.bincount(y) / len(y)
    assert np.all(np.abs(np.bincount(y[held], minlength=len(share)) - share) < 1)


def test_holdout_depends_on_the_seed_alone():
    y = np.repeat(np.arange(3), 40)
    np.testing.assert_array_equal(stratified_holdout(y, 30, seed=1)[1], stratified_holdout(y, 30, seed=1)[1])
    assert not np.array_equal(stratified_holdout(y, 30, seed=1)[1], stratified_holdout(y, 30, seed=2)[1])


@pytest.mark.parametrize(
    ("spec", "meant"), [("mnst5k", "mnist5k"), ("idx", "idx:DIR"), ("idx:", "idx:DIR"), ("xor:3", "xor")]
)
def test_an_unknown_data_set_is_answered_with_the_nearest_and_all_kinds(spec, meant):
    with pytest.raises(UserError) as caught:
        load(spec)
    assert f"unknown data set {spec!r}: did you mean {meant!r}?" in str(caught.value)
    assert all(form in str(caught.value) for form in LOADERS)


def test_an_unknown_option_is_answered_with_the_options_there_are():
    with pytest.raises(UserError, match="'xor' has no option 'nois'; it takes n, noise, corner, seed"):
        load("xor", nois=0.1)
    with pytest.raises(UserError, match="'mnist5k' has no option 'n'; it takes none"):
        load("mnist5k", n=10)
    with pytest.raises(UserError, match="'idx:DIR' has no option 'directory'; it takes valid"):
        load("idx:somewhere", directory="elsewhere")


def test_label_noise_is_a_share_of_wrong_labels_and_a_larger_share_contains_a_smaller():
    clean = load("mnist1d")
    wrong = {}
    for share in (0.1, 0.3):
        noisy = with_label_noise(clean, share, seed=1)
        wrong[share] = noisy.train.y != clean.train.y
        assert wrong[share].sum() == round(share * len(clean.train.y))
        assert (noisy.valid.y != clean.valid.y).sum() == round(share * len(clean.valid.y))
        assert set(noisy.train.y) <= set(range(10))
        np.testing.assert_array_equal(noisy.test.y, clean.test.y)
    assert wrong[0.3][wrong[0.1]].all()
    moved = np.bincount((noisy.train.y - clean.train.y)[wrong[0.3]] % 10, minlength=10)
    assert moved[0] == 0
    assert moved[1:].min() > 0.5 * moved[1:].mean()  # evenly
    assert with_label_noise(clean, 0).train.y.tolist() == clean.train.y.tolist()


def test_label_noise_that_cannot_be_is_refused():
    with pytest.raises(UserError, match=r"label noise 1.5: give a share from 0 to 1"):
        with_label_noise(load("xor", n=4), 1.5)


def test_without_validation_all_of_it_is_trained_on_in_order():
    clean = load("xor", n=4)
    whole = without_validation(clean)
    np.testing.assert_array_equal(whole.train.x, [*clean.train.x, *clean.valid.x])
    np.testing.assert_array_equal(whole.train.y, [*clean.train.y, *clean.valid.y])
    assert (whole.valid.x.shape, whole.valid.y.shape) == ((0, 2), (0,))
    assert whole.test is clean.test
