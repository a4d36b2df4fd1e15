"""Event files of any writer: PyTorch's scalars, TensorFlow 2's, what is no scalar, and files that are cut off."""

import struct
import sys

import numpy as np
import pytest
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event

from mlpjax.errors import UserError
from mlpjax.events import Scalar, scalars


def record(event):
    data = event.SerializeToString()
    return struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4)


def tensor(step, **fields):
    """As TensorFlow 2 writes a summary."""
    event = Event(step=step)
    event.summary.value.add(tag="loss").tensor.MergeFrom(type(event.summary.value.add().tensor)(**fields))
    del event.summary.value[1]
    return record(event)


def test_scalars_of_pytorchs_writer(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_scalar("test/loss", 1 / (1 + step), 10 * step)
        writer.add_histogram("weights", np.arange(5), 0)
        writer.add_text("note", "no number", 0)
    (file,) = tmp_path.iterdir()
    found = [*scalars(file)]
    assert [(one.tag, one.step) for one in found] == [("test/loss", 0), ("test/loss", 10), ("test/loss", 20)]
    np.testing.assert_allclose([one.value for one in found], [1, 1 / 2, 1 / 3], rtol=1e-6)


def test_scalars_of_tensorflow_are_tensors(tmp_path):
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(
        tensor(1, dtype=1, float_val=[0.5])
        + tensor(2, dtype=1, tensor_content=np.float32(0.25).tobytes())
        + tensor(3, dtype=9, tensor_content=np.int64(7).tobytes())
        + tensor(4, dtype=7, string_val=[b"text"])
        + tensor(5, dtype=1, float_val=[1, 2], tensor_shape={"dim": [{"size": 2}]})
    )
    assert [*scalars(file)] == [Scalar("loss", 1, 0.5), Scalar("loss", 2, 0.25), Scalar("loss", 3, 7.0)]


def test_of_a_file_that_is_cut_off_the_whole_records_are_read(tmp_path):
    file = tmp_path / "events.out.tfevents.1"
    whole = tensor(1, dtype=1, float_val=[0.5])
    for cut in (1, 10, len(whole) - 9, len(whole) - 1):
        file.write_bytes(2 * whole + whole[:cut])
        assert len([*scalars(file)]) == 2 + (cut > len(whole) - 5)


def test_what_is_no_event_file_is_refused_by_name(tmp_path):
    file = tmp_path / "my.tfevents"
    file.write_bytes(struct.pack("<Q", 5) + bytes(4) + b"\xff" * 9)
    with pytest.raises(UserError, match=r"my\.tfevents: is no event file"):
        list(scalars(file))


def test_a_missing_package_is_named_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.proto.event_pb2", None)
    with pytest.raises(UserError, match=r"tensorboardX: pip install 'mlpjax\[tensorboard\]'"):
        list(scalars(tmp_path / "file"))
