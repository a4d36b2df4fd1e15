"""Decision regions: those of known half planes, and where networks agree."""

import dataclasses

import numpy as np
import pytest

from mlpjax import MLP, Recipe
from mlpjax.data import Dataset, Split
from mlpjax.findings.regions import FINDING, POINTS, draw_regions
from mlpjax.seeds import Trained

X = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
SPLIT = Split(X, np.array([0, 1, 0, 1], np.int32))


def three(subject, tmp_path, kernels):
    """Linear networks without a bias, each with weights of its own."""
    params = {"dense_0": {"kernel": np.array(kernels, np.float32), "bias": np.zeros((len(kernels), 2), np.float32)}}
    history = {"train_loss": np.ones((len(kernels), 2)), "test_loss": np.arange(len(kernels) * 2.0).reshape(-1, 2)}
    return dataclasses.replace(
        subject,
        model=MLP((2, 2)),
        recipe=Recipe(batch_size=None, epochs=1),
        dataset=Dataset("square", SPLIT, SPLIT, SPLIT, classes=2),
        random=Trained(np.arange(len(kernels)), params, history),
        folder=tmp_path,
    )


def test_regions_are_where_the_networks_draw_them(subject, silent, tmp_path):
    """Two networks see class 1 to the right, one above: they agree in two quadrants."""
    right, above = [[-1, 1], [0, 0]], [[0, 0], [-1, 1]]
    found = FINDING.find(three(subject, tmp_path, [right, above, right]), silent)
    first, second = np.meshgrid(*found.sides)
    np.testing.assert_allclose(found.sides[:, [0, -1]], [[-1.2, 1.2]] * 2)
    off_border = (abs(first) > 0.02) & (abs(second) > 0.02)
    np.testing.assert_array_equal(found.common[off_border], (first > 0)[off_border])
    np.testing.assert_array_equal(found.median[off_border], (second > 0)[off_border])
    same = (first > 0) == (second > 0)
    np.testing.assert_allclose(found.share[off_border], np.where(same, 1, 2 / 3)[off_border])
    assert found.seed == 1
    assert FINDING.summarise(found)["unanimous"] == pytest.approx(0.5, abs=2 / POINTS)
    (picture,) = FINDING.show(found)
    assert "how many of 3 networks see the class that most of them see" in picture.caption
    assert len(draw_regions(found).axes) == 3  # two panels and a colour bar


def test_one_network_has_no_agreement_to_show(subject, silent, tmp_path):
    found = FINDING.find(three(subject, tmp_path, [[[-1, 1], [0, 0]]]), silent)
    assert len(draw_regions(found).axes) == 1
    assert "Right" not in FINDING.show(found)[0].caption


@pytest.mark.parametrize(("features", "classes", "applies"), [(2, 2, True), (3, 2, False), (2, None, False)])
def test_only_two_features_and_classes_have_regions(subject, features, classes, applies):
    x = np.zeros((4, features), np.float32)
    y = SPLIT.y if classes else np.zeros((4, 1), np.float32)
    split = Split(x, y)
    other = dataclasses.replace(subject, dataset=Dataset("flat", split, split, split, classes=classes))
    assert FINDING.applies(other) == applies
