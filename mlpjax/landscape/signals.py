"""How strong the gradient is in every layer of a network: whether it vanishes or explodes on its way back."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlpjax.data import Split
from mlpjax.errors import UserError
from mlpjax.models import dense_layers
from mlpjax.task import MeanLoss
from mlpjax.typing import Params


def delta_norms(loss: MeanLoss, params: Params, split: Split) -> Float[Array, " layers"]:
    """Size of the backpropagated signal in every layer: the root mean square over the examples of ||dL_i/dz_l||.

    z_l = a_{l-1} W_l + b_l, so dL_i/dz_l is the gradient of one example's loss by the biases. The gradient of the
    weights is a_{l-1}' dL/dz_l: with ReLU its size hardly depends on the layer, whatever the weights, because the
    activations grow forwards as the signal grows backwards. So it is the signal that shows how a gradient vanishes.

    Args:
        loss: the mean loss, of parameters and data.
        params: those of an MLP with biases.
        split: at least one example.

    Returns:
        The sizes, from the first hidden layer to the output, in the unit of the loss.

    Raises:
        UserError: the network has no biases.

    Source: Glorot and Bengio, AISTATS 2010, section 4.2.1.
    """
    if any("bias" not in layer for layer in dense_layers(params)):
        raise UserError('bias: the signal of a layer is taken from its biases; choose "zeros" in place of "none"')

    def of_example(x: Array, y: Array) -> Float[Array, " layers"]:
        gradient = jax.grad(loss)(params, Split(x[None], y[None]))
        return jnp.stack([jnp.sum(layer["bias"] ** 2) for layer in dense_layers(gradient)])

    squares = jax.vmap(of_example)(jnp.asarray(split.x), jnp.asarray(split.y))
    return jnp.sqrt(jnp.mean(squares, axis=0))


def factor_per_layer(norms: Float[Array, " layers"]) -> Float[Array, ""]:
    """By how much the signal is multiplied in one layer on its way back, from the last hidden layer to the first.

    (norm_1 / norm_H)^(1 / (H - 1)) of H hidden layers: below 1 it vanishes, above 1 it explodes.

    Args:
        norms: as `delta_norms` returns them, of at least two hidden layers.
    """
    hidden = norms[:-1]
    return (hidden[0] / hidden[-1]) ** (1 / (len(hidden) - 1))
