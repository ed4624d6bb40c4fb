"""Checking gradients that are tensors in host memory, a thousand of them in a few passes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..torch_tensors.reader import Reader, Watch
from ..torch_tensors.view import as_numpy, is_tensor, loaded
from .gradients import Accepted, HostGradients

if TYPE_CHECKING:
    from .tensor import HostTensor


class TensorGradients(HostGradients):
    """As `HostGradients`, for parameters that are tensors.

    A tensor can be made to stand for other memory or another shape (``tensor.data = other``) and
    stay the same object. So tensors are looked at even where they are those of the last step,
    the parameters too: one that has moved is followed.
    """

    def __init__(self, tensors: Sequence[HostTensor], reader: Reader) -> None:
        super().__init__(tensors)
        torch = loaded()
        self._tensor, self._reader = torch.Tensor, reader
        self._followed = [t for t in tensors if is_tensor(t.owner)]
        self._owners = [t.owner for t in self._followed]
        self._watched = Watch(reader, self._owners)
        self._all_tensors = len(self._owners) == len(tensors)
        if self._all_tensors:
            self._types = {torch.Tensor, torch.nn.Parameter}
            self._on_host = [torch.device("cpu")] * len(tensors)
            self._strided = [torch.strided] * len(tensors)
            self._torch_dtypes = [owner.dtype for owner in self._owners]
            self._yes, self._no = [True] * len(tensors), [False] * len(tensors)
            self._complex = any(t.complex for t in tensors)
        self._moved = False  # and nobody was told yet
        self._expected: Watch | None = None  # gradients that were found to be as expected

    def same(self, leaves: list[Any]) -> bool:
        """Whether these are the very tensors that were remembered last, and they and the
        parameters are what and where they were."""
        if not super().same(leaves):
            return False
        tensors = present(leaves) if self._some_absent else leaves
        return self._seen_grads.unchanged(tensors) and self._watched.unchanged(self._owners)

    def remember(self, leaves: list[Any]) -> None:
        """As `HostGradients.remember`; arrays among the leaves are looked at anew every time."""
        super().remember(leaves)
        if self._seen is None:
            return
        tensors = present(leaves)
        self._some_absent = len(tensors) < len(leaves)
        if all(map(is_tensor, tensors)):
            self._seen_grads = Watch(self._reader, tensors)
        else:
            self.forget()

    def accept(self, leaves: list[Any]) -> Accepted:
        """As `HostGradients.accept`; ``moved`` of the result says whether parameters were
        followed to other memory, where everything that knows their addresses has to be told."""
        self._moved = self._follow() or self._moved
        accepted = super().accept(leaves)
        accepted.moved, self._moved = self._moved, False
        return accepted

    def _follow(self) -> bool:
        moved = [self._followed[i] for i in self._watched.moved(self._owners)]
        if not moved:
            return False
        for tensor in moved:
            tensor.check_unchanged()
        for tensor in moved:
            tensor.look_again()
        self._watched = Watch(self._reader, self._owners)
        self.find_spans()
        return True

    @staticmethod
    def _shapes(leaves: list[Any]) -> list[Any]:
        try:
            return list(map(attrgetter("shape"), leaves))
        except RuntimeError:  # a nested tensor has none
            return []

    def _all_as_expected(self, leaves: list[Any]) -> Accepted | None:
        if not self._all_tensors:
            return None
        addresses = None if self._expected is None else self._expected.look(leaves)
        if addresses is None:
            if not self._like_parameters(leaves):
                return None
            self._expected = Watch(self._reader, leaves)
            addresses = self._expected.addresses
        if np.count_nonzero(addresses & self.misaligned):
            return None
        if np.count_nonzero(self._may_overlap(addresses, self.nbytes)):
            self._check_overlap([as_numpy(leaf) for leaf in leaves])
        return Accepted(list(leaves), self.kinds, addresses)

    def _like_parameters(self, leaves: list[Any]) -> bool:
        """Whether these are contiguous tensors like their parameters."""
        tensor = self._tensor
        return (
            self._types.issuperset(map(type, leaves))
            and self._shapes(leaves) == self.shapes
            and list(map(attrgetter("dtype"), leaves)) == self._torch_dtypes
            and list(map(attrgetter("device"), leaves)) == self._on_host
            and list(map(attrgetter("layout"), leaves)) == self._strided
            and list(map(tensor.is_contiguous, leaves)) == self._yes
            and list(map(tensor.is_neg, leaves)) == self._no
            and not (self._complex and list(map(tensor.is_conj, leaves)) != self._no)
        )


def present(leaves: list[Any]) -> list[Any]:
    """Without those that are None."""
    return [leaf for leaf in leaves if leaf is not None]
