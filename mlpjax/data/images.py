"""Image files decoded to one array of bytes: every file once, on all cores, kept on disk."""

import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE, Popen
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import platformdirs
from jaxtyping import UInt8

from mlpjax.data import decoder
from mlpjax.data.decoder import GREY, Decoded, Size
from mlpjax.data.entries import Entries, Read, UnreadableError
from mlpjax.errors import UserError
from mlpjax.plumbing.devices import core_count
from mlpjax.plumbing.files import write_atomically
from mlpjax.plumbing.progress import progress_bar

BLOCK = 64
"""Files that a process decodes at a time."""
VERSION = 2
"""Of what is kept on disk; another one when files are decoded in another way."""


class Images(NamedTuple):
    """What became of many files."""

    pixels: UInt8[np.ndarray, "n *shape"]
    """[n, height, width] where all are grey, else [n, height, width, 3]; read from the disk where it is used."""
    kept: list[int]
    """Where each stands among the files that were asked for."""
    bad: dict[str, str]
    """What is wrong with each of the files that were left out, by name."""
    modes: dict[str, int]
    """How many have each mode."""
    sizes: dict[str, int]
    """How many had each size, as "height x width", before they were resized."""


def read_images(entries: Entries, names: Sequence[str], size: Size | None, skip_bad: bool) -> Images:
    """Decode files once, on all cores; the next time they are read from the user's cache folder.

    They are decoded again when the size or the time of one of them has changed, or what is asked for.

    Args:
        entries: where they are.
        names: of the files there.
        size: of all images; None: they must have one size.
        skip_bad: leave out what cannot be used, in place of refusing all.

    Returns:
        The images.

    Raises:
        UserError: a file cannot be used, or has another size than the first, and `skip_bad` is off; none is left.
    """
    asked = [VERSION, entries.stamp(names), list(names), size, skip_bad]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
    folder = Path(platformdirs.user_cache_dir("mlpjax")) / "images"
    path, facts = folder / f"{digest}.pixels", folder / f"{digest}.json"
    if not (path.is_file() and facts.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {}
        with progress_bar("decoding", "images") as on_progress:
            write_atomically(
                path, lambda file: found.update(_decode_into(file, entries, names, size, skip_bad, on_progress))
            )
        if not set(found["modes"]) - set(GREY):
            colours = np.memmap(path, np.uint8, "r", shape=tuple(found["shape"]))
            found["shape"].pop()
            write_atomically(path, lambda file: file.writelines(row[..., 0].tobytes() for row in colours))
        write_atomically(facts, lambda file: file.write(json.dumps(found).encode()))
    found = json.loads(facts.read_bytes())
    shape = tuple(found.pop("shape"))
    return Images(np.memmap(path, np.uint8, "r", shape=shape), **found)


def _decode_into(
    file: BinaryIO,
    entries: Entries,
    names: Sequence[str],
    size: Size | None,
    skip_bad: bool,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Write red, green and blue of all images to a file; return the shape of that, and what else `Images` says."""
    blocks = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
    at_once = min(core_count(), len(blocks))
    kept: list[int] = []
    bad: dict[str, str] = {}
    modes: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    common = size
    with entries.reading() as read, ThreadPoolExecutor(at_once) as pool, _decoders(at_once, size) as idle:
        work = pool.map(partial(_decode_block, entries.where, read, size, idle), blocks)
        for start, block in zip(range(0, len(names), BLOCK), work, strict=True):
            rows = []
            for row, image in enumerate(block, start):
                if isinstance(image, str):
                    bad[names[row]] = image
                elif (size or image.size) != (common := common or image.size):
                    own, first = ("{} x {}".format(*of) for of in (image.size, common))
                    bad[names[row]] = (
                        f"has {own} pixels where the first image has {first}: give all a size (image_size)"
                    )
                else:
                    rows.append(image.pixels)
                    kept.append(row)
                    modes[image.mode] += 1
                    sizes["{} x {}".format(*image.size)] += 1
            file.writelines(rows)
            on_progress(start + len(block), len(names))
            if bad and not skip_bad:
                name, reason = next(iter(bad.items()))
                raise UserError(f"{entries.where}: {name} {reason}; or leave such files out (skip_bad)")
    if not kept:
        name = names[0]
        raise UserError(f"{entries.where}: none of its {len(names):,} images can be used; {name} {bad[name]}")
    assert common is not None
    return {"kept": kept, "bad": bad, "modes": modes, "sizes": sizes, "shape": [len(kept), *common, 3]}


@contextmanager
def _decoders(count: int, size: Size | None) -> Iterator[SimpleQueue[Popen[bytes]]]:
    """Processes that decode, as `decoder.py` says: a thread takes one that is idle and puts it back."""
    # -P: this package's folder stays off the path.
    command = [sys.executable, "-P", decoder.__file__, *map(str, size or ())]
    idle: SimpleQueue[Popen[bytes]] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(count):
            # A buffer as large as a pipe; and Ctrl-C is for this process alone.
            process = Popen(command, stdin=PIPE, stdout=PIPE, bufsize=2**16, start_new_session=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            idle.put(process)
        yield idle


def _decode_block(
    where: str, read: Read, size: Size | None, idle: SimpleQueue[Popen[bytes]], names: Sequence[str]
) -> list[Decoded | str]:
    """Images, or what is wrong with a file."""
    unread = {}

    def files() -> Iterator[bytes | Path]:
        for name in names:
            try:
                yield read(name)
            except UnreadableError as error:
                unread[name] = str(error)

    process = idle.get()
    try:
        decoded = iter(_ask(process, files(), size))
    except (BrokenPipeError, EOFError):
        raise UserError(
            f"{where}: one of {names[0]} to {names[-1]} ended the process that decodes it (exit code "
            f"{process.wait()}): free memory, or take that file out"
        ) from None
    finally:
        idle.put(process)
    return [unread[name] if name in unread else next(decoded) for name in names]


def _ask(process: Popen[bytes], files: Iterable[bytes | Path], size: Size | None) -> list[Decoded | str]:
    """What a process that decodes makes of files; BrokenPipeError or EOFError where it ends before it has answered."""
    asked, answers = process.stdin, process.stdout
    assert asked and answers
    for file in files:
        if isinstance(file, Path):
            asked.write(b"%s\n" % json.dumps(str(file)).encode())
        else:
            asked.write(b"%d\n" % len(file))
            asked.write(file)
    asked.write(b"\n")
    asked.flush()
    line = answers.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    found: list[Decoded | str] = []
    for told in json.loads(line):
        if isinstance(told, str):
            found.append(told)
            continue
        mode, *of_file = told
        expected = 3 * math.prod(size or of_file)
        pixels = answers.read(expected)
        if len(pixels) < expected:
            raise EOFError
        found.append(Decoded(pixels, mode, tuple(of_file)))
    return found
