"""Checks gradients in host memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..gradients import CheckedGradients, GradientChecker
from ..tensor_gradients import TensorChecker
from ..torch_tensors.reader import Reader
from ..torch_tensors.tracing import refuse_traced
from .arrays import ARRAYS, HostArrays
from .rows import as_slices, checked_slices
from .tensor import HostTensor


class HostChecker(GradientChecker):
    """Checks gradients that are NumPy arrays, tensors of PyTorch in host memory, or some rows."""

    def __init__(self, tensors: Sequence[HostTensor], arrays: HostArrays = ARRAYS) -> None:
        super().__init__(tensors, arrays)

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
        return self._gathered(leaves, views, {i: given.indices for i, given in slices.items()})


class HostTensorChecker(TensorChecker, HostChecker):
    """As `HostChecker`, where parameters are tensors."""

    def __init__(self, tensors: Sequence[HostTensor], reader: Reader) -> None:
        refuse_traced("a step")
        HostChecker.__init__(self, tensors)
        self._watch(reader)
