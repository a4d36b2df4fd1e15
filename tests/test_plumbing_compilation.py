"""Compiled programs: remembered on disk, and compiled all the same where an option is unknown."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from mlpjax.plumbing.compilation import compile_program

TRAIN = """
import mlpjax
mlpjax.use_all_cores()
mlpjax.remember_compilations()
import jax
from jax._src import monitoring
hits = []
monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
data = mlpjax.load("xor", n=50)
recipe = mlpjax.Recipe(epochs=2, batch_size=10)
trained = mlpjax.train_many(mlpjax.MLP(widths=(2, 8, 2)), recipe, data, range(4))
print(jax.config.jax_compilation_cache_dir, len(hits) > 0, trained.history["test_loss"].tobytes().hex())
"""


def train(**environment: str) -> list[str]:
    names = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    settings = {name: value for name, value in os.environ.items() if name not in names} | environment
    answer = subprocess.run([sys.executable, "-c", TRAIN], env=settings, capture_output=True, text=True, check=True)
    return answer.stdout.split()


def test_a_second_process_compiles_nothing_anew_and_finds_the_same(tmp_path: Path) -> None:
    folder, known, first = train(XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    assert Path(folder).is_relative_to(tmp_path)
    assert known == "False"
    assert train(XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)) == [folder, "True", first]


def test_a_place_that_was_chosen_is_kept(tmp_path: Path) -> None:
    assert train(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))[0] == str(tmp_path / "mine")
    assert any((tmp_path / "mine").iterdir())


def test_an_option_that_is_unknown_is_left_out(monkeypatch) -> None:
    lowered = jax.jit(lambda x: x + 1).lower(np.float32(1))
    compile_plainly = lowered.compile

    def compile_only_plainly(options=None):
        if options:
            raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: No such compile option")
        return compile_plainly()

    monkeypatch.setattr(lowered, "compile", compile_only_plainly)
    assert compile_program(lowered, state_size=1)(np.float32(1)) == 2
