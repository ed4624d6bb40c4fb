"""Checks gradients against their parameters, at little cost for each of a thousand arrays."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from operator import attrgetter, eq, is_
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..identities import identities
from ..interrupts import held
from ..language.dtypes import REAL_OF_COMPLEX, WIDER, Cast, gradient_dtypes, numpy_dtype, taken_as
from ..protocol import Dtypes
from .arrays import Arrays
from .memory import bounds, c_strides
from .rows import as_rows, checked_rows
from .tensor import Indices

Array = NDArray[Any]
WHAT_IT_IS = attrgetter("shape", "dtype", "strides")


class CheckedGradients:
    """The gradients of one step, as launches read them.

    By position: ``arrays`` (or tensors) that compiled code can run over, ``dtypes`` their names,
    ``addresses`` where they begin; None, None and 0 where there is no gradient. ``rows`` has the
    indices of gradients that are of some rows only, a vector for each of the first axes.
    """

    def __init__(
        self,
        arrays: list[Any],
        dtypes: Dtypes,
        addresses: NDArray[np.int64],
        rows: Mapping[int, Indices] | None = None,
    ) -> None:
        self.arrays, self.dtypes, self.addresses = arrays, dtypes, addresses
        self.rows: Mapping[int, Indices] = rows or {}

    def addresses_at(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """Return where the gradients of these tensors begin."""
        return (
            self.addresses if len(positions) == len(self.addresses) else self.addresses[positions]
        )

    def release(self) -> None:
        """Let go of the arrays."""
        self.arrays = []


def real_dtypes(names: Iterable[str | None]) -> Dtypes:
    """Return the dtype names of gradients, those of their parts where they are complex."""
    return [None if name is None else REAL_OF_COMPLEX.get(name, name) for name in names]


class GradientChecker:
    """Checks the gradients of these tensors, fastest if they are the arrays of last time.

    How arrays lie to each other is seen through NumPy arrays over the same addresses, also of
    arrays elsewhere than on the host.
    """

    what = "gradient"  # what messages call them
    casts: Cast = False  # which gradients of other dtypes are converted
    moved = False  # only tensors of PyTorch can be made to stand for other memory
    _known: CheckedGradients  # of the arrays that were remembered last

    def __init__(self, tensors: Sequence[Any], arrays: Arrays) -> None:
        self.tensors, self.arrays = tensors, arrays
        self._array_names = [arrays.dtype_name(t.array) for t in tensors]
        self._alike = [
            (t.shape, t.array.dtype, c_strides(t.shape, t.array.itemsize)) for t in tensors
        ]
        self.dtypes: Dtypes = [t.dtype for t in tensors]
        self.nbytes = np.array([t.array.nbytes for t in tensors], np.int64)
        alignments = [numpy_dtype(t.dtype).alignment for t in tensors]
        self.misaligned = np.array(alignments, np.int64) - 1
        self.find_spans()
        self._last_ids = b""
        self.forget()

    def find_spans(self) -> None:
        """Take note of which memory belongs to parameters and state."""
        held = [self._in_memory(a) for t in self.tensors for a in (t.array, *t.state.values())]
        spans = sorted(bounds(a) for a in held if a.size)
        self.starts = np.array([low for low, _ in spans], np.int64)
        # how far reaches what starts before starts[i]: interleaved parameters may nest
        ends = np.array([-1, *(high for _, high in spans)], np.int64)
        self.reach = np.maximum.accumulate(ends)

    # ---- the same arrays as last time

    def accept(self, leaves: list[Any]) -> CheckedGradients:
        """Check one gradient per tensor, or None; see the protocol.

        Raises
        ------
        TypeError, ValueError
            Naming the parameter, what came, and what was expected.
        """
        if self.same(leaves):
            self._known.arrays = leaves
            return self._known
        self.forget()
        gradients = self._check(leaves)
        if all(map(is_, gradients.arrays, leaves)):  # a copy has to be made anew each step
            self._known = gradients
            self.remember(leaves)
        return gradients

    def same(self, leaves: list[Any]) -> bool:
        """Say whether these are the very arrays that were remembered last."""
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
        if not self._recognizable(leaves):
            return
        me = weakref.ref(self)  # no cycle: an optimizer is freed when its last user lets go

        def gone(_: Any) -> None:
            this = me()
            if this is not None:
                this.forget()

        self._alive = [weakref.ref(leaf, gone) for leaf in leaves if leaf is not None]
        self._seen = ids  # last: an interrupt before leaves nothing half remembered

    def _recognizable(self, leaves: list[Any]) -> bool:
        """Take note of what else of these has to stay as it is; say whether that can be seen."""
        return True

    # ---- others

    def _check(self, leaves: list[Any]) -> CheckedGradients:
        return self._all_as_expected(leaves) or self._one_by_one(leaves)

    def _all_as_expected(self, leaves: list[Any]) -> CheckedGradients | None:
        """Check the usual case in a few passes over all: contiguous arrays like their parameters,
        and maybe None for some."""
        kinds = set(map(type, leaves))
        if kinds == {self.arrays.kind}:
            # one after the other: a list of new tuples makes Python collect garbage
            fits = all(map(eq, map(WHAT_IT_IS, leaves), self._alike))
            return self._at(leaves, self.arrays.addresses(leaves)) if fits else None
        if kinds != {self.arrays.kind, NoneType}:
            return None
        there = [leaf is not None for leaf in leaves]
        arrays = list(compress(leaves, there))
        if not all(map(eq, map(WHAT_IT_IS, arrays), compress(self._alike, there))):
            return None
        addresses = np.zeros(len(leaves), np.int64)
        addresses[there] = self.arrays.addresses(arrays)
        return self._at(leaves, addresses, there)

    def _at(
        self,
        leaves: list[Any],
        addresses: NDArray[np.int64],
        there: list[bool] | None = None,
    ) -> CheckedGradients | None:
        """Accept arrays like their parameters, at these addresses, if they are aligned; not all of
        them have to be ``there``."""
        if np.count_nonzero(addresses & self.misaligned):  # for few arrays faster than any()
            return None
        dtypes, nbytes = self.dtypes, self.nbytes
        if there is not None:
            dtypes = [name if now else None for name, now in zip(dtypes, there, strict=True)]
            nbytes = nbytes * np.array(there)
        if np.count_nonzero(self._may_overlap(addresses, nbytes)):
            self._check_overlap([None if g is None else self._in_memory(g) for g in leaves])
        return CheckedGradients(list(leaves), dtypes, addresses)

    def _one_by_one(self, leaves: list[Any]) -> CheckedGradients:
        leaves, rows = list(leaves), {}
        views: list[Any] = [None] * len(leaves)
        for i, (leaf, tensor) in enumerate(zip(leaves, self.tensors, strict=True)):
            if leaf is None:
                continue
            if (given := as_rows(leaf, tensor)) is None:
                views[i] = self._checked(leaf, tensor)
            else:
                values, rows[i] = checked_rows(*given, tensor, self.arrays, self._checked)
                leaves[i] = views[i] = values
        return self._gathered(leaves, views, rows)

    def _gathered(
        self, leaves: list[Any], views: list[Any], rows: Mapping[int, Indices]
    ) -> CheckedGradients:
        """Return gradients that were seen one by one, copied where compiled code cannot run over
        them as they lie."""
        self._check_overlap([None if v is None else self.arrays.shadow(v) for v in views])
        names: list[str | None] = [None] * len(views)
        arrays: list[Any] = []
        addresses = np.zeros(len(views), np.int64)
        for i, (leaf, view) in enumerate(zip(leaves, views, strict=True)):
            if view is None:
                arrays.append(None)
                continue
            found = self.arrays.dtype_name(view)
            names[i] = taken_as(self._array_names[i], found, self.casts)
            if names[i] == found and self.arrays.usable(view):
                arrays.append(leaf if self._has_its_memory(leaf, view) else view)
            else:
                arrays.append(view := self.arrays.copy(view, names[i]))
            (addresses[i],) = self.arrays.addresses([view])
        return CheckedGradients(arrays, real_dtypes(names), addresses, rows)

    def _has_its_memory(self, leaf: Any, view: Any) -> bool:
        """Say whether what was given can be recognized by itself, as `remember` does."""
        return leaf is view

    def _checked(self, grad: Any, tensor: Any, shape: tuple[int, ...] | None = None) -> Any:
        """Return the gradient as an array of this checker's type over the same memory. It must
        have the tensor's shape, or this one."""
        name, given = f"the {self.what} of {tensor.name}", grad
        if not tensor.shape and isinstance(grad, (np.generic, int, float, complex)):
            grad = self._number(grad, tensor)
        grad = self.arrays.gradient(name, grad)
        found = tuple(grad.shape)
        if found != (tensor.shape if shape is None else shape):
            raise ValueError(f"{name} has shape {found}; the parameter has {tensor.shape}")
        own, dtype = (self.arrays.dtype_name(array) for array in (tensor.array, grad))
        if taken_as(own, dtype, self.casts) is None:
            expected = (own,) if tensor.complex else gradient_dtypes(tensor.dtype)
            raise TypeError(
                f"{name} has dtype {dtype}; expected {' or '.join(expected)}, as the parameter is "
                f"{own}; {self._remedy(given, own, dtype, expected[-1])}"
            )
        return grad

    def _remedy(self, given: Any, own: str, dtype: str, best: str) -> str:
        """Return what a message about the dtype of ``given`` advises, to have it as ``best``."""
        if dtype in REAL_OF_COMPLEX and own not in REAL_OF_COMPLEX:
            return "pass grad.real, if its real part is what you mean"
        name = "grad" if self.what == "gradient" else self.what
        call = f"astype(np.{best})" if hasattr(given, "astype") else f"to(torch.{best})"
        every = (
            ""
            if taken_as(own, dtype, True) is None or self.casts == WIDER  # PyTorch's classes
            else f"; or let the optimizer convert every {self.what}: cast_gradients=True"
        )
        return f"convert it: {name}.{call}{every}"

    def _number(self, grad: Any, tensor: Any) -> Any:
        """Return a number, the gradient of a parameter without axes, as an array without axes. A
        number of Python has no dtype: it becomes what is computed in."""
        if isinstance(grad, np.generic):
            return self.arrays.of_number(np.asarray(grad))
        if isinstance(grad, bool) or (isinstance(grad, complex) and not tensor.complex):
            return grad
        dtype = self.arrays.dtype_name(tensor.array) if tensor.complex else tensor.compute
        with held(), np.errstate(over="ignore"):
            return self.arrays.of_number(np.asarray(grad, dtype))

    def _in_memory(self, array: Any) -> Array:
        return self.arrays.shadow(self.arrays.view(array))

    # ---- overlaps

    def _may_overlap(self, low: Any, nbytes: Any) -> Any:
        """Say whether memory from ``low`` on comes near a parameter or a state; no memory at all
        may seem to."""
        return self.reach[self.starts.searchsorted(low + nbytes)] > low

    def _check_overlap(self, views: Sequence[Array | None]) -> None:
        """Raise ValueError for a gradient that lies in a parameter or in state."""
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
                        f"the {self.what} of {owner.name} shares memory with "
                        f"{tensor.name} or its state"
                    )
