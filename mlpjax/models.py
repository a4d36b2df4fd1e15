"""The multilayer perceptron as pure `init` and `apply`. The only module that knows Flax."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Key

from mlpjax.activations import ACTIVATIONS
from mlpjax.errors import UserError, require_choice
from mlpjax.hashing import bernoulli
from mlpjax.products import LayerProduct, exact
from mlpjax.typing import Number, Params, is_zero

ActivationName = Literal[
    "identity",
    "sigmoid",
    "tanh",
    "hard_tanh",
    "relu",
    "leaky_relu",
    "elu",
    "prelu",
    "softplus",
    "softsign",
    "step",
    "log_sigmoid",
    "swish",
    "sinc",
    "mish",
    "gelu",
    "parametric_softplus",
    "smooth_relu",
]
InitializerName = Literal["zeros", "constant", "normal", "uniform", "lecun", "glorot", "he", "torch"]
BiasName = Literal["zeros", "same", "none"]

_INITIALIZERS: dict[str, Callable[..., Array]] = {
    "zeros": initializers.zeros,
    "constant": initializers.ones,
    "normal": initializers.normal(1.0),
    "uniform": lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, minval=-1.0, maxval=1.0),
    "lecun": initializers.lecun_normal(),
    "glorot": initializers.glorot_normal(),
    "he": initializers.he_normal(),
    "torch": initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}


class _Network(nn.Module):
    """The linen module behind `MLP`; its attribute describes the network, its parameters live in linen's tree."""

    mlp: Any

    @nn.compact
    def __call__(self, x: Array, dropout_key: Array | None, product: LayerProduct) -> Array:
        mlp = self.mlp
        last = len(mlp.widths) - 2

        def draw(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
            return _INITIALIZERS[mlp.initializer](key, shape, dtype) * mlp.scale

        for layer, (inputs, units) in enumerate(itertools.pairwise(mlp.widths)):

            def draw_bias(key: Array, shape: tuple[int, ...], dtype: Any, inputs: int = inputs) -> Array:
                return draw(key, (inputs, *shape), dtype)[0]

            x = nn.Dense(
                units,
                use_bias=mlp.bias != "none",
                kernel_init=draw,
                bias_init=draw_bias if mlp.bias == "same" else initializers.zeros,
                dot_general=lambda x, w, *_dimensions, **_precision: product(x, w),
                name=f"dense_{layer}",
            )(x)
            if layer == last:
                return ACTIVATIONS[mlp.output_activation](x)
            if mlp.activation == "prelu":
                alpha = self.param(f"alpha_{layer}", initializers.constant(0.25), ())
                x = ACTIVATIONS["prelu"](x, alpha)
            else:
                x = ACTIVATIONS[mlp.activation](x)
            rate = mlp.dropout_rate(layer)
            if dropout_key is not None and not is_zero(rate):
                keep = bernoulli(jax.random.fold_in(dropout_key, layer), 1.0 - rate, x.shape)
                x = jnp.where(keep, x / (1.0 - rate), 0.0)
        raise AssertionError("the loop returns at the last layer")


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: a_0 = x, a_l = dropout(g(a_{l-1} W_l + b_l)), output = h(a_{L-1} W_L + b_L).

    An immutable description with two pure functions, `init` and `apply`; parameters are a plain nested dict.

    Raises:
        UserError: a width below 1, fewer than two widths, an unknown name, a dropout rate outside [0, 1),
            or as many rates as fit neither one nor every hidden layer.

    Initialisers: LeCun et al., Efficient BackProp, 1998; Glorot and Bengio, AISTATS 2010; He et al.,
    arXiv:1502.01852 (each a normal cut off at two standard deviations). Dropout: Srivastava et al., JMLR 2014.
    """

    widths: tuple[int, ...] = (784, 256, 128, 10)
    """Units of every layer, from the input to the output; the first and the last must fit the data."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    output_activation: ActivationName = "identity"
    """Activation of the output layer; identity where the loss works on logits."""
    dropout: tuple[float, ...] | Float[Array, "..."] = (0.0,)
    """Probability, in [0, 1), of dropping a hidden unit: one for all hidden layers, or one for each."""
    initializer: InitializerName = "he"
    """How the weights are drawn: zeros, constant (1), normal N(0, 1), uniform U[-1, 1], LeCun, Glorot, He, or
    torch, U[-1, 1] / sqrt(inputs), PyTorch's default for nn.Linear."""
    scale: Number = 1.0
    """Multiplies what the initialiser draws: the constant's value, the normal's deviation, the uniform's bound."""
    bias: BiasName = "zeros"
    """Biases start at zero, are drawn the same way as the weights, or are left out."""

    def __post_init__(self) -> None:
        if len(self.widths) < 2:
            raise UserError(f"widths {self.widths}: give at least an input and an output width, such as 784 10")
        for width in self.widths:
            if width < 1:
                raise UserError(f"widths {'-'.join(map(str, self.widths))}: every width must be at least 1")
        require_choice("activation", self.activation, get_args(ActivationName))
        require_choice("output_activation", self.output_activation, get_args(ActivationName))
        if self.output_activation == "prelu":
            raise UserError("output_activation 'prelu': PReLU's slope is trained in hidden layers only")
        require_choice("initializer", self.initializer, get_args(InitializerName))
        require_choice("bias", self.bias, get_args(BiasName))
        if isinstance(self.scale, int | float) and not math.isfinite(self.scale):
            raise UserError(f"scale {self.scale}: must be a finite number")
        if isinstance(self.dropout, tuple):
            if len(self.dropout) not in (1, self.hidden_layers):
                raise UserError(
                    f"dropout {self.dropout}: give one rate, or one for each of the {self.hidden_layers} hidden layers"
                )
            for rate in self.dropout:
                if not 0 <= rate < 1:
                    raise UserError(f"dropout {rate}: a rate must lie in [0, 1)")

    @property
    def hidden_layers(self) -> int:
        """Number of hidden layers."""
        return len(self.widths) - 2

    @property
    def name(self) -> str:
        """The widths as lectures write them, such as 784-256-128-10."""
        return "-".join(map(str, self.widths))

    def dropout_rate(self, layer: int) -> Any:
        """Dropout rate of hidden layer `layer`, counted from 0."""
        if isinstance(self.dropout, tuple):
            return self.dropout[layer if len(self.dropout) > 1 else 0]
        return self.dropout if self.dropout.ndim == 0 else self.dropout[layer]

    def init(self, key: Key[Array, ""]) -> Params:
        """Draw the parameters of one network.

        Args:
            key: the random key; the same key gives the same parameters.

        Returns:
            `{"dense_l": {"kernel": [inputs, units], "bias": [units]}}`, and a scalar `alpha_l` per hidden layer
            for PReLU, all float32.
        """
        return _Network(self).init(key, jnp.zeros((1, self.widths[0]), jnp.float32), None, exact)["params"]

    def apply(
        self,
        params: Params,
        x: Float[Array, "batch inputs"],
        dropout_key: Key[Array, ""] | None = None,
        product: LayerProduct = exact,
    ) -> Float[Array, "batch outputs"]:
        """Outputs of one network.

        Args:
            params: the tree that `init` returned.
            x: a batch of inputs.
            dropout_key: random key for dropout while training; None evaluates the whole network.
            product: how a layer multiplies its inputs with its weights; training passes `make_product`'s.

        Returns:
            What the output layer gives (logits where `output_activation` is the identity).
        """
        outputs = _Network(self).apply({"params": params}, x, dropout_key, product)
        return jnp.asarray(outputs)


def dense_layers(params: Params) -> list[Params]:
    """The layers' `{"kernel": [inputs, units], "bias": [units]}`, from the first hidden layer to the output."""
    return [params[f"dense_{layer}"] for layer in range(sum(name.startswith("dense_") for name in params))]


def count_parameters(params: Params) -> list[int]:
    """Number of weights and biases of every layer; for 784-256-128-10 they are 200,960 + 32,896 + 1,290 = 235,146."""
    return [sum(math.prod(leaf.shape) for leaf in layer.values()) for layer in dense_layers(params)]
