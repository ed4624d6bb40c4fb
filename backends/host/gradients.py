"""Checking gradients against their parameters, at little cost for each of a thousand arrays."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...language.dtypes import REAL_OF_COMPLEX, gradient_dtypes
from ..memory import address, addresses, bounds, c_strides, directly_usable, identities
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

if TYPE_CHECKING:
    from .tensor import HostTensor

Array = NDArray[Any]


class Accepted:
    """Gradients as launches use them: per tensor an array (or tensor) that compiled code can run
    over, the name of its dtype, and its address; None, None and 0 where there is no gradient."""

    def __init__(
        self, arrays: list[Any], kinds: list[str | None], addresses: NDArray[np.int64]
    ) -> None:
        self.arrays, self.kinds, self.addresses = arrays, kinds, addresses
        self.rows: dict[int, Array] = {}  # the indices of gradients that are of some rows only
        self.moved = False  # whether a parameter was found in other memory than before


class HostGradients:
    """Checks the gradients of these tensors, fastest if they are the arrays of last time.

    ``addresses`` tells where many arrays begin; a backend may have a faster one. Arrays elsewhere
    than on the host are seen through NumPy arrays over the same addresses.
    """

    array_type: type = np.ndarray

    def __init__(
        self,
        tensors: Sequence[Any],
        addresses: Callable[[list[Any]], NDArray[np.int64]] = addresses,
    ) -> None:
        self.tensors, self._addresses = tensors, addresses
        self.shapes = [t.shape for t in tensors]
        self.dtypes = [t.array.dtype for t in tensors]
        self.strides = [c_strides(t.shape, t.array.itemsize) for t in tensors]
        self.kinds: list[str | None] = [t.dtype for t in tensors]
        self.nbytes = np.array([t.array.nbytes for t in tensors], np.int64)
        self.misaligned = np.array([t.array.dtype.alignment - 1 for t in tensors], np.int64)
        self.find_spans()
        self._last_ids = b""
        self.forget()

    def find_spans(self) -> None:
        """Note which memory belongs to parameters and state."""
        held = [self._in_memory(a) for t in self.tensors for a in (t.array, *t.state.values())]
        spans = sorted(bounds(a) for a in held if a.size)
        self.starts = np.array([low for low, _ in spans], np.int64)
        # how far reaches what starts before starts[i]: interleaved parameters may nest
        ends = np.array([-1, *(high for _, high in spans)], np.int64)
        self.reach = np.maximum.accumulate(ends)

    def same(self, leaves: list[Any]) -> bool:
        """Whether these are the very arrays that were remembered last."""
        return self._seen is not None and identities(leaves) == self._seen

    def forget(self) -> None:
        """Look at the next gradients anew, whatever they are."""
        self._seen: bytes | None = None
        self._alive: list[Any] = []

    def remember(self, leaves: list[Any]) -> None:
        """Recognize these arrays next time, as long as all of them live: a new array may get the
        identity of one that is gone. Only from the second time on: arrays that are new at every
        step need not be watched."""
        ids = identities(leaves)
        if ids != self._last_ids:
            self._last_ids = ids
            return
        me = weakref.ref(self)  # no cycle: an optimizer is freed when its last user lets go

        def gone(_: Any) -> None:
            this = me()
            if this is not None:
                this.forget()

        self._alive = [weakref.ref(leaf, gone) for leaf in leaves if leaf is not None]
        self._seen = ids

    def accept(self, leaves: list[Any]) -> Accepted:
        """The gradients, checked, one per tensor or None.

        Raises
        ------
        TypeError, ValueError
            Naming the parameter, what came, and what was expected.
        """
        self.forget()
        return self._all_as_expected(leaves) or self._one_by_one(leaves)

    def _all_as_expected(self, leaves: list[Any]) -> Accepted | None:
        """The usual case in a few passes over all: contiguous arrays like their parameters."""
        if (
            set(map(type, leaves)) != {self.array_type}
            or list(map(attrgetter("shape"), leaves)) != self.shapes
            or list(map(attrgetter("dtype"), leaves)) != self.dtypes
            or list(map(attrgetter("strides"), leaves)) != self.strides
        ):
            return None
        addresses = self._addresses(leaves)
        if np.count_nonzero(addresses & self.misaligned):  # for few arrays faster than any()
            return None
        if np.count_nonzero(self._may_overlap(addresses, self.nbytes)):
            self._check_overlap([self._in_memory(leaf) for leaf in leaves])
        return Accepted(list(leaves), self.kinds, addresses)

    def _one_by_one(self, leaves: list[Any]) -> Accepted:
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
        kinds = [None if name is None else REAL_OF_COMPLEX.get(name, name) for name in names]
        arrays: list[Any] = []
        found = []
        for leaf, view in zip(leaves, views, strict=True):
            if view is None or (directly_usable(view) and not is_lazy(leaf)):
                arrays.append(leaf)
            else:
                arrays.append(view := np.array(view, order="C"))
            found.append(0 if view is None else address(view))
        accepted = Accepted(arrays, kinds, np.array(found, np.int64))
        accepted.rows = {i: given.indices for i, given in slices.items()}
        return accepted

    def _checked(self, grad: Any, tensor: HostTensor) -> Any:
        """The gradient as an array of this checker's type over the same memory."""
        name = f"the gradient of {tensor.name}"
        if is_tensor(grad):
            check_plain(name, grad)
        grad = self._as_array(name, grad)
        if grad.shape != tensor.shape:
            raise ValueError(f"{name} has shape {grad.shape}; the parameter has {tensor.shape}")
        if tensor.complex:
            expected: Iterable[str] = (tensor.array.dtype.name,)
        else:
            expected = gradient_dtypes(tensor.dtype)
        if grad.dtype.name not in expected or not grad.dtype.isnative:
            raise TypeError(
                f"{name} has dtype {grad.dtype.str if not grad.dtype.isnative else grad.dtype}; "
                f"expected {' or '.join(expected)}, as the parameter is {tensor.array.dtype}"
            )
        return grad

    def _as_array(self, name: str, grad: Any) -> Any:
        if is_tensor(grad):
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
        """As a NumPy array over the same addresses."""
        return as_numpy(array)

    def _may_overlap(self, low: Any, nbytes: Any) -> Any:
        """Whether memory from ``low`` on comes near a parameter or a state."""
        return (self.reach[self.starts.searchsorted(low + nbytes)] > low) & (nbytes > 0)

    def _check_overlap(self, views: Sequence[Array | None]) -> None:
        """A gradient must not lie in a parameter or in state."""
        for view, owner in zip(views, self.tensors, strict=True):
            if view is None or not view.size:
                continue
            low, high = bounds(view)
            if not self._may_overlap(low, high - low):
                continue
            for tensor in self.tensors:
                held = map(self._in_memory, (tensor.array, *tensor.state.values()))
                if any(np.shares_memory(view, array) for array in held):
                    raise ValueError(
                        f"the gradient of {owner.name} shares memory with "
                        f"{tensor.name} or its state"
                    )
