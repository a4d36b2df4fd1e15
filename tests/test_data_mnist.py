"""Full MNIST: files of its very size are taken, and nothing else."""

import struct
from pathlib import Path

import numpy as np
import pytest

from mlpjax.data.mnist import load_mnist
from mlpjax.errors import UserError


def write_digits(folder: Path, train: int, test: int) -> None:
    """Random images of 28 x 28 pixels in four idx files, with the labels 0 to 9 in turn."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        images = bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28) + rng.bytes(count * 784)
        labels = bytes([0, 0, 8, 1]) + struct.pack(">I", count) + bytes(i % 10 for i in range(count))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def test_files_of_mnist_s_size_are_read(tmp_path: Path) -> None:
    write_digits(tmp_path, 60_000, 10_000)
    digits = load_mnist(f"idx:{tmp_path}")
    assert (digits.train.x.shape, digits.test.x.shape, digits.classes) == ((60_000, 28, 28), (10_000, 28, 28), 10)
    assert digits.train.x.dtype == np.uint8
    assert digits.train.y[:12].tolist() == [*range(10), 0, 1]


def test_files_of_another_size_are_refused(tmp_path: Path) -> None:
    write_digits(tmp_path, 600, 100)
    with pytest.raises(UserError, match=r"holds 600 training and 100 test examples of 784 features; MNIST has 60,000"):
        load_mnist(f"idx:{tmp_path}")


@pytest.mark.parametrize("spec", ["", "mnist5k", "/home/me/mnist", "tfds:cifar10"])
def test_another_source_is_refused_with_the_two_that_are_taken(spec: str) -> None:
    with pytest.raises(UserError, match=f"full MNIST from '{spec}': give idx:DIR.*or tfds:mnist"):
        load_mnist(spec)


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train-images-idx3-ubyte"):
        load_mnist(f"idx:{tmp_path}")
