"""Buffers that travel between host and device without anybody waiting."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .device import Device
from .driver import Event, Pinned, copy_to_device, copy_to_host

SLOTS = 4  # how many sendings the host may be ahead of the device
# copies that may not be done yet: pinned memory that nobody refers to is used again at once
_under_way: deque[tuple[Event, Pinned]] = deque()
_lock = threading.Lock()


def _keep(memory: Pinned, done: Event) -> None:
    """Keep ``memory`` until the event ``done`` has happened."""
    with _lock:
        while _under_way and _under_way[0][0].happened:
            _under_way.popleft()
        _under_way.append((done, memory))


class Upload:
    """A buffer on the device that is refilled from the host.

    What is sent is copied into pinned memory first, so the caller may change it at once. There
    are a few such slots in turn: the host waits only if the device is that far behind.
    """

    def __init__(self, device: Device, nbytes: int) -> None:
        self.nbytes, self._device = nbytes, device
        self._memory = device.empty(nbytes, "uint8")
        (address,) = device.addresses([self._memory])
        self.address = int(address)
        self._slots: list[tuple[Pinned, Event] | None] = [None] * SLOTS
        self._turn = 0

    def send(self, *parts: NDArray[Any]) -> None:
        """Fill the buffer with the bytes of these arrays, on the current stream."""
        if not self.nbytes:
            return
        slot = self._slots[self._turn]
        if slot is None:
            slot = self._slots[self._turn] = Pinned(self.nbytes), Event()
        else:
            slot[1].synchronize()
        self._turn = (self._turn + 1) % SLOTS
        memory, sent = slot
        start = 0
        for part in parts:
            stop = start + part.nbytes
            memory.bytes[start:stop] = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            start = stop
        stream = self._device.stream()
        copy_to_device(self.address, memory, start, stream)
        sent.record(stream)
        _keep(memory, sent)


class Download:
    """A few numbers (float64) of the device, on the host when they are needed."""

    def __init__(self, device: Device, address: int, count: int) -> None:
        self._device, self._address = device, address
        self._memory, self._arrived = Pinned(8 * count), Event()

    def start(self) -> None:
        """Copy the numbers as they will be at this point of the current stream."""
        stream, nbytes = self._device.stream(), self._memory.bytes.nbytes
        copy_to_host(self._memory, self._address, nbytes, stream)
        self._arrived.record(stream)
        _keep(self._memory, self._arrived)

    def wait(self) -> NDArray[np.float64]:
        """Wait until the numbers have arrived, and return them."""
        self._arrived.synchronize()
        return np.array(self._memory.bytes.view(np.float64))
