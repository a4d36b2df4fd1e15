"""Random deformations of images, for augmentation inside the compiled training step."""

import math
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Array, Float, Key

from mlpjax.errors import UserError


@dataclass(frozen=True)
class Deformation:
    """A random deformation, another one for every image: `augmented(task, Deformation(rotation=15))`.

    The pixel at p = (row, column), counted from the image's middle, becomes what the image has at

        R(a) p / (1 + g) + s + alpha (G_sigma * u)(p)

    between pixels by bilinear interpolation, and 0 outside of it; R(a) turns by the angle a, g = (g_row, g_column)
    stretches, s shifts, u is noise, uniform in [-1, 1] for every pixel and direction, smoothed by a Gaussian (no
    noise outside of the image).

    Raises:
        UserError: a number outside its range.

    Source: Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks Applied to Visual Document
        Analysis, ICDAR 2003 (elastic); Ciresan et al., Neural Computation 22 (2010), arXiv:1003.0358 (all of them).
    """

    shift: float | int = 0.0
    """Pixels (>= 0): s is uniform in [-shift, shift] in either direction."""
    rotation: float | int = 0.0
    """Degrees (>= 0): a is uniform in [-rotation, rotation]."""
    stretch: float | int = 0.0
    """Share of the size, in [0, 1): g is uniform in [-stretch, stretch] in either direction."""
    elastic: float | int = 0.0
    """alpha, in pixels (>= 0)."""
    smoothness: float | int = 5.0
    """sigma, in pixels (> 0)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf or (field.name == "smoothness" and value == 0):
                raise UserError(f"{field.name} {value}: must be {'above' if value == 0 else 'at least'} 0, and finite")
        if self.stretch >= 1:
            raise UserError(f"stretch {self.stretch}: must be below 1, the whole size")

    def __call__(self, key: Key[Array, ""], images: Float[Array, "batch *shape"]) -> Float[Array, "batch *shape"]:
        """Deform every image of a batch by a draw of its own.

        Args:
            key: what decides the draws.
            images: of shape [height width] or [height width channels].

        Returns:
            The deformed images.

        Raises:
            UserError: what is deformed is no image.
        """
        if images.ndim not in (3, 4):
            raise UserError(f"examples of shape {images.shape[1:]} are no images: only those can be deformed")
        places = jax.vmap(lambda key: self.places(key, images.shape[1], images.shape[2]))(
            jax.random.split(key, len(images))
        )
        return jax.vmap(interpolate)(images, places)

    def places(self, key: Key[Array, ""], height: int, width: int) -> Float[Array, "2 height width"]:
        """Where each pixel of one deformed image comes from.

        Args:
            key: what decides the draws.
            height, width: of the image, in pixels.

        Returns:
            The rows and columns, in pixels of the image.
        """
        affine, noise = jax.random.split(key)
        turn, *stretches = jax.random.uniform(affine, (5,), minval=-1.0)
        angle = math.radians(self.rotation) * turn
        middle = np.array([[[height - 1]], [[width - 1]]], np.float32) / 2
        pixels = np.indices((height, width), np.float32) - middle
        rows, columns = pixels / (1 + self.stretch * jnp.stack(stretches[:2])[:, None, None])
        turned = jnp.stack(
            [
                jnp.cos(angle) * rows - jnp.sin(angle) * columns,
                jnp.sin(angle) * rows + jnp.cos(angle) * columns,
            ]
        )
        found = turned + middle + self.shift * jnp.stack(stretches[2:])[:, None, None]
        if self.elastic:
            # Filtering the columns of the identity gives the filter as a matrix.
            down, along = (
                scipy.ndimage.gaussian_filter1d(np.eye(size, dtype=np.float32), self.smoothness, 0, mode="constant")
                for size in (height, width)
            )
            found += self.elastic * (down @ jax.random.uniform(noise, (2, height, width), minval=-1.0) @ along.T)
        return found


def interpolate(
    image: Float[Array, "height width *channels"], places: Float[Array, "2 height width"]
) -> Float[Array, "height width *channels"]:
    """What an image has at places between its pixels, bilinearly; 0 outside of it.

    Args:
        image: one image.
        places: rows and columns, in pixels.

    Returns:
        The image that is there.
    """

    def look(channel: Float[Array, "height width"]) -> Float[Array, "height width"]:
        return jax.scipy.ndimage.map_coordinates(channel, list(places), order=1, mode="constant")

    return look(image) if image.ndim == 2 else jax.vmap(look, in_axes=-1, out_axes=-1)(image)
