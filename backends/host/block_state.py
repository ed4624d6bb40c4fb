"""A state that is stored in blocks, as the rule's text and its launches take it: a vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.blockwise import Blockwise

Array = NDArray[Any]


class BlockState:
    """The elements, ``size`` of them, of a vector of ``codes`` and its ``scales``: `load` returns them,
    an assignment stores new ones. A slice begins with a block."""

    def __init__(self, codec: Blockwise, codes: Array, scales: Array, size: int) -> None:
        self.codec, self.codes, self.scales = codec, codes, scales
        self.shape, self.size = (size,), size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: slice) -> BlockState:
        first, size, stop = (
            where.start // self.codec.size,
            self.codec.size,
            min(where.stop, self.size),
        )
        assert where.start == first * size
        codes = self.codes[self.codec.bytes_of(where.start) : self.codec.bytes_of(stop)]
        scales = self.scales[first : self.codec.count(stop)]
        return BlockState(self.codec, codes, scales, stop - where.start)

    def __setitem__(self, where: Any, values: Any) -> None:
        whole = np.broadcast_to(np.asarray(values, np.float32), self.shape)
        self.codes[where], self.scales[where] = self.codec.store(whole)

    def load(self) -> Array:
        """Return the elements, a new vector."""
        return self.codec.load(self.codes, self.scales, self.size)
