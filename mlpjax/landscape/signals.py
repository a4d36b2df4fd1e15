"""What goes through every layer of a network: the gradient on its way back, and what its hidden units let through."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlpjax.activations import activation_of, peak_slope, slopes
from mlpjax.data import Split
from mlpjax.errors import UserError
from mlpjax.models import MLP, dense_layers
from mlpjax.task import MeanLoss
from mlpjax.typing import Params

FLAT = 0.05
"""Share of an activation's steepest slope up to which it counts as flat: of tanh beyond values of 0.975, of a sigmoid
below 0.013 and above 0.987."""


class HiddenUnits(NamedTuple):
    """How the units of every hidden layer stand on some examples."""

    mean: Float[Array, " hidden_layers"]
    """What they give, averaged over units and examples."""
    flat: Float[Array, " hidden_layers"]
    """Share of the pairs of a unit and an example where the activation is flat."""
    stuck: Float[Array, " hidden_layers"]
    """Share of the units that are flat on every example, dead (ReLU) or saturated (tanh): next to no gradient comes
    through, whatever the example."""


def hidden_units(model: MLP, params: Params, x: Float[Array, "batch *features"]) -> HiddenUnits:
    """Whether hidden units are centred, and whether they are dead or saturated.

    A unit is flat on an example where |g'(z)| <= `FLAT` max |g'|, with z what goes into its activation g; step is flat
    everywhere, the negative side of leaky ReLU, with its slope of 0.01, as well.

    Args:
        model: the network, with at least one hidden layer.
        params: its parameters.
        x: a batch of inputs as the network sees them, of any shape.

    Returns:
        The figures of every hidden layer, from the first.

    Source: Glorot and Bengio, AISTATS 2010, section 3, on saturation; Maas, Hannun and Ng (2013), "Rectifier
    nonlinearities improve neural network acoustic models", section 2, on dead units.
    """
    activation = activation_of(model.activation)
    inputs, found = x.reshape(len(x), -1), []
    for place, units in enumerate(model.activations(params, x)[:-1]):
        layer, alpha = params[f"dense_{place}"], params.get(f"alpha_{place}")
        z = inputs @ layer["kernel"]
        z = z + layer["bias"][None] if "bias" in layer else z
        flat = jnp.abs(slopes(activation, z, alpha)) <= FLAT * peak_slope(activation, alpha)
        found.append(HiddenUnits(jnp.mean(units), jnp.mean(flat), jnp.mean(flat.all(axis=0))))
        inputs = units
    return HiddenUnits(*map(jnp.stack, zip(*found, strict=True)))


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
