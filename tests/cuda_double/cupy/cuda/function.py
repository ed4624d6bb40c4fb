"""Modules and functions of the driver. Stricter than CuPy where that is silent: the sizes of
arguments, and arrays that are not alive."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _host
from .._array import ndarray
from .._memory import MemoryPointer, check_alive
from .._work import later
from .driver import CUDADriverError
from .runtime import getDevice


class Module:
    def __init__(self) -> None:
        self._library: Any = None

    def load(self, cubin: bytes) -> None:
        try:
            assert cubin.endswith(b"\0")
            self._library = _host.Library(cubin[:-1])
        except (AssertionError, OSError, ValueError):
            raise CUDADriverError(200) from None
        self._device = getDevice()

    def get_function(self, name: str) -> Function:
        return Function(self, name)


class Function:
    def __init__(self, module: Module, funcname: str) -> None:
        if funcname not in module._library.names:
            raise CUDADriverError(500)
        self._module, self._name = module, funcname
        self._sizes = module._library.sizes(funcname)

    def __call__(
        self, grid: tuple, block: tuple, args: Any, shared_mem: int = 0, stream: Any = None
    ) -> None:
        if not isinstance(grid, tuple) or not isinstance(block, tuple):
            raise TypeError("grid and block are tuples")
        if getDevice() != self._module._device:
            raise CUDADriverError(400)  # the function is another device's
        full = [tuple(int(n) for n in (*sizes, 1, 1))[:3] for sizes in (grid, block)]
        if min(full[0]) < 1 or np.prod(full[1]) > 1024 or max(full[0][1:]) > 65535:
            raise CUDADriverError(1)
        cells = [_packed(value) for value in args]
        if [cell.nbytes for cell in cells] != self._sizes:
            raise TypeError(f"{self._name} takes arguments of {self._sizes} bytes, not {cells}")
        held = list(args)

        def run() -> None:
            addresses = [cell.ctypes.data for cell in cells]
            self._module._library.run(self._name, *full, addresses)
            assert held is not None  # what the kernel works on has been alive up to here

        later(run, stream)


def _packed(value: Any) -> np.ndarray:
    """As CuPy hands it over: a Python number takes 8 bytes."""
    if isinstance(value, ndarray):
        if value.size:
            check_alive(value.data.ptr)
        assert value.device.id == getDevice()
        return np.array(value.data.ptr, np.uint64)
    if isinstance(value, MemoryPointer):
        return np.array(value.ptr, np.uint64)
    if type(value) is bool:
        return np.array(value)
    if type(value) is int:
        return np.array(value, np.uint64 if value >= 2**63 else np.int64)
    if type(value) is float:
        return np.array(value, np.float64)
    if isinstance(value, np.generic):
        return np.array(value)
    raise TypeError(f"Unsupported type {type(value)}")
