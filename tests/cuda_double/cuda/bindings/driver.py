"""The driver's interface. Stricter than CUDA where that is silent: memory that is not pinned, and
pinned memory that was given back."""

from __future__ import annotations

import ctypes
import enum
import itertools
from typing import Any

import numpy as np
from cupy import _host
from cupy._memory import check_pinned, pin
from cupy._work import CUDARuntimeError, Event, later, stream_at
from cupy.cuda import runtime

_handles = itertools.count(1)
_modules: dict[int, Any] = {}
_functions: dict[int, Any] = {}
_events: dict[int, Event] = {}
_contexts = {0}  # of this thread: 0 is none


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905


class CUdevice_attribute(enum.IntEnum):
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


Result = tuple[Any, ...]
OK = CUresult.CUDA_SUCCESS


def cuGetErrorString(error: Any) -> Result:
    return OK, CUresult(error).name.removeprefix("CUDA_ERROR_").lower().replace("_", " ").encode()


def cuCtxGetCurrent() -> Result:
    return OK, 1 + runtime.getDevice() if runtime.CONTEXT else 0


def cuDevicePrimaryCtxRetain(dev: Any) -> Result:
    return OK, 1 + dev


def cuCtxSetCurrent(ctx: Any) -> Result:
    runtime.CONTEXT = True
    assert ctx == 1 + runtime.getDevice(), "the context is another device's"
    return (OK,)


def cuDeviceGetAttribute(attrib: Any, dev: Any) -> Result:
    properties = runtime.getDeviceProperties(dev)
    names = {16: "multiProcessorCount", 75: "major", 76: "minor"}
    return OK, properties[names[attrib]]


# ---- kernels


def cuModuleLoadData(image: Any) -> Result:
    assert type(image) is bytes
    if not runtime.CONTEXT:
        return CUresult.CUDA_ERROR_INVALID_CONTEXT, 0
    try:
        library = _host.Library(image.rstrip(b"\0"))
    except (OSError, ValueError):
        return CUresult.CUDA_ERROR_INVALID_IMAGE, 0
    handle = next(_handles)
    _modules[handle] = library, runtime.getDevice()
    return OK, handle


def cuModuleGetFunction(hmod: Any, name: bytes) -> Result:
    library, device = _modules[hmod]
    if name.decode() not in library.names:
        return CUresult.CUDA_ERROR_NOT_FOUND, 0
    handle = next(_handles)
    _functions[handle] = library, device, name.decode(), library.sizes(name.decode())
    return OK, handle


def cuLaunchKernel(
    f: Any,
    gridDimX: int,
    gridDimY: int,
    gridDimZ: int,
    blockDimX: int,
    blockDimY: int,
    blockDimZ: int,
    sharedMemBytes: int,
    hStream: Any,
    kernelParams: Any,
    extra: Any,
) -> Result:
    library, device, name, sizes = _functions[f]
    grid, block = (gridDimX, gridDimY, gridDimZ), (blockDimX, blockDimY, blockDimZ)
    assert extra == 0
    if device != runtime.getDevice():
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    if min(grid) < 1 or np.prod(block) > 1024 or max(grid[1:]) > 65535:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    places = (ctypes.c_void_p * len(sizes)).from_address(kernelParams)
    # arguments are taken now; whoever changes them later changes nothing
    cells = [ctypes.create_string_buffer(ctypes.string_at(p, n), n) for p, n in zip(places, sizes)]  # fmt: skip # noqa: B905
    later(
        lambda: library.run(name, grid, block, [ctypes.addressof(cell) for cell in cells]),
        stream_at(hStream),
    )
    return (OK,)


# ---- streams, events, copies


def cuStreamIsCapturing(hStream: Any) -> Result:
    return OK, int(stream_at(hStream).is_capturing())


def cuStreamWaitEvent(hStream: Any, hEvent: Any, Flags: int) -> Result:
    return _status(lambda: stream_at(hStream).wait_event(_events[hEvent]))


def cuEventCreate(Flags: int) -> Result:
    handle = next(_handles)
    _events[handle] = Event()
    return OK, handle


def cuEventRecord(hEvent: Any, hStream: Any) -> Result:
    _events[hEvent].record(stream_at(hStream))
    return (OK,)


def cuEventQuery(hEvent: Any) -> Result:
    done: list[bool] = []
    (status,) = _status(lambda: done.append(_events[hEvent].done))
    return (status if status or done[0] else CUresult.CUDA_ERROR_NOT_READY,)


def cuEventSynchronize(hEvent: Any) -> Result:
    return _status(_events[hEvent].synchronize)


def cuEventDestroy(hEvent: Any) -> Result:
    del _events[hEvent]
    return (OK,)


def _status(work: Any) -> Result:
    try:
        work()
    except CUDARuntimeError as error:
        return (CUresult(error.status),)
    return (OK,)


def cuMemHostAlloc(bytesize: int, Flags: int) -> Result:
    return OK, pin(bytesize)


def cuMemcpyHtoDAsync(dstDevice: Any, srcHost: Any, ByteCount: int, hStream: Any) -> Result:
    return _copy_later(dstDevice, srcHost, srcHost, ByteCount, hStream)


def cuMemcpyDtoHAsync(dstHost: Any, srcDevice: Any, ByteCount: int, hStream: Any) -> Result:
    return _copy_later(dstHost, srcDevice, dstHost, ByteCount, hStream)


def _copy_later(target: int, source: int, pinned: int, size: int, stream: Any) -> Result:
    check_pinned(pinned, size)
    later(lambda: ctypes.memmove(target, source, size), stream_at(stream))
    return (OK,)
