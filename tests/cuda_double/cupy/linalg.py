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


def svd(
    a: ndarray, full_matrices: bool = True, compute_uv: bool = True
) -> tuple[ndarray, ndarray, ndarray]:
    assert (full_matrices, compute_uv) == (False, True), "the double has no other one"
    side = min(a.shape)
    found = empty((len(a), side), a.dtype), empty(side, a.dtype), empty((side, a.shape[1]), a.dtype)

    def work() -> None:
        for target, value in zip(found, np.linalg.svd(a._array, full_matrices=False), strict=True):
            target._array[...] = value

    later(work)
    return found


def qr(a: ndarray, mode: str = "reduced") -> tuple[ndarray, ndarray]:
    side = min(a.shape)
    basis, triangle = empty((len(a), side), a.dtype), empty((side, a.shape[1]), a.dtype)

    def work() -> None:
        basis._array[...], triangle._array[...] = np.linalg.qr(a._array)

    later(work)
    return basis, triangle
