"""Compiling: with the options that suit the program, and remembered from one process to the next."""

import hashlib
import logging
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax
import platformdirs
from jaxtyping import PyTree

TINY_STATE = 4096
"""Numbers in the state of a network, its history included, below which it is compiled as a tiny one."""
KEPT = 64
"""Programs that this process keeps compiled, those used last."""

_compiled: OrderedDict[Hashable, Callable[..., PyTree]] = OrderedDict()


def compile_program(lowered: jax.stages.Lowered, state_size: int) -> Callable[..., PyTree]:
    """Compile with what makes small networks fast on a CPU; each choice is measured in benchmarks/README.md.

    An equal program, constants included, for the same devices is compiled once in a process.

    Args:
        lowered: the program.
        state_size: numbers in the state of one network.

    Returns:
        The compiled program.
    """
    options: dict[str, bool | str] = {}
    if jax.default_backend() == "cpu":
        options["xla_cpu_enable_concurrency_optimized_scheduler"] = False
        if state_size < TINY_STATE:  # no library calls for sums, which take up to ten times as long there
            options["xla_cpu_experimental_ynn_fusion_type"] = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    identity = _identity(lowered)
    if identity is None:
        return _compile(lowered, options)
    key = (identity, *options.items())
    if key not in _compiled:
        _compiled[key] = _compile(lowered, options)
    _compiled.move_to_end(key)
    if len(_compiled) > KEPT:
        _compiled.popitem(last=False)
    return _compiled[key]


def _compile(lowered: jax.stages.Lowered, options: dict[str, bool | str]) -> Callable[..., PyTree]:
    if options:
        try:
            return lowered.compile(options)
        except jax.errors.JaxRuntimeError:  # a jaxlib without these options
            pass
    return lowered.compile()


def _identity(lowered: jax.stages.Lowered) -> Hashable | None:
    """What equal programs have in common and no others; None for a program that is safe only if compiled anew."""
    try:  # the text leaves these out, and JAX has no public names for them
        inner: Any = lowered._lowering
        devices = tuple(inner._device_list)
        used_arguments = frozenset(inner.compile_args["kept_var_idx"])
        outside = [*inner.const_args, *inner.compile_args["host_callbacks"], *inner.compile_args["keepalive"]]
    except (AttributeError, KeyError, TypeError):  # another JAX
        return None
    if outside:  # Python functions, or arrays, that the text gives only a number
        return None
    text = hashlib.sha256(lowered.as_text().encode()).digest()
    trees = lowered.args_info, lowered.out_info
    return text, devices, used_arguments, *((*jax.tree.leaves(tree), jax.tree.structure(tree)) for tree in trees)


def remember_compilations() -> None:
    """Keep compiled programs on disk, so that the same study starts at once the next time.

    JAX's persistent cache, in the user's cache folder and there in one folder for each kind of processor, since a home
    may be shared by machines of several kinds. A place that was chosen already (JAX_COMPILATION_CACHE_DIR) is kept.
    Where the user's cache folder may not be written to, that is logged in one line and nothing is kept.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        kind = "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
        folder = platformdirs.user_cache_path("mlpjax") / hashlib.sha256(kind.encode()).hexdigest()[:8]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # else JAX warns of every program
                pass
        except OSError as error:
            logging.getLogger(__name__).warning(
                f"{folder}: compiled programs cannot be kept ({error.strerror}); set JAX_COMPILATION_CACHE_DIR to "
                "another folder to start faster the next time"
            )
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
