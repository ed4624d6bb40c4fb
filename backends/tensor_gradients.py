"""Checking gradients that are tensors in host memory, a thousand of them in a few passes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from .foreign import as_numpy, is_tensor, loaded
from .gradients import Accepted, HostGradients

if TYPE_CHECKING:
    from .host import HostTensor


class TensorGradients(HostGradients):
    """As `HostGradients`, for parameters that are all tensors.

    A tensor can be made to stand for other memory (``tensor.data = other``) and stay the same
    object, so addresses are looked at even where the objects are those of the last step.
    """

    def __init__(self, tensors: Sequence[HostTensor]) -> None:
        super().__init__(tensors)
        torch = loaded()
        self._tensor = torch.Tensor
        self._kinds_of_tensors = {torch.Tensor, torch.nn.Parameter}
        self._on_host = [torch.device("cpu")] * len(tensors)
        self._strided = [torch.strided] * len(tensors)
        self._torch_dtypes = [t.owner.dtype for t in tensors]
        self._yes, self._no = [True] * len(tensors), [False] * len(tensors)
        self._complex = any(t.complex for t in tensors)
        self._addresses_seen: list[int] = []

    def same(self, leaves: list[Any]) -> bool:
        """Whether these are the very tensors that were remembered last, at the same addresses."""
        return super().same(leaves) and self._pointers(leaves) == self._addresses_seen

    def remember(self, leaves: list[Any]) -> None:
        """As `HostGradients.remember`; arrays among the leaves are looked at anew every time."""
        if all(leaf is None or is_tensor(leaf) for leaf in leaves):
            super().remember(leaves)
            self._addresses_seen = self._pointers(leaves)

    def _pointers(self, leaves: list[Any]) -> list[int]:
        data_ptr = self._tensor.data_ptr
        return [data_ptr(leaf) for leaf in leaves if leaf is not None]

    def _all_as_expected(self, leaves: list[Any]) -> Accepted | None:
        tensor = self._tensor
        if (
            not self._kinds_of_tensors.issuperset(map(type, leaves))
            or list(map(attrgetter("shape"), leaves)) != self.shapes
            or list(map(attrgetter("dtype"), leaves)) != self._torch_dtypes
            or list(map(attrgetter("device"), leaves)) != self._on_host
            or list(map(attrgetter("layout"), leaves)) != self._strided
            or list(map(tensor.is_contiguous, leaves)) != self._yes
            or list(map(tensor.is_neg, leaves)) != self._no
            or (self._complex and list(map(tensor.is_conj, leaves)) != self._no)
        ):
            return None
        addresses = np.fromiter(map(tensor.data_ptr, leaves), np.int64, len(leaves))
        if np.count_nonzero(addresses & self.misaligned):
            return None
        if np.count_nonzero(self._may_overlap(addresses, self.nbytes)):
            self._check_overlap([as_numpy(leaf) for leaf in leaves])
        return Accepted(list(leaves), self.kinds, addresses)
