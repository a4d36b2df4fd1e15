"""Weights of one's own: a file of arrays, named as here or as in PyTorch, read as the variables of a network."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from mlpjax.data.npz import read_arrays
from mlpjax.errors import UserError
from mlpjax.typing import Variables

PYTORCH = {"bias": "bias", "running_mean": "mean", "running_var": "var"}
"""What a layer's tensors are called in Flax, by PyTorch's name; its `weight` is a kernel or, of one axis, a scale."""
COUNTER = "num_batches_tracked"
"""Of PyTorch's batch norm; nothing here needs it."""

Layer: TypeAlias = dict[str, str]
"""The full names of a layer's tensors, by what they are called in Flax ("kernel")."""


def load_weights(path: str | Path, like: Variables, prefix: str | tuple[str, ...] = "") -> Variables:
    """Read one network from a file, in place of drawing it.

    The file's names are those of Flax (`Conv_0/kernel`, also `params/Conv_0/kernel`; `batch_stats/BatchNorm_0/mean`) or
    those of a PyTorch state dict (`features.0.weight`, `features.1.running_mean`). PyTorch's layers are given to the
    network's in the natural order of both their names, 2 before 10, convolutions to convolutions, dense layers to dense
    layers, normalisations to normalisations (in `f(g(x))` Flax numbers f before g). Axes are put into Flax's order:

        convolution [out, in, h, w] -> [h, w, in, out],    dense [out, in] -> [in, out].

    A dense layer that follows convolutions has its inputs reordered, too: PyTorch flattens images channels first, a
    Flax network channels last. One is taken to do so whose inputs are not as many as the outputs of the dense layer
    before it, and the channels to be those of the file's last convolution.

    Args:
        path: a .safetensors or .npz file, of floating-point numbers; nothing in it is unpickled.
        like: the network as `init` gives it, of which only names, shapes and types count: `jax.eval_shape` of `init`
            will do.
        prefix: what the names start with that are loaded, one or several: "features" is the body of torchvision's VGG.
            All of them must have a place in the network.

    Returns:
        Variables in the form of `like`.

    Raises:
        UserError: no such file, or none of these kinds; an array that is missing, left over, of another shape, of
            whole numbers or not finite; inputs that are no multiple of the channels before them.
    """
    path = Path(path).expanduser()
    tensors = _read(path)
    pytorch = any(name.rpartition(".")[2] in ("weight", "running_mean") for name in tensors)
    if pytorch:
        tensors = {name: values for name, values in tensors.items() if name.rpartition(".")[2] != COUNTER}
    chosen = {name: values for name, values in tensors.items() if name.startswith(prefix)}
    if not chosen:
        first = min(tensors, default=None, key=_natural)
        raise UserError(f"{path}: no array in it has a name that starts with {prefix!r}; the first is {first!r}")
    paths, form = jax.tree_util.tree_flatten_with_path(like)
    wanted = {jax.tree_util.keystr(keys[1:], simple=True, separator="/"): leaf for keys, leaf in paths}
    if not pytorch:
        pairs = {bare: name for name in chosen if (bare := name.removeprefix("params/")) in wanted}
        _require_fit(path, chosen, {name: leaf.shape for name, leaf in wanted.items()}, pairs)
        values = {name: _float32(path, pairs[name], chosen[pairs[name]]) for name in wanted}
    else:
        pairs = _pair_in_order(_layers_of_pytorch(chosen), _layers_of_flax(wanted, like.stats), chosen, wanted)
        shapes = {name: _pytorch_shape(leaf.shape) for name, leaf in wanted.items()}
        _require_fit(path, chosen, shapes, pairs, ", in PyTorch's order of axes")
        channels = _flattened_channels(tensors)
        values = {
            name: _in_flax_order(path, theirs, _float32(path, theirs, chosen[theirs]), channels.get(theirs, 1))
            for name, theirs in pairs.items()
        }
    return jax.tree.unflatten(form, [jnp.asarray(values[name], leaf.dtype) for name, leaf in wanted.items()])


def _require_fit(
    path: Path,
    chosen: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    pairs: Mapping[str, str],
    order: str = "",
) -> None:
    """Refuse arrays that are missing, left over, or of another shape, naming the first."""
    shown = {name: f"{name} {list(shape)}{order if len(shape) > 1 else ''}" for name, shape in shapes.items()}
    missing = [f"nothing is the network's {shown[name]}" for name in shapes if name not in pairs]
    left = [
        f"{name!r} {list(chosen[name].shape)} has no place in the network"
        for name in sorted(chosen.keys() - pairs.values(), key=_natural)
    ]
    unlike = [
        f"{pairs[name]!r} {list(chosen[pairs[name]].shape)} does not fit the network's {shown[name]}"
        for name, shape in shapes.items()
        if name in pairs and chosen[pairs[name]].shape != shape
    ]
    if faults := missing[:1] + left[:1] or unlike[:1]:
        raise UserError(f"{path}: {', and '.join(faults)}; change the network, or load another part (prefix)")


def _read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name."""
    if path.suffix not in (".npz", ".safetensors"):
        raise UserError(
            f"{path} is neither .npz nor .safetensors; save a PyTorch model with "
            "safetensors.torch.save_file(model.state_dict(), ...)"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".npz":
        arrays = read_arrays(path)
    else:
        try:
            arrays = safetensors.numpy.load_file(path)
        # Its own error, the system's, and for types that NumPy has not whatever their look-up raises.
        except Exception as error:
            said = " ".join(str(error).split())[:150]
            raise UserError(f"{path} cannot be read ({said}); write it with safetensors, in float32") from None
    if not arrays:
        raise UserError(f"{path} holds no arrays with names")
    return arrays


def _natural(name: str) -> tuple[list[Any], str]:
    """A key that sorts numbers within names by their size, however long they are."""
    words: list[Any] = re.split(r"([0-9]+)", name)
    words[1::2] = [(len(digits), digits) for digits in (number.lstrip("0") for number in words[1::2])]
    return words, name


def _layers_of_pytorch(tensors: Mapping[str, np.ndarray]) -> dict[str, Layer]:
    layers: dict[str, Layer] = defaultdict(dict)
    for name, values in tensors.items():
        layer, _, what = name.rpartition(".")
        if what == "weight":
            what = "scale" if values.ndim == 1 else "kernel"
        layers[layer][PYTORCH.get(what, what)] = name
    return layers


def _layers_of_flax(names: Iterable[str], collections: Collection[str]) -> dict[str, Layer]:
    layers: dict[str, Layer] = defaultdict(dict)
    for name in names:
        collection, _, rest = name.partition("/")
        layer, _, what = (rest if collection in collections else name).rpartition("/")
        layers[layer][what] = name
    return layers


def _sorted(layers: Mapping[str, Layer], tensors: Mapping[str, Any]) -> dict[int, list[Layer]]:
    """Layers in the natural order of their names, by the axes of their weights: 2 of dense layers, 1 of normalisations;
    0 where a layer is of no known kind."""
    kinds: dict[int, list[Layer]] = defaultdict(list)
    for name in sorted(layers, key=_natural):
        layer = layers[name]
        normalises = "scale" in layer or "mean" in layer
        kinds[len(tensors[layer["kernel"]].shape) if "kernel" in layer else int(normalises)].append(layer)
    return kinds


def _pair_in_order(
    theirs: Mapping[str, Layer], ours: Mapping[str, Layer], tensors: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, str]:
    """The file's names by the network's, as far as both have them."""
    pairs: dict[str, str] = {}
    found = _sorted(theirs, tensors)
    for axes, layers in _sorted(ours, wanted).items():
        for our, their in zip(layers, found[axes], strict=False):
            pairs |= {our[what]: their[what] for what in our if what in their}
    return pairs


def _flattened_channels(tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Channels that a dense layer's inputs were flattened from, by the name of its weights, where it follows some."""
    kinds = _sorted(_layers_of_pytorch(tensors), tensors)
    kernels = {axes: [tensors[layer["kernel"]] for layer in kinds[axes]] for axes in kinds if axes > 1}
    convolutions = [axes for axes in kernels if axes > 2]
    if not convolutions:
        return {}
    channels, outputs, found = len(kernels[max(convolutions)][-1]) or 1, None, {}
    for layer, kernel in zip(kinds[2], kernels.get(2, []), strict=True):
        if kernel.shape[1] != outputs:
            found[layer["kernel"]] = channels
        outputs = len(kernel)
    return found


def _pytorch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-1], shape[-2], *shape[:-2]) if len(shape) > 1 else shape


def _in_flax_order(path: Path, name: str, values: np.ndarray, channels: int) -> np.ndarray:
    if values.ndim < 2:
        return values
    if values.ndim == 2:
        if values.shape[1] % channels:
            raise UserError(
                f"{path}: {name!r} {list(values.shape)} has inputs that are no multiple of the {channels} channels "
                "before it; save it under the network's own names"
            )
        by_channel = values.reshape(len(values), channels, values.shape[1] // channels)
        values = by_channel.swapaxes(1, 2).reshape(values.shape)
    return values.transpose(*range(2, values.ndim), 1, 0)


def _float32(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise UserError(f"{path}: {name!r} holds {values.dtype}; save floating-point numbers, such as float32")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if bad := values.size - int(np.isfinite(values).sum()):
        raise UserError(f"{path}: {name!r} {list(values.shape)} has {bad} numbers that are not finite in float32")
    return values
