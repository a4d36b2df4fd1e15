"""Random changes of the colours of images, for augmentation inside the compiled training step."""

from dataclasses import dataclass, fields

import jax
from jaxtyping import Array, Float, Key

from mlpjax.errors import UserError


@dataclass(frozen=True)
class ColourJitter:
    """A random change of colours, another one for every image: `augmented(task, ColourJitter(contrast=0.2))`.

    The channels x of every pixel become

        m + (1 + k) (x' - m) + b,   x' = l + (1 + s) (x - l),

    with l the mean over the pixel's channels, m the mean over the image, and draws b, k, s for each image, uniform in
    [-brightness, brightness] and so on. All is in units of what the network sees: with pixels from 0 to 1 b = 0.1 is a
    tenth of full brightness, with standardised channels a tenth of a standard deviation. Nothing is cut off.

    Raises:
        UserError: a number outside its range.
    """

    brightness: float | int = 0.0
    """Added to all channels (>= 0)."""
    contrast: float | int = 0.0
    """Factor of what sets a pixel apart from the image's mean, less 1, in [0, 1]."""
    saturation: float | int = 0.0
    """Factor of what sets a channel apart from the pixel's mean, less 1, in [0, 1]."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), float("inf") if field.name == "brightness" else 1.0
            if not 0 <= value <= most or value == float("inf"):
                raise UserError(f"{field.name} {value}: must be at least 0 and {'finite' if most > 1 else 'at most 1'}")

    def __call__(self, key: Key[Array, ""], images: Float[Array, "batch *shape"]) -> Float[Array, "batch *shape"]:
        """Change the colours of every image of a batch by a draw of its own.

        Args:
            key: what decides the draws.
            images: as the network sees them.

        Returns:
            The changed images.

        Raises:
            UserError: they are no images in colour.
        """
        if images.ndim != 4:
            raise UserError(f"examples of shape {images.shape[1:]} have no colours to change")
        draws = jax.random.uniform(key, (3, len(images), 1, 1, 1), minval=-1.0)
        b, k, s = (
            size * draw for size, draw in zip((self.brightness, self.contrast, self.saturation), draws, strict=True)
        )
        light = images.mean(axis=3, keepdims=True)
        coloured = light + (1 + s) * (images - light)
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        return mean + (1 + k) * (coloured - mean) + b
