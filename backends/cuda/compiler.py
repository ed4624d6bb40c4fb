"""From printed CUDA C to kernels on the device, with a cache on disk. The compiler is NVRTC."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

from cuda.bindings import nvrtc

from ...printing.cuda import OPTIONS
from ..launching import source_cache
from ..launching.notice import compiling
from . import driver

_modules: dict[tuple[int, str], Any] = {}
_lock = threading.Lock()


def version() -> tuple[int, int]:
    """Return NVRTC's version. Raises RuntimeError where it cannot be loaded."""
    major, minor = _done(nvrtc.nvrtcVersion())
    return major, minor


def functions(label: str, source: str, names: Sequence[str], device: int) -> list[int]:
    """Return the kernels called ``names`` of a text, on this device, which is the current one.

    Raises
    ------
    RuntimeError
        If NVRTC does not take the text or does not know the device; with what it said.
    """
    module = _module(label, source, device)
    return [driver.function(module, name) for name in names]


def _module(label: str, source: str, device: int) -> Any:
    architecture = target(driver.capability(device))
    content = "\0".join([source, *OPTIONS, architecture, *map(str, version())])
    key = f"{label}_{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    with _lock:
        if (device, key) not in _modules:
            _modules[device, key] = _load(label, source, architecture, key)
        return _modules[device, key]


def target(capability: int) -> str:
    """Return the option for a device of this compute capability (86 is 8.6): its machine code, or,
    where NVRTC is older than the device, the newest intermediate code that it can run."""
    (known,) = _done(nvrtc.nvrtcGetSupportedArchs())
    if capability in known:
        return f"-arch=sm_{capability}"
    older = [k for k in known if k < capability]
    if not older:
        raise RuntimeError(
            f"the device has compute capability {capability // 10}.{capability % 10}; this NVRTC "
            f"compiles for {min(known) // 10}.{min(known) % 10} and newer"
        )
    return f"-arch=compute_{max(older)}"


def _load(label: str, source: str, architecture: str, key: str) -> Any:
    path = source_cache.cache_directory() / f"{key}.cubin"
    if path.exists():
        try:
            return driver.load(path.read_bytes())
        except driver.CudaError:  # damaged: compile it again
            pass
    with compiling(path.parent):
        code = compiled(label, source, architecture)
    try:
        source_cache.write(path, code)
    except OSError as error:  # a full disk, such as
        source_cache.warn_not_kept(str(error))
    return driver.load(code)


def compiled(label: str, source: str, architecture: str) -> bytes:
    """Return machine code, or intermediate code as a C string, of a text."""
    options = [option.encode() for option in (*OPTIONS, architecture)]
    (program,) = _done(nvrtc.nvrtcCreateProgram(source.encode(), f"{label}.cu".encode(), 0, [], []))
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status:
            raise RuntimeError(
                f"NVRTC {'.'.join(map(str, version()))} cannot compile {label} with "
                f"{architecture}: {_name(status)}\n{_log(program)}"
            )
        return _code(program, "CUBIN" if architecture.startswith("-arch=sm_") else "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _code(program: Any, kind: str) -> bytes:
    (size,) = _done(getattr(nvrtc, f"nvrtcGet{kind}Size")(program))
    code: bytes = b" " * size
    _done(getattr(nvrtc, f"nvrtcGet{kind}")(program, code))  # the bindings write into bytes
    return code


def _log(program: Any) -> str:
    (size,) = _done(nvrtc.nvrtcGetProgramLogSize(program))
    log: bytes = b" " * size
    _done(nvrtc.nvrtcGetProgramLog(program, log))
    return log.rstrip(b"\0").decode(errors="replace")


def _done(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a call. Raises RuntimeError."""
    status, *values = result
    if status:
        raise RuntimeError(f"NVRTC says {_name(status)}")
    return tuple(values)


def _name(status: Any) -> str:
    return str(getattr(status, "name", status))
