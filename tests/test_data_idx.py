"""idx files: written by a few lines here, read back; every way they can be wrong is refused in one line."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mlpjax.data import check, load
from mlpjax.data.idx import read_array
from mlpjax.errors import UserError

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def idx_bytes(array, code=0x08):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder, train=60, test=20, classes=4, height=3, width=5, gz=False, dot=False):
    """A small set in `folder`: random images, labels 0, 1, ... in turn."""
    rng = np.random.default_rng(0)
    written = {}
    for part, n in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (n, height, width), dtype=np.uint8)
        labels = (np.arange(n) % classes).astype(np.uint8)
        for kind, array in ((IMAGES, images), (LABELS, labels)):
            name = f"{part}-{kind}".replace("-idx", ".idx" if dot else "-idx")
            raw = idx_bytes(array)
            (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(raw) if gz else raw)
            written[f"{part}-{kind}"] = array
    return written


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_a_set_reads_back_as_it_was_written(tmp_path, gz, dot):
    written = write_set(tmp_path, gz=gz, dot=dot)
    data = load(f"idx:{tmp_path}")
    np.testing.assert_array_equal(data.train.x, written[f"train-{IMAGES}"])
    np.testing.assert_array_equal(data.train.y, written[f"train-{LABELS}"])
    np.testing.assert_array_equal(data.test.x, written[f"t10k-{IMAGES}"])
    np.testing.assert_array_equal(data.test.y, written[f"t10k-{LABELS}"])
    assert (data.classes, data.image_shape, data.valid.x.shape) == (4, (3, 5), (0, 3, 5))
    assert (data.train.x.dtype, data.train.y.dtype) == (np.uint8, np.int32)


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0)), st.booleans())
def test_any_array_of_bytes_survives_the_round_trip(tmp_path_factory, array, gz):
    path = tmp_path_factory.getbasetemp() / ("array.gz" if gz else "array")
    path.write_bytes(gzip.compress(idx_bytes(array)) if gz else idx_bytes(array))
    np.testing.assert_array_equal(read_array(path, array.ndim), array)


def test_validation_rows_are_held_out_of_train_in_proportion(tmp_path):
    written = write_set(tmp_path)
    data = load(f"idx:{tmp_path}", valid=12)
    np.testing.assert_array_equal(np.bincount(data.valid.y), [3, 3, 3, 3])
    np.testing.assert_array_equal(np.bincount(data.train.y), [12, 12, 12, 12])
    rows = np.concatenate([data.train.x, data.valid.x])
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(written[f"train-{IMAGES}"], axis=0))
    np.testing.assert_array_equal(data.valid.x, load(f"idx:{tmp_path}", valid=12).valid.x)


@pytest.mark.parametrize("valid", [-1, 60])
def test_a_validation_split_that_cannot_be_is_refused(tmp_path, valid):
    write_set(tmp_path)
    with pytest.raises(UserError, match=f"valid is {valid}; .* fewer than the 60 training rows"):
        load(f"idx:{tmp_path}", valid=valid)


def test_a_missing_folder_and_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        load(f"idx:{tmp_path / 'nowhere'}")
    write_set(tmp_path)
    for name in (f"t10k-{IMAGES}", f"train-{LABELS}"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"has no train-{LABELS}, t10k-{IMAGES} "):
        load(f"idx:{tmp_path}")


WHOLE = idx_bytes(np.zeros((60, 3, 5), np.uint8))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not an idx file: it starts with 0x, want 0x00000803"),
        (b"\x89PNG\r\n\x1a\n", "not an idx file: it starts with 0x89504e47, want 0x00000803"),
        (b"\0\0\x07\x03" + WHOLE[4:], "not an idx file: it starts with 0x00000703"),
        (idx_bytes(np.zeros((60, 3, 5), ">f4"), code=0x0D), "holds float32 .code 0x0d.; convert it"),
        (idx_bytes(np.zeros(60, np.uint8)), "has 1 dimensions, want 3; are images and labels swapped"),
        (WHOLE[:10], "truncated: expected 16 bytes of header, found 10"),
        (WHOLE[:-1], "truncated: expected 916 bytes, found 915"),
        (WHOLE + b"\0", "too long: expected 916 bytes, found 917"),
    ],
)
def test_a_bad_file_is_refused_with_what_was_found(tmp_path, raw, message):
    write_set(tmp_path)
    (tmp_path / f"train-{IMAGES}").write_bytes(raw)
    with pytest.raises(UserError, match=f"train-{IMAGES} (is|holds|has) .*") as caught:
        load(f"idx:{tmp_path}")
    assert caught.match(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-20], lambda raw: raw[:10] + b"\xff" * 40, lambda _: WHOLE])
def test_a_damaged_gzip_file_is_refused(tmp_path, damage):
    write_set(tmp_path, gz=True)
    path = tmp_path / f"train-{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="not a whole gzip file"):
        load(f"idx:{tmp_path}")


def test_images_and_labels_of_different_count_are_refused(tmp_path):
    write_set(tmp_path)
    (tmp_path / f"t10k-{LABELS}").write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(UserError, match="20 t10k images but 19 t10k labels"):
        load(f"idx:{tmp_path}")


def test_a_stray_label_is_refused_with_its_row(tmp_path):
    written = write_set(tmp_path)
    labels = written[f"train-{LABELS}"].copy()
    labels[17] = 200
    (tmp_path / f"train-{LABELS}").write_bytes(idx_bytes(labels))
    with pytest.raises(UserError, match=r"train: row 17 has label 200, outside the 5 classes 0\.\.4"):
        load(f"idx:{tmp_path}")


def test_full_mnist_is_read_whole():
    root = os.environ.get("MLPJAX_DATA")
    if root is None or not (Path(root) / "mnist").is_dir():
        pytest.skip("full MNIST: set MLPJAX_DATA to a folder with mnist/ holding the four idx files")
    data = load(f"idx:{Path(root) / 'mnist'}")
    facts = check(data)
    assert facts.rows == {"train": 60_000, "valid": 0, "test": 10_000}
    assert facts.balance == {"train": (5421, 6742), "test": (892, 1135)}
    assert (facts.low, facts.high, facts.constant) == (0, 255, 67)
    assert (facts.repeated, facts.notes) == ({"test": 0}, ())
    # The published mean and standard deviation of the scaled training pixels.
    np.testing.assert_allclose(data.train.x.mean() / 255, 0.1307, atol=5e-5)
    np.testing.assert_allclose(data.train.x.std() / 255, 0.3081, atol=5e-5)
