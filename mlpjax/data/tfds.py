"""Data sets of TensorFlow Datasets, read without TensorFlow where they are prepared already."""

import math
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mlpjax.data.dataset import Dataset
from mlpjax.data.entries import Entries, stamp
from mlpjax.data.files import Files, Labelled, decode_labelled, make_dataset
from mlpjax.errors import UserError

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
"""Their names there, and here."""


def read_tfds(name: str, data_dir: str | Path | None = None, files: Files = Files()) -> Dataset:
    """A classification set of TensorFlow Datasets, through `tfds.data_source`.

    A set that is not prepared yet is downloaded and prepared as ArrayRecord files, once; only that needs
    TensorFlow (the extra `tfds`) and a network. Images are decoded as those of a folder are.

    Args:
        name: as in the catalogue, NAME[/CONFIG][:VERSION].
        data_dir: root folder of the prepared sets; by default TFDS_DATA_DIR or ~/tensorflow_datasets.
        files: how to read them: the size of images, which are left out, and how splits are drawn. A set with train and
            test stays as it is, without validation where it has none; a single split is divided, whatever its name.

    Returns:
        Images, or feature vectors: uint8 where stored so, else float32. The classes have their names.

    Raises:
        UserError: no such set; not prepared and no TensorFlow; prepared as files of another format; rows
            that are not one image or vector with a class label; several splits, none of them train; images of
            several sizes without `image_size`; and what else `decode_labelled` and `make_dataset` refuse.

    Source: TensorFlow Datasets, guide to `tfds.data_source`.
    """
    # Imported here because it is slow and most runs use other data.
    import tensorflow_datasets as tfds  # noqa: PLC0415

    builder = _prepared(name, data_dir)
    splits = list(builder.info.splits)
    parts = {split: SPLITS[split] for split in splits if split in SPLITS} if len(splits) > 1 else {splits[0]: "train"}
    if "train" not in parts.values():
        raise UserError(f"tfds:{name} has no train split, only {', '.join(sorted(splits))}; choose a set with one")
    features: dict[Any, Any] = dict(builder.info.features.items())
    inputs, label = (builder.info.supervised_keys or (None, None))[:2]
    kind: Any = features.get(inputs)
    classes: Any = features.get(label)
    is_image = isinstance(kind, tfds.features.Image)
    as_files = is_image and kind.np_dtype == np.uint8 and kind.shape[-1] in (1, 3)
    if (
        not isinstance(kind, tfds.features.Image | tfds.features.Tensor)
        or (None in kind.shape and not as_files)
        or not isinstance(classes, tfds.features.ClassLabel)
        or not classes.num_classes
    ):
        raise UserError(
            f"tfds:{name} is not one image of 8 bits a channel, or one array of fixed size, with a class label (its "
            f"rows: {', '.join(sorted(features))}); choose such a set"
        )
    words = [word.strip() for word in classes.names]

    def word_of(example: Mapping[Any, Any]) -> str:
        number = int(example[label])
        return words[number] if 0 <= number < len(words) else str(number)  # -1 where labels are kept secret

    rows = builder.as_data_source(decoders={inputs: tfds.decode.SkipDecoding()} if as_files else None)
    notes: list[str] = []
    if as_files:
        places = {f"row {row} of {split}": (split, row) for split in parts for row in range(len(rows[split]))}
        images = [Labelled(place, word_of(rows[split][row]), parts[split]) for place, (split, row) in places.items()]
        lock = threading.Lock()

        def read(place: str) -> bytes:
            split, row = places[place]
            with lock:  # not every version of the reader is safe with threads
                return rows[split][row][inputs]

        records = [path.name for split in parts for path in builder.info.splits[split].filepaths]
        entries = Entries(f"tfds:{name}", lambda _: stamp(Path(builder.data_path), records), lambda: nullcontext(read))
        pairs, notes = decode_labelled(entries, images, files)
    else:
        shape = kind.shape if is_image else (math.prod(kind.shape),)
        shape = shape[:2] if is_image and shape[-1] == 1 else shape
        dtype = np.uint8 if kind.np_dtype == np.uint8 else np.float32
        pairs = {}
        for split, part in parts.items():
            x, y = np.empty((len(rows[split]), *shape), dtype), []
            for place, example in enumerate(rows[split]):
                x[place] = np.reshape(example[inputs], shape)
                y.append(word_of(example))
            pairs[part] = x, np.array(y, str)
    if "test" in parts.values():
        files = replace(files, valid_share=0)
    files = replace(files, class_names=files.class_names or tuple(words))
    source = f"TensorFlow Datasets {builder.info.full_name}, prepared in {builder.data_path}"
    return make_dataset(f"tfds:{name}", source, pairs, files, notes)


def _prepared(name: str, data_dir: str | Path | None) -> Any:
    """The builder of a set, whose files are there."""
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
    builder.download_and_prepare()
    return builder
