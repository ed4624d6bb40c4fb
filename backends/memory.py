"""The addresses of NumPy arrays, and a check that they do not overlap."""

from __future__ import annotations

import bisect
import ctypes
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def directly_usable(array: Array) -> bool:
    """Say whether compiled code can run over the array's own memory."""
    return bool(array.flags.c_contiguous and array.flags.aligned)


def c_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides that NumPy gives a new array of this shape."""
    strides, stride = [], itemsize
    for n in reversed(shape):
        strides.append(stride)
        stride *= n
    return tuple(reversed(strides))


def shadow(address: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Array:
    """Return a NumPy array over addresses, to look at how arrays lie to each other; strides are in
    bytes. Its elements must not be touched: they may be on a device."""
    interface = {
        "data": (address, True),
        "shape": shape,
        "strides": strides,
        "typestr": f"|V{itemsize}",
        "version": 3,
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface))


def bounds(array: Array) -> tuple[int, int]:
    """Return the addresses of an array's first byte and behind its last one, whatever its
    strides."""
    if array.flags.c_contiguous:
        start = address(array)
        return start, start + array.nbytes
    return np.lib.array_utils.byte_bounds(array)


def overlaps_itself(array: Array) -> bool:
    """Say whether one byte belongs to several elements."""
    axes = sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1)
    reach = array.itemsize
    for stride, n in axes:
        if stride < reach:
            break
        reach += stride * (n - 1)
    else:
        return False
    if not array.size:
        return False
    # axes do not nest, as in strange uses of as_strided: look at every element
    offsets = np.zeros(1, np.int64)
    for stride, n in axes:
        offsets = np.add.outer(offsets, stride * np.arange(n)).reshape(-1)
    return bool((np.diff(np.sort(offsets)) < array.itemsize).any())


def overlapping(arrays: Sequence[Array]) -> tuple[int, int] | None:
    """Return the positions of two arrays that share memory, or None."""
    order = sorted((*bounds(a), i) for i, a in enumerate(arrays) if a.size)
    open_: list[tuple[int, int]] = []  # (end, position) of arrays that may reach this far
    for low, high, i in order:
        open_ = [(end, k) for end, k in open_ if end > low]
        for _, k in open_:
            if np.shares_memory(arrays[i], arrays[k]):
                return (min(i, k), max(i, k))
        open_.append((high, i))
    return None


def apart(values: Sequence[Array], arrays: Sequence[Array]) -> list[Array]:
    """Return ``values``, copies of those that lie in the memory of ``arrays``, which do not
    overlap."""
    spans = sorted(map(bounds, arrays))
    kept = []
    for each in values:
        low, high = bounds(each)
        last = bisect.bisect_left(spans, (high,)) - 1  # of those that begin before the end
        kept.append(each.copy() if last >= 0 and spans[last][1] > low else each)
    return kept


def _address(array: Any) -> int:
    return int(array.ctypes.data)


def _address_in_struct(array: Any) -> int:
    """Return the first field behind the object header of NumPy's array struct, whose layout is part
    of NumPy's binary interface. 0.2 to 0.3 µs instead of the 1.0 to 1.4 of
    ``array.ctypes.data``."""
    return ctypes.c_void_p.from_address(id(array) + object.__basicsize__).value or 0


_PROBES = [np.zeros(3), np.zeros((2, 5), np.float32)[1:]]
STRUCT_IS_READABLE = sys.implementation.name == "cpython" and all(
    _address_in_struct(probe) == _address(probe) for probe in _PROBES
)
address = _address_in_struct if STRUCT_IS_READABLE else _address


def addresses(arrays: list[Any]) -> NDArray[np.int64]:
    """Return the addresses at which the data of each array begins."""
    return np.fromiter(map(address, arrays), np.int64, len(arrays))
