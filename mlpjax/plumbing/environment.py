"""What a run ran on: versions, device, git revision."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def environment() -> dict[str, Any]:
    """What a reader needs to judge or repeat a run.

    Returns:
        `device`: number and kind of JAX's devices, the host's processor and its number of cores.
        `versions`: of python, mlpjax, jax, flax, optax and numpy.
        `git`: revision of the checkout that mlpjax is imported from, with `-dirty` where tracked files differ
        from it; None where mlpjax is installed from a wheel or git is missing.
    """
    devices = jax.devices()
    return {
        "device": f"{devices[0].device_kind} x {len(devices)}, {_processor()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("mlpjax", "jax", "flax", "optax", "numpy")},
        "git": _revision(Path(__file__).resolve().parents[2]),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # platform.processor() is empty or vague on most Linux systems
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _revision(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():  # else git would answer for any repository further up
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
