"""The convolution of image models, with gradients that a CPU computes at full speed inside loops too."""

import jax
from jax.lax import conv_general_dilated
from jaxtyping import Array, Float

PLAIN = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: Float[Array, "batch height width in"], w: Float[Array, "rows columns in out"]
) -> Float[Array, "batch height width out"]:
    """Correlate images with a kernel, zeros around them: y_bijo = sum_klc x_b(i+k-K)(j+l-L)c w_klco.

    On a CPU the compiler (XLA) gives a convolution to its library only where the axes lie as here; those of the
    gradients it brings into this order itself, but not inside loops, and training is a loop: there they took 30 to 80
    times as long. So here dL/dx and dL/dw are themselves convolutions with axes in this order. Like every `custom_vjp`
    it can be differentiated backwards, and forwards over backwards (Hessian-vector products), but not forwards alone.
    Other devices get the compiler's own gradients.

    Args:
        x: images, or what a layer made of them.
        w: the kernel, with 2 K + 1 rows and 2 L + 1 columns.

    Returns:
        As many pixels as in x.
    """
    return (_convolve if jax.default_backend() == "cpu" else _correlate)(x, w)


def _correlate(x: Array, w: Array) -> Array:
    rows, columns = ((size // 2, size // 2) for size in w.shape[:2])
    return conv_general_dilated(x, w, (1, 1), (rows, columns), dimension_numbers=PLAIN)


@jax.custom_vjp
def _convolve(x: Array, w: Array) -> Array:
    return _correlate(x, w)


def _forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
    return _correlate(x, w), (x, w)


def _backward(saved: tuple[Array, Array], d: Array) -> tuple[Array, Array]:
    x, w = saved
    rows, columns = ((size // 2, size // 2) for size in w.shape[:2])
    of_x = _correlate(d, w[::-1, ::-1].transpose(0, 1, 3, 2))
    # Channels of x take the place of images, images that of channels, and d is the kernel.
    of_w = conv_general_dilated(
        x.transpose(3, 1, 2, 0), d.transpose(1, 2, 0, 3), (1, 1), (rows, columns), dimension_numbers=PLAIN
    )
    return of_x, of_w.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)
