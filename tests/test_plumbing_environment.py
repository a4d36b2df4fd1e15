"""What a run says it ran on."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jax
import pytest

from mlpjax.plumbing import environment as module
from mlpjax.plumbing.environment import environment


def test_environment_is_json_with_the_versions_that_are_imported() -> None:
    found = json.loads(json.dumps(environment()))
    assert found["versions"].keys() == {"python", "mlpjax", "jax", "flax", "optax", "numpy"}
    assert found["versions"]["jax"] == jax.__version__ == version("jax")
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["device"].startswith(f"{jax.devices()[0].device_kind} x {len(jax.devices())}, ")


def test_revision_is_that_of_the_own_checkout_and_of_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "mlpjax" / "plumbing"
    package.mkdir(parents=True)
    file = package / "environment.py"
    file.write_text("one")
    monkeypatch.setattr(module, "__file__", str(file))
    assert environment()["git"] is None

    git("init")
    assert environment()["git"] is None  # no commit yet
    git("add", ".")
    git("commit", "-m", "one")
    assert environment()["git"] == git("rev-parse", "HEAD")
    file.write_text("two")
    assert environment()["git"] == git("rev-parse", "HEAD") + "-dirty"

    installed = tmp_path / "site-packages" / "mlpjax" / "plumbing"
    installed.mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(installed / "environment.py"))
    assert environment()["git"] is None


def test_no_git_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert environment()["git"] is None
