"""Checks gradients in host memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gradients import CheckedGradients, GradientChecker, real_dtypes
from ..memory import address, directly_usable
from ..torch_tensors.view import (
    as_numpy,
    check_plain,
    described,
    is_lazy,
    is_tensor,
    kind_of,
    on_host,
)
from .rows import as_slices, checked_slices

Array = NDArray[Any]


class HostChecker(GradientChecker):
    """Checks gradients that are NumPy arrays, tensors of PyTorch in host memory, or some rows."""

    def _one_by_one(self, leaves: list[Any]) -> CheckedGradients:
        slices = {
            i: checked_slices(given, tensor, self._checked)
            for i, (leaf, tensor) in enumerate(zip(leaves, self.tensors, strict=True))
            if (given := as_slices(leaf, tensor)) is not None
        }
        leaves = [slices[i].values if i in slices else leaf for i, leaf in enumerate(leaves)]
        views = [
            leaf if leaf is None or i in slices else self._checked(leaf, tensor)
            for i, (leaf, tensor) in enumerate(zip(leaves, self.tensors, strict=True))
        ]
        self._check_overlap(views)
        names = [None if view is None else view.dtype.name for view in views]
        arrays: list[Any] = []
        found = []
        for leaf, view in zip(leaves, views, strict=True):
            if view is None or (directly_usable(view) and not is_lazy(leaf)):
                arrays.append(leaf)
            else:
                arrays.append(view := np.array(view, order="C"))
            found.append(0 if view is None else address(view))
        rows = {i: given.indices for i, given in slices.items()}
        return CheckedGradients(arrays, real_dtypes(names), np.array(found, np.int64), rows)

    def _as_array(self, name: str, grad: Any) -> Any:
        if is_tensor(grad):
            check_plain(name, grad)
            if not on_host(grad):
                raise TypeError(f"{name} is a {described(grad)}; expected one in host memory")
            grad = as_numpy(grad)
        if not isinstance(grad, np.ndarray):
            raise TypeError(
                f"{name} is a {kind_of(grad)}; expected a NumPy array (numpy.asarray makes one) or None"
            )
        if isinstance(grad, np.ma.MaskedArray):
            raise TypeError(f"{name} is a masked array; its mask would be ignored")
        return grad

    def _in_memory(self, array: Any) -> Array:
        return as_numpy(array)
