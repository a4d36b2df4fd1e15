"""Named files of a folder, or of a zip or tar archive read in place: nothing is unpacked, no path leads out."""

import lzma
import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from mlpjax.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LARGEST = 200_000_000
"""Bytes of one file: what is longer is no image but an accident or an attack."""
PIECE = 2**16
"""Bytes that are read at a time: for more the system makes and clears memory anew, which takes longer than reading."""
IGNORED = ("Thumbs.db", "desktop.ini", "__MACOSX")
"""What systems leave behind, beside files whose name starts with a dot."""
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, LookupError, OverflowError, AssertionError),
)
"""What readers of archives raise for a broken one: a method that nobody knows, a password, a checksum, a length."""

Stamp: TypeAlias = tuple[str, list[tuple[str, int, int]]]
"""Where files are, and (name, bytes, time of the last change in ns) of all that decides what is read."""
Read: TypeAlias = Callable[[str], bytes | Path]
"""The content of a file by its name, or where there is a file of its own."""


class UnreadableError(Exception):
    """One file that cannot be read; the message says why."""


class Entries(NamedTuple):
    """Where named files are, and how they are read."""

    where: str
    """What stands before that which is wrong with one of them."""
    stamp: Callable[[Sequence[str]], Stamp]
    """Of some of them, by their names: it changes when one of them does."""
    reading: Callable[[], AbstractContextManager[Read]]
    """A context in which they are read, from any thread; `UnreadableError` where one cannot be."""


def entries_in(source: Path) -> Entries:
    """The files of a folder, or of a zip or tar archive."""
    return Entries(str(source), partial(stamp, source), partial(reading, source))


def list_files(source: Path) -> list[str]:
    """Names of the files in a folder or an archive, with / between their parts.

    Hidden files, and what systems leave behind, are passed over.

    Args:
        source: a folder, or an archive: zip, or tar, compressed or not.

    Returns:
        The names in alphabetical order.

    Raises:
        UserError: there is no such thing; it is no archive, or holds another one, or a name twice; a name or a link
            leads out of it, or a link to a folder might.
    """
    if source.is_dir():
        return _files_of_folder(source)
    with _opened(source) as archive:
        return (
            _files_of_zip(source, archive) if isinstance(archive, zipfile.ZipFile) else _files_of_tar(source, archive)
        )


@contextmanager
def reading(source: Path) -> Iterator[Read]:
    """Read files of a folder or an archive by their names, from any thread.

    Yields:
        A function of a name that gives a folder's file, or the content of an archive's; it raises `UnreadableError`
        where that cannot be read, or is too large.

    Raises:
        UserError: there is no such thing, or it is no archive.
    """
    if source.is_dir():

        def find(name: str) -> Path:
            file = source / name
            with suppress(OSError):  # whoever opens it will say so
                _require_short(file.stat().st_size)
            return file

        yield find
        return
    with _opened(source) as archive:
        lock = threading.Lock()

        def read(name: str) -> bytes:
            with lock:  # one file, with one place in it
                return _content(
                    lambda: archive.open(name) if isinstance(archive, zipfile.ZipFile) else _member(archive, name)
                )

        yield read


def stamp(source: Path, names: Sequence[str]) -> Stamp:
    """What changes when one of some files in a folder, or an archive, does; files that are absent are left out."""
    root, found = str(source.resolve()), []
    for name in names if source.is_dir() else [""]:
        with suppress(OSError, ValueError):  # whoever reads it will say so
            stat = os.stat(f"{root}/{name}" if name else root)  # noqa: PTH116  pathlib takes four times as long
            found.append((name, stat.st_size, stat.st_mtime_ns))
    return root, found


def _files_of_folder(source: Path) -> list[str]:
    root = source.resolve()

    def names_below(folder: str | Path, within: str) -> Iterator[str]:
        with os.scandir(folder) as entries:  # which knows links without asking for each
            for entry in entries:
                if _is_ignored(entry.name):
                    continue
                if entry.is_dir():
                    if entry.is_symlink():
                        raise UserError(f"{entry.path} is a link to a folder and not followed: put the folder there")
                    yield from names_below(entry.path, f"{within}{entry.name}/")
                    continue
                if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                    raise UserError(f"{entry.path} is a link that leads out of {source}: put the file itself there")
                yield f"{within}{entry.name}"

    try:
        return sorted(names_below(source, ""))
    except (OSError, RuntimeError) as error:  # no permission; links that lead in a circle
        raise UserError(f"{source} cannot be listed ({error}); mend that, or take it out") from None


def _files_of_zip(path: Path, archive: zipfile.ZipFile) -> list[str]:
    return _names_within(path, [one.filename for one in archive.infolist() if not one.is_dir()])


def _files_of_tar(path: Path, archive: tarfile.TarFile) -> list[str]:
    members = archive.getmembers()
    for member in members:
        if not member.isfile() and not member.isdir():
            raise UserError(f"{path}: {member.name} is a link or a device; pack the files themselves")
    return _names_within(path, [member.name for member in members if member.isfile()])


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if not path.is_file():
        raise UserError(f"{path}: no such folder or archive")
    try:
        with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path) as archive:
            yield archive
    except UserError:
        raise
    except tarfile.ReadError:
        raise UserError(f"{path} is no whole zip or tar archive, and no folder; give one of these") from None
    except BROKEN as error:
        raise UserError(f"{path} is not a whole archive ({error}); fetch it again") from None


def _member(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    assert file is not None
    return file


def _content(open_file: Callable[[], Any]) -> bytes:
    try:
        content = bytearray()
        with open_file() as file:
            while len(content) <= LARGEST and (piece := file.read(PIECE)):
                content += piece
    except BROKEN as error:
        raise UnreadableError(f"cannot be read ({error})") from None
    _require_short(len(content))
    return bytes(content)


def _require_short(length: int) -> None:
    if length > LARGEST:
        raise UnreadableError(f"has more than {LARGEST:,} bytes")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in IGNORED


def _names_within(path: Path, names: Iterable[str]) -> list[str]:
    """Names of an archive that are to be read; each must stand in it once, and within it."""
    found: set[str] = set()
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0].endswith(("/", ":")):
            raise UserError(f"{path}: {name!r} leads out of the archive; pack it again with plain names")
        if name.lower().endswith(ARCHIVES):
            raise UserError(f"{path}: {name} is an archive inside the archive; unpack the outer one")
        if name in found:
            raise UserError(f"{path}: {name} stands in it twice; pack it again")
        if not any(map(_is_ignored, parts)):
            found.add(name)
    return sorted(found)
