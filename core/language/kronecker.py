"""Functions of a matrix and of square states of its rows and of its columns, as Shampoo has them:
each written once for one parameter, seen as a stack of blocks (count, rows, columns), of any
backend's arrays.

A square state has a number for each pair of rows, or of columns: (count, rows, rows) or (count,
columns, columns). Products and decompositions are a library's, so results have the same bits on one
machine and library only. Eigenvectors: `samestep.language.eigenbasis`; a root does not depend on
their signs, nor on those of equal eigenvalues.
"""

from __future__ import annotations

from typing import Any

Stack = Any  # an array or tensor of three axes, contiguous


def row_gram(matmul: Any, x: Stack, before: Stack, after: Stack, keep: float, add: float) -> None:
    """Write ``keep * before + add * X X^T`` to ``after``."""
    matmul(x, x.swapaxes(1, 2), after)
    after *= add
    after += keep * before


def column_gram(
    matmul: Any, x: Stack, before: Stack, after: Stack, keep: float, add: float
) -> None:
    """Write ``keep * before + add * X^T X`` to ``after``."""
    matmul(x.swapaxes(1, 2), x, after)
    after *= add
    after += keep * before


def inverse_root(
    matmul: Any,
    gram: Stack,
    before: Stack,
    after: Stack,
    refresh: float,
    scale: float,
    eps: float,
    exponent: float,
    *,
    library: Any,
) -> None:
    """Write ``(scale * gram + eps I)^-exponent`` to ``after``, or ``before`` if ``refresh`` is 0.

    The eigenvalues of a Gram matrix are not negative; where rounding has made the least one so, all
    are raised by as much. A matrix that is not finite has a root of NaN. ``library`` has NumPy's
    ``linalg.eigh``, ``isfinite`` and ``where``.
    """
    if refresh == 0:
        after[...] = before
        return
    finite = library.isfinite(gram).all(-1).all(-1)  # a decomposition may fail where one is not
    known = library.where(finite[:, None, None], gram, 0.0)
    values, vectors = library.linalg.eigh(known)
    values = values * scale
    least = values[:, :1]
    values = values + (eps - 0.5 * (least - abs(least)))
    powers = library.where(finite[:, None], values**-exponent, float("nan"))
    matmul(vectors * powers[:, None, :], vectors.swapaxes(1, 2), after)


def multiplied(matmul: Any, x: Stack, left: Stack, right: Stack, memory: Any) -> None:
    """Replace each matrix ``X`` by ``left X right``."""
    count, rows, columns = x.shape
    between = memory[: count * rows * columns].reshape(x.shape)
    matmul(left, x, between)
    matmul(between, right, x)


def rotated(matmul: Any, x: Stack, left: Stack, right: Stack, memory: Any) -> None:
    """Replace each matrix ``X`` by ``left^T X right``."""
    multiplied(matmul, x, left.swapaxes(1, 2), right, memory)


def rotated_back(matmul: Any, x: Stack, left: Stack, right: Stack, memory: Any) -> None:
    """Replace each matrix ``X`` by ``left X right^T``."""
    multiplied(matmul, x, left, right.swapaxes(1, 2), memory)
