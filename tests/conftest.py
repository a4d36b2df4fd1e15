"""Strict mode for every test: shapes checked, no silent promotion, two devices, warnings are errors."""

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import numpy as np
import optax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# optax itself raises a float to an integer count in Adam and multiplies one by a bool in the one-cycle schedule.
optax_promotion = jax.numpy_dtype_promotion("standard")
optax.tree.bias_correction = optax_promotion(optax.tree.bias_correction)
one_cycle = optax.cosine_onecycle_schedule
optax.cosine_onecycle_schedule = lambda *arguments: optax_promotion(one_cycle(*arguments))
install_import_hook("mlpjax", "beartype.beartype")


def load_experiment(name: str) -> ModuleType:
    """The file experiments/NAME.py as a module; the folder is no package."""
    path = Path(__file__).parent.parent / "experiments" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def coarse_digits() -> Any:
    """200 and 100 digits of 49 coarse pixels, as a data set."""
    mlpjax = importlib.import_module("mlpjax")  # behind the hook
    whole = mlpjax.load("mnist5k")

    def few(split: Any, count: int) -> Any:
        coarse = split.x[:count].reshape(count, 7, 4, 7, 4).mean(axis=(2, 4)).astype(np.uint8)
        return mlpjax.Split(coarse, split.y[:count])

    return mlpjax.Dataset("few", few(whole.train, 200), few(whole.valid, 0), few(whole.test, 100), classes=10)
