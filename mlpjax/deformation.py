"""Random deformations of images, for augmentation inside the compiled training step.

Not by dm-pix (0.4.5), which on one AVX-512 core, compiled and over batches of 128 digits, took 850 ms of processor time
for 1,000 elastic deformations and 134 ms for 1,000 rotations; what is here took 12 ms and 9 ms.
"""

import math
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Array, Float, Key

from mlpjax.errors import UserError
from mlpjax.hashing import uniform

FRAMING = 2
"""Number that is folded into the key for what is cut out and mirrored."""


@dataclass(frozen=True)
class Deformation:
    """A random deformation, another one for every image: `augmented(task, Deformation(rotation=15))`.

    The pixel at p = (row, column), counted from the image's middle, becomes what the image has at

        R(a) (f m p / (1 + g)) + c + s + alpha (G_sigma * u)(p)

    between pixels by bilinear interpolation, and 0 outside of it; R(a) turns by the angle a, f and c cut a part out and
    enlarge it, m mirrors, g = (g_row, g_column) stretches, s shifts, u is noise, uniform in [-1, 1] for every pixel and
    direction, smoothed by a Gaussian (no noise outside of the image).

    Raises:
        UserError: a number outside its range.

    Source: Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks Applied to Visual Document
        Analysis, ICDAR 2003 (elastic); Ciresan et al., Neural Computation 22 (2010), arXiv:1003.0358 (all but crop
        and flip); Szegedy et al., Going deeper with convolutions, arXiv:1409.4842 (crop and flip).
    """

    shift: float | int = 0.0
    """Pixels (>= 0) that an image is shifted at most, in either direction: s is uniform in [-shift, shift]."""
    rotation: float | int = 0.0
    """Degrees (>= 0) that it is turned at most: a is uniform in [-rotation, rotation]."""
    stretch: float | int = 0.0
    """Share of its size, in [0, 1), that it is stretched at most, in either direction: g is uniform in [-stretch,
    stretch]."""
    elastic: float | int = 0.0
    """Strength of elastic deformation, alpha, in pixels (>= 0)."""
    smoothness: float | int = 5.0
    """How far it is smoothed, sigma, in pixels (> 0)."""
    crop: float | int = 1.0
    """Least share of the area that is cut out and enlarged, in (0, 1]: f^2 is uniform in [crop, 1], c wherever the part
    is inside."""
    flip: bool = False
    """Mirror the images from left to right with probability 1/2, as fits photographs, but no digits or letters."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf or (field.name == "smoothness" and value == 0):
                raise UserError(f"{field.name} {value}: must be {'above' if value == 0 else 'at least'} 0, and finite")
        if not 0 < self.crop <= 1:
            raise UserError(f"crop {self.crop}: must be above 0 and at most 1, the whole image")
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
        return interpolate(images, self.places(key, *images.shape[:3]))

    def places(
        self, key: Key[Array, ""], count: int, height: int, width: int
    ) -> Float[Array, "2 {count} {height} {width}"]:
        """Where each pixel of deformed images comes from.

        Args:
            key: what decides the draws.
            count: of images.
            height, width: of each, in pixels.

        Returns:
            The rows and columns, in pixels of the image.
        """
        affine, noise = jax.random.split(key)
        turn, *others = jax.random.uniform(affine, (5, count), minval=-1.0)
        angle = math.radians(self.rotation) * turn
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        down, along = (1 / (1 + self.stretch * draw) for draw in others[:2])
        middle = np.array([height - 1, width - 1], np.float32) / 2
        at_row, at_column = (at + self.shift * draw for at, draw in zip(middle, others[2:], strict=True))
        # Draws of their own, so that the others stay what they are.
        area, *offsets, mirror = jax.random.uniform(jax.random.fold_in(key, FRAMING), (4, count))
        if self.crop < 1:
            side = jnp.sqrt(1 - (1 - self.crop) * area)
            down, along = side * down, side * along
            rows, columns = ((2 * draw - 1) * (1 - side) * at for draw, at in zip(offsets, middle, strict=True))
            at_row, at_column = at_row + rows, at_column + columns
        if self.flip:
            along = jnp.where(mirror < 0.5, along, -along)
        maps = jnp.stack([cos * down, -sin * along, at_row, sin * down, cos * along, at_column]).reshape(2, 3, count)
        pixels = np.indices((height, width), np.float32).reshape(2, -1) - middle[:, None]
        # As one product: written out, the sines would be computed anew for every pixel.
        found = jnp.einsum("ikn,kp->inp", maps, np.vstack([pixels, np.ones_like(pixels[:1])]))
        found = found.reshape(2, count, height, width)
        if self.elastic:
            # Filtering the columns of the identity gives the filter as a matrix.
            over_rows, over_columns = (
                scipy.ndimage.gaussian_filter1d(np.eye(size, dtype=np.float32), self.smoothness, 0, mode="constant")
                for size in (height, width)
            )
            # Rows first, so that either way of all images is one product.
            u = 2 * uniform(noise, (height, 2 * count * width)) - 1
            smooth = (over_rows @ u).reshape(-1, width) @ over_columns.T
            found += self.elastic * smooth.reshape(height, 2, count, width).transpose(1, 2, 0, 3)
        return found


def interpolate(
    images: Float[Array, "count height width *channels"], places: Float[Array, "2 count height width"]
) -> Float[Array, "count height width *channels"]:
    """What images have at places between their pixels, bilinearly; 0 outside of them.

    Args:
        images: of any number of channels, or none.
        places: rows and columns for each image, in pixels.

    Returns:
        The images that are there.
    """
    count, height, width, *channels = images.shape
    size = np.array([height, width], np.float32).reshape(2, 1, 1, 1)
    places = jnp.clip(places, -1, size)  # from there outwards all is 0
    corner = jnp.minimum(jnp.floor(places), size - 1)
    down, along = (places - corner).reshape(2, count, height, width, *[1] * len(channels))
    row, column = corner.astype(jnp.int32) + 1
    cells = jnp.pad(images, [(0, 0), (1, 1), (1, 1), *[(0, 0)] * len(channels)]).reshape(-1, *channels)
    # With its neighbours beside it each pixel is looked up once, not four times.
    square = jnp.stack([jnp.roll(cells, -by, axis=0) for by in (0, 1, width + 2, width + 3)], axis=1)
    first = (height + 2) * jnp.arange(count, dtype=jnp.int32)[:, None, None]
    corners = square.at[(first + row) * (width + 2) + column].get(mode="promise_in_bounds")
    here, right, below, across = (corners[:, :, :, place] for place in range(4))
    top, bottom = here + along * (right - here), below + along * (across - below)
    return top + down * (bottom - top)
