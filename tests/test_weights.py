"""Weights of one's own: networks from files in PyTorch's names give what PyTorch's layers give, written out here."""

import io
import json
import pickle
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax.errors import UserError
from mlpjax.models import MLP, Functions, from_linen
from mlpjax.typing import Variables
from mlpjax.weights import load_weights

HEIGHT, WIDTH = 8, 12
"""Of the images; halved twice, so that 2 x 3 pixels of 6 channels are flattened."""
IMAGES = np.random.default_rng(7).normal(size=(5, HEIGHT, WIDTH, 3)).astype(np.float32)

Arrays = dict[str, np.ndarray]


class Network(nn.Module):
    """Two convolutions with batch norm, and two dense layers where there are classes."""

    classes: int | None = 4

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        for channels in (5, 6):
            x = nn.Conv(channels, (3, 3))(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        if self.classes is None:
            return x
        x = nn.relu(nn.Dense(7)(x))
        return nn.Dense(self.classes)(x)


def network(classes: int | None = 4) -> Functions:
    return from_linen(Network(classes), flag="train")


def like(model: Any = None, x: np.ndarray = IMAGES) -> Variables:
    return jax.eval_shape((model or network()).init, jax.random.key(0), jnp.asarray(x[:1]))


def state_dict(classes: int = 4, seed: int = 0) -> Arrays:
    """What the same network is to PyTorch: Sequential `features` (0 Conv2d, 1 BatchNorm2d, 4, 5) and `classifier`."""
    rng = np.random.default_rng(seed)
    found: Arrays = {}
    for place, outputs, inputs in ((0, 5, 3), (4, 6, 5)):
        found[f"features.{place}.weight"] = rng.normal(size=(outputs, inputs, 3, 3))
        found[f"features.{place}.bias"] = rng.normal(size=outputs)
        for name in ("weight", "bias", "running_mean"):
            found[f"features.{place + 1}.{name}"] = rng.normal(size=outputs)
        found[f"features.{place + 1}.running_var"] = rng.uniform(0.5, 2, outputs)
        found[f"features.{place + 1}.num_batches_tracked"] = np.array(17)
    for place, outputs, inputs in ((0, 7, 36), (2, classes, 7)):
        found[f"classifier.{place}.weight"] = rng.normal(size=(outputs, inputs))
        found[f"classifier.{place}.bias"] = rng.normal(size=outputs)
    return {name: values if values.ndim == 0 else values.astype(np.float32) for name, values in found.items()}


def flattened_by_hand(tensors: Arrays, images: np.ndarray) -> np.ndarray:
    """The convolutions' outputs in PyTorch's order of axes, [n, c, h, w]."""
    x = images.transpose(0, 3, 1, 2).astype(float)
    for place in (0, 4):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        x = np.einsum("nihwab,oiab->nohw", windows, tensors[f"features.{place}.weight"])
        x += tensors[f"features.{place}.bias"][:, None, None]
        scale, bias, mean, var = (
            tensors[f"features.{place + 1}.{name}"][:, None, None]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        x = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)
        x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))
    return x


def by_hand(tensors: Arrays, images: np.ndarray = IMAGES) -> np.ndarray:
    x = flattened_by_hand(tensors, images)
    x = x.reshape(len(x), -1)  # channels first
    x = np.maximum(x @ tensors["classifier.0.weight"].T + tensors["classifier.0.bias"], 0)
    return x @ tensors["classifier.2.weight"].T + tensors["classifier.2.bias"]


def save(path: Path, tensors: Arrays) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        safetensors.numpy.save_file({name: np.array(values, order="C") for name, values in tensors.items()}, path)
    return path


def outputs(model: Any, variables: Variables, x: Any) -> np.ndarray:
    return np.asarray(jax.jit(model.apply)(variables, jnp.asarray(x))[0])


def refused(message: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_weights(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert str(arguments[0]) in str(caught.value)


@pytest.fixture(params=[".npz", ".safetensors"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"net{request.param}"


# PyTorch's names


def test_outputs_are_those_of_pytorchs_layers_by_hand(file: Path) -> None:
    tensors = state_dict()
    variables = load_weights(save(file, tensors), like())
    assert isinstance(variables.params["Conv_0"]["kernel"], jax.Array)
    np.testing.assert_allclose(outputs(network(), variables, IMAGES), by_hand(tensors), rtol=1e-4, atol=1e-3)


def test_a_body_is_loaded_alone_and_a_head_for_it(file: Path) -> None:
    tensors = state_dict()
    save(file, tensors)
    body, head = network(None), MLP((36, 7, 4))
    refused(r"'classifier.0.bias' \[7\] has no place in the network; change", file, like(body))
    features = outputs(body, load_weights(file, like(body), prefix="features"), IMAGES)
    expected = flattened_by_hand(tensors, IMAGES).transpose(0, 2, 3, 1).reshape(len(IMAGES), -1)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    found = outputs(head, load_weights(file, like(head), prefix="classifier."), features)
    np.testing.assert_allclose(found, by_hand(tensors), rtol=1e-4, atol=1e-3)
    last = load_weights(file, like(MLP((7, 4))), prefix="classifier.2")  # its seven inputs are units, no channels
    np.testing.assert_array_equal(last.params["dense_0"]["kernel"], tensors["classifier.2.weight"].T)


def test_the_second_of_two_heads_on_one_body_has_its_inputs_reordered_too(file: Path) -> None:
    tensors = {name: values for name, values in state_dict().items() if name.startswith("features")}
    heads = np.random.default_rng(0).normal(size=(2, 4, 36)).astype(np.float32)
    save(file, tensors | {"one.weight": heads[0], "two.weight": heads[1]})
    body = outputs(network(None), load_weights(file, like(network(None)), prefix="features"), IMAGES)
    model = MLP((36, 4), bias="none")
    for name, kernel in zip(("one", "two"), heads, strict=True):
        found = outputs(model, load_weights(file, like(model), prefix=name), body)
        expected = flattened_by_hand(tensors, IMAGES).reshape(len(IMAGES), -1) @ kernel.T
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


DEEP = like(MLP((4,) * 13))


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(24)), first=st.integers(0, 120))
def test_layers_follow_their_numbers_whatever_the_order_in_the_file(
    order: list[int], first: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(first)
    layers = [{"weight": rng.normal(size=(4, 4)), "bias": rng.normal(size=4)} for _ in range(12)]
    tensors = {
        f"net.{first + 2 * place}.{name}": values
        for place, layer in enumerate(layers)
        for name, values in layer.items()
    }
    names = [*tensors]
    path = save(tmp_path_factory.mktemp("order") / "mlp.npz", {names[place]: tensors[names[place]] for place in order})
    params = load_weights(path, DEEP).params
    for place, layer in enumerate(layers):
        np.testing.assert_array_equal(params[f"dense_{place}"]["kernel"], layer["weight"].T.astype(np.float32))
        np.testing.assert_array_equal(params[f"dense_{place}"]["bias"], layer["bias"].astype(np.float32))


def test_names_with_and_without_a_number_are_sorted(tmp_path: Path) -> None:
    names = ["fc", "fc2", "fc2.1", "fc10", "fc10a", "head01.5", "head1.6", "head" + "1" * 5000]
    tensors = {f"{name}.weight": np.full((2, 2), place, np.float32) for place, name in enumerate(names)}
    path = save(tmp_path / "net.npz", dict(sorted(tensors.items())))
    params = load_weights(path, like(MLP((2,) * 9, bias="none"))).params
    assert [params[f"dense_{place}"]["kernel"][0, 0] for place in range(8)] == [*range(8)]


def test_one_layer_alone_has_names_without_a_dot(file: Path) -> None:
    tensors = {"weight": np.ones((2, 3), np.float32), "bias": np.arange(2, dtype=np.float32)}
    for model, layer in ((MLP((3, 2)), "dense_0"), (from_linen(nn.Dense(2)), None)):
        params = load_weights(save(file, tensors), like(model, np.zeros((1, 3), np.float32))).params
        np.testing.assert_array_equal((params[layer] if layer else params)["bias"], [0, 1])


@pytest.mark.parametrize(
    ("module", "shape", "tensors"),
    [
        (nn.Conv(4, (3,)), (9, 2), {"c.weight": (4, 2, 3), "c.bias": (4,)}),
        (nn.Conv(4, (2, 3), feature_group_count=2), (9, 9, 6), {"c.weight": (4, 3, 2, 3), "c.bias": (4,)}),
        (nn.Conv(4, (1, 2, 3), use_bias=False), (5, 5, 5, 2), {"c.weight": (4, 2, 1, 2, 3)}),
        (nn.LayerNorm(), (5,), {"n.weight": (5,), "n.bias": (5,)}),
        (nn.GroupNorm(2), (3, 3, 4), {"n.weight": (4,), "n.bias": (4,)}),
        (
            nn.BatchNorm(use_running_average=True, use_scale=False, use_bias=False),
            (5,),
            {"n.running_mean": (5,), "n.running_var": (5,), "n.num_batches_tracked": ()},
        ),
    ],
)
def test_other_layers_are_known_by_their_axes(
    module: Any, shape: tuple[int, ...], tensors: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in tensors.items()}
    wanted = like(from_linen(module), np.zeros((1, *shape), np.float32))
    found = load_weights(save(tmp_path / "one.safetensors", arrays), wanted)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    kernel = found.params.get("kernel")
    if kernel is not None:
        for place in np.ndindex(kernel.shape):
            *window, inputs, outputs = place
            assert kernel[place] == arrays["c.weight"][(outputs, inputs, *window)]


# This project's names


@pytest.mark.parametrize("collection", ["", "params/"])
def test_names_of_flax_round_trip(file: Path, collection: str) -> None:
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), like())
    named = {
        f"{collection}{name}": leaf for name, leaf in flax.traverse_util.flatten_dict(drawn.params, sep="/").items()
    }
    named |= flax.traverse_util.flatten_dict(drawn.stats, sep="/")
    assert {f"{collection}Conv_0/kernel", "batch_stats/BatchNorm_0/mean"} < named.keys()
    save(file, {name: np.asarray(leaf) for name, leaf in named.items()})
    found = load_weights(file, like())
    assert jax.tree.structure(found) == jax.tree.structure(drawn)
    jax.tree.map(np.testing.assert_array_equal, found, drawn)
    parts = (f"{collection}Conv", f"{collection}BatchNorm", "batch_stats")
    body = load_weights(file, like(network(None)), prefix=parts)
    np.testing.assert_array_equal(body.params["Conv_1"]["kernel"], drawn.params["Conv_1"]["kernel"])


def test_an_mlp_with_trained_alphas_round_trips(file: Path) -> None:
    model = MLP((3, 5, 2), "prelu")
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), like(model)).params
    save(file, {name: np.asarray(leaf) for name, leaf in flax.traverse_util.flatten_dict(params, sep="/").items()})
    jax.tree.map(np.testing.assert_array_equal, load_weights(file, like(model)).params, params)


# Numbers


@pytest.mark.parametrize("kind", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_floats_become_float32(kind: Any, tmp_path: Path) -> None:
    tensors = {name: values.astype(kind) for name, values in state_dict().items() if values.ndim}
    found = load_weights(save(tmp_path / "net.safetensors", tensors), like())
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        found.params["Conv_0"]["kernel"], tensors["features.0.weight"].astype(np.float32).transpose(2, 3, 1, 0)
    )


def changed(name: str, values: Any, rename: str | None = None) -> Arrays:
    tensors = state_dict()
    del tensors[name]
    return tensors if values is None else tensors | {rename or name: np.asarray(values)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (changed("features.4.bias", None), r"nothing is the network's Conv_1/bias \[6\]"),
        (changed("features.5.running_var", None), r"nothing is the network's batch_stats/BatchNorm_1/var \[6\]"),
        (
            changed("classifier.2.weight", None),
            r"nothing is the network's Dense_1/bias \[4\], and 'classifier.2.bias' \[4\] has no place in the network",
        ),
        (
            state_dict() | {"features.8.weight": np.ones((6, 6, 3, 3), np.float32)},
            r"'features.8.weight' \[6, 6, 3, 3\] has no place in the network; change the network, or load a",
        ),
        (
            state_dict() | {"features.0.weight_ih": np.ones(2, np.float32)},
            r"'features.0.weight_ih' \[2\] has no place",
        ),
        (
            state_dict(classes=9),
            r"'classifier.2.bias' \[9\] does not fit the network's Dense_1/bias \[4\]; change the network, or load an",
        ),
        (
            changed("features.0.weight", np.ones((5, 1, 3, 3), np.float32)),
            r"'features.0.weight' \[5, 1, 3, 3\] does not fit the network's Conv_0/kernel \[5, 3, 3, 3\], in PyTorch's",
        ),
        (
            changed("features.0.weight", np.full((5, 3, 3, 3), np.nan, np.float32)),
            r"'features.0.weight' \[5, 3, 3, 3\] has 135 numbers that are not finite",
        ),
        (changed("features.1.bias", [1, 1, 1, 1, 1e300]), r"'features.1.bias' \[5\] has 1 numbers that are not finite"),
        (changed("features.1.bias", np.ones(5, np.int8)), "'features.1.bias' holds int8; save floating-point numbers"),
        ({}, "holds no arrays with names"),
        (
            {"Conv_0/kernel": np.ones((3, 3, 3, 5), np.float32)},
            r"nothing is the network's BatchNorm_0/bias \[5\]",
        ),
        (
            {"Conv_0/kernel": np.ones((3, 3, 3, 5)), "params/Conv_0/kernel": np.ones((3, 3, 3, 5))},
            "'Conv_0/kernel' .* has no place",
        ),
        ({"a\n/b": np.ones(3)}, r"'a\\n/b' \[3\] has no place in the network"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(file: Path, tensors: Arrays, message: str) -> None:
    refused(message, save(file, tensors), like())


def test_own_names_with_other_shapes_are_refused(file: Path) -> None:
    save(file, {"dense_0/kernel": np.ones((3, 2), np.float32), "dense_0/bias": np.ones(2, np.float32)})
    refused(r"'dense_0/bias' \[2\] does not fit the network's dense_0/bias \[4\]; change", file, like(MLP((3, 4))))
    refused(r"'dense_0/kernel' \[3, 2\] .* dense_0/kernel \[2, 2\]; change", file, like(MLP((2, 2))))


def test_a_prefix_that_nothing_has_is_refused(file: Path) -> None:
    save(file, state_dict())
    refused("starts with 'feature_'; the first is 'classifier.0.bias'", file, like(), prefix="feature_")
    refused(r"nothing is the network's Dense_0/bias \[7\]; change", file, like(), prefix="features")


def test_inputs_that_no_flattening_gives_are_refused(file: Path) -> None:
    tensors = changed("classifier.0.weight", np.ones((7, 35), np.float32))
    message = r"'classifier.0.weight' \[7, 35\] has inputs that are no multiple of the 6 channels before it"
    refused(message, save(file, tensors), like(MLP((35, 7, 4))), prefix="classifier")


# Files


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    refused("cannot be read .*allow_pickle", written(tmp_path / "a.npz", pickle.dumps(trap)), like())
    np.savez(tmp_path / "b.npz", **{"features.0.weight": np.array([trap], object)})
    refused("cannot be read .*allow_pickle", tmp_path / "b.npz", like())
    refused("cannot be read", written(tmp_path / "c.safetensors", pickle.dumps(trap)), like())
    refused("neither .npz nor .safetensors; save a Py", written(tmp_path / "d.pt", pickle.dumps(trap)), like())
    assert not trap.path.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists()


def test_what_is_no_such_file_is_refused(file: Path) -> None:
    refused("no such file", file, like())
    refused("cannot be read", written(file, b""), like())
    refused("cannot be read", written(file, b"hello"), like())
    single = io.BytesIO()
    np.save(single, np.ones(3))
    refused("cannot be read|holds no arrays with names", written(file, single.getvalue()), like())


def test_numbers_that_numpy_has_no_type_for_are_refused(tmp_path: Path) -> None:
    model = like(MLP((3, 2), bias="none"))
    header = json.dumps({"weight": {"dtype": "F8_E4M3", "shape": [2, 3], "data_offsets": [0, 6]}}).encode()
    path = written(tmp_path / "f8.safetensors", struct.pack("<Q", len(header)) + header + bytes(6))
    refused("cannot be read .*float8_e4m3fn.*; write it with safetensors, in float32", path, model)
    np.savez(tmp_path / "bf16.npz", weight=np.ones((2, 3), ml_dtypes.bfloat16))
    refused(r"'weight' holds \|V2; save floating-point numbers, such as float32", tmp_path / "bf16.npz", model)


@pytest.mark.parametrize("seed", range(3))
def test_broken_bytes_give_the_network_or_one_line(file: Path, seed: int) -> None:
    wanted = like(MLP((2, 3, 2)))
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (3, 2), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    whole = save(file, {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}).read_bytes()
    expected = load_weights(file, wanted)
    draw = random.Random(seed)
    read = 0
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 8))):
            content[draw.randrange(len(content))] = draw.choice((0, 255, draw.randrange(256)))
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)) :]
        try:
            found = load_weights(written(file, bytes(content)), wanted)
        except UserError as error:
            assert re.fullmatch(rf"{re.escape(str(file))}.*", str(error))
        else:
            read += 1
            if file.suffix == ".npz":  # it has checksums, and safetensors has none
                jax.tree.map(np.testing.assert_array_equal, found, expected)
            assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, expected)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert 0 < read < 100
