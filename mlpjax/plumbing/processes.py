"""Several processes, on one machine or on many, that do one job together.

`jax.distributed` finds the others and watches them; but it ends its process on the spot, with a dump of the stack, when
one of them dies. So it runs in a sidecar, a small process beside each that trains, and ends that (see `sidecar.py`).
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import jax

from mlpjax.errors import UserError

T = TypeVar("T")
AUTO = "auto"
"""In place of the coordinator's address: Slurm, MPI, Kubernetes or Cloud TPU know it."""
MEETING_SECONDS = 60
"""How long the first process that comes waits for the last."""
SILENCE_SECONDS = 30
"""How long nothing may be heard of a process until it is taken for dead."""
FILE_SECONDS = 90
"""How long a file may take to be seen on another machine: network file systems look again after a minute."""
POLL_SECONDS = 0.2
"""Time between two looks at what is waited for."""


class Group:
    """The processes that do one job together, and this one's place among them: alone, where nothing else is said."""

    index = 0
    """This process's number, from 0 on."""
    count = 1
    """How many they are."""

    def share(self, units: Sequence[T]) -> Sequence[T]:
        """Those of the units of work that are this process's own."""
        return units[self.index :: self.count]

    def check(self) -> None:
        """Look whether all are still there, in no time.

        Raises:
            UserError: one is gone.
        """

    def agree(self, value: int) -> int:
        """Process 0's value, for all: call it in all, at the same point.

        Raises:
            UserError: one is gone.
        """
        return value

    def barrier(self) -> None:
        """Wait until all processes have come to this point.

        Raises:
            UserError: one is gone.
        """

    def wait(self, seen: Callable[[], bool], what: Path) -> None:
        """Wait until what another process wrote before the last barrier is seen here, too.

        Args:
            seen: whether it is.
            what: it is, for the message.

        Raises:
            UserError: it is not seen, since the processes have no file system in common; or one is gone.
        """
        until = time.monotonic() + FILE_SECONDS
        while not seen():
            self.check()
            if time.monotonic() > until:
                raise UserError(
                    f"{what}: another process has written it, but it cannot be seen here: "
                    "choose a folder on a file system that all machines share"
                )
            time.sleep(POLL_SECONDS)


ALONE = Group()
"""This process and no other."""


class _Several(Group):
    """A group that a sidecar of this process keeps in contact with the others' sidecars."""

    def __init__(self, arguments: Mapping[str, object], log: IO[str]) -> None:
        """Start the sidecar, with these arguments for `jax.distributed.initialize` and its messages going to `log`."""
        self._log = log
        self._asked = 0
        # -u: every answer at once. -P: this package's folder, whose typing.py is not Python's, stays off the path.
        command = [sys.executable, "-u", "-P", str(Path(__file__).with_name("sidecar.py")), json.dumps(arguments)]
        self._sidecar = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process alone
        )

    def meet(self) -> str | None:
        """Wait until all are there and learn who is who; where that fails, the reason."""
        answer = self._answer()
        if not answer:
            return self._last_words()
        place = json.loads(answer)
        self.index, self.count = place["index"], place["count"]
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, place["devices"])
        return None

    def check(self) -> None:
        if self._sidecar.poll() is not None:
            raise self._gone()

    def agree(self, value: int) -> int:
        return int(self._ask("agree", str(value)))

    def barrier(self) -> None:
        self._ask("barrier")

    def leave(self) -> None:
        """Wait until all have done what they had to do."""
        self._say("leave")
        if self._sidecar.wait() and self.index:  # process 0, which gathers, has all that it needs
            raise self._gone()

    def close(self) -> None:
        """End the sidecar, whatever it is at; the others notice, where they still wait for this process."""
        self._sidecar.kill()
        self._sidecar.communicate()

    def _ask(self, request: str, *values: str) -> str:
        """The answer to a request, under a key that all processes come to in the same order."""
        self._asked += 1
        self._say(" ".join([request, f"{request}-{self._asked}", *values]))
        answer = self._answer()
        if not answer:
            raise self._gone()
        return answer

    def _say(self, request: str) -> None:
        assert self._sidecar.stdin
        try:
            self._sidecar.stdin.write(f"{request}\n")
            self._sidecar.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def _answer(self) -> str:
        assert self._sidecar.stdout
        return self._sidecar.stdout.readline()

    def _read_log(self) -> str:
        """All that the sidecar, which is ending, had to say."""
        self._sidecar.wait()
        self._log.seek(0)
        return self._log.read()

    def _last_words(self) -> str:
        """Why the sidecar ended, in one line: the status that JAX gives, or the end of another message."""
        log = self._read_log()
        lines = re.findall(r"absl::Status: (.+)", log) or log.splitlines() or ["no reason is given"]
        return re.sub(r"^(\w+: |[EWF]\d{4} .*?\] )", "", lines[-1]).rstrip(".")

    def _gone(self) -> UserError:
        log = self._read_log()
        # As JAX puts it to one that waits at a barrier, and to one that does not.
        silent = re.search(r"Task (\d+) heartbeat timeout|stopped sending heartbeats\):\s+(\d+)", log)
        if silent:
            who = f"process {silent[1] or silent[2]} of {self.count}"
        elif "the leader task" in log:
            who = f"process 0 of {self.count}"
        else:
            who = f"one of the {self.count} processes"
        return UserError(
            f"{who} is gone; its own output says why, unless it was killed. What is finished is kept: "
            "to go on, start all processes again with the same commands"
        )


@contextmanager
def join(
    coordinator: str,
    processes: int | None = None,
    process: int | None = None,
    *,
    meeting_seconds: int = MEETING_SECONDS,
    silence_seconds: int = SILENCE_SECONDS,
) -> Iterator[Group]:
    """Meet the other processes of a job, stay in contact with them, and leave together.

    Call it before anything else uses JAX: on a cluster it decides which of a machine's GPUs are this process's.
    In this process JAX then knows of its own devices only; the results go from one to another as files.

    Args:
        coordinator: HOST:PORT of process 0, which opens the port; or "auto" on a cluster that `jax.distributed` knows.
        processes: how many there are; None: the cluster knows.
        process: which of them this is, from 0 on; None: the cluster knows.
        meeting_seconds: how long to wait for the others at the start.
        silence_seconds: how long nothing may be heard of a process until it is taken for dead.

    Yields:
        The group. Its end waits for the others' ends, and for none where this process fails.

    Raises:
        UserError: the address or the numbers make no sense, the processes do not meet, or one is gone.

    References:
        https://docs.jax.dev/en/latest/multi_process.html
    """
    arguments: dict[str, object] = {
        "initialization_timeout": meeting_seconds,
        "heartbeat_timeout_seconds": silence_seconds,
    }
    mend = "outside of Slurm, Open MPI, Kubernetes and Cloud TPU, give HOST:PORT, processes and process"
    if coordinator != AUTO:
        if not re.fullmatch(r".+:\d{1,5}", coordinator):
            raise UserError(f"coordinator {coordinator}: give HOST:PORT of process 0, or {AUTO} on a cluster")
        if processes is None or process is None:
            raise UserError(f"coordinator {coordinator}: give processes and process as well, or {AUTO}")
        if not 0 <= process < processes:
            raise UserError(f"process {process}: must be at least 0 and below processes, {processes}")
        arguments |= {"coordinator_address": coordinator, "num_processes": processes, "process_id": process}
        mend = "start all, with the same coordinator and processes, and each with a process of its own"
    elif processes is not None or process is not None:
        raise UserError(f"coordinator {AUTO}: knows processes and process by itself; leave them out")
    with tempfile.TemporaryFile("w+") as log:
        group = _Several(arguments, log)
        try:
            if reason := group.meet():
                failure = f"the processes did not meet within {meeting_seconds} s ({reason})"
                raise UserError(f"coordinator {coordinator}: {failure}; {mend}")
            yield group
            group.leave()
        finally:
            group.close()
