"""Compiling: with the options that suit the program, and remembered from one process to the next."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import jax
import platformdirs
from jaxtyping import PyTree

TINY_STATE = 4096
"""Numbers in the state of a network, its history included, below which it is compiled as a tiny one."""


def compile_program(lowered: jax.stages.Lowered, state_size: int) -> Callable[..., PyTree]:
    """Compile with what makes small networks fast on a CPU; each choice is measured in benchmarks/README.md.

    Args:
        lowered: the program.
        state_size: numbers in the state of one network.

    Returns:
        The compiled program.
    """
    if jax.default_backend() != "cpu":
        return lowered.compile()
    options: dict[str, bool | str] = {"xla_cpu_enable_concurrency_optimized_scheduler": False}
    if state_size < TINY_STATE:  # no library calls for sums, which take up to ten times as long there
        options["xla_cpu_experimental_ynn_fusion_type"] = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    try:
        return lowered.compile(options)
    except jax.errors.JaxRuntimeError:  # a jaxlib without these options
        return lowered.compile()


def remember_compilations() -> None:
    """Keep compiled programs on disk, so that the same study starts at once the next time.

    JAX's persistent cache, in the user's cache folder and there in one folder for each kind of processor, since a home
    may be shared by machines of several kinds. A place that was chosen already (JAX_COMPILATION_CACHE_DIR) is kept.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        kind = "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
        folder = platformdirs.user_cache_path("mlpjax") / hashlib.sha256(kind.encode()).hexdigest()[:8]
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
