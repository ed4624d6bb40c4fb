"""The orthonormal columns that span those of a matrix, of any backend's arrays, so that nothing is
left to the choice of a library but rounding."""

from __future__ import annotations

import math
from typing import Any

Matrix = Any  # an array or tensor of two axes


def orthonormal(columns: Matrix, library: Any) -> tuple[Matrix, list[int]]:
    """Return the factor Q of a QR decomposition whose R has a positive diagonal, of those columns
    that are not in the span of the ones before them, but for rounding errors; and which columns
    these are.

    ``library`` has NumPy's ``linalg.qr``. The matrix is finite, and has no fewer rows than columns.
    """
    basis, diagonal = _decomposed(columns, library)
    least = negligible(columns, list(map(abs, diagonal)))
    known = [k for k, size in enumerate(diagonal) if abs(size) > least]
    if not known:
        return basis[:, :0], known
    if len(known) < len(diagonal):  # what was subtracted from later columns has to be none of these
        basis, diagonal = _decomposed(columns[:, known], library)
    for k, size in enumerate(diagonal):
        if size < 0:
            basis[:, k] *= -1
    return basis, known


def fix_signs(columns: Matrix) -> None:
    """Give each column the sign with which its first element that is not small is positive: of two
    that are equally large, rounding chooses."""
    for k, column in enumerate(columns.swapaxes(0, 1).tolist()):
        largest = max(map(abs, column))
        if next(x for x in column if abs(x) > 0.4 * largest) < 0:
            columns[:, k] *= -1


def complete(columns: Matrix, known: int) -> None:
    """Make all columns orthonormal, the first ``known`` of which are so and stay: each other one is
    a column of the identity less what those before it span, of those of which enough is left.
    Columns of the identity in the places that are free are tried first. As much as ``1 / rows`` is
    left of one while a place is free."""
    side, count = columns.shape
    candidates = iter([*range(known, side), *range(known)])
    for place in range(known, count):
        before, column, square = columns[:, :place], columns[:, place], 0.0
        while square <= 0.4 / side:
            column[...] = 0
            k = next(candidates)
            column[k : k + 1] = 1
            for _ in range(2):  # twice, so that no rounding is left
                column -= (before * (before * column[:, None]).sum(0)).sum(1)
            square = float((column * column).sum())
        column *= square**-0.5


def negligible(matrix: Matrix, sizes: list[float]) -> float:
    """Return up to where sizes that follow from a matrix, such as its eigenvalues, are rounding
    errors."""
    eps = 2.0 ** (-52 if matrix.dtype.itemsize == 8 else -23)
    return 16 * eps * math.sqrt(len(matrix)) * max(sizes, default=0.0)


def _decomposed(columns: Matrix, library: Any) -> tuple[Matrix, list[float]]:
    """Return the factor Q of a matrix and the diagonal of R."""
    basis, triangle = library.linalg.qr(columns)
    return basis, triangle.reshape(-1)[:: len(triangle) + 1].tolist()
