"""What many tensors are and where they lie, as far as that matters to a step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...interrupts import held
from ..memory import identities
from .structs import AXES, Structs, structs
from .view import loaded

Integers = NDArray[np.int64]


class Reader(Protocol):
    """Looks at all tensors of a list in one go."""

    def kinds(self, tensors: list[Any]) -> Any:
        """What these are: types, shapes, strides, dtypes, devices, layouts and laziness."""

    def look(self, tensors: list[Any], kinds: Any) -> Integers | None:
        """Where the first elements are; None if one of them is no longer, or not, of its kind."""

    def mark_changed(self, tensors: list[Any]) -> None:
        """Tell autograd that these tensors are written to through their memory."""


class ByTorch:
    """With what PyTorch tells."""

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

    def mark_changed(self, tensors: list[Any]) -> None:
        loaded().autograd.graph.increment_version(tensors)


class Kinds:
    """Each distinct kind as a row of words, type and item size, and each tensor's row."""

    def __init__(self, rows: Integers, index: NDArray[np.int32]) -> None:
        self.rows, self.index = rows, index


class ByStructs:
    """With compiled code that reads the tensors' own structs; see `tensor_structs`.

    ``compiled`` has ``read_kinds``, ``look`` and ``mark_changed``.
    """

    def __init__(self, where: Structs, compiled: Any) -> None:
        self._compiled, self._columns = compiled, len(where.kind) + 2

    def kinds(self, tensors: list[Any]) -> Kinds:
        words = np.zeros((len(tensors), self._columns), np.int64)
        self._compiled.read_kinds(ids_of(tensors), words)
        words[:, 1] = [tensor.element_size() for tensor in tensors]
        known: dict[bytes, int] = {}
        index = [known.setdefault(row.tobytes(), len(known)) for row in words]
        rows = np.frombuffer(b"".join(known), np.int64).reshape(len(known), self._columns)
        return Kinds(rows, np.array(index, np.int32))

    def look(self, tensors: list[Any], kinds: Kinds) -> Integers | None:
        found = np.empty(len(tensors), np.int64)
        alike = self._compiled.look(ids_of(tensors), kinds.rows, kinds.index, found)
        return found if alike else None

    def mark_changed(self, tensors: list[Any]) -> None:
        self._compiled.mark_changed(ids_of(tensors))


def reader_for(tensors: Sequence[Any], compiler: Callable[[Structs], Any] | None = None) -> Reader:
    """The fastest that can be trusted here. ``compiler`` makes what `ByStructs` needs."""
    where = None if compiler is None else structs()
    if compiler is None or where is None or any(tensor.ndim > AXES for tensor in tensors):
        return ByTorch()
    reader = ByStructs(where, compiler(where))
    return reader if _counts(reader) else ByTorch()


_trusted: dict[Any, bool] = {}


def _counts(reader: ByStructs) -> bool:
    """Whether what it writes has the effect that it should have; looked at once."""
    compiled, torch = reader._compiled, loaded()
    if compiled not in _trusted:
        zeros = functools.partial(torch.zeros, device="cpu")
        with held(), torch.inference_mode(False):
            probes = [zeros(2), torch.nn.Parameter(zeros(3)), zeros(4)]
        reader.mark_changed([*probes[:2], probes[0]])
        _trusted[compiled] = [p._version for p in probes] == [2, 1, 0]
    return _trusted[compiled]


class Watch:
    """What and where tensors are, to be compared with later. They are not kept alive."""

    def __init__(self, reader: Reader, tensors: list[Any]) -> None:
        self._reader, self._kinds = reader, reader.kinds(tensors)
        found = self.look(tensors)
        assert found is not None
        self.addresses, self._bytes = found, found.tobytes()

    def look(self, tensors: list[Any]) -> Integers | None:
        """Where the tensors are now; None if they are something else."""
        return self._reader.look(tensors, self._kinds)

    def moved(self, tensors: list[Any]) -> Sequence[int]:
        """The positions of those that are something else or elsewhere now; if one is something
        else, of all."""
        now = self.look(tensors)
        every = range(len(tensors))
        return every if now is None else np.flatnonzero(now != self.addresses).tolist()

    def unchanged(self, tensors: list[Any]) -> bool:
        """Whether they are what and where they were."""
        now = self.look(tensors)
        return now is not None and now.tobytes() == self._bytes


def nothing() -> None:
    """For arrays that nobody keeps watch over."""


def ids_of(objects: list[Any]) -> Integers:
    """The objects' ids."""
    return np.frombuffer(identities(objects), np.int64)
