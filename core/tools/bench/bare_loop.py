"""A bare loop: the time that reading and writing the same memory takes without any optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..cli.installation import core_count
from .timing import Array, Arrays, Contender


class BareLoop(Contender):
    """A loop on all cores that reads parameters, gradients and state and writes all but gradients.

    There are four arrays, each in one piece.
    """

    PIECES_PER_THREAD, SMALL = 4, 1 << 16

    def __init__(self, params: Arrays, sets: Sequence[Arrays]) -> None:
        self.sets = sets
        size = sum(param.size for param in params)
        gradient = sets[0][0].reshape(-1) if len(params) == 1 else np.ones(size, np.float32)
        self.arrays = [gradient, *(np.ones(size, np.float32) for _ in range(3))]
        pieces = max(min(core_count() * self.PIECES_PER_THREAD, size // self.SMALL), 1)
        self.cuts = [size * i // pieces for i in range(pieces + 1)]
        self.kernel = _read_modify_write()
        self.pool = ThreadPoolExecutor(core_count())

    def step(self) -> None:
        if len(self.cuts) == 2:
            self.kernel(*self.arrays, *self.cuts)
        else:
            list(self.pool.map(self._piece, self.cuts, self.cuts[1:]))

    def count_bytes(self) -> int:
        gradient, *others = self.arrays
        return gradient.nbytes + 2 * sum(array.nbytes for array in others)

    def _piece(self, first: int, last: int) -> None:
        self.kernel(*self.arrays, first, last)


def _read_modify_write() -> Callable[..., None]:
    from numba import njit

    @njit(nogil=True)
    def kernel(g: Array, p: Array, m: Array, v: Array, first: int, last: int) -> None:
        # slices, because an index that might be negative keeps the loop from being vectorized
        g, p, m, v = g[first:last], p[first:last], m[first:last], v[first:last]
        for i in range(g.size):
            p[i], m[i], v[i] = p[i] + g[i], m[i] + g[i], v[i] + g[i]

    compiled: Callable[..., None] = kernel
    return compiled
