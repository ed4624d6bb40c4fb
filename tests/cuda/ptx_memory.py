"""Memory of the PTX interpreter: the process's own arrays as global memory, and shared memory.

Every access is checked as compute-sanitizer does on a GPU: bounds, alignment, memory that nobody
wrote, and races. Two accesses race if at least one of them writes, different threads make them,
and no barrier of their block is between them; between blocks there are none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ptx_operations import Fault

NOBODY, SEVERAL = -1, -2
Array = NDArray[Any]


class Races:
    """Who used each granule of memory last, and in which epoch of its block."""

    def __init__(self, granules: int) -> None:
        self.writer = np.full(granules, NOBODY)
        self.writer_block = np.full(granules, NOBODY)
        self.written_in = np.full(granules, NOBODY)
        self.reader = np.full(granules, NOBODY)
        self.reader_block = np.full(granules, NOBODY)
        self.read_in = np.full(granules, NOBODY)

    def read(self, at: Array, lane: Array, block: Array, epoch: Array, text: str) -> None:
        """Note that each ``lane`` reads the granule ``at``."""
        writer, theirs = self.writer[at], self.writer_block[at]
        unordered = (theirs != block) | (self.written_in[at] == epoch)
        if ((writer != NOBODY) & (writer != lane) & unordered).any():
            raise Fault(f"race: read of what another thread writes: {text}")
        others = self.reader_block[at]
        first = (self.read_in[at] < epoch) & (others == block) | (others == NOBODY)
        lanes = np.where(first | (self.reader[at] == lane), lane, SEVERAL)
        blocks = np.where((others == NOBODY) | (others == block), block, SEVERAL)
        self.reader[at], self.reader_block[at], self.read_in[at] = lanes, blocks, epoch
        self.reader[at[self.reader[at] != lane]] = SEVERAL
        self.reader_block[at[self.reader_block[at] != block]] = SEVERAL

    def write(self, at: Array, lane: Array, block: Array, epoch: Array, text: str) -> None:
        """Note that each ``lane`` writes the granule ``at``."""
        writer, theirs = self.writer[at], self.writer_block[at]
        unordered = (theirs != block) | (self.written_in[at] == epoch)
        clash = (writer != NOBODY) & (writer != lane) & unordered
        reader, theirs = self.reader[at], self.reader_block[at]
        unordered = (theirs != block) | (self.read_in[at] == epoch)
        clash |= (reader != NOBODY) & (reader != lane) & unordered
        self.writer[at], self.writer_block[at], self.written_in[at] = lane, block, epoch
        if (clash | (self.writer[at] != lane)).any():
            raise Fault(f"race: write of what another thread uses: {text}")


class SharedMemory:
    """The shared memory of every block."""

    GRANULE = 4

    def __init__(self, size: int, blocks: int) -> None:
        self.size = size
        self.stride = -(-size // 16) * 16
        self.bytes = np.full(self.stride * blocks, 0xA5, np.uint8)
        self.races = Races(len(self.bytes) // self.GRANULE)

    def locate(
        self, address: Array, count: int, itemsize: int, who: tuple, text: str
    ) -> tuple[Array, Array]:
        """Item and granule numbers of an access to ``count`` items at each address."""
        nbytes = count * itemsize
        address = address.astype(np.int64)
        if ((address < 0) | (address > self.size - nbytes)).any():
            raise Fault(f"outside of shared memory: {text}")
        if (address % nbytes).any() or itemsize < self.GRANULE:
            raise Fault(f"misaligned access to shared memory: {text}")
        return _spread(address + who[1] * self.stride, 0, count, itemsize, self.GRANULE)

    def load(self, address: Array, dtype: np.dtype, count: int, who: tuple, text: str) -> Array:
        items, granules = self.locate(address, count, dtype.itemsize, who, text)
        if (self.races.writer[granules] == NOBODY).any():
            raise Fault(f"read of shared memory that nobody wrote: {text}")
        self.races.read(granules.ravel(), *_each(who, granules), text)
        return self.bytes.view(dtype)[items]

    def store(self, address: Array, values: Array, who: tuple, text: str) -> None:
        count, itemsize = values.shape[1], values.dtype.itemsize
        items, granules = self.locate(address, count, itemsize, who, text)
        self.races.write(granules.ravel(), *_each(who, granules), text)
        self.bytes.view(values.dtype)[items] = values


class GlobalMemory:
    """The arrays that a launch may use; one that is not writeable is only read.

    ``read`` and ``written`` count the bytes moved per array, in the order of ``arrays``;
    ``accesses`` counts what threads asked for, however wide.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.order = sorted(
            (i for i, a in enumerate(arrays) if a.size), key=lambda i: arrays[i].ctypes.data
        )
        used = [arrays[i] for i in self.order]
        self.low = np.array([a.ctypes.data for a in used], np.int64)
        self.high = self.low + np.array([a.nbytes for a in used], np.int64)
        self.writeable = np.array([a.flags.writeable for a in used])
        self.granule = min((a.itemsize for a in used if a.itemsize < 4), default=4)
        self.base = int(self.low[0]) // 64 * 64 if used else 0
        # all of the process's memory from the first array on; only looked at inside of arrays
        span = (int(self.high[-1]) - self.base + 63) // 64 * 64 if used else 0
        self.bytes = np.frombuffer((ctypes.c_uint8 * span).from_address(self.base), np.uint8)
        sizes = (self.high - self.low) // self.granule
        first = np.concatenate([[0], np.cumsum(sizes + 1)]).astype(np.int64)
        self.granule_shift = first[:-1] * self.granule - self.low
        self.races = Races(int(first[-1]))
        self.constant = np.zeros(int(first[-1]), bool)
        self.accesses = 0
        self.read = np.zeros(len(arrays), np.int64)
        self.written = np.zeros(len(arrays), np.int64)

    def locate(
        self, address: Array, count: int, itemsize: int, text: str
    ) -> tuple[Array, Array, Array]:
        """Item numbers, granule numbers and array of each access."""
        nbytes = count * itemsize
        address = address.astype(np.int64)
        if itemsize < self.granule or (address % nbytes).any():
            raise Fault(f"misaligned access of {nbytes} bytes: {text}")
        array = np.searchsorted(self.low, address, "right") - 1
        if ((array < 0) | (address > self.high[array] - nbytes)).any():
            raise Fault(f"outside of every array: {text}")
        shift = self.granule_shift[array]
        items, granules = _spread(address, shift, count, itemsize, self.granule)
        return items - self.base // itemsize, granules, array

    def load(
        self, address: Array, dtype: np.dtype, count: int, who: tuple, text: str, constant: bool
    ) -> Array:
        """``constant``: through the cache for what nobody writes during the launch (``.nc``)."""
        items, granules, array = self.locate(address, count, dtype.itemsize, text)
        if constant:
            if (self.races.writer[granules] != NOBODY).any():
                raise Fault(f"read as constant, but written during the launch: {text}")
            self.constant[granules] = True
        self.races.read(granules.ravel(), *_each(who, granules), text)
        self._count(self.read, array, count * dtype.itemsize)
        return self.bytes.view(dtype)[items]

    def store(self, address: Array, values: Array, who: tuple, text: str) -> None:
        count, itemsize = values.shape[1], values.dtype.itemsize
        items, granules, array = self.locate(address, count, itemsize, text)
        if not self.writeable[array].all():
            raise Fault(f"write to what is only read: {text}")
        if self.constant[granules].any():
            raise Fault(f"write to what is also read as constant: {text}")
        self.races.write(granules.ravel(), *_each(who, granules), text)
        self._count(self.written, array, count * itemsize)
        self.bytes.view(values.dtype)[items] = values

    def _count(self, counter: Array, array: Array, nbytes: int) -> None:
        self.accesses += len(array)
        counts = np.bincount(array, minlength=len(self.low))
        counter[self.order] += counts * nbytes


def _spread(
    address: Array, shift: Array | int, count: int, itemsize: int, granule: int
) -> tuple[Array, Array]:
    """Item numbers from address 0 on, and granule numbers of shifted addresses; an access a
    line."""
    items = (address // itemsize)[:, None] + np.arange(count)
    granules = ((address + shift) // granule)[:, None] + np.arange(count * itemsize // granule)
    return items, granules


def _each(who: tuple, granules: Array) -> tuple[Array, Array, Array]:
    """Thread, block and epoch of an access for each of its granules."""
    lane, block, epoch = (np.repeat(each, granules.shape[1]) for each in who)
    return lane, block, epoch
