import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlpjax.errors import UserError
from mlpjax.plumbing.processes import Group, join

WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from mlpjax.errors import UserError
from mlpjax.plumbing.processes import join
from mlpjax.plumbing.runs import Checkpoints

coordinator, count, index, folder, seconds = sys.argv[1:]
store = Checkpoints(Path(folder))
try:
    with join(coordinator, int(count), int(index), silence_seconds=4) as group:
        group.barrier()
        for unit in group.share(range(12)):
            if not store.load(f"unit-{unit}"):
                time.sleep(float(seconds))
                store.save(f"unit-{unit}", {"unit": np.array(unit), "by": np.array(group.index)})
            group.check()
        group.barrier()
        for unit in range(12):
            path = Path(folder) / f"unit-{unit}.npz"
            group.wait(path.exists, path)
    print("finished")
except UserError as error:
    print(error)
    sys.exit(2)
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(count: int, folder: Path, seconds: float) -> list[subprocess.Popen]:
    """The processes of one job, each with a share of twelve units that take `seconds` each."""
    coordinator = f"localhost:{free_port()}"
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, coordinator, str(count), str(index), str(folder), str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]


def end(process: subprocess.Popen) -> tuple[int, str]:
    """Exit code and output."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def in_threads(count: int, work) -> list:
    """What `work(index)` gives or raises in as many threads; the sidecars of each group are processes all the same."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work, index) for index in range(count)]
    return [future.exception() or future.result() for future in futures]


def test_a_process_alone_does_all_and_waits_for_nobody():
    group = Group()
    assert list(group.share(range(5))) == [0, 1, 2, 3, 4]
    group.check()
    group.barrier()
    assert group.agree(7) == 7
    group.wait(Path(__file__).exists, Path(__file__))


def test_a_file_that_others_wrote_comes_late_or_never(tmp_path, monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: (time.sleep(0.5), (tmp_path / "late").touch()))
        Group().wait((tmp_path / "late").exists, tmp_path / "late")
        assert writing.result()
    monkeypatch.setattr("mlpjax.plumbing.processes.FILE_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"never: another process has written it, but .* file system that all machines"):
        Group().wait((tmp_path / "never").exists, tmp_path / "never")


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_all_processes_are_the_whole_and_none_overlap(count):
    coordinator = f"localhost:{free_port()}"
    came = []

    def work(index):
        with join(coordinator, count, index) as group:
            time.sleep(0.2 * index)
            came.append(index)
            group.barrier()
            assert group.agree(10 + index) == 10
            assert len(came) == count  # nobody is past the barrier before the last has come
            group.check()
            return group.index, group.count, list(group.share(range(10)))

    results = in_threads(count, work)
    assert [result[:2] for result in results] == [(index, count) for index in range(count)]
    assert sorted(unit for result in results for unit in result[2]) == list(range(10))


@pytest.mark.parametrize(("count", "victim"), [(2, 0), pytest.param(3, 1, marks=pytest.mark.slow)])
def test_when_one_is_killed_the_others_name_it_and_a_restart_finishes(tmp_path, count, victim):
    processes = start(count, tmp_path, seconds=0.5)
    first = tmp_path / f"unit-{victim}.npz"
    while not first.exists():
        time.sleep(0.05)
    processes[victim].kill()
    results = [end(process) for process in processes]
    assert results[victim][0] == -signal.SIGKILL
    for code, output in results[:victim] + results[victim + 1 :]:
        assert code == 2
        assert f"process {victim} of {count} is gone" in output
        assert len(output.splitlines()) == 1  # no dump of a stack
    assert 0 < len(list(tmp_path.iterdir())) < 12
    kept = first.stat().st_mtime_ns
    results = [end(process) for process in start(count - 1, tmp_path, seconds=0.0)]
    assert results == [(0, "finished\n")] * (count - 1)
    assert len(list(tmp_path.iterdir())) == 12
    assert first.stat().st_mtime_ns == kept


def test_one_that_fails_ends_the_others_that_wait_for_it():
    coordinator = f"localhost:{free_port()}"

    def work(index):
        with join(coordinator, 2, index, silence_seconds=2) as group:
            if index == 1:
                raise UserError("bad data")
            group.barrier()

    waiting, failing = in_threads(2, work)
    assert str(failing) == "bad data"
    assert "process 1 of 2 is gone; its own output says why" in str(waiting)


def test_one_that_is_done_early_waits_for_the_others_and_is_not_taken_for_dead():
    coordinator = f"localhost:{free_port()}"
    done = []

    def work(index):
        with join(coordinator, 2, index, silence_seconds=2) as group:
            if index == 1:
                time.sleep(4)
                group.check()
                done.append(index)
        return list(done)

    assert in_threads(2, work) == [[1], [1]]


def test_process_0_which_has_the_results_does_not_mind_one_that_is_lost_at_the_end():
    coordinator = f"localhost:{free_port()}"

    def work(index):
        with join(coordinator, 2, index, silence_seconds=2) as group:
            group.barrier()
            if index == 1:
                raise UserError("lost")
        return "reported"

    assert in_threads(2, work)[0] == "reported"


def test_slurm_says_who_is_who(monkeypatch):
    environment = {"JOB_ID": str(free_port()), "STEP_NODELIST": "localhost", "NTASKS": "2", "LOCALID": "0"}
    for name, value in environment.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    code = "from mlpjax.plumbing.processes import join\nwith join('auto') as group: print(group.index, group.count)"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"SLURM_PROCID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    assert [end(process) for process in processes] == [(0, "0 2\n"), (0, "1 2\n")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost", 2, 0), "localhost: give HOST:PORT of process 0, or auto on a cluster"),
        (("localhost:1234", 2, None), "give processes and process as well"),
        (("localhost:1234", 2, 2), "^process 2: must be at least 0 and below processes, 2"),
        (("auto", 2, None), "leave them out"),
        (("auto", None, None), r"coordinator_address should be defined\); outside of Slurm.* give HOST:PORT"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(UserError, match=message), join(*arguments):
        pass


def test_processes_that_do_not_meet_say_why():
    """Process 0 or 1 alone, and with one that expects another number of processes; side by side, since all wait."""
    ports = [free_port() for _ in range(4)]

    def work(case):
        port, count, index = [
            *[(ports[0], 2, 0), (ports[1], 2, 1)],
            *[(ports[2], 2, 0), (ports[2], 3, 1)],
            *[(ports[3], 2, 0), (ports[3], 3, 2)],
        ][case]
        with join(f"localhost:{port}", count, index, meeting_seconds=3, silence_seconds=2) as group:
            group.barrier()

    alone_0, alone_1, with_second_of_3, second_of_3, with_third_of_3, third_of_3 = map(str, in_threads(6, work))
    for message in (alone_0, alone_1, with_third_of_3):
        assert "the processes did not meet within 3 s (Deadline Exceeded); start all, with the same" in message
    assert "this process expects 3 processes and process 0 expects 2" in second_of_3
    assert "process 1 of 2 is gone" in with_second_of_3
    assert "Unexpected task registered" in third_of_3


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=rf"{port}: the processes did not meet"), join(f"localhost:{port}", 1, 0):
            pass
