"""CUDA's driver, through NVIDIA's bindings: modules, launches, copies, events.

Addresses and handles of streams are integers. What is done is done in the device's primary context,
which all frameworks use; a framework makes its device current before these are called.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict
from typing import Any

import numpy as np
from cuda.bindings import driver as cuda
from numpy.typing import NDArray

PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE: pinned for all devices
NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_free: defaultdict[int, list[int]] = defaultdict(list)  # pinned memory nobody uses, by its size


class CudaError(RuntimeError):
    """An error that the driver reports. ``status`` is its number."""

    def __init__(self, status: Any) -> None:
        self.status = int(status)
        text = cuda.cuGetErrorString(status)[1] or b"unknown error"
        super().__init__(f"CUDA says {text.decode()} ({getattr(status, 'name', status)})")


def _done(result: tuple[Any, ...]) -> Any:
    """Return the value of a call. Raises CudaError."""
    if result[0]:
        raise CudaError(result[0])
    return result[1] if len(result) > 1 else None


def enter(device: int) -> None:
    """Make the device's primary context current in a thread that has none yet: frameworks leave
    that to the runtime's first call."""
    if not int(_done(cuda.cuCtxGetCurrent())):
        _done(cuda.cuCtxSetCurrent(_done(cuda.cuDevicePrimaryCtxRetain(device))))


def _attribute(device: int, name: str) -> int:
    attribute = getattr(cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
    return int(_done(cuda.cuDeviceGetAttribute(attribute, device)))


def capability(device: int) -> int:
    """Return the device's compute capability: 90 is 9.0."""
    major, minor = (_attribute(device, f"COMPUTE_CAPABILITY_{x}") for x in ("MAJOR", "MINOR"))
    return 10 * major + minor


def processors(device: int) -> int:
    """Return the number of multiprocessors."""
    return _attribute(device, "MULTIPROCESSOR_COUNT")


# ---- kernels


def load(code: bytes) -> Any:
    """Return the module with this machine code, or intermediate code as a C string, on the current
    device. Raises CudaError if the driver does not take it."""
    return _done(cuda.cuModuleLoadData(code))


def function(module: Any, name: str) -> int:
    """Return the handle of a module's kernel. The module must be kept."""
    return int(_done(cuda.cuModuleGetFunction(module, name.encode())))


class Arguments:
    """The arguments of a kernel, 8 bytes each: addresses and integers. ``values`` may be changed
    between launches."""

    def __init__(self, *values: int) -> None:
        self.values = np.array(values, np.uint64)
        first = self.values.ctypes.data
        self._cells = first + 8 * np.arange(len(values), dtype=np.uint64)
        self.address = int(self._cells.ctypes.data)


def launch(
    kernel: int, grid: tuple[int, int], block: int, arguments: Arguments, stream: int
) -> None:
    """Launch a kernel on a stream."""
    _done(cuda.cuLaunchKernel(kernel, *grid, 1, block, 1, 1, 0, stream, arguments.address, 0))


def capturing(stream: int) -> bool:
    """Say whether work on the stream is only being recorded."""
    return bool(int(_done(cuda.cuStreamIsCapturing(stream))))


# ---- copies


class Pinned:
    """Memory of the host that devices read and write by themselves, and its bytes. It is never
    given back to the system, which would wait for the devices: the next one uses it."""

    def __init__(self, nbytes: int) -> None:
        size = 1 << max(nbytes - 1, 63).bit_length()
        try:
            self.address = _free[size].pop()
        except IndexError:
            self.address = int(_done(cuda.cuMemHostAlloc(size, PORTABLE)))
        memory = memoryview((ctypes.c_uint8 * nbytes).from_address(self.address))
        self.bytes: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        weakref.finalize(self, _free[size].append, self.address)


def copy_to_device(target: int, source: Pinned, nbytes: int, stream: int) -> None:
    """Copy pinned memory to an address on the device, when the stream comes to it."""
    _done(cuda.cuMemcpyHtoDAsync(target, source.address, nbytes, stream))


def copy_to_host(target: Pinned, source: int, nbytes: int, stream: int) -> None:
    """Copy from an address on the device to pinned memory, when the stream comes to it."""
    _done(cuda.cuMemcpyDtoHAsync(target.address, source, nbytes, stream))


class Event:
    """A point in a stream that can be waited for."""

    def __init__(self) -> None:
        self._handle = _done(cuda.cuEventCreate(NO_TIMING))
        weakref.finalize(self, cuda.cuEventDestroy, self._handle)

    def record(self, stream: int) -> None:
        """Let it be the point that the stream has been filled up to."""
        _done(cuda.cuEventRecord(self._handle, stream))

    def precede(self, stream: int) -> None:
        """Let what is added to the stream from now on wait for it."""
        _done(cuda.cuStreamWaitEvent(stream, self._handle, 0))

    def synchronize(self) -> None:
        """Wait for it on the host."""
        _done(cuda.cuEventSynchronize(self._handle))

    @property
    def happened(self) -> bool:
        """True when the device has come to it."""
        status = cuda.cuEventQuery(self._handle)[0]
        if status == cuda.CUresult.CUDA_ERROR_NOT_READY:
            return False
        _done((status,))
        return True
