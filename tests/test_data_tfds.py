"""TFDS sets, prepared here as real ArrayRecord files, without a network and without TensorFlow."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mlpjax.data import Files, images, load
from mlpjax.errors import UserError

IMAGE = tfds.features.Image(shape=(4, 5, 1))
SPLITS = {"train": range(30), "test": range(30, 42)}
LABEL = tfds.features.ClassLabel(num_classes=3)
PETS = tfds.features.ClassLabel(names=["yak", "cat", "dog"])


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of each test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(folder))


def png(pixels):
    """A file as TFDS stores it. TFDS encodes an array with TensorFlow, but takes a PNG as it is."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    file.seek(0)
    return file


def image(i):
    return np.arange(20, dtype=np.uint8).reshape(4, 5) + np.uint8(i)


def image_example(i):
    return {"image": png(image(i)), "label": i % 3}


def pet(i):
    """Images of two sizes, most of them in colour, full of their number."""
    return {"image": png(np.full((7 if i % 4 == 0 else 6, 10, 3)[: 3 if i % 3 else 2], i, np.uint8)), "label": i % 3}


def prepare_pets(folder, splits, example=pet):
    prepare(folder, "tiny_pets", {"image": tfds.features.Image(), "label": PETS}, example, splits)


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
    prepare(
        tmp_path,
        "tiny_colours",
        {"image": tfds.features.Image(shape=(4, 4, 3)), "label": LABEL},
        lambda i: {"image": png(np.full((4, 4, 3), i, np.uint8)), "label": i % 3},
    )
    data = load("tfds:tiny_colours", data_dir=tmp_path)
    assert (data.features, data.image_shape) == (48, (4, 4, 3))


def test_images_of_four_channels_are_arrays_as_they_are(tmp_path):
    prepare(
        tmp_path,
        "tiny_layers",
        {"image": tfds.features.Image(shape=(4, 5, 4)), "label": LABEL},
        lambda i: {"image": png(np.full((4, 5, 4), i, np.uint8)), "label": i % 3},
    )
    x, y = by_first_feature(load("tfds:tiny_layers", data_dir=tmp_path).train)
    np.testing.assert_array_equal(x, np.broadcast_to(np.arange(30)[:, None, None, None], (30, 4, 5, 4)))
    np.testing.assert_array_equal(y, np.arange(30) % 3)
    assert x.dtype == np.uint8


def test_one_split_of_several_sizes_is_made_one_size_and_divided(tmp_path, monkeypatch):
    prepare_pets(tmp_path, {"everything": range(60)})
    files = Files(image_size=(3, 5), valid_share=0.1, test_share=0.2, split_seed=4)
    data = load("tfds:tiny_pets", data_dir=tmp_path, files=files)
    assert data.class_names == ("yak", "cat", "dog")
    assert data.image_shape == (3, 5, 3)
    splits = (data.train, data.valid, data.test)
    assert [np.bincount(split.y).tolist() for split in splits] == [[14, 14, 14], [2, 2, 2], [4, 4, 4]]
    for split in splits:
        np.testing.assert_array_equal(split.x, np.broadcast_to(split.x[:, :1, :1, :1], split.x.shape))
        np.testing.assert_array_equal(split.x[:, 0, 0, 0] % 3, split.y)
    assert sorted(np.concatenate([split.x[:, 0, 0, 0] for split in splits])) == list(range(60))
    assert "sizes differed before they were made one: 6 x 10 (45), 7 x 10 (15)" in data.notes

    monkeypatch.setattr(images, "Popen", None)  # another time they are there already, whatever the draw
    again = load("tfds:tiny_pets", data_dir=tmp_path, files=files)
    np.testing.assert_array_equal(again.test.x, data.test.x)
    other = load("tfds:tiny_pets", data_dir=tmp_path, files=Files(image_size=(3, 5), split_seed=5))
    assert [len(split.y) for split in (other.train, other.valid, other.test)] == [42, 9, 9]


def test_sizes_that_differ_are_refused_in_one_line_that_says_what_to_give(tmp_path):
    prepare_pets(tmp_path, {"train": range(12)})
    said = r"^tfds:tiny_pets: row \d+ of train has \d x 10 pixels where the first image has \d x 10: .*image_size"
    with pytest.raises(UserError, match=said) as caught:
        load("tfds:tiny_pets", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    left = load("tfds:tiny_pets", data_dir=tmp_path, files=Files(skip_bad=True, valid_share=0, test_share=0.34))
    assert len(left.train.y) + len(left.test.y) == {6: 9, 7: 3}[left.train.x.shape[1]]


def test_images_of_no_declared_size_that_have_one_need_none(tmp_path):
    prepare_pets(tmp_path, {"train": range(30), "test": range(30, 42)}, lambda i: pet(4 * i + 1))
    data = load("tfds:tiny_pets", data_dir=tmp_path)
    assert [split.x.shape for split in (data.train, data.valid, data.test)] == [(n, 6, 10, 3) for n in (30, 0, 12)]


def test_a_missing_test_split_is_drawn_from_the_training_rows(tmp_path):
    splits = {"train": range(30), "validation": range(30, 36)}
    prepare(tmp_path, "tiny_train", {"image": IMAGE, "label": LABEL}, image_example, splits)
    data = load("tfds:tiny_train", data_dir=tmp_path, files=Files(test_share=0.2))
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [24, 6, 6]
    assert (data.valid.x[:, 0, 0] >= 30).all() and (data.test.x[:, 0, 0] < 30).all()


def test_a_class_without_images_keeps_its_number_and_hidden_labels_are_refused(tmp_path):
    splits = {"train": range(0, 60), "test": range(60, 90)}

    def example(i):
        return pet(2 * i + 1) | {"label": -1 if i == hidden else 1 + i % 2}

    hidden = 90
    prepare_pets(tmp_path / "whole", splits, example)
    data = load("tfds:tiny_pets", data_dir=tmp_path / "whole")
    assert (data.classes, {*data.train.y}) == (3, {1, 2})
    hidden = 70
    prepare_pets(tmp_path / "hidden", splits, example)
    with pytest.raises(UserError, match="-1 is none of the classes yak, cat, dog"):
        load("tfds:tiny_pets", data_dir=tmp_path / "hidden")


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


def test_several_splits_without_train_are_refused(tmp_path):
    prepare(
        tmp_path, "tiny_parts", {"image": IMAGE, "label": LABEL}, image_example, {"one": range(9), "test": range(9)}
    )
    with pytest.raises(UserError, match="no train split, only one, test; choose a set with one"):
        load("tfds:tiny_parts", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "features", "supervised"),
    [
        ("tiny_sizes", {"image": tfds.features.Image(shape=(None, None, 4)), "label": LABEL}, ("image", "label")),
        ("tiny_targets", {"image": IMAGE, "label": np.int64}, ("image", "label")),
        ("tiny_unsupervised", {"image": IMAGE, "label": LABEL}, None),
    ],
)
def test_rows_that_are_not_one_image_or_array_with_a_class_are_refused(tmp_path, name, features, supervised):
    prepare(tmp_path, name, features, image_example, supervised=supervised)
    with pytest.raises(UserError, match=r"not one image .* with a class label .*image, label"):
        load(f"tfds:{name}", data_dir=tmp_path)
