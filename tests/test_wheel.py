"""The wheel holds everything, and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # From a copy, because setuptools leaves a folder build/ in the sources, and takes what an older one holds.
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "mlpjax", source / "mlpjax", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist")
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mlpjax").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"mlpjax/py.typed", "mlpjax/report/report.html"} <= package
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == package


def test_command_of_the_installed_wheel_works_away_from_the_checkout(wheel, tmp_path):
    pip("install", wheel, "--no-deps", "--target", tmp_path / "site")
    # A platform that JAX does not know: asking for help must not go looking for devices.
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "JAX_PLATFORMS": "none"}
    # With -v, Python says where it imports each module from.
    command = [sys.executable, "-v", tmp_path / "site" / "bin" / "mlpjax", "study", "--help"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "--learning-rate" in ran.stdout
    assert str(tmp_path / "site" / "mlpjax" / "study.py") in ran.stderr
    assert str(ROOT / "mlpjax") not in ran.stderr
