"""NVRTC's interface. "Machine code" is that of the CPU."""

from __future__ import annotations

import ctypes
import enum
import itertools
from typing import Any

from cupy import _host

VERSION = (13, 2)
ARCHITECTURES = [75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121]
# what the bits depend on, and what the CPU cannot be told otherwise
NEEDED = {"--fmad": "false", "-prec-div": "true", "-prec-sqrt": "true", "-ftz": "false"}
_programs: dict[int, Any] = {}
_handles = itertools.count(1)


class nvrtcResult(enum.IntEnum):
    NVRTC_SUCCESS = 0
    NVRTC_ERROR_INVALID_INPUT = 3
    NVRTC_ERROR_INVALID_OPTION = 5
    NVRTC_ERROR_COMPILATION = 6


OK = nvrtcResult.NVRTC_SUCCESS


class _Program:
    def __init__(self, source: str) -> None:
        self.source, self.log, self.code, self.exact = source, b"\0", b"", False


def nvrtcVersion() -> tuple[Any, ...]:
    return (OK, *VERSION)


def nvrtcGetSupportedArchs() -> tuple[Any, ...]:
    return OK, list(ARCHITECTURES)


def nvrtcCreateProgram(
    src: bytes, name: bytes, numHeaders: int, headers: Any, includeNames: Any
) -> tuple[Any, ...]:
    assert isinstance(src, bytes)
    assert isinstance(name, bytes)
    handle = next(_handles)
    _programs[handle] = _Program(src.decode())
    return OK, handle


def nvrtcCompileProgram(prog: Any, numOptions: int, options: Any) -> tuple[Any, ...]:
    program = _programs[prog]
    chosen: dict[str, str] = {}
    assert len(options) == numOptions
    for option in options:
        name, _, value = option.decode().partition("=")
        chosen[name] = value  # the last one wins
    architecture = chosen.pop("-arch", "")
    kind, _, number = architecture.partition("_")
    program.exact = kind == "sm"
    if kind not in ("sm", "compute") or int(number) not in ARCHITECTURES:
        return (nvrtcResult.NVRTC_ERROR_INVALID_OPTION,)
    chosen.pop("-default-device", None)  # of no importance to a CPU
    if chosen.pop("--std", "") != "c++17" or chosen != NEEDED:
        program.log = f"the CPU has the bits of {NEEDED}, not of {chosen}\0".encode()
        return (nvrtcResult.NVRTC_ERROR_INVALID_OPTION,)
    try:
        program.code = _host.build(program.source)
    except RuntimeError as error:
        program.log = f"{error}\0".encode()
        return (nvrtcResult.NVRTC_ERROR_COMPILATION,)
    return (OK,)


def _write(target: bytes, content: bytes) -> tuple[Any, ...]:
    """Write into bytes, as the bindings do."""
    assert type(target) is bytes
    assert len(target) == len(content)
    ctypes.memmove(target, content, len(content))
    return (OK,)


def nvrtcGetCUBINSize(prog: Any) -> tuple[Any, ...]:
    return OK, len(_programs[prog].code) if _programs[prog].exact else 0


def nvrtcGetCUBIN(prog: Any, cubin: bytes) -> tuple[Any, ...]:
    assert _programs[prog].exact, "there is no machine code for a virtual architecture"
    return _write(cubin, _programs[prog].code)


def nvrtcGetPTXSize(prog: Any) -> tuple[Any, ...]:
    return OK, len(_programs[prog].code) + 1


def nvrtcGetPTX(prog: Any, ptx: bytes) -> tuple[Any, ...]:
    return _write(ptx, _programs[prog].code + b"\0")


def nvrtcGetProgramLogSize(prog: Any) -> tuple[Any, ...]:
    return OK, len(_programs[prog].log)


def nvrtcGetProgramLog(prog: Any, log: bytes) -> tuple[Any, ...]:
    return _write(log, _programs[prog].log)


def nvrtcDestroyProgram(prog: Any) -> tuple[Any, ...]:
    del _programs[prog]
    return (OK,)
