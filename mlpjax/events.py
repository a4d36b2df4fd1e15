"""Scalars from TensorBoard's event files, whoever wrote them."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpjax.errors import UserError

EVENTS = "events"
"""Where a run's folder has them."""
PATTERN = "*tfevents*"
"""Of their names."""
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""TensorFlow's numbers of those types in which scalars come as bytes."""


class Scalar(NamedTuple):
    """A point of a curve."""

    tag: str
    step: int
    value: float


def scalars(file: Path) -> Iterator[Scalar]:
    """Every scalar of an event file, in the order in which they were written.

    Args:
        file: perhaps cut off, where whoever wrote it was killed.

    Raises:
        UserError: tensorboardX, which knows what an event is, is not installed; or the file is no event file.

    Source: each record is its length (8 bytes), a checksum (4), an `Event` and a checksum (4): tensorflow/core/lib/io/
    record_writer.h.
    """
    try:
        from google.protobuf.message import DecodeError  # noqa: PLC0415  an extra
        from tensorboardX.proto.event_pb2 import Event  # noqa: PLC0415  an extra
    except ImportError:
        raise UserError(
            f"{file}: to read event files needs the package tensorboardX: pip install 'mlpjax[tensorboard]'"
        ) from None
    data, place = file.read_bytes(), 0
    while place + 12 <= len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        if place + 12 + size > len(data):
            return
        try:
            event = Event.FromString(data[place + 12 : place + 12 + size])
        except DecodeError:
            raise UserError(f"{file}: is no event file of TensorBoard, or a damaged one") from None
        for value in event.summary.value:
            number = _number(value)
            if number is not None:
                yield Scalar(value.tag, event.step, number)
        place += 16 + size


def _number(value: Any) -> float | None:
    """What a summary says, as PyTorch writes it, or TensorFlow 2; None where it is no scalar."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor
    if tensor.tensor_shape.dim or tensor.dtype not in TYPES:
        return None
    numbers = [*tensor.float_val, *tensor.double_val, *tensor.int_val, *tensor.int64_val]
    return float(numbers[0] if numbers else np.frombuffer(tensor.tensor_content, TYPES[tensor.dtype])[0])
