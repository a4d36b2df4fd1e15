"""MNIST as published, for what the packaged 5,000 digits are too few for."""

from dataclasses import replace

from mlpjax.data import load
from mlpjax.data.dataset import Dataset
from mlpjax.errors import UserError


def load_mnist(spec: str) -> Dataset:
    """All of MNIST, from the user's own files or through TensorFlow Datasets.

    Args:
        spec: `idx:DIR`, with DIR the folder of the four idx files, gzipped or not; or `tfds:mnist`.

    Returns:
        60,000 training and 10,000 test digits of 784 pixels, uint8, in the order of the source, with the name mnist.

    Raises:
        UserError: another spec, data that cannot be read, or that is of another size.

    Source: Y. LeCun, C. Cortes and C. Burges, the MNIST database.
    """
    if not spec.startswith("idx:") and spec != "tfds:mnist":
        raise UserError(f"full MNIST from {spec!r}: give idx:DIR, with DIR the folder of its four files, or tfds:mnist")
    dataset = load(spec)
    sizes = len(dataset.train.y), len(dataset.test.y), dataset.features
    if sizes != (60_000, 10_000, 784):
        raise UserError(
            f"{spec} holds {sizes[0]:,} training and {sizes[1]:,} test examples of {sizes[2]:,} features; "
            "MNIST has 60,000 and 10,000 of 784: give the folder of its own four files, or tfds:mnist"
        )
    return replace(dataset, name="mnist")
