"""VGG: the convolutional networks of Simonyan and Zisserman, at any width and for images of any size."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from mlpjax.convolution import convolve
from mlpjax.errors import UserError, require_choice
from mlpjax.models import Initializer, Rates, draws, drop, require_rates, require_start
from mlpjax.typing import Number, Variables

BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions before each halving of the image, by the number of layers with weights (configurations A, B, D, E)."""
CHANNELS = (64, 128, 256, 512, 512)
UNITS = 4096
HIDDEN = 2
"""Dense layers before the output."""
SIDE = 2 ** len(CHANNELS)
"""Fewest pixels of an image's height and width: every block halves them."""


class _Network(nn.Module):
    """The linen module behind `VGG`; its attribute describes the network, its parameters live in linen's tree."""

    vgg: Any

    @nn.compact
    def __call__(self, x: Array, key: Array | None) -> list[Array]:
        vgg = self.vgg
        draw = draws(vgg.initializer, vgg.scale)
        found = []
        for convolutions, channels in zip(BLOCKS[vgg.depth], CHANNELS, strict=True):
            for _ in range(convolutions):
                x = nn.Conv(
                    vgg.widened(channels),
                    (3, 3),
                    kernel_init=draw,
                    conv_general_dilated=lambda x, w, *_layout, **_precision: convolve(x, w),
                )(x)
                if vgg.batch_norm:
                    x = nn.BatchNorm(use_running_average=key is None, momentum=0.9)(x)
                x = nn.relu(x)
                found.append(x)
            x = halve(x)
        x = x.reshape(len(x), -1)
        if vgg.classes is None:
            return [*found, x]
        for layer in range(HIDDEN):
            x = drop(nn.relu(nn.Dense(vgg.widened(UNITS), kernel_init=draw)(x)), vgg.dropout, layer, key)
            found.append(x)
        return [*found, nn.Dense(vgg.classes, kernel_init=draw)(x)]


@dataclass(frozen=True)
class VGG:
    """Convolutions of 3 x 3 with ReLU, in five blocks that each end in a maximum over 2 x 2, then three dense layers.

    A `Model`, for images of at least 32 x 32 pixels, in grey or colour. The statistics of batch norm are among its
    variables.

    Raises:
        UserError: an unknown depth or initialiser, or a number outside its range.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,
        arXiv:1409.1556, table 1; batch norm as in Ioffe and Szegedy, arXiv:1502.03167.
    """

    depth: int = 16
    """Layers with weights: 11, 13, 16 or 19."""
    classes: int | None = None
    """Outputs, one for each class. None: in a study as many as the data has; in Python no dense layers, and the outputs
    are those of the last block, flattened, for a head of your own."""
    width: float | int = 1.0
    """Factor (> 0) of all channels and hidden units; 1 as published."""
    batch_norm: bool = False
    """Batch norm after every convolution, which keeps its bias, as published implementations do."""
    dropout: Rates = (0.5,)
    """Probability, in [0, 1), of dropping a unit of the two hidden dense layers: one for both, or one for each."""
    initializer: Initializer = "he"
    """How the weights are drawn, as for an MLP; in Python any function of (key, shape, dtype)."""
    scale: Number = 1.0
    """Multiplies what the initialiser draws; the factors of batch norm start at 1 whatever it is."""

    def __post_init__(self) -> None:
        require_choice("depth", str(self.depth), map(str, BLOCKS))
        if not self.width > 0:
            raise UserError(f"width {self.width}: must be above 0")
        if self.classes is not None and self.classes < 1:
            raise UserError(f"classes {self.classes}: must be at least 1")
        require_rates(self.dropout, HIDDEN)
        require_start(self.initializer, self.scale)

    @property
    def name(self) -> str:
        """Such as VGG16, or VGG16 with batch norm of width 0.25."""
        norm = " with batch norm" * self.batch_norm
        return f"VGG{self.depth}{norm}" + ("" if self.width == 1 else f" of width {self.width:g}")

    def widened(self, units: int) -> int:
        """Channels or units where so many were published; at least one."""
        return max(1, round(self.width * units))

    def init(self, key: Key[Array, ""], x: Array) -> Variables:
        """Draw one network.

        Args:
            key: the random key; the same key gives the same network.
            x: a batch of images of at least one, of which only the shape counts.

        Returns:
            Parameters `{"Conv_l": {"kernel": [3, 3, in, out], "bias": [out]}, "BatchNorm_l": ..., "Dense_l": ...}` and
            the statistics of batch norm, all float32.

        Raises:
            UserError: what is no image, or too small.
        """
        variables = dict(_Network(self).init(key, jnp.zeros((1, *_images(x).shape[1:]), jnp.float32), None))
        return Variables(variables.pop("params"), variables)

    def apply(
        self, variables: Variables, x: Float[Array, "batch *image"], key: Key[Array, ""] | None = None
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        """Outputs of one network, and its statistics after this batch.

        Args:
            variables: as `init` returns them.
            x: a batch of images, [batch, height, width] in grey or [batch, height, width, channels].
            key: random key of a training step, for dropout, with the batch's own moments in batch norm; None evaluates
                the whole network, with the running ones.
        """
        collections = {"params": variables.params, **variables.stats}
        found: Any = _Network(self).apply(collections, _images(x), key, mutable=key is not None and [*variables.stats])
        activations, stats = (found, variables.stats) if key is None else (found[0], dict(found[1]))
        return activations[-1], stats

    def activations(self, variables: Variables, x: Float[Array, "batch *image"]) -> list[Float[Array, "batch ..."]]:
        """What every layer with weights gives, from the first convolution to the output, in evaluation.

        Args:
            variables: as `init` returns them.
            x: a batch of images.

        Returns:
            [batch, height, width, channels] of the convolutions, [batch, units] of the dense layers and the outputs.
        """
        found: Any = _Network(self).apply({"params": variables.params, **variables.stats}, _images(x), None)
        return found


def halve(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ channels"]:
    """The maximum over squares of 2 x 2; an odd last row or column is left out.

    A maximum of pairs, whose gradient a comparison of two numbers decides. That of an axis divides by how many numbers
    equal their maximum: none, where the compiler works out one of the two anew and rounds it otherwise. The
    gradient of Flax's `max_pool` takes a CPU several times as long.
    """
    batch, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    rows = jnp.maximum(even[:, :, 0], even[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def _images(x: Array) -> Float[Array, "batch height width channels"]:
    """Images with their axis of channels."""
    size = " x ".join(map(str, x.shape[1:]))
    if x.ndim not in (3, 4):
        raise UserError(f"a VGG takes images, and examples of this data have {size} features; choose an MLP")
    if min(x.shape[1:3]) < SIDE:
        raise UserError(f"a VGG needs images of {SIDE} x {SIDE} pixels or more, and these have {size}; enlarge them")
    return x if x.ndim == 4 else x[..., None]
