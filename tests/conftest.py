"""Strict mode for every test: shapes checked, no silent promotion, two devices, warnings are errors."""

import functools
import gc
import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Hashable
from pathlib import Path
from types import ModuleType
from typing import Any

# A program in one piece compiles in three quarters of the time.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
# XLA's old emitters of loops, which JAX 0.12 has no more, compile in half the time.
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 12):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import jaxtyping
import numpy as np
import optax
import pytest
from beartype import beartype
from jax._src.interpreters import mlir
from jaxtyping import install_import_hook
from matplotlib.figure import Figure
from matplotlib.text import Text

COMPILED_FAST = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
"""The flags for a process that a test starts, which chooses its own number of devices."""

# Compiling is most of what tests do: workers, processes that tests start, and later runs share what was compiled. It
# takes longer than what is computed, so little is done for speed; where that is wrong, there is `optimised`.
for name, value in {
    "jax_compilation_cache_dir": str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"),
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": 0,
    "jax_disable_most_optimizations": True,
    "jax_traceback_in_locations_limit": 0,
}.items():
    os.environ[name.upper()] = str(value)
    jax.config.update(name, value)
# JAX makes a compiler's context anew for each program: a quarter of the time that a small one takes.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# optax itself raises a float to an integer count in Adam and multiplies one by a bool in the one-cycle schedule.
optax_promotion = jax.numpy_dtype_promotion("standard")
optax.tree.bias_correction = optax_promotion(optax.tree.bias_correction)
one_cycle = optax.cosine_onecycle_schedule
optax.cosine_onecycle_schedule = lambda *arguments: optax_promotion(one_cycle(*arguments))
checks: dict[Any, Any] = {}


def beartype_once(function: Any) -> Any:
    """The check of a signature, made once: what is defined inside a function is defined anew at every call of it."""
    annotations = function.__annotations__
    if not all(isinstance(annotation, Hashable) for annotation in annotations.values()):  # those of a ParamSpec
        return beartype(function)
    key = function.__module__, function.__qualname__, function.__code__, *annotations.items()
    if key not in checks:
        checks[key] = beartype(function)
    return checks[key]


install_import_hook("mlpjax", "conftest.beartype_once")
# What is imported by now stays; looking through it for garbage, and often, takes a tenth of the time.
gc.freeze()
gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Any:
    """One more than xdist counts cores: some tests wait for other processes, or for a clock."""
    return (yield) + 1


def load_experiment(name: str) -> ModuleType:
    """The file experiments/NAME.py as a module; the folder is no package."""
    path = Path(__file__).parent.parent / "experiments" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(figure: Figure) -> str:
    """Every text of the drawn figure, which also shows that it can be drawn."""
    assert importlib.import_module("mlpjax.report.figures").png(figure).startswith(b"\x89PNG")
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def labelled(figure: Figure) -> None:
    """Every panel has a label on both axes."""
    for axes in figure.axes:
        if axes.axison and axes.get_label() != "<colorbar>":
            assert axes.get_xlabel(), axes
            assert axes.get_ylabel(), axes


def labels(figure: Figure) -> set[str]:
    """Of all legends."""
    legends = [legend for part in (figure, *figure.axes) for legend in getattr(part, "legends", [])]
    legends += [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


def forget() -> None:
    """Every program that was traced or compiled."""
    importlib.import_module("mlpjax.plumbing.compilation")._compiled.clear()
    jax.clear_caches()


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> Any:
    """What a file traced is forgotten after it: gigabytes that no other file needs, and that slow Python down."""
    yield
    forget()


@pytest.fixture(autouse=True, scope="module")
def shapes_are_checked(request: Any) -> Any:
    """But where experiments run, which is a tenth faster: what they call has its own tests."""
    jaxtyping.config.update("jaxtyping_disable", "test_experiments_" in request.module.__name__)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def optimised() -> Any:
    """From here to the end of the file programs are compiled as for a user: for their bits, or where they run long."""
    forget()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def only_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are not written as SVG and PDF, too, which takes four seconds a study."""
    monkeypatch.setattr("mlpjax.report.page.KINDS", ("png",))


@pytest.fixture(scope="session")
def silent() -> Any:
    """Nobody watches the progress."""
    return importlib.import_module("mlpjax.lift").silent


@pytest.fixture(scope="session")
def claims() -> Any:
    """One of every kind: holds, fails with a seed left out, exact, every, a theorem, a difference of other seeds."""
    claim = importlib.import_module("mlpjax.claims").Claim
    dropout, ridge = np.array([1.7, 1.72, 1.68, 1.7]), np.array([2.0, np.nan, 1.9, 2.1])
    trained = np.isfinite(ridge)
    limit: Any = {"source": "ISLR 10.2", "published": 1.8, "relation": "at most"}
    near: Any = {"source": "ISLR 10.2", "published": 3.3, "relation": "about", "tolerance": 0.1}
    return [
        claim.mean("dropout test error", dropout, unit="%", **limit, settles="Dropout helps."),
        claim.mean("ridge | test error", ridge, unit="%", among=trained, **near, tolerance_source="ours"),
        claim.exact("parameters", 235146),
        claim.every("networks that learn", np.arange(40) > 0, source="ISLR 10.2"),
        claim.every("convex", np.ones(40, bool), source="Boyd", theorem=True),
        claim.difference(
            "dropout against ridge", dropout, ridge[trained], paired=False, unit="points", **limit | {"published": -0.3}
        ),
    ]


@pytest.fixture(scope="session")
def coarse_digits() -> Any:
    """200 and 100 digits of 49 coarse pixels, as a data set."""
    mlpjax = importlib.import_module("mlpjax")  # behind the hook
    whole = mlpjax.load("mnist5k")

    def few(split: Any, count: int) -> Any:
        coarse = split.x[:count].reshape(count, 7, 4, 7, 4).mean(axis=(2, 4)).astype(np.uint8)
        return mlpjax.Split(coarse, split.y[:count])

    return mlpjax.Dataset("few", few(whole.train, 200), few(whole.valid, 0), few(whole.test, 100), classes=10)


@pytest.fixture(scope="session")
def subject(tmp_path_factory: Any) -> Any:
    """Three small networks on XOR and two that started at zero, for the findings to look at."""
    mlpjax = importlib.import_module("mlpjax")
    findings = importlib.import_module("mlpjax.findings.subject")
    model = mlpjax.MLP((2, 5, 2), "tanh")
    recipe = mlpjax.Recipe(batch_size=20, epochs=6, eval_every=2, learning_rate=0.05)
    dataset = mlpjax.load("xor", n=40)
    scale = {"scale": np.array([1.0, 1.0, 1.0, 0.0, 0.0])}
    trained = mlpjax.train_many(
        model, recipe, dataset, [3, 4, 5, 3, 4], sweep=scale, freeze=("order",), snapshots=(0, 2, 4, 6)
    )
    groups = {"random": trained.select(slice(3)), "zero": trained.select(slice(3, None))}
    folder = tmp_path_factory.mktemp("findings")
    return findings.Subject(model, recipe, dataset, **groups, freeze=("order",), grid=9, folder=folder)
