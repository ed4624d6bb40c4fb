"""Checking gradients that are tensors in host memory, a thousand of them in a few passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .foreign import as_numpy, is_tensor, loaded
from .gradients import Accepted, HostGradients
from .memory import identities

if TYPE_CHECKING:
    from .host import HostTensor

Integers = NDArray[np.int64]
AddressReader = Callable[[Integers, Integers], Integers]


class TensorGradients(HostGradients):
    """As `HostGradients`, for parameters that are tensors.

    A tensor can be made to stand for other memory (``tensor.data = other``) and stay the same
    object. So addresses are looked at even where the objects are those of the last step, those of
    the parameters too: one that has moved is followed. A backend may have a ``reader`` of the
    addresses of many tensors by their ids and item sizes.
    """

    def __init__(self, tensors: Sequence[HostTensor], reader: AddressReader | None = None) -> None:
        super().__init__(tensors)
        torch = loaded()
        self._tensor, self._reader = torch.Tensor, reader
        self._followed = [t for t in tensors if is_tensor(t.owner)]
        self._owners = [t.owner for t in self._followed]
        self._itemsizes = np.array([t.array.itemsize for t in tensors], np.int64)
        self._owner_itemsizes = np.array([t.array.itemsize for t in self._followed], np.int64)
        self._owner_ids = ids_of(self._owners)
        self._owner_addresses = self._where_owners_are()
        self._all_tensors = len(self._owners) == len(tensors)
        if self._all_tensors:
            self._types = {torch.Tensor, torch.nn.Parameter}
            self._on_host = [torch.device("cpu")] * len(tensors)
            self._strided = [torch.strided] * len(tensors)
            self._torch_dtypes = [owner.dtype for owner in self._owners]
            self._yes, self._no = [True] * len(tensors), [False] * len(tensors)
            self._complex = any(t.complex for t in tensors)
        self._moved = False  # and nobody was told yet
        self._addresses_seen = np.empty(0, np.int64)

    def _where_owners_are(self) -> Integers:
        return self._where(self._owners, self._owner_ids, self._owner_itemsizes)

    def _where(self, tensors: list[Any], ids: Integers, itemsizes: Integers) -> Integers:
        return data_ptrs(tensors) if self._reader is None else self._reader(ids, itemsizes)

    def _where_all_are(self, leaves: list[Any]) -> Integers:
        """The addresses of the gradients that are remembered, then of the parameters."""
        if self._reader is not None:
            return self._reader(self._all_ids, self._all_itemsizes)
        return data_ptrs([*(leaf for leaf in leaves if leaf is not None), *self._owners])

    def same(self, leaves: list[Any]) -> bool:
        """Whether these are the very tensors that were remembered last, and they and the
        parameters lie where they did."""
        return super().same(leaves) and not np.count_nonzero(
            self._where_all_are(leaves) != self._addresses_seen
        )

    def remember(self, leaves: list[Any]) -> None:
        """As `HostGradients.remember`; arrays among the leaves are looked at anew every time."""
        here = [i for i, leaf in enumerate(leaves) if leaf is not None]
        if all(is_tensor(leaves[i]) for i in here):
            super().remember(leaves)
            self._all_ids = ids_of([*(leaves[i] for i in here), *self._owners])
            self._all_itemsizes = np.append(self._itemsizes[here], self._owner_itemsizes)
            self._addresses_seen = self._where_all_are(leaves)

    def accept(self, leaves: list[Any]) -> Accepted:
        """As `HostGradients.accept`; ``moved`` of the result says whether parameters were
        followed to other memory, where everything that knows their addresses has to be told."""
        self._moved = self._follow() or self._moved
        accepted = super().accept(leaves)
        accepted.moved, self._moved = self._moved, False
        return accepted

    def _follow(self) -> bool:
        now = self._where_owners_are()
        gone = np.flatnonzero(now != self._owner_addresses)
        if not gone.size:
            return False
        moved = [self._followed[i] for i in gone]
        for tensor in moved:
            tensor.check_unchanged()
        for tensor in moved:
            tensor.look_again()
        self._owner_addresses = now
        self.find_spans()
        return True

    @staticmethod
    def _shapes(leaves: list[Any]) -> list[Any]:
        try:
            return list(map(attrgetter("shape"), leaves))
        except RuntimeError:  # a nested tensor has none
            return []

    def _all_as_expected(self, leaves: list[Any]) -> Accepted | None:
        tensor = self._tensor
        if (
            not self._all_tensors
            or not self._types.issuperset(map(type, leaves))
            or self._shapes(leaves) != self.shapes
            or list(map(attrgetter("dtype"), leaves)) != self._torch_dtypes
            or list(map(attrgetter("device"), leaves)) != self._on_host
            or list(map(attrgetter("layout"), leaves)) != self._strided
            or list(map(tensor.is_contiguous, leaves)) != self._yes
            or list(map(tensor.is_neg, leaves)) != self._no
            or (self._complex and list(map(tensor.is_conj, leaves)) != self._no)
        ):
            return None
        addresses = self._where(leaves, ids_of(leaves), self._itemsizes)
        if np.count_nonzero(addresses & self.misaligned):
            return None
        if np.count_nonzero(self._may_overlap(addresses, self.nbytes)):
            self._check_overlap([as_numpy(leaf) for leaf in leaves])
        return Accepted(list(leaves), self.kinds, addresses)


def ids_of(objects: list[Any]) -> Integers:
    """The objects' ids."""
    return np.frombuffer(identities(objects), np.int64)


def data_ptrs(tensors: list[Any]) -> Integers:
    """The addresses as PyTorch tells them."""
    return np.fromiter((tensor.data_ptr() for tensor in tensors), np.int64, len(tensors))
