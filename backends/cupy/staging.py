"""Buffers that travel between host and device without anybody waiting."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

SLOTS = 4  # how many sendings the host may be ahead of the device
# copies that may not be done yet: CuPy's pool gives pinned memory to the next who asks for some as
# soon as nobody refers to it
_under_way: deque[tuple[Any, Any]] = deque()
_lock = threading.Lock()


def _keep(memory: Any, done: Any) -> None:
    """Keep ``memory`` until the event ``done`` has happened."""
    with _lock:
        while _under_way and _under_way[0][0].done:
            _under_way.popleft()
        _under_way.append((done, memory))


def pinned(nbytes: int) -> tuple[Any, NDArray[np.uint8]]:
    """Return host memory that the device reads and writes by itself, and its bytes."""
    nbytes = max(nbytes, 1)
    memory = cupy.cuda.alloc_pinned_memory(nbytes)
    view = memoryview((ctypes.c_uint8 * nbytes).from_address(memory.ptr))
    return memory, np.frombuffer(view, np.uint8)


class Upload:
    """A buffer on the device that is refilled from the host.

    What is sent is copied into pinned memory first, so the caller may change it at once. There
    are a few such slots in turn: the host waits only if the device is that far behind.
    """

    def __init__(self, nbytes: int) -> None:
        self.device = cupy.empty(nbytes, np.uint8)
        self._slots = [pinned(nbytes) for _ in range(SLOTS)]
        self._sent: list[Any] = [None] * SLOTS
        self._turn = 0

    def address(self, offset: int = 0) -> int:
        """Return the address of a byte of the buffer, on the device."""
        return int(self.device.data.ptr) + offset

    def send(self, *parts: NDArray[Any]) -> None:
        """Fill the buffer with the bytes of these arrays, on the current stream."""
        if not self.device.size:
            return
        turn = self._turn
        self._turn = (turn + 1) % SLOTS
        if self._sent[turn] is None:
            self._sent[turn] = cupy.cuda.Event(disable_timing=True)
        else:
            self._sent[turn].synchronize()
        memory, view = self._slots[turn]
        start = 0
        for part in parts:
            view[start : start + part.nbytes] = (
                np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            )
            start += part.nbytes
        stream = cupy.cuda.get_current_stream()
        self.device.data.copy_from_host_async(memory.ptr, start, stream)
        self._sent[turn].record(stream)
        _keep(memory, self._sent[turn])


class Download:
    """A few numbers of the device, on the host when they are needed."""

    def __init__(self, source: Any) -> None:
        self._memory, view = pinned(source.nbytes)
        self._values = view.view(source.dtype)
        self._source = source
        self._arrived = cupy.cuda.Event(disable_timing=True)

    def start(self) -> None:
        """Copy the numbers as they will be at this point of the current stream."""
        stream = cupy.cuda.get_current_stream()
        self._source.data.copy_to_host_async(self._memory.ptr, self._source.nbytes, stream)
        self._arrived.record(stream)
        _keep(self._memory, self._arrived)

    def wait(self) -> NDArray[Any]:
        """Wait until the numbers have arrived, and return them."""
        self._arrived.synchronize()
        return np.array(self._values)
