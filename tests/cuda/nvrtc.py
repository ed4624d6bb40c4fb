"""CUDA C to PTX and machine code by the NVRTC wheel, through ctypes: no driver and no GPU."""

from __future__ import annotations

import ctypes
import functools
from importlib.metadata import distribution
from pathlib import Path

from samestep.backends.cuda_printer import OPTIONS

ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")


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


def cubin(source: str, architecture: str, options: tuple[str, ...] = OPTIONS) -> bytes:
    """Machine code of CUDA text for an ``architecture`` such as "90".

    Raises
    ------
    CompileError
        With NVRTC's log; also if it only warns.
    """
    return _compile(source, (*options, f"-arch=sm_{architecture}"), "CUBIN")


def ptx(source: str, architecture: str = "90", options: tuple[str, ...] = OPTIONS) -> str:
    """PTX of CUDA text; raises as `cubin` does."""
    text = _compile(source, (*options, f"-arch=compute_{architecture}"), "PTX")
    return text.rstrip(b"\0").decode()


def _compile(source: str, options: tuple[str, ...], result: str) -> bytes:
    program = ctypes.c_void_p()
    library().nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
    )
    try:
        every = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        failed = library().nvrtcCompileProgram(program, len(options), every)
        log = _get(program, "ProgramLog").rstrip(b"\0").decode()
        if failed or log:
            raise CompileError(log)
        return _get(program, result)
    finally:
        library().nvrtcDestroyProgram(ctypes.byref(program))


def _get(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    library()[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    library()[f"nvrtcGet{what}"](program, buffer)
    return buffer.raw
