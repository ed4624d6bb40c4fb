"""Gradients of some rows: checked, and made ready for a step, on any kind of array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..step.indexed_slices import IndexedSlices
from .arrays import Arrays
from .tensor import AdoptedTensor, Indices
from .torch_tensors.view import is_tensor, loaded


class Rows(NamedTuple):
    """A gradient of some rows: ``values`` has a row of reals for each of those that ``where`` names
    by its indices along each of the parameter's first axes."""

    values: Any
    where: Indices


def as_rows(grad: Any, tensor: AdoptedTensor) -> tuple[Any, Sequence[Any]] | None:
    """Return the values of a gradient of some rows, and its indices along each axis, unchecked;
    None for a dense one."""
    if isinstance(grad, IndexedSlices):
        return grad.values, [grad.indices]
    if not is_tensor(grad) or grad.layout is not loaded().sparse_coo:
        return None
    name = f"the gradient of {tensor.name}"
    if tuple(grad.shape) != tensor.shape:
        raise ValueError(f"{name} has shape {tuple(grad.shape)}; the parameter has {tensor.shape}")
    if tensor.shape and not grad.sparse_dim():
        raise TypeError(
            f"{name} is a sparse_coo tensor with sparse_dim 0; expected 1 or more, or a dense one "
            "(to_dense() makes it)"
        )
    return grad._values(), list(grad._indices())


def checked_rows(
    values: Any,
    indices: Sequence[Any],
    tensor: AdoptedTensor,
    arrays: Arrays,
    check: Callable[[Any, AdoptedTensor, Any], Any],
) -> Rows:
    """Return copies, each row once and in order, of the compute dtype.

    ``check(values, tensor, shape)`` checks the values as if they were a dense gradient of this
    shape. Raises TypeError or ValueError, naming the parameter.
    """
    name = f"the gradient of {tensor.name}"
    if not tensor.shape:
        raise ValueError(
            f"{name} is sparse, of some rows; the parameter has none (shape ()). Give a dense one"
        )
    values = check(values, tensor, tuple(getattr(values, "shape", ())))
    shape, row = tuple(values.shape), tensor.shape[len(indices) :]
    if not shape or shape[1:] != row:
        raise ValueError(f"{name} has values of shape {shape}; expected {row} for each index")
    with arrays.working():
        # copied before they are looked at: others may write to what was passed
        where = [_integers(name, arrays.indices(name, given), arrays) for given in indices]
        keys: Any = 0  # one number for each row
        for axis, (index, extent) in enumerate(zip(where, tensor.shape, strict=False)):
            if tuple(index.shape) != shape[:1]:
                found = tuple(index.shape)
                raise ValueError(f"{name} has indices of shape {found} for values of {shape}")
            if ((index < 0) | (index >= extent)).any():
                what = f"positions along axis {axis}" if axis else "rows"
                raise ValueError(
                    f"{name} has {what} {int(index.min())} to {int(index.max())}; the parameter's "
                    f"are 0 to {extent - 1}"
                )
            keys = keys * extent + index
        reals = arrays.reals(values if arrays.usable(values) else arrays.copy(values))
        if arrays.dtype_name(reals) != tensor.compute:
            reals = arrays.copy(reals, tensor.compute)
        width = len(reals) // max(shape[0], 1)
        summed, first = coalesced(reals.reshape(shape[0], width), keys, arrays.positions(shape[0]))
        return Rows(summed, tuple(index[first] for index in where))


def _integers(name: str, given: Any, arrays: Arrays) -> Any:
    """Return a copy of indices as int64. Of no index the dtype is that of an empty list."""
    dtype = arrays.dtype_name(given)
    if 0 not in given.shape and not dtype.lstrip("<>").startswith(("i", "u")):  # or ">i8"
        raise TypeError(f"{name} has indices of dtype {dtype}; expected integers")
    return arrays.copy(given, "int64")


def coalesced(values: Any, keys: Any, positions: Any) -> tuple[Any, Any]:
    """Return the rows of ``values``, one for each key, keys ascending, and the position of each
    key's first row.

    Rows of one key are added in pairs of neighbours, in the order they came, then pairs of pairs,
    and so on; in their own dtype. Nothing but operators is used, which NumPy, CuPy and PyTorch
    share.

    Parameters
    ----------
    values : array, (n, columns)
    keys : array of int64, (n,)
        From 0, so small that ``n`` times the largest one is an int64, too.
    positions : array of int64, (n,)
        From 0 to n - 1.
    """
    count = len(positions)
    if not count:
        return values, positions
    order = (keys * count + positions).argsort()  # no two are equal: any sort keeps their order
    keys, values = keys[order], values[order]
    new = positions == 0
    new[1:] = keys[1:] != keys[:-1]
    first = positions[new]
    if len(first) < count:
        _add_in_pairs(values, positions, new, first)
        values = values[first]
    return values, order[first]


def _add_in_pairs(values: Any, positions: Any, new: Any, first: Any) -> None:
    """Add to the first row of each key all others of it. ``new`` says where another key begins,
    ``first`` has these positions."""
    last = positions == len(positions) - 1
    last[:-1] = new[1:]
    of = new.cumsum(0) - 1  # which key
    place, behind = positions - first[of], positions[last][of] - positions
    left, apart = positions, 1
    while True:
        left = left[(place[left] % (2 * apart) == 0) & (behind[left] >= apart)]
        if not len(left):
            return
        values[left] += values[left + apart]
        apart *= 2
