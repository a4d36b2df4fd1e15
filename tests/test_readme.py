"""What the README and the docstrings show is run, and says nothing that is not there."""

import ast
import contextlib
import doctest
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from mlpjax import cli
from mlpjax.plumbing.processes import ALONE

pytestmark = pytest.mark.usefixtures("only_png")
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def commands(program):
    lines = (shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines())
    return [line[1:] for line in lines if line[:1] == [program]]


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    shapes = {"features.0.weight": (8, 1, 3, 3), "features.0.bias": (8,), "classifier.0.weight": (10, 392)}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(tensors, "cnn.safetensors")
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["summary"]["mean"] == pytest.approx(names["test_error"].mean())
    assert names["summary"]["max"] < 10
    assert names["well"].all()
    assert set(names["curves"]["epoch"]) == set(range(11))
    assert names["test_loss"].shape == (3, 2, 8)
    assert names["test_loss"].mean(axis=(1, 2)).argmax() == 0
    assert sum(names["shares"].values()) == pytest.approx(1)
    assert max(names["shares"], key=names["shares"].get) == "learning_rate"
    assert names["curvature"].shape == (8,)
    assert (names["curvature"] > 0).all()
    assert names["accuracy"] > 0.9
    wrong = (names["answers"].argmax(axis=2) != names["dataset"].test.y).mean(axis=1)
    np.testing.assert_allclose(100 * wrong, names["test_error"], atol=1e-4)
    assert (tmp_path / "regions.pdf").read_bytes().startswith(b"%PDF-")
    assert "<svg" in (tmp_path / "surface.svg").read_text()
    assert names["of_the_mean"] > 0.85
    assert names["convolutional"].stats["batch_stats"].keys() == {"BatchNorm_0"}
    assert (names["top_3_accuracy"] > 0.5).all()
    assert (names["flat"].history["test_accuracy"][:, -1] > 0.9).all()
    assert (names["noisy"].history["test_accuracy"][:, -1] > 0.9).all()
    assert names["heads"].history["test_accuracy"].shape == (64, 3)
    assert (names["heads"].history["test_accuracy"][:, -1] > 0.7).all()
    assert names["progressive"].shape == (8, len(names["at"]))
    assert np.isfinite(names["progressive"]).all()
    assert (names["epochs"] > 0).any()
    assert names["barriers"][0].shape == (8,)
    assert names["barriers"][10].mean() < names["barriers"][0].mean()


@pytest.mark.parametrize("arguments", commands("mlpjax"), ids=shlex.join)
def test_commands_of_the_readme_are_understood(arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr("mlpjax.commands.join", lambda *place: contextlib.nullcontext(ALONE))
    monkeypatch.setattr("mlpjax.commands.run_study", lambda *_: ran.append("study"))
    monkeypatch.setattr("mlpjax.commands.run_sweep", lambda *_: ran.append("sweep"))
    monkeypatch.setattr("mlpjax.commands.run_compare", lambda *_, **__: ran.append("compare"))
    cli.main(arguments)
    assert ran == [arguments[0]] * (arguments[0] != "activations")


def test_the_first_screen_runs(tmp_path, monkeypatch):
    """A sweep, a comparison and pictures of one's own, as they stand there but smaller."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("zero", "one"):
        (tmp_path / "digits" / name).mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8))
            image.save(tmp_path / "digits" / name / f"{number}.png")
    first = [shlex.split(line, comments=True)[1:] for line in blocks("sh")[1].splitlines()]
    assert [arguments[0] for arguments in first] == ["sweep", "sweep", "compare", "study"]
    small = ["--seeds", "2", "--epochs", "1", "--batch-size", "10", "--widths", "784", "3"]
    for arguments in first[:2]:
        cli.main([*arguments, *small, "10"])
    cli.main(first[2])
    assert (tmp_path / "compare.html").exists()
    cli.main([*first[3], *small, "2", "--no-landscape"])
    reports = [*(tmp_path / "runs").glob("*/report.html")]
    assert len(reports) == 3


def test_make_targets_of_the_readme_exist():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = {target for target, *_ in commands("make")} | set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"study", "test", "help"} <= named <= set(targets)


def test_files_of_the_readme_exist():
    linked = re.findall(r"\]\((?!https?:)([^)]+)\)", README) + re.findall(r"`((?:mlpjax|experiments)/[^`]*)`", README)
    assert len(linked) >= 3
    assert [path for path in linked if not (ROOT / path.partition("#")[0]).exists()] == []


def examples():
    """Every docstring with an example; doctest's own finder misses functions that the import hook wraps."""
    found = []
    for path in sorted((ROOT / "mlpjax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                name = f"{path.stem}.{getattr(node, 'name', '')}"
                found.append(doctest.DocTestParser().get_doctest(ast.get_docstring(node) or "", {}, name, str(path), 0))
    return [docstring for docstring in found if docstring.examples]


@pytest.mark.parametrize("docstring", examples(), ids=lambda docstring: docstring.name)
def test_examples_of_the_docstrings(docstring):
    assert doctest.DocTestRunner().run(docstring).failed == 0
