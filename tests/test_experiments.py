"""What all experiments have in common."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlpjax.claims.runner import SKIPPED

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))


def test_no_experiment_starts_jax_before_it_may_use_all_cores() -> None:
    """An array made while a file is read takes all cores for one device, and `use_all_cores` comes too late."""
    code = "import importlib, sys; sys.path.insert(0, sys.argv[1])\n"
    code += "for name in sys.argv[2:]:\n    importlib.import_module(name)\n    print(name)\n"
    code += "import mlpjax\nmlpjax.use_all_cores()"
    folder, names = str(EXPERIMENTS[0].parent), [path.stem for path in EXPERIMENTS]
    found = subprocess.run([sys.executable, "-c", code, folder, *names], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(("failing", "status"), [("none", 0), ("rebasin", 2)])
def test_make_runs_all_experiments_whatever_becomes_of_one(failing: str, status: int, tmp_path: Path) -> None:
    """With a Python that skips mnist_losses, fails at one and writes down every other."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/ran\n'
        f"case $1 in *mnist_losses.py) exit {SKIPPED} ;; *{failing}.py) exit 1 ;; esac\n"
    )
    python.chmod(0o755)
    for name in ("bin/pip", "installed-experiments"):
        (tmp_path / name).touch()
    command = ["make", "experiments", "QUICK=1", f"VENV={tmp_path}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == status, made.stdout + made.stderr
    ran = (tmp_path / "ran").read_text().splitlines()
    assert ran == [f"experiments/{path.name} --quick" for path in EXPERIMENTS]
    assert [line for line in made.stdout.splitlines() if line.startswith(("skipped", "failed"))] == [
        "skipped, without their data (see README.md): mnist_losses",
        *[f"failed: {failing}"] * bool(status),
    ]
