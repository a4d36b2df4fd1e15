"""Compiled programs: once in a process, remembered on disk, and all the same where an option is unknown."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax import MLP, Recipe, load, map_seeds, train_many
from mlpjax.plumbing import compilation
from mlpjax.plumbing.compilation import compile_program

COMPILE = """
import mlpjax
mlpjax.use_all_cores()
mlpjax.remember_compilations()
import jax
import numpy as np
from jax._src import monitoring
hits = []
monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # or these programs are too small to be kept
found = mlpjax.map_seeds(lambda x: jax.numpy.sin(x @ x), np.arange(36, dtype=np.float32).reshape(4, 3, 3), chunk=2)
print(jax.config.jax_compilation_cache_dir, len(hits) > 0, found.tobytes().hex())
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    names = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    settings = {name: value for name, value in os.environ.items() if name not in names} | environment
    return subprocess.run([sys.executable, "-c", COMPILE], env=settings, capture_output=True, text=True, check=True)


def test_a_second_process_compiles_nothing_anew_and_finds_the_same(tmp_path: Path) -> None:
    first, second = (run(XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)).stdout.split() for _ in range(2))
    assert Path(first[0]).is_relative_to(tmp_path)
    assert first[1] == "False"
    assert second == [first[0], "True", first[2]]


def test_a_place_that_was_chosen_is_kept(tmp_path: Path) -> None:
    assert run(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine")).stdout.split()[0] == str(tmp_path / "mine")
    assert any((tmp_path / "mine").iterdir())


def test_a_cache_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    answer = run(XDG_CACHE_HOME=str(file), HOME=str(file))
    assert answer.stdout.split()[:2] == ["None", "False"]
    said = [line for line in answer.stderr.splitlines() if "cannot be kept" in line]
    assert answer.stderr.splitlines() == said
    assert len(said) == 1
    assert str(file) in said[0]


def test_a_cache_folder_that_may_not_be_written_to_is_done_without(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        compilation.remember_compilations()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    (said,) = caplog.messages
    assert said.startswith(str(tmp_path))
    assert "(Permission denied); set JAX_COMPILATION_CACHE_DIR to another folder" in said


def test_an_option_that_is_unknown_is_left_out(monkeypatch) -> None:
    lowered = jax.jit(lambda x: x + 1).lower(np.float32(1))
    compile_plainly = lowered.compile

    def compile_only_plainly(options=None):
        if options:
            raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: No such compile option")
        return compile_plainly()

    monkeypatch.setattr(lowered, "compile", compile_only_plainly)
    assert compile_program(lowered, state_size=1)(np.float32(1)) == 2


@pytest.fixture
def compiled(monkeypatch) -> list[str]:
    """The text of every program that is compiled from now on, where none is known at the start."""
    texts = []
    compile_it = jax.stages.Lowered.compile

    def note(lowered, *arguments):
        texts.append(lowered.as_text())
        return compile_it(lowered, *arguments)

    monkeypatch.setattr(jax.stages.Lowered, "compile", note)
    monkeypatch.setattr(compilation, "_compiled", type(compilation._compiled)())
    return texts


def test_equal_trainings_compile_once_and_others_again(compiled: list[str]) -> None:
    dataset = load("xor", n=50)

    def train(epochs: int) -> np.ndarray:
        recipe = Recipe(epochs=epochs, batch_size=10)
        return train_many(MLP(widths=(2, 4, 2)), recipe, dataset, range(3)).history["test_loss"]

    first = train(2)
    programs = len(compiled)
    assert programs >= 2
    np.testing.assert_array_equal(train(2), first)
    assert len(compiled) == programs
    train(3)
    assert len(compiled) > programs


@pytest.mark.parametrize("size", [3, 1_000, 100_000])
def test_programs_that_differ_in_a_constant_alone_are_kept_apart(compiled: list[str], size: int) -> None:
    constants = np.zeros((2, size), np.float32)
    constants[1, size // 2] = 1  # in the middle, where a text may leave numbers out
    x = np.ones(2, np.float32)
    for constant in constants:
        for _ in range(2):
            found = map_seeds(lambda own, constant=constant: (own * jnp.asarray(constant)).sum(), x, chunk=1)
            np.testing.assert_array_equal(found, [constant.sum()] * 2)
    assert len(compiled) == len(set(compiled))


def call(function, *arguments):
    return compile_program(jax.jit(function).lower(*arguments), 1)(*arguments)


def test_programs_that_differ_in_what_the_text_leaves_out_are_kept_apart(compiled: list[str]) -> None:
    one, two = np.float32(1), np.float32(2)
    assert [call(function, one, two) for function in (lambda a, b: -a, lambda a, b: -b)] == [-1, -2]  # unused arguments
    assert [type(call(lambda a, kind=kind: kind([-a]), one)) for kind in (tuple, list)] == [tuple, list]  # trees

    def outside(add):
        return lambda a: jax.pure_callback(lambda a: a + add, jax.ShapeDtypeStruct((), np.float32), a)

    assert [call(outside(add), one) for add in (one, two)] == [2, 3]  # Python functions
    for device in jax.local_devices()[:2]:
        assert call(lambda a: -a, jax.device_put(one, device)).device == device
    assert len(compiled) == 8


def test_only_the_programs_used_last_are_kept(compiled: list[str], monkeypatch) -> None:
    monkeypatch.setattr(compilation, "KEPT", 2)
    for number in (1, 2, 1, 3, 1, 2):
        call(lambda a, number=number: a * number, np.float32(1))
    assert len(compiled) == 4
