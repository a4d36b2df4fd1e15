"""Deformations against SciPy's interpolation and filters, and against what is published of their size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import mlpjax
from mlpjax.deformation import Deformation, interpolate
from mlpjax.hashing import uniform

KEY = jax.random.key(3)
IMAGES = jnp.asarray(np.random.default_rng(0).random((3, 9, 7)), jnp.float32)
ALL = Deformation(shift=2, rotation=30, stretch=0.2, elastic=8, smoothness=2)


def test_nothing_deforms_nothing() -> None:
    np.testing.assert_allclose(jax.jit(Deformation())(KEY, IMAGES), IMAGES, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16))
def test_pixels_are_those_of_scipy_at_the_same_places(seed: int) -> None:
    places = np.random.default_rng(seed).uniform(-2, 10, (2, 9, 7)).astype(np.float32)
    expected = scipy.ndimage.map_coordinates(np.asarray(IMAGES[0]), places, order=1, mode="grid-constant")
    found = INTERPOLATE(IMAGES, np.stack([places, places + 1, places + 20], axis=1))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    expected = scipy.ndimage.map_coordinates(np.asarray(IMAGES[1]), places + 1, order=1, mode="grid-constant")
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    assert not found[2].any()


INTERPOLATE = jax.jit(interpolate)


def test_an_affine_deformation_is_that_of_scipy() -> None:
    """The matrix is read off the places of three pixels, and must give all the others."""
    affine = Deformation(shift=2, rotation=30, stretch=0.2)
    at = np.asarray(affine.places(KEY, 2, 9, 9)[:, 1])
    matrix = np.stack([at[:, 1, 0] - at[:, 0, 0], at[:, 0, 1] - at[:, 0, 0]], axis=1)
    draws = np.asarray(jax.random.uniform(jax.random.split(KEY)[0], (5, 2), minval=-1.0))
    turn, g_row, g_column, s_row, s_column = draws[:, 1]
    angle = np.radians(30) * turn
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(matrix, rotation / (1 + 0.2 * np.array([g_row, g_column])), atol=1e-5)
    np.testing.assert_allclose(at[:, 4, 4], [4 + 2 * s_row, 4 + 2 * s_column], atol=1e-5)
    image = np.random.default_rng(1).random((9, 9)).astype(np.float32)
    expected = scipy.ndimage.affine_transform(image, matrix, at[:, 0, 0], order=1, mode="grid-constant")
    np.testing.assert_allclose(jax.jit(interpolate)(image[None], at[:, None])[0], expected, atol=1e-5)


def test_elastic_displacements_are_noise_smoothed_by_scipy_s_gaussian() -> None:
    elastic = Deformation(elastic=8, smoothness=2)
    noise = 2 * np.asarray(uniform(jax.random.split(KEY)[1], (9, 2, 3, 7))).transpose(1, 2, 0, 3) - 1
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 0, 2, 2), mode="constant")
    found = np.asarray(elastic.places(KEY, 3, 9, 7) - Deformation().places(KEY, 3, 9, 7))
    np.testing.assert_allclose(found, 8 * smooth, atol=1e-5)


def test_draws_lie_evenly_in_their_range() -> None:
    """Over many images: the middle's shift is uniform, and by no deformation are pixels moved on average."""
    at = np.asarray(Deformation(shift=2).places(KEY, 4000, 3, 3)[:, :, 1, 1]) - 1
    for shifts in at:
        assert scipy.stats.kstest(shifts, scipy.stats.uniform(-2, 4).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(at)[0, 1]) < 0.06
    off = np.asarray(Deformation(2, 30, 0, 8, 2).places(KEY, 4000, 9, 7))
    turned = np.indices((9, 7)) - np.array([4, 3]).reshape(2, 1, 1)
    expected = np.array([4, 3]).reshape(2, 1, 1) + turned * np.sin(np.pi / 6) / (np.pi / 6)  # the mean of a cosine
    errors = off.std(axis=1) / np.sqrt(4000)
    assert (np.abs(off.mean(axis=1) - expected) < 5 * errors).all()


def test_each_image_and_each_key_has_a_draw_of_its_own() -> None:
    alike = jnp.stack([IMAGES[0]] * 2)
    one, other = ALL(KEY, alike)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(ALL(KEY, alike)[0], one)
    assert not np.array_equal(ALL(jax.random.key(4), alike)[0], one)


def test_the_channels_of_a_colour_image_move_together() -> None:
    colour = jnp.stack([IMAGES, 2 * IMAGES], axis=-1)
    found = ALL(KEY, colour)
    np.testing.assert_allclose(found[..., 0], ALL(KEY, IMAGES), atol=1e-6)
    np.testing.assert_allclose(found[..., 1], 2 * found[..., 0], atol=1e-6)


@pytest.mark.parametrize("field", ["shift", "rotation", "stretch", "elastic", "smoothness"])
def test_a_number_out_of_its_range_is_named(field: str) -> None:
    for value in (-1.0, float("inf"), float("nan")):
        with pytest.raises(mlpjax.UserError, match=f"{field} {value}"):
            Deformation(**{field: value})
    if field in ("stretch", "smoothness"):
        with pytest.raises(mlpjax.UserError, match=field):
            Deformation(**{field: 1.0 if field == "stretch" else 0.0})


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(mlpjax.UserError, match=r"examples of shape \(5,\) are no images"):
        ALL(KEY, jnp.zeros((2, 5)))


def test_half_of_the_images_are_mirrored_and_nothing_else() -> None:
    found = np.asarray(jax.jit(Deformation(flip=True))(KEY, jnp.stack([IMAGES[0]] * 400)))
    image = np.asarray(IMAGES[0])
    as_is, mirrored = (np.isclose(found, other, atol=1e-5).all(axis=(1, 2)) for other in (image, image[:, ::-1]))
    assert (as_is ^ mirrored).all()
    assert scipy.stats.binomtest(int(mirrored.sum()), 400).pvalue > 1e-3


def test_a_crop_is_inside_the_image_and_its_share_of_the_area_even() -> None:
    at = np.asarray(Deformation(crop=0.3).places(KEY, 4000, 9, 7))
    assert (at.min(axis=(1, 2, 3)) >= -1e-5).all()
    assert (at.max(axis=(1, 2, 3)) <= np.array([8, 6]) + 1e-5).all()
    height, width = ((at[axis, :, -1, -1] - at[axis, :, 0, 0]) / size for axis, size in ((0, 8), (1, 6)))
    np.testing.assert_allclose(height, width, rtol=1e-4)
    assert scipy.stats.kstest(height * width, scipy.stats.uniform(0.3, 0.7).cdf).pvalue > 1e-3
    # Where in the room that is left it lies is even, too, in either direction for itself.
    for axis, size in ((0, 8), (1, 6)):
        where = at[axis, :, 0, 0] / (size * (1 - height))
        assert scipy.stats.kstest(where, scipy.stats.uniform().cdf).pvalue > 1e-3


def test_a_crop_turned_and_shifted_is_turned_about_its_middle() -> None:
    """The middle is where crop and shift alone put it, and the sides are the crop's."""
    own = Deformation(shift=2, rotation=30, crop=0.5).places(KEY, 20, 9, 9)
    plain = Deformation(shift=2, crop=0.5).places(KEY, 20, 9, 9)
    np.testing.assert_allclose(own[:, :, 4, 4], plain[:, :, 4, 4], atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(own[:, :, 4, 5] - own[:, :, 4, 4], axis=0), plain[1, :, 4, 5] - plain[1, :, 4, 4], atol=1e-5
    )


def test_framing_changes_no_other_draw() -> None:
    both = Deformation(shift=2, flip=True).places(KEY, 50, 9, 7)
    np.testing.assert_allclose(both[:, :, 4, 3], Deformation(shift=2).places(KEY, 50, 9, 7)[:, :, 4, 3], atol=1e-5)
