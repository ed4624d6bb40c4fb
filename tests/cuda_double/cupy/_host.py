"""Kernels on the CPU: CUDA C compiled by g++ through ``host_shim.h``, and run there."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import re
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent.parent
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-shared", "-w"]
FLAGS += ["-U_FORTIFY_SOURCE", f"-I{HERE}"]
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)')
ORDER = 0  # in which the threads of a block take turns: 0 ascending, 1 descending, 2 shuffled
_folder, _number = tempfile.TemporaryDirectory(prefix="kernels-"), itertools.count()
SHIM = HERE / "host_shim.h"
# behind the machine code: by what it was made, so that nothing older is loaded, and what is in it
TRAILER = b"\0" + hashlib.sha256(SHIM.read_bytes() + repr(FLAGS).encode()).digest()


class _Index(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]


class _State(ctypes.Structure):
    _fields_ = [(name, _Index) for name in ("thread", "block", "block_size", "grid_size")]
    _fields_ += [("barrier", ctypes.c_void_p)]


def gxx(source: str, *flags: str) -> bytes:
    """Machine code of a C++ text; RuntimeError with what g++ said."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "code.so"
        command = ["g++", *FLAGS, *flags, "-x", "c++", "-", "-o", str(target)]
        done = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return target.read_bytes()


def build(source: str) -> bytes:
    """The kernels of a CUDA text as machine code of the CPU."""
    names = KERNEL.findall(source)
    wrappers = "".join(f"HOST_KERNEL({name})\n" for name in names)
    code = gxx(f"{source}\n{wrappers}HOST_MODULE\n", "-O1", "-include", str(SHIM))
    return code + TRAILER + ",".join(names).encode()


def _open(code: bytes) -> ctypes.CDLL:
    path = Path(_folder.name) / f"{next(_number)}.so"  # the loader knows libraries by their name
    path.write_bytes(code)
    return ctypes.CDLL(str(path))


@functools.cache
def _threads() -> ctypes.CDLL:
    return _open(gxx((HERE / "host_threads.cpp").read_text(), "-O2"))


class Library:
    """Loaded kernels."""

    def __init__(self, code: bytes) -> None:
        machine_code, found, names = code.rpartition(TRAILER)
        if not found:
            raise ValueError("this is no machine code of the double")
        self.names = names.decode().split(",")
        self._library = _open(machine_code)
        self.state = _State()
        self._library.host_use(ctypes.byref(self.state))

    def sizes(self, name: str) -> list[int]:
        """How many bytes each argument has."""
        found = (ctypes.c_int * 64)()
        count = getattr(self._library, f"host_sizes_{name}")(found)
        return list(found[:count])

    def run(self, name: str, grid: tuple, block: tuple, arguments: list[int]) -> None:
        """Run a kernel; ``arguments`` are the addresses of its arguments."""
        call = ctypes.cast(getattr(self._library, f"host_call_{name}"), ctypes.c_void_p)
        three = ctypes.c_uint * 3
        stuck = _threads().host_launch(
            call, ctypes.byref(self.state), three(*grid), three(*block),
            (ctypes.c_void_p * len(arguments))(*arguments), ORDER, 1,
        )  # fmt: skip
        if stuck:
            raise RuntimeError(f"{name}: some threads wait at a barrier that others never reach")
