"""The fit of a factor of PSGD's preconditioner, a square state, to a matrix that it should have
whitened; written once for stacks of blocks, of any backend's arrays.

A whitened matrix ``X`` has rows with ``X X^T = columns * I``, and columns with ``X^T X = rows *
I``. The fit makes a factor smaller where a product is above that, and larger where it is below, by
products alone.
"""

from __future__ import annotations

from typing import Any

Stack = Any  # an array or tensor of three axes, contiguous
TINY = 1e-30  # is added to what is divided by, and is 0 for a matrix of zeros only


def row_whitening(
    matmul: Any,
    x: Stack,
    before: Stack,
    after: Stack,
    refresh: float,
    start: float,
    rate: float,
    damping: float,
) -> None:
    """Write the factor ``before`` of the rows of ``X``, fitted, to ``after``: the identity if
    ``start`` is not 0, ``before`` if ``refresh`` is 0, else ``M before M``, made symmetric, with

        M = I - rate / 2 / (norm + columns) * (A - columns * I)
        A = X X^T + damping * columns * before^4
        norm = trace(A^4) / trace(A^3)

    A mean of eigenvalues where each counts as its cube, ``norm`` is no more than the largest one,
    and near it. The damping keeps the square of a factor below ``damping^-1/2`` where ``X`` has
    nothing.
    """
    _fit(matmul, x, x.swapaxes(1, 2), before, after, refresh, start, rate, damping)


def column_whitening(
    matmul: Any,
    x: Stack,
    before: Stack,
    after: Stack,
    refresh: float,
    start: float,
    rate: float,
    damping: float,
) -> None:
    """Write the factor of the columns to ``after``; see `row_whitening`."""
    _fit(matmul, x.swapaxes(1, 2), x, before, after, refresh, start, rate, damping)


def _fit(
    matmul: Any,
    x: Stack,
    transposed: Stack,
    before: Stack,
    after: Stack,
    refresh: float,
    start: float,
    rate: float,
    damping: float,
) -> None:
    if start:
        after[...] = 0
        diagonal = _diagonal(after)
        diagonal += 1
        return
    if refresh == 0:
        after[...] = before
        return
    count, _, expected = x.shape
    square, fourth, product = 0 * before, 0 * before, 0 * before
    matmul(before, before, square)
    matmul(square, square, fourth)
    matmul(x, transposed, product)
    product += damping * expected * fourth
    trace = _diagonal(product).sum(1).reshape(count, 1, 1)
    unit = product / (trace + TINY)  # its powers overflow in no dtype
    matmul(unit, unit, square)
    cubes = (square * unit).sum(2).sum(1).reshape(count, 1, 1)
    fourths = (square * square).sum(2).sum(1).reshape(count, 1, 1)
    norm = trace * fourths / (cubes + TINY)
    diagonal = _diagonal(product)
    diagonal += -expected
    product = product * (-0.5 * rate) / (norm + expected)
    diagonal = _diagonal(product)
    diagonal += 1
    matmul(product, before, square)
    matmul(square, product, fourth)
    after[...] = 0.5 * (fourth + fourth.swapaxes(1, 2))


def _diagonal(stack: Stack) -> Any:
    """Return the diagonals of a stack of squares, one a row, to read and to write."""
    count, side, _ = stack.shape
    return stack.reshape(count, side * side)[:, :: side + 1]
