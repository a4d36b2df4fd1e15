"""TFDS sets, prepared here as real ArrayRecord files, without a network and without TensorFlow."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mlpjax.data import load
from mlpjax.errors import UserError

IMAGE = tfds.features.Image(shape=(4, 5, 1))
SPLITS = {"train": range(30), "test": range(30, 42)}
LABEL = tfds.features.ClassLabel(num_classes=3)


def image(i):
    return np.arange(20, dtype=np.uint8).reshape(4, 5) + np.uint8(i)


def image_example(i):
    """The example as TFDS stores it. TFDS encodes an array with TensorFlow, but takes a PNG as it is."""
    png = io.BytesIO()
    Image.fromarray(image(i)).save(png, "png")
    png.seek(0)
    return {"image": png, "label": i % 3}


def make_builder(
    set_name,
    features,
    example,
    splits=SPLITS,
    supervised=("image", "label"),
    registered=False,
):
    """A TFDS builder class whose rows need no TensorFlow; an unregistered one is found by its files alone."""

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=not registered):
        name = set_name
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=supervised
            )

        def _split_generators(self, _):
            return {part: self._generate_examples(rows) for part, rows in splits.items()}

        def _generate_examples(self, rows):
            return ((i, example(i)) for i in rows)

    return Tiny


def prepare(folder, *args, **kwargs):
    make_builder(*args, **kwargs)(data_dir=folder, file_format="array_record").download_and_prepare()


def by_first_feature(split):
    order = np.argsort(split.x.reshape(len(split.y), -1)[:, 0])
    return split.x[order], split.y[order]


def test_a_prepared_image_set_is_read_without_tensorflow(tmp_path):
    splits = {"train": range(30), "validation": range(30, 36), "test": range(36, 48)}
    prepare(tmp_path, "tiny_digits", {"image": IMAGE, "label": LABEL}, image_example, splits)
    data = load("tfds:tiny_digits", data_dir=tmp_path)
    assert (data.classes, data.image_shape, data.features) == (3, (4, 5), 20)
    for split, rows in zip((data.train, data.valid, data.test), splits.values(), strict=True):
        x, y = by_first_feature(split)  # TFDS shuffles the rows as it prepares them
        np.testing.assert_array_equal(x, [image(i).reshape(4, 5) for i in rows])
        np.testing.assert_array_equal(y, [i % 3 for i in rows])
        assert (x.dtype, y.dtype) == (np.uint8, np.int32)


def test_feature_vectors_become_float32_and_a_missing_validation_split_is_empty(tmp_path):
    prepare(
        tmp_path,
        "tiny_vectors",
        {"values": tfds.features.Tensor(shape=(2,), dtype=np.int64), "label": LABEL},
        lambda i: {"values": np.array([i, -i]), "label": i % 3},
        supervised=("values", "label"),
    )
    data = load("tfds:tiny_vectors:1.0.0", data_dir=tmp_path)
    x, _ = by_first_feature(data.train)
    np.testing.assert_array_equal(x, [[i, -i] for i in range(30)])
    assert x.dtype == np.float32
    assert data.image_shape is None
    assert data.valid.x.shape == (0, 2)


def test_colour_images_stay_images(tmp_path):
    def example(i):
        png = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(png, "png")
        png.seek(0)
        return {"image": png, "label": i % 3}

    prepare(tmp_path, "tiny_colours", {"image": tfds.features.Image(shape=(4, 4, 3)), "label": LABEL}, example)
    data = load("tfds:tiny_colours", data_dir=tmp_path)
    assert (data.features, data.image_shape) == (48, (4, 4, 3))


def test_a_known_set_is_prepared_only_where_tensorflow_is_there(tmp_path, monkeypatch):
    make_builder("tiny_known", {"image": IMAGE, "label": LABEL}, image_example, registered=True)
    monkeypatch.setattr("mlpjax.data.tfds.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"not prepared at .*tiny_known/1.0.0: pip install 'mlpjax\[tfds\]'"):
        load("tfds:tiny_known", data_dir=tmp_path)
    # This builder needs no TensorFlow to prepare, so that it can stand for a machine that has it.
    monkeypatch.setattr("mlpjax.data.tfds.find_spec", lambda _: object())
    assert len(load("tfds:tiny_known", data_dir=tmp_path).train.y) == 30
    monkeypatch.setattr("mlpjax.data.tfds.find_spec", lambda _: None)
    assert len(load("tfds:tiny_known", data_dir=tmp_path).train.y) == 30


@pytest.mark.parametrize("name", ["no_such_set", "mnist/no_such_config", "mnist:9.9.9", "not a name"])
def test_a_name_that_tfds_does_not_know_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(UserError, match=f"^tfds:{name}: .* TFDS catalogue") as caught:
        load(f"tfds:{name}", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_set_prepared_in_another_format_is_refused(tmp_path):
    prepare(tmp_path, "tiny_records", {"image": IMAGE, "label": LABEL}, image_example, registered=True)
    info = tmp_path / "tiny_records" / "1.0.0" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(UserError, match=r"TFRECORD.* must be as array_record files"):
        load("tfds:tiny_records", data_dir=tmp_path)


def test_a_set_without_test_split_is_refused(tmp_path):
    prepare(tmp_path, "tiny_train", {"image": IMAGE, "label": LABEL}, image_example, {"train": range(9)})
    with pytest.raises(UserError, match="no test split, only train; choose a set with both"):
        load("tfds:tiny_train", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "features", "supervised"),
    [
        (
            "tiny_sizes",
            {"image": tfds.features.Image(shape=(None, None, 1)), "label": LABEL},
            ("image", "label"),
        ),
        ("tiny_targets", {"image": IMAGE, "label": np.int64}, ("image", "label")),
        ("tiny_unsupervised", {"image": IMAGE, "label": LABEL}, None),
    ],
)
def test_rows_that_are_not_one_fixed_array_with_a_class_are_refused(tmp_path, name, features, supervised):
    prepare(tmp_path, name, features, image_example, supervised=supervised)
    with pytest.raises(UserError, match=r"not one image or vector of fixed size with a class label .*image, label"):
        load(f"tfds:{name}", data_dir=tmp_path)
