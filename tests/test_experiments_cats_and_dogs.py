"""The experiment on cats and dogs, on few small pictures: splits, first losses, answers, and what is stated."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from conftest import labels, load_experiment, texts
from PIL import Image

from mlpjax import MLP, Dataset, Trained, UserError, make_task
from mlpjax.claims import run_experiment
from mlpjax.typing import Variables
from mlpjax.vgg import BLOCKS


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("cats_and_dogs")


@pytest.fixture(scope="module")
def stripes(experiment: ModuleType) -> Dataset:
    found: Dataset = experiment.drawn_photographs(0)
    return found


def test_photographs_are_split_by_their_numbers(experiment: ModuleType, tmp_path: Path) -> None:
    numbers = {"train": (0, 2, 9999), "valid": (10_000, 11_249), "test": (11_250, 12_499)}
    (tmp_path / "photographs").mkdir()
    for at, number in enumerate(number for part in numbers.values() for number in part):
        for kind in ("cat", "dog"):
            pixels = np.full((4, 5, 3), 10 * at + 5 * (kind == "dog"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photographs" / f"{kind}.{number}.jpg")
    found = experiment.load_photographs(f"folder:{tmp_path / 'photographs'}", tmp_path / "tables")
    assert found.class_names == ("cat", "dog")
    assert found.train.x.shape == (6, 64, 64, 3)
    shade = 0
    for part, of in numbers.items():
        split = getattr(found, part)
        order = np.argsort(split.x[:, 0, 0, 0])
        np.testing.assert_allclose(split.x[order, 0, 0, 0], shade + 5 * np.arange(2 * len(of)), atol=1)
        np.testing.assert_array_equal(split.y[order], np.arange(2 * len(of)) % 2)
        shade += 10 * len(of)


def test_a_split_without_photographs_and_another_source_are_refused(experiment: ModuleType, tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "cat.3.jpg")
    with pytest.raises(UserError, match="no photograph of the test split; give all of cat"):
        experiment.load_photographs(f"folder:{tmp_path}", tmp_path / "tables")
    with pytest.raises(UserError, match="photographs from 'xor': give folder:DIR"):
        experiment.load_photographs("xor", tmp_path / "tables")


def test_the_spread_grows_by_the_inputs_of_every_layer(experiment: ModuleType, stripes: Dataset) -> None:
    """sigma^2 n for a layer of n inputs, halved by each ReLU; maxima of four are larger than one of them, so that the
    outputs spread a little more than that."""
    found = experiment.first_losses(stripes, 11, 1 / 16)
    channels = [3, 4, 8, 16, 16, 32, 32, 32]
    inputs = [*(9 * n for n in channels), 32, 256, 256]
    squares = np.prod([0.05**2 * n for n in inputs]) / 2**10
    np.testing.assert_allclose(found.growth, np.sqrt(squares), rtol=1e-5)
    assert 0.5 < np.median(found.measured) / found.growth < 20
    np.testing.assert_allclose(found.course, np.log(2), rtol=1e-2)  # outputs next to nothing at this width
    assert len(found.course) == len(found.he) == 16


def test_every_kind_differs_from_the_reference_in_what_it_is_named_for(
    experiment: ModuleType, stripes: Dataset
) -> None:
    kinds = experiment.kinds_of(experiment.Sizes(), stripes)
    main, short = kinds.pop("VGG16"), kinds.pop("VGG16 of half the width")
    vgg = short.model
    longer = replace(short.recipe, epochs=main.recipe.epochs, eval_every=main.recipe.eval_every)
    assert main == short._replace(model=replace(vgg, width=2 * vgg.width), recipe=longer)
    assert main.recipe.epochs > short.recipe.epochs
    assert kinds["without batch norm"] == short._replace(model=replace(vgg, batch_norm=False))
    assert kinds["without augmentation"] == short._replace(augment=None)
    assert kinds["at a constant rate"].recipe.schedule == "constant"
    assert kinds["at a quarter of the width"] == short._replace(model=replace(vgg, width=vgg.width / 2))
    assert kinds["VGG11"] == short._replace(model=replace(vgg, depth=11))
    assert isinstance(kinds["MLP"].model, MLP)
    assert kinds["MLP"].recipe == short.recipe


def test_answers_are_the_largest_outputs(experiment: ModuleType, stripes: Dataset) -> None:
    kind = experiment.Kind(MLP((stripes.features, 3, 2)), experiment.RECIPE)
    task = make_task(kind.model, kind.recipe, stripes.train)
    drawn = [kind.model.init(jax.random.key(seed)) for seed in (0, 1)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(of.params for of in drawn))
    found = experiment.answers(kind, Trained(np.arange(2), params, {}), stripes)
    assert found.shape == (2, len(stripes.test.y))
    for of, given in zip(drawn, found, strict=True):
        outputs = task.predict(Variables(of.params), task.prepare(stripes.test.x))
        np.testing.assert_array_equal(given, np.asarray(outputs).argmax(axis=1))


def history(errors: list[list[float]]) -> Trained:
    """Networks that err so, in %, at the start and two evaluations."""
    of = {f"{split}_accuracy": 1 - np.array(errors) / 100 for split in ("train", "valid", "test")}
    seconds = np.full((len(errors), 3), 600.0)
    return Trained(np.arange(len(errors)), {}, of | {"seconds": seconds})


def test_claims_judge_every_seed_and_beside_the_same_seeds(experiment: ModuleType) -> None:
    claims = {
        claim.name: claim for claim in experiment.claims_of_network(history([[50, 20, 9]] * 3 + [[50, 20, 11]]), True)
    }
    assert claims["VGG16: test accuracy of at least 90 %"].verdict == "fails"
    assert claims["VGG16: training of one seed, two at a time"].measured == 30
    assert claims["VGG16: test accuracy"].measured == pytest.approx(90.5)
    accuracies = {
        "VGG16": np.ones(3),
        "VGG16 of half the width": np.array([80.0, 82, 84]),
        "VGG11": np.array([79.0, 80, 81]),
    }
    found = {claim.name: claim for claim in experiment.claims_of_ingredients(accuracies)}
    assert found["shorter: VGG16 of half the width above VGG11: test accuracy"].measured == pytest.approx(2)
    assert not any("above VGG16" in name for name in found)


def test_the_figures_tell_what_they_show(experiment: ModuleType, stripes: Dataset) -> None:
    accuracies = {
        "VGG16": np.ones(3),
        "VGG16 of half the width": np.array([80.0, 82, 84]),
        "VGG11": np.array([79.0, 80, 81]),
    }
    confusion = np.array([[91.0, 9], [12, 88]])
    figure = experiment.draw(history([[50, 20, 9]] * 3), (2, 4), accuracies, confusion, ("cat", "dog"))
    assert {"train", "valid", "test"} <= labels(figure)
    for words in ("accuracy (%)", "epoch", "VGG11", "91.0 %", "12.0 %", "predicted", "95 % interval"):
        assert words in texts(figure)
    given = np.stack([stripes.test.y, 1 - stripes.test.y])
    assert "wrong in 50 %" in texts(experiment.draw_worst(given, stripes))


@pytest.mark.slow
def test_it_keeps_the_contract(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BLOCKS, 11, (1, 1, 0, 0, 0))  # two convolutions of the eight compile in a fifth of the time
    monkeypatch.setattr(experiment, "QUICK", 60)
    sizes = experiment.QUICK_SIZES._replace(compared=(), epochs=1, short_epochs=1, eval_every=1)
    monkeypatch.setattr(experiment, "QUICK_SIZES", sizes)
    arguments: Any = ["--quick", "--out", str(tmp_path)]
    monkeypatch.setattr(experiment, "RECIPE", replace(experiment.RECIPE, batch_size=32))
    run_experiment("cats_and_dogs", "", experiment.body, 2, 2, arguments, needs=experiment.PHOTOGRAPHS)
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["config"]["parameters"]["VGG16"] > 1000
    assert found["quick"]
    assert not any(claim.get("published") for claim in found["claims"])
    assert (tmp_path / "cats_and_dogs.png").is_file()
    assert (tmp_path / "cats_and_dogs_mistakes.png").is_file()
    with pytest.raises(SystemExit) as exit_:
        run_experiment(
            "cats_and_dogs", "", experiment.body, 2, 2, [*arguments, "--seeds", "1"], needs=experiment.PHOTOGRAPHS
        )
    assert exit_.value.code == 2
