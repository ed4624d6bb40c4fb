"""Checks gradients on a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ..gradients import CheckedGradients, GradientChecker, real_dtypes
from ..torch_tensors.view import check_plain, is_tensor, kind_of
from .arrays import DeviceTensor, aligned, as_cupy, on_device, shadow


def addresses(arrays: Sequence[Any]) -> NDArray[np.int64]:
    """Return where the data of each array begins."""
    return np.fromiter((a.data.ptr for a in arrays), np.int64, len(arrays))


class DeviceChecker(GradientChecker):
    """Checks gradients that are CuPy arrays, or can be seen as such."""

    array_type = cupy.ndarray

    def __init__(self, tensors: Sequence[DeviceTensor]) -> None:
        self.device = tensors[0].flat.device
        self.home = self.device.id
        super().__init__(tensors, addresses)

    def _all_as_expected(self, leaves: list[Any]) -> CheckedGradients | None:
        if any(getattr(leaf, "device", None) != self.device for leaf in leaves):
            return None
        return super()._all_as_expected(leaves)

    def _one_by_one(self, leaves: list[Any]) -> CheckedGradients:
        views = [
            None if leaf is None else self._checked(leaf, tensor)
            for leaf, tensor in zip(leaves, self.tensors, strict=True)
        ]
        self._check_overlap([None if view is None else shadow(view) for view in views])
        arrays = [None if view is None else cupy.ascontiguousarray(view) for view in views]
        names = [None if a is None else a.dtype.name for a in arrays]
        found = [0 if a is None else a.data.ptr for a in arrays]
        return CheckedGradients(arrays, real_dtypes(names), np.array(found, np.int64))

    def _as_array(self, name: str, grad: Any) -> Any:
        if is_tensor(grad):
            check_plain(name, grad)
        if not on_device(grad):
            raise TypeError(
                f"{name} is a {kind_of(grad)}; expected an array on a CUDA device (cupy.asarray "
                "copies one there) or None"
            )
        array = as_cupy(grad)
        if array.device.id != self.home:
            raise ValueError(
                f"{name} is on device {array.device.id}; the parameters are on {self.home}"
            )
        if not aligned(array):
            raise ValueError(f"{name} starts at {array.data.ptr:#x}, which is not aligned")
        return array

    def _in_memory(self, array: Any) -> NDArray[Any]:
        return shadow(array)
