"""Checks gradients on a CUDA device."""

from __future__ import annotations

from typing import Any

import cupy

from ..gradients import CheckedGradients, GradientChecker
from ..tensor_gradients import TensorChecker
from ..torch_tensors.view import loaded
from .arrays import CupyArrays, wait_for


class CupyChecker(GradientChecker):
    """Checks gradients that are CuPy arrays, or can be seen as such."""

    arrays: CupyArrays

    def _all_as_expected(self, leaves: list[Any]) -> CheckedGradients | None:
        here = cupy.cuda.Device(self.arrays.number)
        if any(leaf is not None and getattr(leaf, "device", None) != here for leaf in leaves):
            return None
        return super()._all_as_expected(leaves)


class CupyTensorChecker(TensorChecker):
    """Checks gradients that are tensors, after what PyTorch has under way on its current stream."""

    def accept(self, leaves: list[Any]) -> CheckedGradients:
        """Check one gradient per tensor, or None."""
        wait_for(loaded().cuda.current_stream(self._owners[0].device).cuda_stream)
        return super().accept(leaves)
