"""From printed CUDA C to functions on the device, with a cache on disk.

The compiler is called directly: CuPy's own way, ``RawModule(code=...)``, appends ``-ftz=true``,
which turns subnormal numbers into zero.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import cupy

from ...printing.cuda import OPTIONS
from ..launching import source_cache

_modules: dict[tuple[int, str], Any] = {}
_lock = threading.Lock()


def functions(label: str, source: str, names: Sequence[str]) -> list[Any]:
    """Return the kernels called ``names`` of a text, on the current device.

    Raises
    ------
    RuntimeError
        If NVRTC does not take the text or does not know the device; with what it said.
    """
    module = _module(label, source)
    return [module.get_function(name) for name in names]


def _module(label: str, source: str) -> Any:
    architecture = target(cupy.cuda.Device().compute_capability)
    version = cupy.cuda.nvrtc.getVersion()
    content = "\0".join([source, *OPTIONS, architecture, *map(str, version)])
    key = f"{label}_{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    device = cupy.cuda.runtime.getDevice()
    with _lock:
        if (device, key) not in _modules:
            _modules[device, key] = _load(label, source, architecture, key)
        return _modules[device, key]


def target(capability: str) -> str:
    """Return the option for a device of this compute capability ("86"): its machine code, or, where
    NVRTC is older than the device, the newest intermediate code that it can run."""
    known, number = cupy.cuda.nvrtc.getSupportedArchs(), int(capability)
    if number in known:
        return f"-arch=sm_{number}"
    older = [k for k in known if k < number]
    if not older:
        raise RuntimeError(
            f"the device has compute capability {number // 10}.{number % 10}; this NVRTC "
            f"compiles for {min(known) // 10}.{min(known) % 10} and newer"
        )
    return f"-arch=compute_{max(older)}"


def _load(label: str, source: str, architecture: str, key: str) -> Any:
    path = source_cache.cache_directory() / f"{key}.cubin"
    if path.exists():
        module = cupy.cuda.function.Module()
        try:
            module.load(path.read_bytes())
            return module
        except cupy.cuda.driver.CUDADriverError:  # damaged: compile it again
            pass
    code = compiled(label, source, architecture)
    source_cache.write(path, code)
    module = cupy.cuda.function.Module()
    module.load(code)
    return module


def compiled(label: str, source: str, architecture: str) -> bytes:
    """Return machine code, or intermediate code as a C string, of a text."""
    nvrtc = cupy.cuda.nvrtc
    program = nvrtc.createProgram(source, f"{label}.cu", [], [])
    try:
        nvrtc.compileProgram(program, [*OPTIONS, architecture])
        exact = architecture.startswith("-arch=sm_")
        code: bytes = nvrtc.getCUBIN(program) if exact else nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise RuntimeError(
            f"NVRTC {'.'.join(map(str, nvrtc.getVersion()))} cannot compile {label} with "
            f"{architecture}: {error}\n{log}"
        ) from error
    finally:
        nvrtc.destroyProgram(program)
    return code + b"\0"  # CuPy leaves out the last byte
