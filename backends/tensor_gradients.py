"""Checks gradients that are tensors of PyTorch, a thousand of them in a few passes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from operator import attrgetter
from typing import Any

import numpy as np

from .arrays import Arrays
from .gradients import CheckedGradients, GradientChecker
from .tensor import AdoptedTensor
from .torch_tensors.reader import Reader, Watch
from .torch_tensors.tracing import refuse_traced
from .torch_tensors.view import is_lazy, is_tensor, loaded


class TensorChecker(GradientChecker):
    """Checks the gradients of parameters that are tensors.

    A tensor can be made to stand for other memory or another shape (``tensor.data = other``) and
    stay the same object. So tensors are looked at even where they are those of the last step,
    the parameters too: one that has moved is followed.
    """

    def __init__(self, tensors: Sequence[AdoptedTensor], arrays: Arrays, reader: Reader) -> None:
        refuse_traced("a step")
        super().__init__(tensors, arrays)
        self._watch(reader)

    def _watch(self, reader: Reader) -> None:
        torch, tensors = loaded(), self.tensors
        self._tensor, self._reader = torch.Tensor, reader
        self._followed = [t for t in tensors if is_tensor(t.owner)]
        self._owners = [t.owner for t in self._followed]
        self._watched = Watch(reader, self._owners)
        self._all_tensors = len(self._owners) == len(tensors)
        if self._all_tensors:
            self._own_shapes = [t.shape for t in tensors]
            self._types = {torch.Tensor, torch.nn.Parameter}
            self._devices = [owner.device for owner in self._owners]
            self._torch_dtypes = [owner.dtype for owner in self._owners]
            self._complex = any(t.complex for t in tensors)
        self._some_absent = False
        self._expected: Watch | None = None  # gradients that were found to be as expected

    def accept(self, leaves: list[Any]) -> CheckedGradients:
        """Check one gradient per tensor, or None; see the protocol. Raises RuntimeError where
        PyTorch records operations, since a launch would not be among them."""
        refuse_traced("a step")
        return super().accept(leaves)

    def same(self, leaves: list[Any]) -> bool:
        """Say whether these are the very tensors that were remembered last, and they and the
        parameters are what and where they were."""
        if not super().same(leaves):
            return False
        tensors = present(leaves) if self._some_absent else leaves
        return self._seen_tensors.unchanged([*self._owners, *tensors])

    def _recognizable(self, leaves: list[Any]) -> bool:
        tensors = present(leaves)
        if not all(map(is_tensor, tensors)):  # arrays are looked at every time
            return False
        self._some_absent = len(tensors) < len(leaves)
        self._seen_tensors = Watch(self._reader, [*self._owners, *tensors])
        return True

    def _has_its_memory(self, leaf: Any, view: Any) -> bool:
        return leaf is view or (is_tensor(leaf) and not is_lazy(leaf))

    def _check(self, leaves: list[Any]) -> CheckedGradients:
        self.moved = self._follow() or self.moved
        return super()._check(leaves)

    def _follow(self) -> bool:
        """Look up parameters that lie elsewhere than they did."""
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

    def _all_as_expected(self, leaves: list[Any]) -> CheckedGradients | None:
        if not self._all_tensors:
            return None
        addresses = None if self._expected is None else self._expected.look(leaves)
        if addresses is not None:
            return self._at(leaves, addresses)
        there = [leaf is not None for leaf in leaves]
        tensors = present(leaves)
        if not self._like_parameters(tensors, there):
            return None
        if len(tensors) == len(leaves):
            self._expected = Watch(self._reader, leaves)
            return self._at(leaves, self._expected.addresses)
        addresses = np.zeros(len(leaves), np.int64)
        addresses[there] = [tensor.data_ptr() for tensor in tensors]
        return self._at(leaves, addresses, there)

    def _like_parameters(self, tensors: list[Any], there: list[bool]) -> bool:
        """Say whether these are contiguous tensors like their parameters, those that are there."""
        kind = self._tensor
        return (
            self._types.issuperset(map(type, tensors))
            and self._shapes(tensors) == list(compress(self._own_shapes, there))
            and list(map(attrgetter("dtype"), tensors)) == list(compress(self._torch_dtypes, there))
            and list(map(attrgetter("device"), tensors)) == list(compress(self._devices, there))
            and set(map(attrgetter("layout"), tensors)) <= {loaded().strided}
            and all(map(kind.is_contiguous, tensors))
            and not any(map(kind.is_neg, tensors))
            and not (self._complex and any(map(kind.is_conj, tensors)))
        )


def present(leaves: list[Any]) -> list[Any]:
    """Return the leaves that are not None."""
    return [leaf for leaf in leaves if leaf is not None]
