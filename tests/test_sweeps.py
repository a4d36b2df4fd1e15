"""A sweep is what single trainings give, in as few programs as there are; and it says what it cannot do."""

from typing import Any

import jax
import numpy as np
import pytest

import mlpjax
from mlpjax import MLP, Checkpoints, Recipe, UserError, load, sweeps

XOR = load("xor", n=40)
MODEL = MLP((2, 4, 2))
RECIPE = Recipe(batch_size=20, epochs=2)


def same(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope="module")
def calls() -> list[str]:
    return []


@pytest.fixture(scope="module")
def swept(calls: list[str]) -> mlpjax.Swept:
    """Two numbers and a field that takes a program for each value."""

    def train_many(model: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(model.activation)
        return mlpjax.train_many(model, *arguments, **options)

    grid = {"learning_rate": np.array([0.01, 0.1]), "activation": ["relu", "tanh"], "dropout": [0, 0.5]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "train_many", train_many)
        return mlpjax.sweep(MODEL, RECIPE, XOR, [3, 5, 8], grid)


def test_a_program_for_each_value_that_is_no_number(swept: mlpjax.Swept, calls: list[str]) -> None:
    assert sorted(calls) == ["relu", "tanh"]
    assert swept.over == {"learning_rate": [0.01, 0.1], "activation": ["relu", "tanh"], "dropout": [0, 0.5]}
    assert swept.settings[1] == {"learning_rate": 0.01, "activation": "relu", "dropout": 0.5}


def test_an_entry_is_what_train_many_alone_gives(swept: mlpjax.Swept) -> None:
    """Fails if an entry has another setting's numbers, another seed, or another place in the grid."""
    sweep = {"learning_rate": np.full(3, 0.1), "dropout": np.full(3, 0.5)}
    alone = mlpjax.train_many(MLP((2, 4, 2), "tanh"), RECIPE, XOR, [3, 5, 8], sweep=sweep)
    entry = swept.at(learning_rate=0.1, activation="tanh", dropout=0.5)
    for found in (entry.params, jax.tree.map(lambda leaf: leaf[1, 1, 1], swept.params)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, alone.params)
    loss = alone.history["test_loss"]
    np.testing.assert_allclose(swept.history["test_loss"][1, 1, 1], loss, rtol=1e-5)
    np.testing.assert_allclose(swept.final("test_loss")[1, 1, 1], loss[:, -1], rtol=1e-5)
    assert swept.final("test_loss").shape == swept.diverged.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(entry.seeds, swept.seeds)
    settings = swept.final("test_loss").reshape(8, 3)
    assert len(np.unique(settings, axis=0)) == 8


def test_settings_are_paired_by_their_seeds(swept: mlpjax.Swept) -> None:
    """Networks of one seed start alike at every setting, and those of two seeds do not."""
    start = swept.history["test_loss"][:, 0, :, :, 0]
    same(start, np.broadcast_to(start[:1, :1], start.shape))
    assert len(np.unique(start)) == 3
    same(swept.error("train")[..., 0], 100 * (1 - swept.history["train_accuracy"][..., 0].astype(float)))


def test_without_numbers_it_is_bit_for_bit_train_many() -> None:
    swept = mlpjax.sweep(MODEL, RECIPE, XOR, range(2), {"epochs": [1, 2], "momentum": [None]})
    alone = mlpjax.train_many(MODEL, RECIPE, XOR, range(2))
    same(swept.at(epochs=2, momentum=None).params, alone.params)
    assert swept.final("test_loss").shape == (2, 1, 2)
    with pytest.raises(UserError, match="sweep over epochs, momentum: these arrays have other shapes"):
        _ = swept.history


def test_the_networks_with_most_parameters_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def train_many(model: MLP, *_: Any, **__: Any) -> mlpjax.Trained:
        order.append(model.widths[1])
        return mlpjax.Trained(np.zeros(1, int), {"width": np.array([order[-1]])}, {})

    monkeypatch.setattr(sweeps, "train_many", train_many)
    found = mlpjax.sweep(MODEL, RECIPE, XOR, [0], {"widths": [(2, 2, 2), (2, 6, 2), (2, 4, 2)]})
    assert order == [6, 4, 2]
    assert found.params["width"].ravel().tolist() == [2, 6, 4]


def test_the_data_may_be_swept(tmp_path: Any) -> None:
    made = []

    def blobs(noise: float, n: int = 40) -> mlpjax.Dataset:
        made.append(noise)
        return load("xor", n=n, noise=noise)

    grid = {"noise": [0.0, 0.5], "scale": [0.5, 1.0, 2.0]}
    steps: list[tuple[int, int]] = []
    found = mlpjax.sweep(
        MODEL, RECIPE, blobs, [1, 2], grid, start=None, on_progress=lambda *done: steps.append(done),
        store=lambda name: Checkpoints(tmp_path / name),
    )  # fmt: skip
    assert made == [0.0, 0.5]
    assert steps[-1] == (2 * 3 * 2 * 2, 2 * 3 * 2 * 2)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    alone = mlpjax.train_many(MODEL, RECIPE, blobs(0.5), [1, 2] * 3, sweep={"scale": np.repeat([0.5, 1.0, 2.0], 2)})
    same(found.final("train_loss")[1].ravel(), alone.history["train_loss"][:, -1])
    # Another value and another seed are added to what is kept.
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["noise-0.0", "noise-0.5"]
    more = {"noise": [0.5], "scale": [1.0, 4.0]}
    again = mlpjax.sweep(
        MODEL, RECIPE, lambda noise: blobs(noise), [1, 2, 3], more, store=lambda name: Checkpoints(tmp_path / name)
    )
    same(again.final("train_loss")[0, 0, :2], found.final("train_loss")[1, 1])


def test_the_task_may_be_swept(tmp_path: Any) -> None:
    """Each value has a program of its own, beside numbers of the recipe; more seeds are added to what is kept."""

    def shifted(*parts: Any, shift: float) -> mlpjax.Task:
        return mlpjax.augmented(mlpjax.make_task(*parts), lambda _, x: x + shift)

    def store(name: str) -> Checkpoints:
        return Checkpoints(tmp_path / name)

    grid = {"shift": [0.0, 1.0], "learning_rate": [0.01, 0.1]}
    alike = {"chunk": 1}  # one program, however many seeds
    found = mlpjax.sweep(MODEL, RECIPE, XOR, [1, 2], grid, task=shifted, store=store, **alike)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shift-0.0", "shift-1.0"]
    plain = mlpjax.sweep(MODEL, RECIPE, XOR, [1, 2], {"learning_rate": [0.01, 0.1]}, **alike)
    same(found.final("train_loss")[0], plain.final("train_loss"))
    assert (found.final("train_loss")[1] != plain.final("train_loss")).all()
    more = mlpjax.sweep(MODEL, RECIPE, XOR, [1, 2, 3], grid, task=shifted, store=store, **alike)
    same(more.final("train_loss")[..., :2], found.final("train_loss"))


def test_what_networks_begin_with_has_a_row_for_each_seed() -> None:
    params = mlpjax.train_many(MODEL, RECIPE, XOR, [1, 2]).params
    found = mlpjax.sweep(MODEL, RECIPE, XOR, [1, 2], {"learning_rate": [1e-9, 0.1]}, start=params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-7), found.params, params)
    start = found.history["test_loss"][..., 0]
    same(start[0], start[1])


def test_a_key_of_a_seed_of_its_own_is_that_seeds_at_every_setting() -> None:
    """With a rate that moves nothing the three starts are seen as they were drawn."""
    grid = {"learning_rate": [1e-9, 2e-9]}
    found = mlpjax.sweep(MODEL, RECIPE, XOR, [1, 2, 3], grid, freeze={"init": [7, 7, 9]}).history["test_loss"][..., 0]
    same(found, np.array([[found[0, 0], found[0, 0], found[0, 2]]] * 2))
    assert found[0, 0] != found[0, 2]


def test_a_rate_for_each_layer_and_one_for_all() -> None:
    model = MLP((2, 4, 4, 2))
    found = mlpjax.sweep(model, RECIPE, XOR, [1], {"dropout": [0.3, (0.3, 0.0), (0.3, 0.3)]}).final("train_loss")
    assert found[0, 0] == found[2, 0] != found[1, 0]


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"learning_rat": [1]}, "unknown field to sweep 'learning_rat': did you mean 'learning_rate'"),
        ({"learning_rate": []}, "learning_rate: give at least one value"),
        ({"learning_rate": [0.1, 0.2, 0.1]}, "learning_rate 0.1: stands in the sweep twice"),
        ({"learning_rate": ["0.1"]}, "learning_rate '0.1': give a number"),
        ({"learning_rate": [0.1, -1.0]}, "learning_rate -1.0: must be above 0"),
        ({"momentum": [0.9]}, "momentum: is for optimizer momentum or nesterov, not adam"),
        ({"clip": ["all"]}, "clip 'all': give a number, or None"),
        ({"dropout": [0.5, True]}, "dropout True: give a number"),
        ({"dropout": [1.5]}, "dropout 1.5: a rate must lie in"),
        ({"dropout": [(0.1, 0.2)]}, "one for each of the 1 hidden layers"),
        ({"epochs": [5.5]}, "epochs 5.5: give a whole number"),
        ({"batch_size": [32, 20.0]}, "batch_size 20.0: give a whole number, or None"),
        ({"activation": [3]}, "activation 3: give a name"),
        ({"eval_every": [1, 3]}, "eval_every 3: must divide epochs, 2"),
        ({"batch_size": [20, 41]}, "batch_size 41: larger than the training split"),
    ],
)
def test_bad_fields_and_values_are_refused_by_name(
    over: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if "batch_size" not in over:
            patch.setattr(sweeps, "train_many", None)  # before anything is trained
        with pytest.raises(UserError) as caught:
            mlpjax.sweep(MODEL, RECIPE, XOR, [0], over)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_that_was_not_trained_is_refused(swept: mlpjax.Swept) -> None:
    with pytest.raises(UserError, match=r"setting \{'dropout': 0.5\}: choose one value of each of learning_rate"):
        swept.at(dropout=0.5)
