"""Models: what gives outputs for inputs. The multilayer perceptron, any Flax module, any two functions.

Beside `vgg` the only module that knows Flax.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, get_args, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Key, PyTree

from mlpjax.activations import Activation, ActivationName, activation_of
from mlpjax.errors import UserError, require_choice
from mlpjax.hashing import bernoulli
from mlpjax.products import PRECISIONS, PrecisionName, exact, make_product
from mlpjax.typing import Number, Params, Variables, is_zero

BiasName = Literal["zeros", "same", "none"]


@runtime_checkable
class Model(Protocol):
    """What can be trained: two pure functions of one network."""

    def init(self, key: Key[Array, ""], x: Array) -> Variables:
        """Draw the network.

        Args:
            key: the random key; the same key gives the same network.
            x: a batch of inputs of at least one, of which only the shape and the type count.
        """

    def apply(self, variables: Variables, x: Array, key: Key[Array, ""] | None = None) -> tuple[Array, PyTree]:
        """Outputs of the network, a row for each example, and its statistics after this batch.

        Args:
            variables: the network.
            x: a batch of inputs.
            key: the random key of a training step; None: evaluate, and leave the statistics as they are.
        """


class Functions(NamedTuple):
    """A model made of two functions, `init` and `apply`, as `Model` describes them."""

    init: Callable[[Key[Array, ""], Array], Variables]
    apply: Callable[..., tuple[Array, PyTree]]


def from_linen(module: nn.Module, flag: str | None = None) -> Functions:
    """A Flax linen module as a model, with its batch statistics and its dropout.

    Args:
        module: whose `__call__` takes a batch of inputs.
        flag: the name of its argument that is True in training and False in evaluation ("train"); None where it has
            none.

    Returns:
        The model; its statistics are all collections but "params".
    """

    def call(training: bool) -> dict[str, Any]:
        return {} if flag is None else {flag: training}

    def init(key: Key[Array, ""], x: Array) -> Variables:
        stats = dict(module.init(key, x, **call(False)))
        return Variables(stats.pop("params", {}), stats)

    def apply(variables: Variables, x: Array, key: Key[Array, ""] | None = None) -> tuple[Array, PyTree]:
        collections = {"params": variables.params, **variables.stats}
        if key is None:
            evaluated: Any = module.apply(collections, x, **call(False))
            return evaluated, variables.stats
        outputs, stats = module.apply(
            collections, x, **call(True), rngs={"dropout": key}, mutable=list(variables.stats)
        )
        return outputs, dict(stats)

    return Functions(init, apply)


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


if TYPE_CHECKING:
    InitializerName: TypeAlias = str
else:
    InitializerName = Literal[tuple(_INITIALIZERS)]

Initializer: TypeAlias = InitializerName | Callable[..., Array]
"""A name, or any function of (key, shape, dtype)."""
Rates: TypeAlias = tuple[float, ...] | Float[Array, "..."]
"""Dropout: one rate for all hidden layers, or one for each."""


def draws(initializer: Initializer, scale: Number) -> Callable[..., Array]:
    """How weights are drawn, (key, shape, dtype) -> array: what the initialiser draws, times the scale."""
    draw = _INITIALIZERS[initializer] if isinstance(initializer, str) else initializer
    return lambda key, shape, dtype: draw(key, shape, dtype) * scale


def require_start(initializer: Initializer, scale: Number) -> None:
    """Refuse an unknown initialiser, or a plain scale that is no finite number."""
    if not callable(initializer):
        require_choice("initializer", initializer, _INITIALIZERS)
    if isinstance(scale, int | float) and not math.isfinite(scale):
        raise UserError(f"scale {scale}: must be a finite number")


def require_rates(dropout: Rates, layers: int) -> None:
    """Refuse plain dropout rates outside [0, 1), or as many as fit neither one nor every hidden layer."""
    if isinstance(dropout, int | float):
        raise UserError(f"dropout {dropout}: give a tuple of rates, such as ({dropout},)")
    if isinstance(dropout, tuple):
        if len(dropout) not in (1, layers):
            raise UserError(f"dropout {dropout}: give one rate, or one for each of the {layers} hidden layers")
        for rate in dropout:
            if not 0 <= rate < 1:
                raise UserError(f"dropout {rate}: a rate must lie in [0, 1)")


def rate_of(dropout: Rates, layer: int) -> Any:
    """Dropout rate of hidden layer `layer`, counted from 0."""
    if isinstance(dropout, tuple):
        return dropout[layer if len(dropout) > 1 else 0]
    return dropout if dropout.ndim == 0 else dropout[layer]


def drop(x: Array, dropout: Rates, layer: int, key: Key[Array, ""] | None) -> Array:
    """Drop units of hidden layer `layer` where there is a key, and scale the others: x m / (1 - p), m ~ B(1 - p)."""
    rate = rate_of(dropout, layer)
    if key is None or is_zero(rate):
        return x
    keep = bernoulli(jax.random.fold_in(key, layer), 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0.0)


class _Network(nn.Module):
    """The linen module behind `MLP`; its attribute describes the network, its parameters live in linen's tree."""

    mlp: Any

    @nn.compact
    def __call__(self, x: Array, key: Array | None) -> list[Array]:
        mlp = self.mlp
        product = exact if key is None else make_product(mlp.precision)
        hidden, output = activation_of(mlp.activation), activation_of(mlp.output_activation)
        draw = draws(mlp.initializer, mlp.scale)
        found = []

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
            if layer == mlp.hidden_layers:
                found.append(output.function(x))
                break
            alpha = []
            if hidden.alpha is not None:
                alpha = [self.param(f"alpha_{layer}", initializers.constant(hidden.alpha), ())]
            x = drop(hidden.function(x, *alpha), mlp.dropout, layer, key)
            found.append(x)
        return found


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: a_0 = x, a_l = dropout(g(a_{l-1} W_l + b_l)), output = h(a_{L-1} W_L + b_L).

    A `Model`: an immutable description with pure functions; parameters are a plain nested dict.

    Raises:
        UserError: a width below 1, fewer than two widths, an unknown name, a dropout rate outside [0, 1),
            or as many rates as fit neither one nor every hidden layer.

    Initialisers: LeCun et al., Efficient BackProp, 1998; Glorot and Bengio, AISTATS 2010; He et al.,
    arXiv:1502.01852 (each a normal cut off at two standard deviations). Dropout: Srivastava et al., JMLR 2014.
    """

    widths: tuple[int, ...] = (784, 256, 128, 10)
    """Units of every layer, from the input to the output; the first and the last must fit the data."""
    activation: ActivationName | Callable[..., Array] | Activation = "relu"
    """Activation of the hidden layers: a name, or in Python any function of the pre-activations."""
    output_activation: ActivationName | Callable[..., Array] | Activation = "identity"
    """Activation of the output layer; identity where the loss works on logits."""
    dropout: Rates = (0.0,)
    """Probability, in [0, 1), of dropping a hidden unit: one for all hidden layers, or one for each."""
    initializer: Initializer = "he"
    """How the weights are drawn: zeros, constant (1), normal N(0, 1), uniform U[-1, 1], LeCun, Glorot, He, or
    torch, U[-1, 1] / sqrt(inputs), PyTorch's default for nn.Linear; in Python any function of (key, shape, dtype)."""
    scale: Number = 1.0
    """Multiplies what the initialiser draws: the constant's value, the normal's deviation, the uniform's bound."""
    bias: BiasName = "zeros"
    """Biases start at zero, are drawn the same way as the weights, or are left out."""
    precision: PrecisionName = "float32"
    """How layers multiply while training: float32, or mixed, with factors rounded to bfloat16 and sums, weights and
    optimizer in float32: faster where the processor has units for it. Evaluation is float32 either way."""

    def __post_init__(self) -> None:
        if not isinstance(self.widths, tuple):
            raise UserError(f"widths {self.widths}: give a tuple of all layers' units, such as (784, 10)")
        if len(self.widths) < 2:
            raise UserError(f"widths {self.widths}: give at least an input and an output width, such as 784 10")
        for width in self.widths:
            if width < 1:
                raise UserError(f"widths {'-'.join(map(str, self.widths))}: every width must be at least 1")
        activation_of(self.activation)
        if activation_of(self.output_activation, "output_activation").alpha is not None:
            raise UserError(f"output_activation {self.output_activation!r}: its alpha is trained in hidden layers only")
        require_start(self.initializer, self.scale)
        require_choice("bias", self.bias, get_args(BiasName))
        require_choice("precision", self.precision, PRECISIONS)
        require_rates(self.dropout, self.hidden_layers)

    @property
    def hidden_layers(self) -> int:
        """Number of hidden layers."""
        return len(self.widths) - 2

    @property
    def name(self) -> str:
        """The widths as lectures write them, such as 784-256-128-10."""
        return "-".join(map(str, self.widths))

    def init(self, key: Key[Array, ""], x: Array | None = None) -> Variables:
        """Draw one network.

        Args:
            key: the random key; the same key gives the same parameters.
            x: not needed: the widths say it all.

        Returns:
            Parameters `{"dense_l": {"kernel": [inputs, units], "bias": [units]}}`, and a scalar `alpha_l` for each
            hidden layer whose activation has a trained one, all float32; and no statistics.
        """
        del x
        return Variables(_Network(self).init(key, jnp.zeros((1, self.widths[0]), jnp.float32), None)["params"])

    def apply(
        self, variables: Variables, x: Float[Array, "batch *features"], key: Key[Array, ""] | None = None
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        """Outputs of one network: what the output layer gives (logits where `output_activation` is the identity).

        Args:
            variables: as `init` returns them.
            x: a batch of inputs, of any shape: images are flattened.
            key: random key of a training step, for dropout; None evaluates the whole network.
        """
        return self.activations(variables.params, x, key)[-1], variables.stats

    def activations(
        self, params: Params, x: Float[Array, "batch *features"], key: Key[Array, ""] | None = None
    ) -> list[Float[Array, "batch _"]]:
        """What every layer gives, from the first hidden one to the output: a_l = g(a_{l-1} W_l + b_l).

        Args:
            params: the network's parameters.
            x: a batch of inputs, of any shape.
            key: random key of a training step, for dropout; None: no dropout, and plain products that every JAX
                transformation goes through.

        Returns:
            The activations [batch, units] of every layer; the last are the outputs.
        """
        found: Any = _Network(self).apply({"params": params}, x.reshape(len(x), -1), key)
        return found


def dense_layers(params: Params) -> list[Params]:
    """The layers' `{"kernel": [inputs, units], "bias": [units]}`, from the first hidden layer to the output."""
    return [params[f"dense_{layer}"] for layer in range(sum(name.startswith("dense_") for name in params))]


def count_parameters(params: Params) -> list[int]:
    """Number of weights and biases of every layer; for 784-256-128-10 they are 200,960 + 32,896 + 1,290 = 235,146."""
    return [sum(math.prod(leaf.shape) for leaf in layer.values()) for layer in dense_layers(params)]
