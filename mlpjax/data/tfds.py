"""Data sets of TensorFlow Datasets, read without TensorFlow where they are prepared already."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlpjax.data.dataset import Dataset, Split
from mlpjax.errors import UserError


def read_tfds(name: str, data_dir: str | Path | None = None) -> Dataset:
    """A classification set of TensorFlow Datasets, through `tfds.data_source`.

    A set that is not prepared yet is downloaded and prepared as ArrayRecord files, once; only that needs
    TensorFlow (the extra `tfds`) and a network.

    Args:
        name: as in the catalogue, NAME[/CONFIG][:VERSION].
        data_dir: root folder of the prepared sets; by default TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
        Images, or feature vectors: uint8 where stored so, else float32. The validation split is the set's own, or
        empty.

    Raises:
        UserError: no such set; not prepared and no TensorFlow; prepared as files of another format; rows
            that are not one image or vector of fixed size with a class label; no train or no test split.

    Source: TensorFlow Datasets, guide to `tfds.data_source`.
    """
    # Imported here because it is slow and most runs use other data.
    import tensorflow_datasets as tfds  # noqa: PLC0415

    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except (ValueError, AssertionError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"tfds:{name}: {reason} (give a name of the TFDS catalogue; "
            "where it is prepared already, it must be as array_record files)"
        ) from None
    if not builder.is_prepared() and find_spec("tensorflow") is None:
        raise UserError(
            f"tfds:{name} is not prepared at {builder.data_path}: pip install 'mlpjax[tfds]' "
            "and run this once where there is a network"
        )
    sources = tfds.data_source(name, data_dir=data_dir, builder_kwargs={"file_format": "array_record"})
    info = next(iter(sources.values())).dataset_info

    absent = {"train", "test"} - set(sources)
    if absent:
        raise UserError(
            f"tfds:{name} has no {' and no '.join(sorted(absent))} split, only {', '.join(sorted(sources))}; "
            "choose a set with both"
        )
    features = dict(info.features.items())
    inputs, label = (info.supervised_keys or (None, None))[:2]
    rows = features.get(inputs)
    if (
        not isinstance(rows, tfds.features.Image | tfds.features.Tensor)
        or None in rows.shape
        or not isinstance(features.get(label), tfds.features.ClassLabel)
    ):
        raise UserError(
            f"tfds:{name} is not one image or vector of fixed size with a class label (its rows: "
            f"{', '.join(sorted(features))}); choose such a set"
        )

    grey = isinstance(rows, tfds.features.Image) and rows.shape[-1] == 1
    shape = rows.shape[:2] if grey else rows.shape
    if not isinstance(rows, tfds.features.Image):
        shape = (math.prod(rows.shape),)
    dtype = np.uint8 if rows.np_dtype == np.uint8 else np.float32

    def read(split: str) -> Split:
        examples = sources.get(split, ())
        x = np.empty((len(examples), *shape), dtype)
        y = np.empty(len(examples), np.int32)
        for i, example in enumerate(examples):
            x[i], y[i] = np.reshape(example[inputs], shape), example[label]
        return Split(x, y)

    return Dataset(
        name=f"tfds:{name}",
        train=read("train"),
        valid=read("validation"),
        test=read("test"),
        classes=features[label].num_classes,
        source=f"TensorFlow Datasets {info.full_name}, prepared in {builder.data_path}",
    )
