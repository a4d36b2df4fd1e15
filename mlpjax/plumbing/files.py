"""Files that are whole or absent, whatever interrupts the writing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mlpjax.errors import UserError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader, a full disk or a kill never meets half of it.

    The bytes go to a temporary file in the same folder, reach the disk, and take the place of `path` at once.

    Args:
        path: the file; an older one stays as it is until the new one is whole.
        write: given the open file, writes the bytes.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_output(out: Path, content: bytes) -> None:
    """Write the file that a user named with --out.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        write_atomically(out, lambda file: file.write(content))
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
