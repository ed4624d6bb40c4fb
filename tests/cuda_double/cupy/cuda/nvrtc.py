"""NVRTC's interface. "Machine code" is that of the CPU."""

from __future__ import annotations

import itertools
from typing import Any

from .. import _host

VERSION = (13, 2)
ARCHITECTURES = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)
# what the bits depend on, and what the CPU cannot be told otherwise
NEEDED = {"--fmad": "false", "-prec-div": "true", "-prec-sqrt": "true", "-ftz": "false"}
NAMES = {5: "NVRTC_ERROR_INVALID_OPTION", 6: "NVRTC_ERROR_COMPILATION"}
_programs: dict[int, Any] = {}
_handles = itertools.count(1)


class NVRTCError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"{NAMES[status]} ({status})")


class _Program:
    def __init__(self, source: str) -> None:
        self.source, self.log, self.code, self.exact = source, "", b"", False


def getVersion() -> tuple[int, int]:
    return VERSION


def getSupportedArchs() -> tuple[int, ...]:
    return ARCHITECTURES


def createProgram(src: str, name: str, headers: Any, include_names: Any) -> int:
    handle = next(_handles)
    _programs[handle] = _Program(src)
    return handle


def compileProgram(prog: int, options: Any) -> None:
    program = _programs[prog]
    chosen: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        chosen[name] = value  # the last one wins
    architecture = chosen.pop("-arch", "")
    kind, _, number = architecture.partition("_")
    program.exact = kind == "sm"
    if kind not in ("sm", "compute") or int(number) not in ARCHITECTURES:
        raise NVRTCError(5)
    chosen.pop("-default-device", None)  # of no importance to a CPU
    if chosen.pop("--std", "") != "c++17" or chosen != NEEDED:
        program.log = f"the CPU has the bits of {NEEDED}, not of {chosen}"
        raise NVRTCError(5)
    try:
        program.code = _host.build(program.source)
    except RuntimeError as error:
        program.log = str(error)
        raise NVRTCError(6) from None


def getCUBIN(prog: int) -> bytes:
    assert _programs[prog].exact, "there is no machine code for a virtual architecture"
    return _programs[prog].code  # without the last byte, which is 0, as CuPy gives it


def getPTX(prog: int) -> bytes:
    return _programs[prog].code


def getProgramLog(prog: int) -> str:
    return _programs[prog].log


def destroyProgram(prog: int) -> None:
    del _programs[prog]
