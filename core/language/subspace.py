"""Functions of a matrix and of a subspace of its shorter side, as GaLore has them: each written
once for one parameter, seen as a stack of one matrix, of any backend's arrays.

The basis of the subspace is a thin state of the shorter side, (1, side, rank), of rows where there
are fewer of them than columns; the matrix in this basis is one of the longer side, with ``rank``
numbers for each of its rows or columns. Products and decompositions are a library's, so results
have the same bits on one machine and library only. What a library is free to choose is not left to
it: signs, and vectors of singular values of 0.
"""

from __future__ import annotations

import math
from typing import Any

from .orthonormal import complete, fix_signs, negligible

Stack = Any  # an array or tensor of three axes, contiguous


def singular_basis(
    matmul: Any, x: Stack, before: Stack, after: Stack, refresh: float, *, library: Any
) -> None:
    """Write the singular vectors of the shorter side of ``X`` that have the largest singular values
    to ``after``, one a column, the largest first; ``before`` if ``refresh`` is 0.

    Signs are fixed (`fix_signs`). Vectors of singular values of 0, but for rounding errors, are
    made from the columns of the identity (`complete`). A matrix that is not finite has a basis of
    NaN. ``library`` has NumPy's ``linalg.svd`` and ``isfinite``.
    """
    if refresh == 0:
        after[...] = before
        return
    if not library.isfinite(x).all().tolist():
        after[...] = math.nan
        return
    _, rows, columns = x.shape
    left, values, right = library.linalg.svd(x[0], full_matrices=False)
    vectors = right.swapaxes(0, 1) if rows >= columns else left
    sizes = values.tolist()[: after.shape[2]]
    least = negligible(x[0], sizes)
    count = sum(size > least for size in sizes)
    found = after[0]
    found[:, :count] = vectors[:, :count]
    fix_signs(found[:, :count])
    complete(found, count)


def projected(matmul: Any, x: Stack, basis: Stack, after: Stack) -> None:
    """Write ``X basis`` to ``after``, or ``X^T basis`` if ``X`` has fewer rows than columns."""
    matmul(x if x.shape[1] >= x.shape[2] else x.swapaxes(1, 2), basis, after)


def projected_back(matmul: Any, x: Stack, low: Stack, basis: Stack) -> None:
    """Replace ``X`` by ``low basis^T``, the matrix of its shape that ``low`` is in this basis; by
    the transpose if ``X`` has fewer rows than columns."""
    left, right = (low, basis) if x.shape[1] >= x.shape[2] else (basis, low)
    matmul(left, right.swapaxes(1, 2), x)


def running_mean(
    matmul: Any, before: Stack, x: Stack, after: Stack, keep: float, add: float
) -> None:
    """Write ``keep * before + add * x`` to ``after``."""
    after[...] = keep * before + add * x


def running_mean_of_squares(
    matmul: Any, before: Stack, x: Stack, after: Stack, keep: float, add: float
) -> None:
    """Write ``keep * before + add * x^2`` to ``after``."""
    after[...] = keep * before + add * (x * x)


def divided_by_root(matmul: Any, x: Stack, squares: Stack, after: Stack, eps: float) -> None:
    """Write ``x / (sqrt(squares) + eps)`` to ``after``."""
    after[...] = x / (squares**0.5 + eps)
