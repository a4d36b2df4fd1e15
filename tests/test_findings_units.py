"""Symmetry breaking: units that start at zero stay alike, and weights are drawn around zero."""

import numpy as np
import pytest
from conftest import texts

from mlpjax.findings.units import FINDING, draw_kernels

RNG = np.random.default_rng(0)


def test_units_that_start_at_zero_stay_alike(subject, silent):
    found = FINDING.find(subject, silent)
    summary = FINDING.summarise(found)
    assert summary["random"]["layer 1"]["min"] == 5
    assert summary["zero"]["layer 1"]["max"] == 1
    # tanh(0) = 0: only the output's biases have a gradient, where the classes are not as frequent
    assert [found.zero_gradients[f"dense_{layer}/kernel"] for layer in (0, 1)] == [1, 1]
    titles = [item.title for item in FINDING.show(found)]
    assert titles[1:3] == ["Symmetry breaking: different hidden units", "Gradients at an all-zero start"]


def test_the_tile_of_the_controls_carries_its_interval(subject, silent):
    (tile,) = FINDING.tiles(FINDING.find(subject, silent))
    assert tile.label == "All-zero start, test error"
    # From zero both seeds see the same batches and end alike, which shows no spread.
    assert tile.interval == "the same in all of 2 seeds"


@pytest.mark.parametrize("image_shape", [(3, 4), None])
@pytest.mark.parametrize("units", [3, 20])
def test_weights_are_drawn_around_zero(image_shape, units):
    random = RNG.normal(size=(12, units))
    figure = draw_kernels(random, np.zeros((12, units)), image_shape)
    shown = texts(figure)
    assert "random start" in shown
    assert "all-zero start" in shown
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == 2 * (min(units, 16) if image_shape else 1)
    for image in images:
        low, high = image.get_clim()
        assert low == -high < 0
    first = images[0].get_array()
    assert np.array_equal(first, random[:, 0].reshape(3, 4) if image_shape else random[:, :16])
