"""VGG: parameters as published, the network against one written with plain convolutions, statistics that move."""

from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from mlpjax.data import Dataset
from mlpjax.errors import UserError
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recipe import Recipe
from mlpjax.seeds import train_many
from mlpjax.vgg import BLOCKS, VGG

PUBLISHED = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}
NORMALISED = {11: 132_868_840, 13: 133_053_736, 16: 138_365_992, 19: 143_678_248}


def parameters(depth: int, classes: int, side: int, **options: bool) -> int:
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shapes = jax.eval_shape(VGG(depth, classes, **options).init, jax.random.key(0), images)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes.params))


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameters_are_those_published(depth: int) -> None:
    """For ImageNet: Simonyan and Zisserman, table 2, to the million; torchvision's documentation, to the last one."""
    assert parameters(depth, 1000, 224) == PUBLISHED[depth]
    assert parameters(depth, 1000, 224, batch_norm=True) == NORMALISED[depth]


def test_the_course_calls_vgg16_what_is_vgg19() -> None:
    """STAT 453 (2021), L14, notebook vgg16: 45,206,594 parameters for cats and dogs of 64 x 64."""
    assert parameters(19, 2, 64) == 45_206_594


def test_outputs_are_those_of_convolutions_by_hand() -> None:
    model = VGG(11, 3, width=1 / 32)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(1), jnp.asarray(images))
    found, _ = jax.jit(model.apply)(variables, jnp.asarray(images))
    for image, outputs in zip(images, found, strict=True):
        x = image.astype(float)
        for layer in range(8):
            kernel, bias = (np.asarray(variables.params[f"Conv_{layer}"][name]) for name in ("kernel", "bias"))
            x = np.stack(
                [
                    sum(scipy.signal.correlate2d(x[..., i], kernel[..., i, o], "same") for i in range(x.shape[-1]))
                    for o in range(kernel.shape[-1])
                ],
                axis=-1,
            )
            x = np.maximum(x + bias, 0)
            if layer in (0, 1, 3, 5, 7):
                x = np.maximum.reduce([x[i::2, j::2] for i in (0, 1) for j in (0, 1)])
        x = x.ravel()
        for layer in range(3):
            dense = {name: np.asarray(value) for name, value in variables.params[f"Dense_{layer}"].items()}
            x = x @ dense["kernel"] + dense["bias"]
            x = np.maximum(x, 0) if layer < 2 else x
        np.testing.assert_allclose(outputs, x, rtol=1e-3, atol=1e-5)


def test_many_are_trained_with_statistics_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Interrupted and gone on with, they have the same parameters and statistics, bit for bit."""
    monkeypatch.setitem(BLOCKS, 11, (1, 1, 0, 0, 0))  # two convolutions of the eight compile in a fifth of the time
    rng = np.random.default_rng(0)
    y = np.arange(16) % 2
    x = (rng.integers(0, 100, (16, 32, 32)) + 100 * y[:, None, None]).astype(np.uint8)  # in grey
    data = Dataset.from_arrays(x, y, test=(x, y), valid=0)
    recipe = Recipe(batch_size=8, epochs=3, learning_rate=1e-3)
    model = VGG(11, 2, width=1 / 32, batch_norm=True)
    found = train_many(model, recipe, data, range(2))
    means = found.stats["batch_stats"]["BatchNorm_0"]["mean"]
    assert means.shape == (2, 2)
    assert (np.abs(means) > 0).all()
    assert found.history["train_loss"][:, -1].max() < 0.9

    monkeypatch.setattr("mlpjax.lift.BLOCK_SECONDS", 0.0)
    begun = []

    def on_progress(done: int, _: int) -> None:
        if not begun:
            begun.append(done)
            raise KeyboardInterrupt

    store = Checkpoints(tmp_path / "networks")
    with pytest.raises(KeyboardInterrupt):
        train_many(model, recipe, data, range(2), store=store, on_progress=on_progress)
    resumed = train_many(model, recipe, data, range(2), store=store, on_progress=on_progress)
    assert 0 < begun[0] < 6
    chex.assert_trees_all_equal(resumed.variables, found.variables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 12}, "unknown depth '12'.*choose from 11, 13, 16, 19"),
        ({"width": 0}, "width 0: must be above 0"),
        ({"dropout": (1.0,)}, "dropout 1.0: a rate must"),
        ({"classes": 0}, "classes 0"),
    ],
)
def test_numbers_outside_their_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        VGG(**{"depth": 11, "classes": 2, **options})


@pytest.mark.parametrize(
    ("shape", "message"), [((40,), "takes images, and examples of this data have 40 features"), ((28, 28), "28 x 28")]
)
def test_what_is_no_image_or_too_small(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        VGG(11, 2).init(jax.random.key(0), jnp.zeros((1, *shape)))


def test_without_classes_it_is_the_body() -> None:
    """In VGG11 the eighth convolution is the last; its outputs, halved, are what the dense layers would be given."""
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), jnp.float32)
    body = VGG(11, width=1 / 32)
    variables = jax.jit(body.init)(jax.random.key(1), images)
    outputs, _ = jax.jit(body.apply)(variables, images)
    assert outputs.shape == (2, 2 * 2 * 16)
    last = np.asarray(jax.jit(lambda *network: body.activations(*network)[-2])(variables, images))
    np.testing.assert_array_equal(outputs, last.reshape(2, 2, 2, 2, 2, 16).max(axis=(2, 4)).reshape(2, -1))
    whole = VGG(11, 3, width=1 / 32)
    shapes = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(whole.init, jax.random.key(1), images).params)
    assert jax.tree.map(jnp.shape, variables.params).items() <= shapes.items()


def test_dropout_and_scale_are_swept() -> None:
    """With every weight zero the outputs are the last bias; a dropout changes outputs in training alone."""
    images = jnp.ones((4, 32, 32))
    key = jax.random.key(0)

    def outputs(scale: jax.Array, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = VGG(11, 2, width=1 / 32, scale=scale, dropout=rate)
        variables = model.init(key, images)
        return model.apply(variables, images)[0], model.apply(variables, images, key)[0]

    plain, trained = jax.jit(jax.vmap(outputs))(jnp.array([0.0, 1.0, 1.0]), jnp.array([0.0, 0.0, 0.5]))
    assert not plain[0].any()
    np.testing.assert_array_equal(plain[1], plain[2])
    np.testing.assert_allclose(plain[1], trained[1], rtol=1e-5)
    assert (np.abs(trained[2] - plain[2]) > 1e-3).all()
