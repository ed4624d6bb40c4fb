"""The product of stacks of matrices in host memory: NumPy's, and of a matrix with its own transpose
a little more than half of it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Rows that are multiplied at once, and into how many bands at most. Measured with OpenBLAS on two
# cores: fewer rows make slower products, more bands save nothing any more.
BAND, BANDS = 64, 8


def product(a: Array, b: Array, out: Array) -> None:
    """Write ``a @ b`` to ``out``, matrix by matrix; ``out`` overlaps neither.

    Where ``b`` is ``a`` transposed, the result is symmetric. NumPy would have BLAS compute one
    triangle of it (``syrk``), which on sides of some hundreds takes longer than all of it.
    """
    bands = min(a.shape[-2] // BAND, BANDS)
    if bands > 1 and _is_transpose(a, b):
        _symmetric(a, b, out, bands)
    else:
        np.matmul(a, b, out)


def _is_transpose(a: Array, b: Array) -> bool:
    """Say whether ``b`` is the memory of ``a``, its last two axes swapped."""
    swapped = a.swapaxes(-2, -1)
    of_memory = (each.__array_interface__["data"] for each in (a, b))
    return swapped.shape == b.shape and swapped.strides == b.strides and len({*of_memory}) == 1


def _symmetric(a: Array, across: Array, out: Array, bands: int) -> None:
    """Multiply a band of rows at a time by what is not above it; the rest is its mirror image."""
    side = a.shape[-2]
    for start, stop in pairwise(side * k // bands for k in range(bands + 1)):
        np.matmul(a[:, start:stop], across[:, :, start:], out[:, start:stop, start:])
        out[:, stop:, start:stop] = out[:, start:stop, stop:].swapaxes(1, 2)
