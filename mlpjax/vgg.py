"""VGG: the convolutional networks of Simonyan and Zisserman, at any width and for images of any size."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from mlpjax.errors import UserError, require_choice
from mlpjax.models import Functions, from_linen

BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions before each halving of the image, by the number of layers with weights (configurations A, B, D, E)."""
CHANNELS = (64, 128, 256, 512, 512)
UNITS = 4096
HE = nn.initializers.he_normal()


class VGG(nn.Module):
    """Convolutions of 3 x 3 with ReLU, in five blocks that each end in a maximum over 2 x 2, then three dense layers.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,
        arXiv:1409.1556, table 1; batch norm as in Ioffe and Szegedy, arXiv:1502.03167.
    """

    depth: int
    classes: int
    width: float
    batch_norm: bool
    dropout: float
    kernel_init: Callable[..., Array]

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width *channels"], train: bool) -> Float[Array, "batch out"]:
        """Logits of each image."""
        x = images if images.ndim == 4 else images[..., None]
        for convolutions, channels in zip(BLOCKS[self.depth], CHANNELS, strict=True):
            for _ in range(convolutions):
                x = nn.Conv(round(self.width * channels), (3, 3), kernel_init=self.kernel_init)(x)
                if self.batch_norm:
                    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
                x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(round(self.width * UNITS), kernel_init=self.kernel_init)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes, kernel_init=self.kernel_init)(x)


def vgg(
    depth: int,
    classes: int,
    *,
    width: float | int = 1.0,
    batch_norm: bool = False,
    dropout: float | int = 0.5,
    kernel_init: Callable[..., Array] = HE,
) -> Functions:
    """A VGG as a model, for images of at least 32 x 32 pixels, in grey or colour.

    Args:
        depth: layers with weights: 11, 13, 16 or 19.
        classes: how many there are.
        width: factor of all channels and hidden units, above 0; 1 as published.
        batch_norm: after every convolution, which keeps its bias, as published implementations do.
        dropout: of the hidden units of the dense layers, in [0, 1).
        kernel_init: draws the weights, (key, shape, type) -> array; after He by default.

    Returns:
        The model, for `train_many`; the statistics of batch norm are among its variables.

    Raises:
        UserError: an unknown depth, or a number outside its range.
    """
    require_choice("depth", str(depth), map(str, BLOCKS))
    if not width > 0:
        raise UserError(f"width {width}: must be above 0")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout {dropout}: must be at least 0 and below 1")
    if classes < 1:
        raise UserError(f"classes {classes}: must be at least 1")
    return from_linen(VGG(depth, classes, width, batch_norm, dropout, kernel_init), flag="train")
