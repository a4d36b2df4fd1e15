"""Draws and trained figures stay what they were: a change of design must not change a result.

The figures are those of commit b942a0a, before networks became tasks. To make them anew, on purpose:
python tests/test_golden.py
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from mlpjax import MLP, Recipe, load, make_keys, train_many
from mlpjax.hashing import bernoulli, permutation
from mlpjax.seeds import make_members

FILE = Path(__file__).with_suffix(".npz")
SEEDS = (0, 1, 17)
PLAIN = {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 16, "epochs": 3}
TRAININGS = {
    "sgd": ({}, PLAIN, {}),
    "momentum": ({}, PLAIN | {"optimizer": "momentum", "momentum": 0.8}, {}),
    "nesterov": ({}, PLAIN | {"optimizer": "nesterov"}, {}),
    "rmsprop": ({}, PLAIN | {"optimizer": "rmsprop", "learning_rate": 0.01}, {}),
    "adam": ({}, PLAIN | {"optimizer": "adam", "learning_rate": 0.01, "schedule": "one-cycle"}, {}),
    "adamw": ({}, PLAIN | {"optimizer": "adamw", "weight_decay": 0.1, "clip": 0.5, "schedule": "cosine"}, {}),
    "dropout": ({"dropout": (0.3,)}, PLAIN | {"ridge": 0.01, "lasso": 0.001, "label_smoothing": 0.1}, {}),
    "sweep": ({}, PLAIN | {"loss": "squared_error"}, {"sweep": {"learning_rate": np.array([0.01, 0.1, 0.3])}}),
    "freeze": ({}, PLAIN | {"sample_size": 40}, {"freeze": ["init", "sample"]}),
}


def draws() -> dict[str, np.ndarray]:
    """What chance decides, for one seed: to the bit."""
    keys = make_keys(17)
    found = {f"key/{name}": np.asarray(jax.random.key_data(getattr(keys, name))) for name in KEYS}
    found["order"] = np.asarray(permutation(keys.order, 2000))
    found["dropout"] = np.asarray(bernoulli(keys.dropout, 0.7, (20, 20)))
    return found


KEYS = ("init", "order", "dropout", "sample")


def figures(name: str) -> dict[str, np.ndarray]:
    """What some seeds are trained to."""
    model, recipe, options = TRAININGS[name]
    trained = train_many(
        MLP((2, 6, 5, 2), "tanh", **model), Recipe(**recipe), load("xor", n=60), SEEDS, snapshots=(0,), **options
    )
    arrays = {key: values for key, values in trained.history.items() if key != "seconds"}
    for when, tree in (("start", trained.snapshots), ("end", trained.params)):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            arrays[f"{when}/{jax.tree_util.keystr(path, simple=True, separator='/')}"] = np.asarray(leaf)
    return arrays


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE) as kept:
        return dict(kept)


def test_what_chance_decides_is_the_same_to_the_bit(golden):
    for name, found in draws().items():
        np.testing.assert_array_equal(found, golden[f"draws/{name}"])


@pytest.mark.parametrize("name", TRAININGS)
def test_what_seeds_are_trained_to_is_the_same(golden, name):
    found = figures(name)
    kept = {key.removeprefix(f"{name}/"): values for key, values in golden.items() if key.startswith(f"{name}/")}
    assert found.keys() == kept.keys()
    for key, values in found.items():
        np.testing.assert_allclose(values, kept[key], rtol=2e-5, atol=2e-6, err_msg=key)


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("name", ["sgd", "freeze"])
def test_starts_are_the_same_to_the_bit(golden, name):
    model, _, options = TRAININGS[name]
    keys = make_members(SEEDS, freeze=options.get("freeze", ())).keys.init
    start = jax.jit(jax.vmap(lambda key: MLP((2, 6, 5, 2), "tanh", **model).init(key).params))(keys)
    for path, leaf in jax.tree_util.tree_flatten_with_path(start)[0]:
        key = f"{name}/start/{jax.tree_util.keystr(path, simple=True, separator='/')}"
        np.testing.assert_array_equal(leaf, golden[key][:, 0], err_msg=key)


if __name__ == "__main__":
    everything = {f"draws/{key}": values for key, values in draws().items()}
    everything |= {f"{name}/{key}": values for name in TRAININGS for key, values in figures(name).items()}
    np.savez_compressed(FILE, **everything)
