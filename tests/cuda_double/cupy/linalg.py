"""Decompositions of matrices on the device."""

from __future__ import annotations

import numpy as np

from ._array import empty, ndarray
from ._work import later


def eigh(a: ndarray, UPLO: str = "L") -> tuple[ndarray, ndarray]:
    values, vectors = empty(a.shape[:-1], a.dtype), empty(a.shape, a.dtype)

    def work() -> None:
        values._array[...], vectors._array[...] = np.linalg.eigh(a._array)

    later(work)
    return values, vectors
