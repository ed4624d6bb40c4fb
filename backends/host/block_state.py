"""A state that is stored in blocks, as the rule's text and its launches take it: an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.blockwise import Blockwise

Array = NDArray[Any]


class BlockState:
    """Elements of a vector of ``codes`` and its ``scales``, which are of ``total`` elements, from
    ``first`` on, seen with a ``shape``: `load` returns them, an assignment stores new ones.

    A slice of rows may begin and end within a block. A block is stored with its last element, until
    when its first ones are ``waiting``; so all rows are assigned in their order.
    """

    def __init__(
        self,
        codec: Blockwise,
        codes: Array,
        scales: Array,
        total: int,
        shape: tuple[int, ...] | None = None,
        first: int = 0,
        waiting: list[Array] | None = None,
    ) -> None:
        self.codec, self.codes, self.scales, self.first = codec, codes, scales, first
        self.total = total
        self.shape = (total,) if shape is None else shape
        self.size = math.prod(self.shape)
        self._waiting: list[Array] = [] if waiting is None else waiting

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice) -> BlockState:
        start, stop, _ = where.indices(len(self))
        rest = self.shape[1:]
        first = self.first + start * math.prod(rest)
        shape = (stop - start, *rest)
        return BlockState(
            self.codec, self.codes, self.scales, self.total, shape, first, self._waiting
        )

    def __setitem__(self, where: Any, values: Any) -> None:
        assert where is ...
        whole = np.broadcast_to(np.asarray(values, np.float32), self.shape).reshape(-1)
        if self.first == 0:
            self._waiting.clear()  # of a step that failed
        joined = np.concatenate([*self._waiting, whole]) if self._waiting else whole
        end, size = self.first + self.size, self.codec.size
        start, stop = end - len(joined), end if end == self.total else end // size * size
        self._waiting[:] = [joined[stop - start :].copy()] if stop < end else []
        if start < stop:
            blocks = slice(start // size, self.codec.count(stop))
            stored = self.codec.store(joined[: stop - start])
            self.codes[self.codec.bytes_of(start, stop)], self.scales[blocks] = stored

    def reshape(self, shape: tuple[int, ...]) -> BlockState:
        """Return the same memory, seen with another shape."""
        return BlockState(self.codec, self.codes, self.scales, self.total, shape)

    def load(self) -> Array:
        """Return the elements, a new array."""
        size, end = self.codec.size, self.first + self.size
        start = self.first // size * size
        stop = min(self.codec.count(end) * size, self.total)
        blocks = slice(start // size, self.codec.count(stop))
        codes = self.codes[self.codec.bytes_of(start, stop)]
        values = self.codec.load(codes, self.scales[blocks], stop - start)
        return values[self.first - start : end - start].reshape(self.shape)
