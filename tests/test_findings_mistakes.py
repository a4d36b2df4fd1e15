"""What networks get wrong: the hardest first, and shown as images."""

import dataclasses

import numpy as np
from conftest import texts

from mlpjax import MLP, Recipe
from mlpjax.data import Dataset, Split
from mlpjax.findings.mistakes import FINDING, draw_mistakes
from mlpjax.seeds import Trained

RNG = np.random.default_rng(0)


def test_the_hardest_examples_come_first(subject, silent, tmp_path):
    """Three networks of which two always say 0 and one says 1; the class 1 is wrong for most, the class 2 for all."""
    bias = np.array([[2, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    params = {"dense_0": {"kernel": np.zeros((3, 4, 3), np.float32), "bias": bias}}
    split = Split(np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.array([0, 1, 2, 0, 1, 2], np.int32))
    history = {"train_loss": np.ones((3, 2)), "test_loss": np.ones((3, 2))}
    three = dataclasses.replace(
        subject,
        model=MLP((4, 3)),
        recipe=Recipe(batch_size=None, epochs=1),
        dataset=Dataset("three", split, split, split, classes=3),
        random=Trained(np.arange(3), params, history),
        folder=tmp_path,
    )
    found = FINDING.find(three, silent)
    assert sorted(found.rows[:2]) == [2, 5]
    np.testing.assert_allclose(found.share, [1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    np.testing.assert_array_equal(found.true, [2, 2, 1, 1, 0, 0])
    np.testing.assert_array_equal(found.predicted, [0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.images, split.x[found.rows])
    assert FINDING.summarise(found) == {"for_one_or_more": 6, "for_all": 2}
    (picture,) = FINDING.show(found)
    assert "6 of 6 test images are wrong for at least one seed, 2 for all" in picture.caption


def test_what_is_no_image_is_not_shown(subject, silent):
    found = FINDING.find(subject, silent)
    assert found.images is None
    assert FINDING.show(found) == []


def test_the_gallery_names_classes_and_share():
    classes = np.arange(8)
    figure = draw_mistakes(RNG.uniform(size=(8, 5, 4)), classes, classes + 1, np.full(8, 0.93))
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles[7] == "t: 7  p: 8\nwrong in 93 %\nof seeds"
    assert len(titles) == 8


def test_a_gallery_of_nothing_says_so():
    none = np.zeros(0, int)
    figure = draw_mistakes(np.zeros((0, 5, 4)), none, none, np.zeros(0))
    assert "No image was misclassified." in texts(figure)
