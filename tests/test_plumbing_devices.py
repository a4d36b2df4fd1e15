"""Devices: as many as cores when asked, and the same figures on any number of them."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import COMPILED_FAST

TRAIN = """
import sys
import mlpjax
import numpy as np

mlpjax.use_all_cores()
import jax

devices, file = int(sys.argv[1]), sys.argv[2]
assert jax.local_device_count() == devices, jax.devices()
data = mlpjax.load("xor", n=50)
model = mlpjax.MLP(widths=(2, 16, 2), dropout=(0.2,))
trained = mlpjax.train_many(model, mlpjax.Recipe(batch_size=10, epochs=3), data, range(19), chunk=2)
np.savez(file, kernel=trained.params["dense_0"]["kernel"], loss=trained.history["test_loss"])
"""

EIGENVALUES = """
import jax
import mlpjax
import numpy as np
from threadpoolctl import threadpool_info

mlpjax.use_all_cores()
from mlpjax.landscape.linear_algebra import eigh

def twice(matrix):  # the two do not depend on each other: both can be under way at once
    return eigh(matrix)[0], eigh(-matrix)[0]


key = jax.random.key(0)
matrices = jax.random.normal(key, (24, 120, 120))
matrices += matrices.mT
threads = []
for _ in range(3):
    found, negative = mlpjax.map_seeds(
        twice, matrices, chunk=6, on_progress=lambda *_: threads.extend(threadpool_info())
    )
assert {library["num_threads"] for library in threads if library["user_api"] == "blas"} == {1}, threads
np.testing.assert_allclose(found, np.linalg.eigvalsh(matrices), atol=1e-4)
np.testing.assert_allclose(-negative[:, ::-1], found, atol=1e-4)
"""


def run(code, *arguments, devices=None):
    """In a process of its own, with so many devices; None: nothing is said of them."""
    flag = "" if devices is None else f" --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    settings = os.environ | {"XLA_FLAGS": COMPILED_FAST + flag}
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=300, check=False)


def test_eight_devices_find_what_one_finds(tmp_path, monkeypatch):
    answer = run(TRAIN, 8, tmp_path / "8.npz", devices=8)
    assert answer.returncode == 0, answer.stderr
    first = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: first)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(sys, "argv", ["-c", "1", str(tmp_path / "1.npz")])
    exec(TRAIN, {})
    one, eight = (np.load(tmp_path / f"{devices}.npz") for devices in (1, 8))
    for name in ("kernel", "loss"):  # rounding alone: sums are split otherwise over more threads
        np.testing.assert_allclose(one[name], eight[name], rtol=1e-4, atol=1e-6)


def test_linear_algebra_on_several_devices_comes_to_an_end():
    """JAX's kernels for batches can wait for each other for ever, and LAPACK's own threads take fifty times as long."""
    answer = run(EIGENVALUES, devices=2)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be counted")
def test_every_core_is_a_device_unless_told_otherwise():
    ask = "import mlpjax, jax; {}; mlpjax.use_all_cores(); print(jax.local_device_count())"
    assert int(run(ask.format("pass")).stdout) == len(os.sched_getaffinity(0))
    assert int(run(ask.format("jax.config.update('jax_num_cpu_devices', 3)")).stdout) == 3
    assert int(run(ask.format("pass"), devices=5).stdout) == 5


LATE = """
import os
os.sched_getaffinity = lambda _: range(5)
import jax
import mlpjax
jax.devices()
for _ in range(2):
    mlpjax.use_all_cores()
mlpjax.use_all_cores()
print(jax.local_device_count())
"""


def test_a_late_call_warns_once_with_the_mend_and_changes_nothing():
    answer = run(LATE)
    assert (answer.returncode, answer.stdout) == (0, "1\n")
    assert answer.stderr.count("Warning") == 1
    assert "<string>:8: UserWarning: use_all_cores() comes too late" in answer.stderr
    assert "call it before anything else that uses JAX" in answer.stderr


def test_a_second_call_is_no_late_one():
    answer = run("import jax, mlpjax; mlpjax.use_all_cores(); jax.devices(); mlpjax.use_all_cores()")
    assert (answer.returncode, answer.stderr) == (0, "")
