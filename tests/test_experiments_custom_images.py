"""The course's digits as files, and back: every pixel, every label, in its split; and what is said of them."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax.data import Split, load
from mlpjax.errors import UserError
from mlpjax.seeds import Trained


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("custom_images")


@pytest.fixture
def splits() -> dict[str, Split]:
    digits = load("mnist5k").train
    return {
        part: Split(digits.x[k : k + 20], digits.y[k : k + 20])
        for k, part in ((0, "train"), (20, "valid"), (40, "test"))
    }


def test_the_course_names_768_digits_once_each(experiment: ModuleType) -> None:
    rows = pd.read_csv(experiment.ROWS)
    assert rows["row"].is_unique
    assert rows["split"].value_counts().to_dict() == {"train": 256, "valid": 256, "test": 256}
    assert rows["label"][:5].tolist() == [5, 8, 8, 0, 9]  # as the notebook prints them
    pixels = np.arange(60_000, dtype=np.int32)[:, None, None]
    labels = np.full(60_000, -1, np.int32)
    labels[rows["row"]] = rows["label"]
    found = experiment.course_digits(Split(pixels, labels))
    assert [len(split.y) for split in found.values()] == [256] * 3
    np.testing.assert_array_equal(found["valid"].x[:, 0, 0], rows["row"][256:512])
    with pytest.raises(UserError, match="not the digits of MNIST's own idx files"):
        experiment.course_digits(Split(pixels, labels[::-1]))


def test_files_are_named_as_the_course_does_and_read_as_written(
    experiment: ModuleType, splits: dict[str, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(tmp_path / "cache"))
    experiment.write_files(splits, tmp_path / "files")
    table = pd.read_csv(tmp_path / "files/mnist_valid.csv")
    assert list(table.columns) == ["Class Label", "File Name"]
    assert table["File Name"][0] == "20.png"
    found = load(f"csv:{tmp_path / 'files'}")
    assert experiment.same_digits(splits, found).all()
    assert len(experiment.same_digits(splits, found)) == 60
    other = {**splits, "test": splits["test"]._replace(y=splits["test"].y[::-1])}
    assert not experiment.same_digits(other, found)[40:].all()


def test_accuracies_stand_beside_the_published_ones(experiment: ModuleType) -> None:
    accuracy = {part: np.array([[0.1, 0.9], [0.1, 0.92]], np.float32) for part in ("train", "valid", "test")}
    accuracy["valid"][:, 1] = 0.70, 0.71
    accuracy["test"][:, 1] = 0.74, 0.76
    trained = Trained(np.arange(2), {}, {f"{part}_accuracy": values for part, values in accuracy.items()})
    claims = experiment.claims_of(trained, np.array([True, False]), published=True)
    np.testing.assert_allclose([claim.measured for claim in claims[:3]], [91, 70.5, 75], rtol=1e-5)
    assert [claim.published for claim in claims[:3]] == [91.80, 74.61, 75.00]
    assert claims[3].verdict == "fails"
    figure = experiment.draw(trained, published=True)
    labelled(figure)
    assert "published, one run" in texts(figure)
