"""The named activation functions: formula, derivative, source and symmetries of each.

Every function is elementwise, keeps shape and dtype, and has finite values and derivatives, first and second,
for |z| up to 1e4 and beyond. Where a function has a kink, its docstring says which slope `jax.grad` takes.

To add one, write it here under `@_activation(...)`: the models, the command line and the figure of all have it then.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlpjax.errors import require_choice


class Invariance(NamedTuple):
    """What an activation does with the sign and the size of its argument.

    Source: H. J. Sussmann, Neural Networks 5, 589 (1992), for tanh; V. Kurkova and P. C. Kainen, Neural Computation 6,
    543 (1994), for sigmoid and others; B. Neyshabur et al., arXiv:1506.02617, for ReLU.
    """

    flip: tuple[float, float] | None = None
    """(g, o) with f(-z) = g f(z) + o for all z; None where there are no such numbers."""
    homogeneous: bool = False
    """Whether f(c z) = c f(z) for all c > 0."""


class Activation(NamedTuple):
    """An activation function, and what is known of it."""

    function: Callable[..., Array]
    """Of z, elementwise; where there is an alpha, of (z, alpha)."""
    invariance: Invariance = Invariance()
    alpha: float | None = None
    """Where the function has a parameter that is trained with the weights, one for each layer, its value at the start;
    else None."""


ACTIVATIONS: dict[str, Activation] = {}
"""By name."""
_ODD = (-1.0, 0.0)


def _activation(
    flip: tuple[float, float] | None = None, homogeneous: bool = False, alpha: float | None = None
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Put a function into the table, under its own name."""

    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        ACTIVATIONS[function.__name__] = Activation(function, Invariance(flip, homogeneous), alpha)
        return function

    return register


@_activation(flip=_ODD, homogeneous=True)
def identity(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """No activation: the layer stays linear.

    f(z) = z,  f'(z) = 1.

    Source: Widrow and Hoff (1960), "Adaptive switching circuits": the linear unit.
    """
    return z


@_activation(flip=(-1.0, 1.0))
def sigmoid(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Logistic sigmoid, with values in [0, 1].

    f(z) = 1 / (1 + exp(-z)),  f'(z) = f(z) (1 - f(z)).

    Source: Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating
    errors", equation 2.
    """
    return jax.nn.sigmoid(z)


@_activation(flip=_ODD)
def tanh(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Hyperbolic tangent, with values in [-1, 1].

    f(z) = (exp(z) - exp(-z)) / (exp(z) + exp(-z)),  f'(z) = 1 - f(z)^2.

    Source: LeCun, Bottou, Orr and Müller (1998), "Efficient BackProp", section 4.4.
    """
    return jnp.tanh(z)


@_activation(flip=_ODD)
def hard_tanh(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Hyperbolic tangent made of three lines.

    f(z) = max(-1, min(1, z)),  f'(z) = 1 for |z| <= 1 (both kinks included), else 0.

    Source: Collobert (2004), "Large scale machine learning" (thesis, Université Paris VI).
    """
    return jax.nn.hard_tanh(z)


@_activation(homogeneous=True)
def relu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Rectified linear unit.

    f(z) = max(0, z),  f'(z) = 1 for z > 0, else 0 (so f'(0) = 0).

    Source: Nair and Hinton (2010), "Rectified linear units improve restricted Boltzmann machines".
    """
    return jax.nn.relu(z)


@_activation(homogeneous=True)
def leaky_relu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Rectified linear unit that lets 1 % of a negative input through.

    f(z) = z for z >= 0, else 0.01 z,  f'(z) = 1 for z >= 0 (so f'(0) = 1), else 0.01.

    Source: Maas, Hannun and Ng (2013), "Rectifier nonlinearities improve neural network acoustic
    models", section 2.
    """
    return jax.nn.leaky_relu(z, negative_slope=0.01)


@_activation()
def elu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Exponential linear unit with alpha = 1, where it has no kink.

    f(z) = max(0, z) + min(0, exp(z) - 1),  f'(z) = 1 for z > 0, else exp(z).

    Source: Clevert, Unterthiner and Hochreiter (2016), arXiv:1511.07289, section 3.
    """
    return jax.nn.elu(z, alpha=1.0)


@_activation(homogeneous=True, alpha=0.25)
def prelu(z: Float[Array, "*shape"], alpha: Float[Array, ""]) -> Float[Array, "*shape"]:
    """Parametric rectified linear unit: the negative slope is trained with the weights.

    f(z) = max(0, z) + alpha min(0, z),
    df/dz = 1 for z >= 0 (at the kink too), else alpha,  df/dalpha = min(0, z).

    Args:
        z: the pre-activations, of any shape.
        alpha: the negative slope, one for the whole layer; the paper starts it at 0.25.

    Returns:
        the activations, shaped as z.

    Source: He, Zhang, Ren and Sun (2015), arXiv:1502.01852, equation 1, channel-shared.
    """
    return jax.nn.leaky_relu(z, negative_slope=alpha)


@_activation()
def softplus(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Smooth ReLU whose derivative is the sigmoid.

    f(z) = log(1 + exp(z)),  f'(z) = sigmoid(z).

    Source: Dugas, Bengio, Bélisle, Nadeau and Garcia (2001), "Incorporating second-order functional knowledge
    for better option pricing".
    """
    return jax.nn.softplus(z)


@_activation(flip=_ODD)
def softsign(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Sigmoid shape that approaches its limits as 1 / z, slower than tanh.

    f(z) = z / (1 + |z|),  f'(z) = 1 / (1 + |z|)^2.

    Source: Bergstra, Desjardins, Lamblin and Bengio (2009), "Quadratic polynomials learn better image
    features".
    """
    return jax.nn.soft_sign(z)


@_activation()
def step(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Threshold unit, which backprop cannot train.

    f(z) = 1 for z >= 0, else 0,  f'(z) = 0 everywhere (at the jump too).

    Source: McCulloch and Pitts (1943), "A logical calculus of the ideas immanent in nervous activity".
    """
    return jnp.where(jnp.isnan(z), z, jnp.heaviside(z, 1.0))  # before JAX 0.10.2 the step of NaN was 1


@_activation()
def log_sigmoid(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Logarithm of the logistic sigmoid, with values in (-inf, 0].

    f(z) = log(1 / (1 + exp(-z))) = -softplus(-z),  f'(z) = sigmoid(-z).

    Source: Goodfellow, Bengio and Courville (2016), "Deep Learning", section 3.10.
    """
    return jax.nn.log_sigmoid(z)


@_activation()
def swish(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Swish with beta = 1, also called SiLU.

    f(z) = z sigmoid(z),  f'(z) = sigmoid(z) (1 + z (1 - sigmoid(z))).

    Source: Ramachandran, Zoph and Le (2017), arXiv:1710.05941, section 3.
    """
    return jax.nn.silu(z)


@_activation(flip=(1.0, 0.0))
def sinc(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Cardinal sine, not normalised by pi.

    f(z) = sin(z) / z with f(0) = 1,  f'(z) = (cos(z) - f(z)) / z with f'(0) = 0.

    Source: NIST Digital Library of Mathematical Functions, 10.49.3: the spherical Bessel function j0.
    """
    # Near 0 the quotient's derivatives are differences of huge numbers (in float32, jnp.sinc has an infinite
    # slope at 1e-30), so there f is its Taylor series, exact to float64 rounding up to |z| = 1.
    near = jnp.abs(z) < 1
    square = jnp.where(near, z, 0) ** 2
    taylor = jnp.ones_like(z)  # sin(z) / z = 1 - z^2 / (2 * 3) (1 - z^2 / (4 * 5) (1 - ...)), to z^18
    for k in range(18, 0, -2):
        taylor = 1 - square / (k * (k + 1)) * taylor
    far_z = jnp.where(near, 1, z)
    return jnp.where(near, taylor, jnp.sin(far_z) / far_z)


@_activation()
def mish(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Smooth, self-gated unit that dips below 0 for negative inputs.

    f(z) = z tanh(softplus(z)),  f'(z) = tanh(softplus(z)) + z sigmoid(z) (1 - tanh(softplus(z))^2).

    Source: Misra (2019), arXiv:1908.08681.
    """
    return jax.nn.mish(z)


@_activation()
def gelu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Gaussian error linear unit, exact (by erf, not by its tanh approximation).

    f(z) = z Phi(z),  f'(z) = Phi(z) + z phi(z),  Phi and phi the standard normal distribution and density.

    Source: Hendrycks and Gimpel (2016), arXiv:1606.08415, section 2.
    """
    return jax.nn.gelu(z, approximate=False)


@_activation()
def parametric_softplus(z: Float[Array, "*shape"], alpha: float = 10.0) -> Float[Array, "*shape"]:
    """Softplus drawn closer to ReLU.

    f(z) = log(1 + exp(alpha z)) / alpha,  f'(z) = sigmoid(alpha z).

    Args:
        z: the pre-activations, of any shape.
        alpha: sharpness, > 0; ReLU is the limit of large alpha. The paper's is 10.

    Returns:
        the activations, shaped as z.

    Source: Xie, Tan, Gong, Yuille and Le (2020), "Smooth Adversarial Training", arXiv:2006.14536,
    section 3.2.
    """
    return jax.nn.softplus(alpha * z) / alpha


@_activation()
def smooth_relu(z: Float[Array, "*shape"], alpha: float | Float[Array, ""] = 400.0) -> Float[Array, "*shape"]:
    """ReLU with its kink smoothed from the right only: exactly 0 for negative inputs.

    f(z) = z - log(1 + alpha z) / alpha for z >= 0, else 0,
    f'(z) = alpha z / (1 + alpha z) for z >= 0, else 0: continuous, with f'(0) = 0.

    Args:
        z: the pre-activations, of any shape.
        alpha: sharpness, > 0; ReLU is the limit of large alpha. The paper trains it, starting at 400, as
            `trained_smooth_relu` does; here it stays fixed.

    Returns:
        the activations, shaped as z.

    Source: Xie, Tan, Gong, Yuille and Le (2020), "Smooth Adversarial Training", arXiv:2006.14536,
    section 4.2.
    """
    # Rectified first: at z = -1 / alpha the logarithm's slope is infinite, and not selecting it gives NaN.
    positive = jax.nn.relu(z)
    return positive - jnp.log1p(alpha * positive) / alpha


@_activation(alpha=20.0)
def trained_smooth_relu(z: Float[Array, "*shape"], root: Float[Array, ""]) -> Float[Array, "*shape"]:
    """Smooth ReLU whose sharpness is trained with the weights, as PReLU's slope is.

    f(z) = z - log(1 + root^2 z) / root^2 for z >= 0, else 0: `smooth_relu` with alpha = root^2.

    Args:
        z: the pre-activations, of any shape.
        root: the square root of the sharpness, one for the whole layer, so that no step makes that negative. Steps of
            alpha itself would do next to nothing: df/dalpha is below 1e-4 near 400.

    Returns:
        the activations, shaped as z.

    Source: Xie, Tan, Gong, Yuille and Le (2020), "Smooth Adversarial Training", arXiv:2006.14536, section 4.2; the
    square is that of the authors' program, github.com/cihangxie/SmoothAdversarialTraining, which starts at 20, too.
    """
    return smooth_relu(z, root**2)


if TYPE_CHECKING:
    ActivationName: TypeAlias = str
else:
    ActivationName = Literal[tuple(ACTIVATIONS)]


def activation_of(choice: str | Callable[..., Array] | Activation, field: str = "activation") -> Activation:
    """The activation that a name, a function of z or a whole record stands for.

    Args:
        choice: a key of `ACTIVATIONS`; an elementwise function, of which no symmetry is known; or a record.
        field: what the user was choosing, for the error.

    Returns:
        The record.

    Raises:
        UserError: an unknown name.
    """
    if isinstance(choice, Activation):
        return choice
    if callable(choice):
        return Activation(choice)
    require_choice(field, choice, ACTIVATIONS)
    return ACTIVATIONS[choice]


def slopes(
    activation: Activation, z: Float[Array, "*shape"], alpha: Float[Array, ""] | None = None
) -> Float[Array, "*shape"]:
    """The derivative f'(z) of an activation, by automatic differentiation.

    Args:
        activation: the record.
        z: the pre-activations, of any shape.
        alpha: what is trained of it, if anything is; None: where that starts.

    Returns:
        The slopes, shaped as z.
    """
    start = activation.alpha if alpha is None else alpha
    parameters = [] if activation.alpha is None else [jnp.asarray(start, z.dtype)]
    return jax.jvp(lambda z: activation.function(z, *parameters), (z,), (jnp.ones_like(z),))[1]


def peak_slope(activation: Activation, alpha: Float[Array, ""] | None = None) -> Float[Array, ""]:
    """How steep an activation is at its steepest: max |f'(z)| over z from -10 to 10, in steps of 1/128.

    Args:
        activation: the record.
        alpha: as for `slopes`.

    Returns:
        The slope, at least 0. Of functions whose second derivative is at most 1 it is exact to 1/256, and to rounding
        where the steepest place is a multiple of 1/128, as the 0 of sigmoid and tanh is.
    """
    return jnp.max(jnp.abs(slopes(activation, jnp.arange(-1280, 1281, dtype=jnp.float32) / 128, alpha)))
