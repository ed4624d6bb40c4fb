"""Memory of the device: memory of the host that arrays are not let at before their work is done."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ._work import Stream, check_not_capturing, get_current_stream, number
from .cuda.memory import OutOfMemoryError
from .cuda.runtime import getDevice

ALIGNMENT = 512
_alive: dict[int, int] = {}  # address and size of every allocation
_limit = 0


class MemoryPool:
    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        global _limit
        _limit = size or 0

    def get_limit(self) -> int:
        return _limit

    def used_bytes(self) -> int:
        return sum(_alive.values())


_pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    return _pool


class Memory:
    """An allocation, full of NaN. As in CuPy's pool, it can be used again in the order of the
    stream that it was made for: what its owner has under way there still sees it."""

    def __init__(self, size: int) -> None:
        check_not_capturing()
        used = _pool.used_bytes()
        if _limit and used + size > _limit:
            raise OutOfMemoryError(size, used, _limit)
        self._bytes = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        start = self._bytes.ctypes.data
        self.ptr = start + -start % ALIGNMENT
        self.size, self.device_id = size, getDevice()
        _alive[self.ptr] = size
        weakref.finalize(self, _release, self.ptr, self._bytes, get_current_stream())


def _release(address: int, memory: np.ndarray, stream: Stream) -> None:
    del _alive[address]
    stream._queue.append((next(number), lambda: memory.fill(0xFF)))


class UnownedMemory:
    """Somebody else's."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner
        self.device_id = getDevice() if device_id < 0 else device_id
        if ptr not in _alive:
            _alive[ptr] = size
            weakref.finalize(self, _alive.pop, ptr, None)


class MemoryPointer:
    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self._offset = mem, offset

    @property
    def ptr(self) -> int:
        return self.mem.ptr + self._offset

    @property
    def device_id(self) -> int:
        return self.mem.device_id


_pinned: dict[int, int] = {}
_pinned_memory: list[np.ndarray] = []  # never given back


def pin(size: int) -> int:
    """Address of new memory that a device reads and writes by itself."""
    check_not_capturing()
    memory = np.full(size, 0xFF, np.uint8)
    _pinned_memory.append(memory)
    _pinned[memory.ctypes.data] = size
    return memory.ctypes.data


def _inside(allocations: dict[int, int], address: int, size: int) -> bool:
    return any(start <= address and address + size <= start + n for start, n in allocations.items())


def check_pinned(address: int, size: int) -> None:
    """Raise for a copy that would not be asynchronous."""
    if not _inside(_pinned, address, size):
        raise AssertionError(f"{address:#x} is not in pinned memory")


def check_alive(address: int, size: int = 1) -> None:
    """Raise for an address that is in no allocation of the device."""
    if not _inside(_alive, address, size):
        raise AssertionError(f"{address:#x} is in no live allocation of the device")
