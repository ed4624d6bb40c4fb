"""CUDA C to PTX and machine code by the NVRTC wheel, through ctypes: no driver and no GPU."""

from __future__ import annotations

import ctypes
import functools
import os
from importlib.metadata import distribution
from pathlib import Path

from samestep.printing.cuda import OPTIONS

ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
# folders of other releases, separated by colons: each must be there
VARIABLE = "SAMESTEP_TEST_NVRTC"
AGE = "are deprecated and may be removed"  # a remark about the device, none about the text


class CompileError(Exception):
    """NVRTC refused the text; the message is its log."""


def wheel_file(package: str, name: str) -> Path:
    """A file of an installed wheel of NVIDIA's, by how its name begins."""
    wheel = distribution(package)
    for file in wheel.files or ():
        if file.name.startswith(name):
            return Path(str(wheel.locate_file(file)))
    raise FileNotFoundError(f"{package} {wheel.version} has no file {name}*")


class Nvrtc:
    """One release of NVRTC, from its library."""

    def __init__(self, path: Path) -> None:
        for part in path.parent.glob("libnvrtc-builtins.so*"):  # some releases only find it loaded
            ctypes.CDLL(str(part))
        self.library = ctypes.CDLL(str(path))

    def version(self) -> tuple[int, int]:
        """Return major and minor version."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def architectures(self) -> list[str]:
        """List what it makes machine code for, such as "90"."""
        count = ctypes.c_int()
        self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self.library.nvrtcGetSupportedArchs(found)
        return list(map(str, found))

    def compile(self, source: str, options: tuple[str, ...], result: str) -> bytes:
        """Compile CUDA text to "CUBIN" or "PTX"; raises as `cubin` does."""
        program = ctypes.c_void_p()
        self.library.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
        )
        try:
            every = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
            failed = self.library.nvrtcCompileProgram(program, len(options), every)
            log = self._get(program, "ProgramLog").rstrip(b"\0").decode()
            if failed or any(AGE not in line for line in log.splitlines() if line.strip()):
                raise CompileError(log)
            return self._get(program, result)
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _get(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self.library[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.library[f"nvrtcGet{what}"](program, buffer)
        return buffer.raw


@functools.cache
def newest() -> Nvrtc:
    """Load the release that is installed beside the tests."""
    return Nvrtc(wheel_file("nvidia-cuda-nvrtc", "libnvrtc.so"))


def others() -> list[Path]:
    """List the libraries in the folders that `VARIABLE` names."""
    folders = [Path(name) for name in os.environ.get(VARIABLE, "").split(":") if name]
    found = [sorted(folder.rglob("libnvrtc.so*")) for folder in folders]
    for folder, libraries in zip(folders, found, strict=True):
        assert libraries, f"{VARIABLE}: {folder} has no libnvrtc.so"
    return [libraries[0] for libraries in found]


def cubin(source: str, architecture: str, options: tuple[str, ...] = OPTIONS) -> bytes:
    """Machine code of CUDA text for an ``architecture`` such as "90".

    Raises
    ------
    CompileError
        With NVRTC's log; also if it only warns.
    """
    return newest().compile(source, (*options, f"-arch=sm_{architecture}"), "CUBIN")


def ptx(source: str, architecture: str = "90", options: tuple[str, ...] = OPTIONS) -> str:
    """PTX of CUDA text; raises as `cubin` does."""
    text = newest().compile(source, (*options, f"-arch=compute_{architecture}"), "PTX")
    return text.rstrip(b"\0").decode()
