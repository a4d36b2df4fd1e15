"""A run's folder: its configuration, its checkpoints, and what keeps two runs apart."""

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from mlpjax.errors import UserError
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.files import write_atomically
from mlpjax.plumbing.processes import ALONE, Group


class Checkpoints:
    """Arrays on disk by name, one .npz file each, whole or absent; in the end joined into one .npy file for each array.

    Plain .npz and .npy and not orbax: a checkpoint here is a few arrays that anyone reads with NumPy, and one file, or
    one folder, takes its place in one atomic step.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the files in `folder`, made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._stack = folder / "networks"
        self._old_stack = folder / ".stack.old"
        if self._old_stack.exists():  # killed while a longer one took its place
            if self._stack.exists():
                shutil.rmtree(self._old_stack)
            else:
                self._old_stack.rename(self._stack)

    def claim(self, identity: Mapping[str, str]) -> None:
        """Refuse to keep results of something else than what is kept already.

        Args:
            identity: all that decides the results, by name.

        Raises:
            UserError: what is kept was decided by something else; names what differs.
        """
        path = self.folder / "identity.json"
        wanted = dict(identity)
        if not path.exists():
            if self._stack.exists() or self.names():
                raise UserError(
                    f"{self.folder}: checkpoints of another version of mlpjax; delete it, or choose another"
                )
            write_atomically(path, lambda file: file.write((json.dumps(wanted, indent=1) + "\n").encode()))
            return
        try:
            kept = json.loads(path.read_text())
            other = [
                f"{name} {kept.get(name, 'not set')}, not {wanted.get(name, 'not set')}"
                for name in sorted(kept | wanted)
                if kept.get(name) != wanted.get(name)
            ]
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: damaged ({error}); delete {self.folder} and run again") from error
        if other:
            raise UserError(
                f"{self.folder} holds results for {'; '.join(other)}: choose another folder, or delete this one"
            )

    def names(self) -> list[str]:
        """What is kept and not joined yet, in order."""
        return sorted(path.stem for path in self.folder.glob("*.npz"))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def __contains__(self, name: object) -> bool:
        return self._path(str(name)).exists()

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays saved under `name`, or None.

        Raises:
            UserError: the file is damaged.
        """
        path = self._path(name)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                return dict(arrays)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path}: damaged checkpoint ({error}); delete it and run the same command again"
            ) from error

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep `arrays` under `name`."""
        write_atomically(self._path(name), lambda file: np.savez(file, allow_pickle=False, **arrays))

    def remove(self, name: str) -> None:
        """Forget what was saved under `name`."""
        self._path(name).unlink(missing_ok=True)

    def stack(self, names: Sequence[str]) -> None:
        """Join what was saved under the names, along the first axis, to the end of what was joined already.

        Each array becomes one .npy file. What one name holds is read and written at a time, so that no more is in
        memory.

        Args:
            names: in the order in which to join them; what was saved under them is removed afterwards.

        Raises:
            UserError: a file is damaged.
        """
        if not names:
            return
        partial = self.folder / ".stack.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        joined = self.stacked()
        rows = sum(self._rows(name) for name in names) + (len(next(iter(joined.values()))) if joined else 0)
        with ExitStack() as files:
            outputs: dict[str, IO[bytes]] = {}
            for part in (joined or {}, *(self.load(name) or {} for name in names)):
                for key, array in part.items():
                    if key not in outputs:
                        path = partial / f"{key}.npy"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        outputs[key] = files.enter_context(path.open("wb"))
                        header = np.lib.format.header_data_from_array_1_0(array) | {"shape": (rows, *array.shape[1:])}
                        header["fortran_order"] = False
                        np.lib.format.write_array_header_1_0(outputs[key], header)
                    outputs[key].write(array.tobytes())
            for output in outputs.values():
                output.flush()
                os.fsync(output.fileno())
        if joined is not None:
            self._stack.rename(self._old_stack)
        partial.rename(self._stack)
        shutil.rmtree(self._old_stack, ignore_errors=True)
        for name in names:
            self.remove(name)

    def _rows(self, name: str) -> int:
        return len(next(iter((self.load(name) or {}).values()), ()))

    def stacked(self) -> dict[str, np.ndarray] | None:
        """What was joined, read-only arrays that are on disk until they are looked at; None where nothing was.

        Raises:
            UserError: a file is damaged.
        """
        if not self._stack.exists():
            return None
        paths = sorted(self._stack.rglob("*.npy"))
        try:
            return {
                path.relative_to(self._stack).with_suffix("").as_posix(): np.load(path, mmap_mode="r") for path in paths
            }
        except (ValueError, EOFError) as error:
            raise UserError(
                f"{self._stack}: damaged results ({error}); delete the folder and run the same command again"
            ) from error


class RunFolder:
    """The folder of one run: `config.json`, `checkpoints/`, `figures/` and what the run finds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.path / "checkpoints")

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the run; `name` may lie in a folder of it."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, lambda file: file.write(content))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the run; numbers must be finite."""
        self.write(name, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


@contextmanager
def open_run(path: Path, config: dict[str, Any], group: Group = ALONE) -> Iterator[RunFolder]:
    """Open a run's folder, new or to go on with, for this process alone or for a group of them.

    Args:
        path: the folder, made if missing.
        config: everything that decides the run's result, ready for JSON. `config.json` holds it with the versions,
            the device and the git revision of the process that began the run.
        group: the processes that open it together; process 0 holds the lock for all.

    Yields:
        The folder, locked.

    Raises:
        UserError: the folder is in use, holds a run of another configuration or something that is no run, may not be
            written to, or the disk is full.
    """
    run = RunFolder(path)
    with _refused_by_the_system(path):
        if group.index:
            group.barrier()
            group.wait((path / "config.json").exists, path / "config.json")
            _claim_folder(run, config)
            yield run
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"{path}: a file is in the way; choose another folder") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be made ({error.strerror}); choose another folder") from error
        lock = FileLock(path / ".lock", blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(f"{path}: another process is at work in this folder; wait, or choose another") from error
        with lock:
            for leftover in [*path.rglob(".*.tmp")]:  # of a process that was killed while writing
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            _claim_folder(run, config)
            group.barrier()
            yield run


@contextmanager
def _refused_by_the_system(path: Path) -> Iterator[None]:
    """Say in one line what the operating system holds against a run in the folder `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            mend = "choose a folder that you may write to, or change its permissions"
            raise UserError(f"{error.filename or path}: {error.strerror}; {mend}") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{path}: the disk is full; what was finished is kept. Free some space and run the same command again"
            ) from error
        raise


def _claim_folder(run: RunFolder, config: dict[str, Any]) -> None:
    """Write the configuration, or refuse a folder that holds another one."""
    path = run.path / "config.json"
    config = json.loads(json.dumps(config, allow_nan=False))
    if not path.exists():
        if any(not child.name.startswith(".") for child in run.path.iterdir()):
            raise UserError(f"{run.path}: the folder is not empty and holds no run; choose another")
        run.write_json("config.json", {"config": config} | environment())
        return
    try:
        existing = _flat(json.loads(path.read_text())["config"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is no run's configuration; choose another folder") from error
    wanted = _flat(config)
    other = [
        f"{name} {existing.get(name)!r}, not {wanted.get(name)!r}"
        for name in sorted(existing | wanted)
        if existing.get(name) != wanted.get(name)
    ]
    if other:
        raise UserError(f"{run.path} holds a run with {'; '.join(other)}: choose another folder, or delete it")


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by their last name."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat
