"""Functions of a matrix and of thin states of its rows or its columns, as Dion has them: each
written once for one parameter, seen as a stack of one matrix, of any backend's arrays.

A thin state has ``rank`` numbers for each row, or for each column: (1, rows, rank) or (1, columns,
rank). Products and decompositions are a library's, so results have the same bits on one machine and
library only. What a library is free to choose is not left to it: signs, and columns that a product
of a lower rank does not have.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .orthonormal import orthonormal
from .rounding import philox

Stack = Any  # an array or tensor of three axes, contiguous


def random_start(
    matmul: Any, before: Stack, after: Stack, first: float, seed: float, *, library: Any
) -> None:
    """Write numbers between -1 and 1 to ``after`` where ``first`` is not 0, else ``before``.

    They are odd multiples of 2**-24, which float32 holds, of the upper 24 bits of the words that
    Philox4x32-10 gives one after the other under the key (seed, 0): so they depend on the shape and
    on ``seed`` alone, a whole number from 0 to 2**24.
    """
    if first == 0:
        after[...] = before
        return
    count = math.prod(after.shape)
    call = np.arange(-(-count // 4))
    words = np.stack(philox((call, 0 * call, 0 * call, 0 * call), (int(seed), 0)), axis=1)
    numbers = (2 * (words.reshape(-1)[:count] >> 8) + 1 - 2**24) * 2.0**-24
    after[...] = library.asarray(numbers).reshape(after.shape)


def orthonormal_product(matmul: Any, x: Stack, right: Stack, after: Stack, *, library: Any) -> None:
    """Write the orthonormal factor of ``X right`` to ``after``: the Q of its QR decomposition with
    a positive diagonal of R. A column that the columns before it span, but for rounding errors, is
    0.

    A product that is not finite has a factor of NaN.
    """
    matmul(x, right, after)
    if not library.isfinite(after).all().tolist():
        after[...] = math.nan
        return
    basis, known = orthonormal(after[0], library)
    if len(known) < after.shape[2]:
        after[...] = 0
    if known:
        after[0][:, known] = basis


def transposed_product(matmul: Any, x: Stack, left: Stack, after: Stack) -> None:
    """Write ``X^T left`` to ``after``."""
    matmul(x.swapaxes(1, 2), left, after)


def unit_columns(
    matmul: Any, x: Stack, before: Stack, after: Stack, eps: float, *, library: Any
) -> None:
    """Write each column of ``x``, divided by its norm and ``eps``, to ``after``; of a column of
    zeros that of ``before``."""
    norms = (x * x).sum(1)[:, None, :] ** 0.5
    after[...] = library.where(norms == 0, before, x / (norms + eps))


def outer_product(matmul: Any, left: Stack, right: Stack, after: Stack) -> None:
    """Write ``left right^T``, a matrix, to ``after``."""
    matmul(left, right.swapaxes(1, 2), after)
