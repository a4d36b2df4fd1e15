"""Changes of colours, against the formula written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import mlpjax
from mlpjax.colour import ColourJitter

KEY = jax.random.key(5)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 5, 3)), jnp.float32)


def test_nothing_changes_nothing() -> None:
    np.testing.assert_allclose(ColourJitter()(KEY, IMAGES), IMAGES, atol=1e-6)


def test_brightness_alone_adds_one_number_to_an_image() -> None:
    added = np.asarray(ColourJitter(brightness=0.3)(KEY, jnp.zeros((4000, 1, 2, 3))))
    assert (np.ptp(added, axis=(1, 2, 3)) == 0).all()
    assert scipy.stats.kstest(added[:, 0, 0, 0], scipy.stats.uniform(-0.3, 0.6).cdf).pvalue > 1e-3


def test_contrast_keeps_the_mean_and_stretches_what_differs_from_it() -> None:
    for before, after in zip(np.asarray(IMAGES), np.asarray(ColourJitter(contrast=0.5)(KEY, IMAGES)), strict=True):
        np.testing.assert_allclose(after.mean(), before.mean(), atol=1e-6)
        ratio = (after - after.mean()) / (before - before.mean())
        np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-3)
        assert 0.5 <= ratio[0, 0, 0] <= 1.5


def test_saturation_keeps_the_light_of_every_pixel_and_leaves_grey_grey() -> None:
    jitter = ColourJitter(saturation=1)
    after = np.asarray(jitter(KEY, IMAGES))
    np.testing.assert_allclose(after.mean(axis=3), np.asarray(IMAGES).mean(axis=3), atol=1e-6)
    assert (np.abs(after - IMAGES).max(axis=(1, 2, 3)) > 1e-3).all()
    grey = jnp.repeat(IMAGES[..., :1], 3, axis=3)
    np.testing.assert_allclose(jitter(KEY, grey), grey, atol=1e-6)


def test_all_at_once_is_the_formula() -> None:
    jitter = mlpjax.ColourJitter(brightness=0.2, contrast=0.4, saturation=0.6)
    draws = np.asarray(jax.random.uniform(KEY, (3, 4), minval=-1.0))
    for image, found, (b, k, s) in zip(
        np.asarray(IMAGES), np.asarray(jitter(KEY, IMAGES)), (draws * [[0.2], [0.4], [0.6]]).T, strict=True
    ):
        light = image.mean(axis=2, keepdims=True)
        expected = image.mean() + (1 + k) * (light + (1 + s) * (image - light) - image.mean()) + b
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_a_number_outside_its_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(mlpjax.UserError, match=f"{field} {value}: must be at least 0 and"):
        ColourJitter(**{field: value})


def test_grey_images_have_no_colours_to_change() -> None:
    with pytest.raises(mlpjax.UserError, match="no colours to change"):
        ColourJitter(brightness=1)(KEY, IMAGES[..., 0])
