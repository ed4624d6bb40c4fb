"""Gradients of some rows, as they come: checked, and made ready for a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...step.indexed_slices import IndexedSlices, coalesced
from ..torch_tensors.view import as_numpy, is_tensor, loaded
from .tensor import HostTensor


def as_slices(grad: Any, tensor: HostTensor) -> IndexedSlices | None:
    """Return a gradient of some rows, a sparse tensor included, as slices; None for a dense one."""
    if isinstance(grad, IndexedSlices):
        return grad
    if not is_tensor(grad) or grad.layout is not loaded().sparse_coo:
        return None
    name = f"the gradient of {tensor.name}"
    if grad.sparse_dim() != 1:
        raise TypeError(
            f"{name} is a sparse_coo tensor with sparse_dim {grad.sparse_dim()}; expected 1, rows"
        )
    if tuple(grad.shape) != tensor.shape:
        raise ValueError(f"{name} has shape {tuple(grad.shape)}; the parameter has {tensor.shape}")
    return IndexedSlices(grad._values(), grad._indices()[0])


def checked_slices(
    given: IndexedSlices, tensor: HostTensor, check: Callable[[Any, HostTensor, Any], Any]
) -> IndexedSlices:
    """Return copies, each row once and in order, of the compute dtype.

    ``check(values, tensor, shape)`` checks the values as if they were a dense gradient of this
    shape. Raises TypeError or ValueError, naming the parameter.
    """
    name = f"the gradient of {tensor.name}"
    if not tensor.shape:
        raise ValueError(f"{name} is sparse, of some rows; the parameter has none")
    shape = tuple(getattr(given.values, "shape", ()))
    values, indices = check(given.values, tensor, shape), as_numpy(given.indices)
    if values.ndim == 0 or values.shape[1:] != tensor.shape[1:]:
        raise ValueError(
            f"{name} has values of shape {values.shape}; expected {tensor.shape[1:]} for each index"
        )
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name} has indices of dtype {indices.dtype}; expected integers")
    if indices.shape != values.shape[:1]:
        raise ValueError(
            f"{name} has indices of shape {indices.shape} for values of {values.shape}"
        )
    if indices.size and (indices.min() < 0 or indices.max() >= tensor.shape[0]):
        raise ValueError(
            f"{name} has rows {indices.min()} to {indices.max()}; the parameter's are 0 to "
            f"{tensor.shape[0] - 1}"
        )
    dtype = np.result_type(values.dtype, tensor.compute)
    return coalesced(IndexedSlices(np.asarray(values, dtype), np.asarray(indices, np.int64)))
