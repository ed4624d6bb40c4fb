"""CUDA C to PTX and machine code by the NVRTC wheel, through ctypes: no driver and no GPU."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

OPTIONS = ("--fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false", "--std=c++17")
ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")


@dataclass(frozen=True)
class Compiled:
    """What one compilation gave."""

    ptx: str
    cubin: bytes
    log: str


class CompileError(Exception):
    """NVRTC refused the text; the message is its log."""


def wheel_file(package: str, name: str) -> Path:
    """A file of an installed wheel of NVIDIA's, by how its name begins."""
    wheel = distribution(package)
    for file in wheel.files or ():
        if file.name.startswith(name):
            return Path(str(wheel.locate_file(file)))
    raise FileNotFoundError(f"{package} {wheel.version} has no file {name}*")


@functools.cache
def library() -> ctypes.CDLL:
    """The NVRTC library."""
    return ctypes.CDLL(str(wheel_file("nvidia-cuda-nvrtc", "libnvrtc.so")))


def version() -> tuple[int, int]:
    """Major and minor version of NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile_cuda(source: str, architecture: str, options: tuple[str, ...] = OPTIONS) -> Compiled:
    """PTX and machine code of ``source`` for ``architecture``, such as "90".

    Raises
    ------
    CompileError
        With NVRTC's log.
    """
    program = ctypes.c_void_p()
    library().nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
    )
    try:
        every = [option.encode() for option in (*options, f"-arch=sm_{architecture}")]
        failed = library().nvrtcCompileProgram(
            program, len(every), (ctypes.c_char_p * len(every))(*every)
        )
        log = _result(program, "ProgramLog").rstrip(b"\0").decode()
        if failed:
            raise CompileError(log)
        ptx = _result(program, "PTX").rstrip(b"\0").decode()
        return Compiled(ptx, _result(program, "CUBIN"), log)
    finally:
        library().nvrtcDestroyProgram(ctypes.byref(program))


def _result(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    library()[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    library()[f"nvrtcGet{what}"](program, buffer)
    return buffer.raw
