"""The devices of this process, as a mesh over which the networks are spread."""

import functools
import os
import warnings

import jax
import numpy as np

AXIS = "seeds"
"""Name of the mesh's only axis."""


def core_count() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_all_cores() -> None:
    """Let every processor core train networks of its own, by giving JAX as many CPU devices as there are cores.

    JAX by default takes all cores for one device and splits every operation among them, which small networks are too
    small for. Call it before anything else that uses JAX. A number of devices that was chosen already
    (`jax_num_cpu_devices`, or `--xla_force_host_platform_device_count` in XLA_FLAGS) is left as it is.

    Warns:
        UserWarning: once, where JAX is at work already with fewer devices than cores.
    """
    chosen_by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen_by_flag or jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]
        return
    cores = core_count()
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # JAX is at work already
        if jax.default_backend() == "cpu" and jax.local_device_count() < cores:
            _warn_too_late(jax.local_device_count(), cores)


@functools.cache  # once
def _warn_too_late(devices: int, cores: int) -> None:
    warnings.warn(
        f"use_all_cores() comes too late: JAX is at work already, on {devices} device(s) for {cores} cores; "
        "call it before anything else that uses JAX",
        stacklevel=3,
    )


def device_mesh(most: int) -> jax.sharding.Mesh:
    """A mesh of this process's devices, of `most` of them at most."""
    return jax.sharding.Mesh(np.asarray(jax.local_devices()[:most]), (AXIS,))


def free_memory() -> float | None:
    """Bytes that are free on this process's devices, on the fullest of them; None on a CPU, or where it is not told."""
    reports = [device.memory_stats() for device in jax.local_devices() if device.platform != "cpu"]
    if not reports or not all(reports):
        return None
    return float(min(report["bytes_limit"] - report.get("bytes_in_use", 0) for report in reports if report))
