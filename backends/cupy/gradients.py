"""Checking gradients on a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ..gradients import Accepted, HostGradients
from .arrays import DeviceTensor, aligned, as_cupy, bounds, on_device


def addresses(arrays: Sequence[Any]) -> NDArray[np.int64]:
    """Where the data of each array begins."""
    return np.fromiter((a.data.ptr for a in arrays), np.int64, len(arrays))


class DeviceGradients(HostGradients):
    """As `HostGradients`, for CuPy arrays and whatever can be seen as one."""

    array_type = cupy.ndarray
    expected = "an array on a CUDA device"

    def __init__(self, tensors: Sequence[DeviceTensor]) -> None:
        super().__init__(tensors, addresses)

    def _spans(self) -> list[tuple[int, int]]:
        held = [a for t in self.tensors for a in (t.array, *t.state.values())]
        return [bounds(a) for a in held if a.size]

    def _one_by_one(self, leaves: list[Any]) -> Accepted:
        views = [
            None if leaf is None else self._checked(leaf, tensor)
            for leaf, tensor in zip(leaves, self.tensors, strict=True)
        ]
        self._check_overlap(views)
        arrays = [
            view if view is None or view.flags.c_contiguous else cupy.ascontiguousarray(view)
            for view in views
        ]
        kinds = [None if a is None else self._kind(a) for a in arrays]
        found = [0 if a is None else a.data.ptr for a in arrays]
        return Accepted(arrays, kinds, np.array(found, np.int64))

    def _view(self, name: str, grad: Any) -> Any:
        if not on_device(grad):
            kind = f"{type(grad).__module__}.{type(grad).__qualname__}"
            raise TypeError(
                f"{name} is a {kind}; expected {self.expected} or None (cupy.asarray copies one "
                "there)"
            )
        array = as_cupy(grad)
        home = self.tensors[0].flat.device.id
        if array.device.id != home:
            raise ValueError(f"{name} is on device {array.device.id}; the parameters on {home}")
        if not aligned(array):
            raise ValueError(f"{name} starts at {array.data.ptr:#x}, which is not aligned")
        return array

    def _shares(self, view: Any, array: Any) -> bool:
        if not array.size:
            return False
        (low, high), (first, last) = bounds(view), bounds(array)
        return low < last and first < high
