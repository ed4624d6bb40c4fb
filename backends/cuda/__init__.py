"""Kernels on a CUDA device, whoever owns the arrays there: compiled by NVRTC and launched through
the driver, both by way of NVIDIA's cuda-bindings."""

from __future__ import annotations

import importlib.util

from ...protocol import too_old

OLDEST_NVRTC = (12, 0)  # what tests compile with


def compiler_version() -> str:
    """Return NVRTC's version. Raises RuntimeError, saying what is missing, where kernels cannot be
    compiled and launched."""
    try:
        found = importlib.util.find_spec("cuda.bindings")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise RuntimeError("cuda-bindings, NVIDIA's Python interface to CUDA, is not installed")
    try:
        from . import compiler

        version = ".".join(map(str, compiler.version()))
    except Exception as error:  # the loader of libraries has errors of its own
        line = str(error).strip().split("\n")[0] or type(error).__name__
        raise RuntimeError(f"NVRTC, CUDA's compiler, cannot be loaded ({line})") from error
    if reason := too_old("NVRTC, CUDA's compiler,", version, OLDEST_NVRTC):
        raise RuntimeError(reason)
    return version
