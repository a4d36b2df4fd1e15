"""Data sets in the idx format of MNIST: four files in one folder, gzipped or not."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mlpjax.data.dataset import Dataset, Split, stratified_holdout
from mlpjax.errors import UserError

DIMENSIONS = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}
DTYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
HOLDOUT_SEED = 0


def read_idx(directory: str | Path, valid: int = 0) -> Dataset:
    """Full MNIST, Fashion-MNIST, or any images and labels stored as the same four idx files.

    Args:
        directory: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte; also written with a dot (train-images.idx3-ubyte), also gzipped (.gz).
        valid: how many of the training images to hold out for validation, each class in proportion and
            always the same ones; the others keep the order of the file.

    Returns:
        uint8 pixels 0..255 of images of any one size; as many classes as the training labels have values.

    Raises:
        UserError: a file is missing, foreign, truncated or does not fit the others; `valid` is out of range.

    Source: Y. LeCun, C. Cortes and C. Burges, the MNIST database, file formats.
    """
    directory = Path(directory).expanduser()
    if not directory.is_dir():
        raise UserError(f"{directory} is not a folder; give the one that holds the four idx files")
    paths: dict[str, Path] = {}
    missing: list[str] = []
    for stem, dimensions in DIMENSIONS.items():
        names = [f"{stem}{mark}idx{dimensions}-ubyte{gz}" for gz in ("", ".gz") for mark in "-."]
        found = [directory / name for name in names if (directory / name).is_file()]
        if found:
            paths[stem] = found[0]
        else:
            missing.append(names[0])
    if missing:
        raise UserError(f"{directory} has no {', '.join(missing)} (also looked for .gz); put the files there")
    train_images, train_labels, test_images, test_labels = (
        read_array(path, DIMENSIONS[stem]) for stem, path in paths.items()
    )
    for part, images, labels in (
        ("train", train_images, train_labels),
        ("t10k", test_images, test_labels),
    ):
        if len(images) != len(labels):
            raise UserError(
                f"{directory}: {len(images)} {part} images but {len(labels)} {part} labels; "
                "the two files must come from the same set"
            )
    if not 0 <= valid < max(len(train_labels), 1):
        raise UserError(f"valid is {valid}; hold out 0 or more and fewer than the {len(train_labels)} training rows")
    train_y = train_labels.astype(np.int32)
    kept, held = stratified_holdout(train_y, valid, HOLDOUT_SEED)
    return Dataset(
        name=f"idx:{directory}",
        train=Split(train_images[kept], train_y[kept]),
        valid=Split(train_images[held], train_y[held]),
        test=Split(test_images, test_labels.astype(np.int32)),
        # Not max + 1: a stray label 200 among ten digits is then outside the classes and gets refused.
        classes=len(np.unique(train_y)),
        source=f"idx files in {directory}",
    )


def read_array(path: Path, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Read one idx file: two zero bytes, a type code, the number of dimensions, the sizes, the elements.

    Args:
        path: the file; gzipped where its name ends in .gz.
        dimensions: how many the array must have (3 for images, 1 for labels).

    Returns:
        The read-only array, of the sizes in the header.

    Raises:
        UserError: the file is not idx, holds other than unsigned bytes, has other dimensions, or its length
            does not fit its header.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); fetch it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES:
        raise UserError(
            f"{path} is not an idx file: it starts with 0x{raw[:4].hex()}, want 0x000008{dimensions:02x}; "
            "fetch the right file"
        )
    if DTYPES[raw[2]] != "uint8":
        raise UserError(f"{path} holds {DTYPES[raw[2]]} (code 0x{raw[2]:02x}); convert it to uint8 (code 0x08)")
    if raw[3] != dimensions:
        raise UserError(f"{path} has {raw[3]} dimensions, want {dimensions}; are images and labels swapped?")
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise UserError(f"{path} is truncated: expected {start} bytes of header, found {len(raw)}; fetch it again")
    shape = struct.unpack(f">{dimensions}I", raw[4:start])
    if len(raw) != start + math.prod(shape):
        fault = "truncated" if len(raw) < start + math.prod(shape) else "too long"
        raise UserError(
            f"{path} is {fault}: expected {start + math.prod(shape)} bytes, found {len(raw)}; fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
