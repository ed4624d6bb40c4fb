"""CuPy arrays on a CUDA device, updated by the printed kernels of ``backends/cuda``: one launch per
pass for all tensors.

Nothing waits for the device in a step: rows of scalars travel by asynchronous copies, and what is
known of all gradients together stays on the device.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from ...install_command import install_command
from ...protocol import Availability, too_old
from ..cuda import compiler_version

OLDEST = (14, 0)  # the first CuPy with bfloat16


def availability() -> Availability:
    """Say whether this backend can run here and, if not, why and what to install."""
    if importlib.util.find_spec("cupy") is None:
        return Availability("cupy", False, "CuPy is not installed", _install())
    try:
        import cupy
    except Exception as error:  # whatever is wrong with an installation of many libraries
        return Availability("cupy", False, f"CuPy cannot be imported ({_line(error)})", _install())
    if reason := too_old("CuPy", cupy.__version__, OLDEST):
        return Availability("cupy", False, reason, _install())
    runtime = cupy.cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        return _without_device(runtime, error)
    if not devices:
        return Availability("cupy", False, "there is no CUDA device", "it needs an NVIDIA GPU")
    try:
        version = compiler_version()
    except RuntimeError as error:
        return Availability("cupy", False, str(error), _install())
    name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
    return Availability("cupy", True, f"CUDA kernels on {name}; NVRTC {version}")


def _without_device(runtime: Any, error: Exception) -> Availability:
    driver = runtime.driverGetVersion()
    if not driver:
        detail, remedy = "there is no CUDA driver", "it needs an NVIDIA GPU and its driver"
        return Availability("cupy", False, detail, f"{remedy}; then {_install()}")
    if "InsufficientDriver" in str(error):
        detail = (
            f"the CUDA driver is too old: it supports CUDA {_version(driver)}, and this CuPy is "
            f"for CUDA {_version(runtime.runtimeGetVersion())}"
        )
        return Availability("cupy", False, detail, f"update the driver, or {_install()}")
    return Availability("cupy", False, f"CUDA says {_line(error)}", "see nvidia-smi")


def _install() -> str:
    command = install_command("cuda13")
    return f"install it with: {command} (for a CUDA 12 driver: cuda12 instead of cuda13)"


def _version(number: int) -> str:
    """Return a version in words from CUDA's number: 13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def get_backend() -> Any:
    """Return the backend."""
    from .backend import CupyBackend

    return CupyBackend()
