import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mlpjax.errors import UserError
from mlpjax.plumbing.processes import ALONE, Group
from mlpjax.plumbing.runs import Checkpoints, open_run

CONFIG = {"seeds": 3, "model": {"widths": (2, 3), "scale": 1.0}}


def test_checkpoints_come_back_as_they_were(tmp_path):
    checkpoints = Checkpoints(tmp_path / "deep" / "folder")
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.array(np.nan)}
    assert checkpoints.load("first") is None
    checkpoints.save("first", arrays)
    loaded = checkpoints.load("first")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    checkpoints.remove("first")
    checkpoints.remove("first")
    assert checkpoints.load("first") is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "chunk.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"chunk\.npz: damaged checkpoint .* delete it"):
        checkpoints.load("chunk")


def test_a_truncated_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("chunk", {"a": np.arange(1000)})
    path = tmp_path / "chunk.npz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="damaged checkpoint"):
        checkpoints.load("chunk")


def test_the_same_configuration_opens_the_folder_again_and_another_is_refused_by_name(tmp_path):
    with open_run(tmp_path / "run", CONFIG) as run:
        run.write("figures/one.png", b"picture")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["config"] == {"seeds": 3, "model": {"widths": [2, 3], "scale": 1.0}}
    assert {"device", "versions", "git"} <= saved.keys()
    with open_run(tmp_path / "run", CONFIG) as run:
        assert (run.path / "figures/one.png").read_bytes() == b"picture"
    other = {"seeds": 4, "model": {"widths": (2, 3), "scale": 1.0}}
    with (
        pytest.raises(UserError, match="holds a run with seeds 3, not 4: choose another folder"),
        open_run(tmp_path / "run", other),
    ):
        pass


def test_what_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty and holds no run"), open_run(tmp_path, CONFIG):
        pass
    with pytest.raises(UserError, match="a file is in the way"), open_run(tmp_path / "thesis.txt", CONFIG):
        pass
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is no run's configuration"), open_run(tmp_path, CONFIG):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_second_process_is_refused(tmp_path):
    code = f"""
from pathlib import Path
from mlpjax.errors import UserError
from mlpjax.plumbing.processes import ALONE, Group
from mlpjax.plumbing.runs import open_run
try:
    with open_run(Path({str(tmp_path / "run")!r}), {{"seeds": 3}}):
        print("opened")
except UserError as error:
    print(error)
"""
    with open_run(tmp_path / "run", {"seeds": 3}):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "another process is at work in this folder" in done.stdout
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "opened\n"


def test_leftovers_of_a_killed_process_are_swept_away(tmp_path):
    with open_run(tmp_path / "run", CONFIG) as run:
        run.checkpoints().save("chunk", {"a": np.zeros(1)})
    leftover = tmp_path / "run" / "checkpoints" / ".chunk.npz.123.tmp"
    leftover.write_bytes(b"half")
    with open_run(tmp_path / "run", CONFIG) as run:
        assert not leftover.exists()
        assert run.checkpoints().load("chunk")


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    with open_run(tmp_path / "run", CONFIG) as run:
        run.checkpoints().save("done", {"a": np.ones(2)})

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", no_space)
    with (
        pytest.raises(UserError, match="the disk is full; what was finished is kept"),
        open_run(tmp_path / "run", CONFIG) as run,
    ):
        run.checkpoints().save("next", {"a": np.ones(2)})
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["done.npz"]


class Second(Group):
    """Another process than 0, where process 0 has written already."""

    index, count = 1, 2


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize(
    ("group", "forbidden"),
    [
        (ALONE, "filelock.FileLock.acquire"),
        (ALONE, "pathlib.Path.open"),
        (ALONE, "numpy.savez"),
        (Second(), "pathlib.Path.exists"),
        (Second(), "pathlib.Path.read_text"),
        (Second(), "numpy.savez"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"process {value.index}",
)
def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path, monkeypatch, code, group, forbidden):
    """By what the system answers, since the tests may run as root, who may do anything."""
    if group.index:
        with open_run(tmp_path, CONFIG):
            pass

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code), str(tmp_path / "there"))

    monkeypatch.setattr(forbidden, refuse)
    with pytest.raises(UserError) as refused, open_run(tmp_path, CONFIG, group) as run:
        run.checkpoints().save("part", {"a": np.ones(2)})
    said = (
        f"{tmp_path / 'there'}: {os.strerror(code)}; choose a folder that you may write to, or change its permissions"
    )
    assert str(refused.value) == said


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    with (
        pytest.raises(UserError, match=r"x: cannot be made \(File name too long\)"),
        open_run(tmp_path / (256 * "x"), CONFIG),
    ):
        pass

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with (
        pytest.raises(UserError, match=r"run: cannot be made \(Read-only file system\); choose another folder"),
        open_run(tmp_path / "run", CONFIG),
    ):
        pass


def test_other_errors_of_the_system_are_not_explained_away(tmp_path):
    with pytest.raises(OSError, match="Input/output error"), open_run(tmp_path, CONFIG):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with open_run(tmp_path / "run", CONFIG) as run, pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("summary.json", {"loss": float("nan")})


def test_what_is_stacked_is_one_array_on_disk_in_the_order_of_the_names(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    parts = {name: np.full((rows, 2), rows, np.float32) for name, rows in (("b", 3), ("a", 2), ("c", 1))}
    for name, part in parts.items():
        checkpoints.save(name, {"params/dense_0/kernel": part, "seconds": part[:, 0].astype(float)})
    assert checkpoints.stacked() is None
    checkpoints.stack(["b", "a"])
    checkpoints.stack(["c"])  # to the end of what is there
    stacked = checkpoints.stacked()
    assert isinstance(stacked["seconds"], np.memmap)
    np.testing.assert_array_equal(stacked["params/dense_0/kernel"], np.concatenate([*parts.values()]))
    np.testing.assert_array_equal(np.load(tmp_path / "networks/seconds.npy"), [3, 3, 3, 2, 2, 1])
    assert not any(name in checkpoints for name in parts)
    assert sorted(Checkpoints(tmp_path).stacked()) == ["params/dense_0/kernel", "seconds"]


def test_a_killed_stacking_is_done_again(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("a", {"x": np.arange(4)})
    leftover = tmp_path / ".stack.tmp" / "x.npy"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    assert checkpoints.stacked() is None
    checkpoints.stack(["a"])
    np.testing.assert_array_equal(checkpoints.stacked()["x"], np.arange(4))
    assert not leftover.exists()


def test_a_damaged_part_is_named_when_it_is_stacked(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"a\.npz: damaged checkpoint .* delete it"):
        checkpoints.stack(["a"])


def test_damaged_results_are_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("a", {"x": np.arange(4)})
    checkpoints.stack(["a"])
    (tmp_path / "networks/x.npy").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"networks: damaged results .* delete the folder"):
        checkpoints.stacked()
