"""Readers of what many tensors are and where they lie, as far as that matters to a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...identities import identities
from .structs import AXES, Structs, structs
from .view import loaded

Integers = NDArray[np.int64]


class Reader(Protocol):
    """Looks at all tensors of a list in one go.

    A tensor's kind is its type, shape, strides, dtype, device, layout and laziness.
    """

    def kinds(self, tensors: list[Any]) -> Any:
        """Return the kind of each tensor."""

    def look(self, tensors: list[Any], kinds: Any) -> Integers | None:
        """Return the addresses of the first elements; None if a tensor is not of its kind."""


class ByTorch:
    """A reader that asks PyTorch."""

    def kinds(self, tensors: list[Any]) -> Any:
        tensor = loaded().Tensor
        return [
            list(map(told, tensors))
            for told in (type, *map(attrgetter, ("shape", "dtype", "device", "layout")),
                         tensor.stride, tensor.is_conj, tensor.is_neg)
        ]  # fmt: skip

    def look(self, tensors: list[Any], kinds: Any) -> Integers | None:
        try:
            if self.kinds(tensors) != kinds:
                return None
        except (AttributeError, RuntimeError, TypeError):  # not a tensor, or one without a shape
            return None
        found = (tensor.data_ptr() for tensor in tensors)
        return np.fromiter(found, np.int64, len(tensors))


class ByStructs:
    """A reader with compiled code that looks into the tensors' own structs; see `structs`.

    ``compiled`` has ``read_kinds`` and ``look``.
    """

    def __init__(self, where: Structs, compiled: Any) -> None:
        self._compiled, self._columns = compiled, len(where.kind) + 2

    def kinds(self, tensors: list[Any]) -> tuple[Integers, NDArray[np.int32]]:
        """Return the distinct kinds as rows of words, type and item size first; and which row each
        tensor has."""
        words = np.zeros((len(tensors), self._columns), np.int64)
        self._compiled.read_kinds(ids_of(tensors), words)
        words[:, 1] = [tensor.element_size() for tensor in tensors]
        known: dict[bytes, int] = {}
        index = [known.setdefault(row.tobytes(), len(known)) for row in words]
        rows = np.frombuffer(b"".join(known), np.int64).reshape(len(known), self._columns)
        return rows, np.array(index, np.int32)

    def look(self, tensors: list[Any], kinds: Any) -> Integers | None:
        found = np.empty(len(tensors), np.int64)
        alike = self._compiled.look(ids_of(tensors), *kinds, found)
        return found if alike else None


def reader_for(tensors: Sequence[Any], compiler: Callable[[Structs], Any] | None = None) -> Reader:
    """Return the fastest reader for these tensors. ``compiler`` makes what `ByStructs` needs."""
    where = None if compiler is None else structs()
    if compiler is None or where is None or any(tensor.ndim > AXES for tensor in tensors):
        return ByTorch()
    return ByStructs(where, compiler(where))


class Watch:
    """A record of what and where tensors are, to compare with later. It keeps none of them
    alive."""

    def __init__(self, reader: Reader, tensors: list[Any]) -> None:
        self._reader, self._kinds = reader, reader.kinds(tensors)
        found = self.look(tensors)
        assert found is not None
        self.addresses, self._bytes = found, found.tobytes()

    def look(self, tensors: list[Any]) -> Integers | None:
        """Return the addresses of the tensors now; None if they are something else."""
        return self._reader.look(tensors, self._kinds)

    def moved(self, tensors: list[Any]) -> Sequence[int]:
        """Return the positions of those that are elsewhere now; if one is something else, of
        all."""
        now = self.look(tensors)
        every = range(len(tensors))
        return every if now is None else np.flatnonzero(now != self.addresses).tolist()

    def unchanged(self, tensors: list[Any]) -> bool:
        """Return True if they are what and where they were."""
        now = self.look(tensors)
        return now is not None and now.tobytes() == self._bytes


def ids_of(objects: list[Any]) -> Integers:
    """Return the objects' ids."""
    return np.frombuffer(identities(objects), np.int64)
