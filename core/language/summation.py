"""The fixed order of reductions: constants that belong to the golden format.

Floating-point addition does not associate, so a sum has the same bits everywhere only if its
order is part of its definition. Ours suits SIMD lanes and CUDA blocks alike:

- **Over a tensor** (flat, in C order): chunks of ``CHUNK`` elements; within a chunk, lane ``l``
  of ``LANES`` starts at +0 and adds elements ``l, l + LANES, l + 2 * LANES, ...`` in order; the
  lanes fold by halves (lane ``l`` adds lane ``l + width``, for width ``LANES / 2, ..., 2, 1``).
  If there is more than one chunk, the chunks' sums are themselves summed as a tensor is.
- **Along rows** (of a matrix): chunks of ``ROW_CHUNK`` columns, each in ``ROW_LANES`` lanes that
  fold by halves; the chunks' sums are added by neighbours.
- **Down columns**: strips of ``STRIP_ROWS`` rows; within a strip each column starts at +0 and
  adds its rows in order; the strips' sums are added by neighbours.
- **Over a tensor, in a rule that also reduces rows or columns**: along rows, then the vector of
  row sums as if it were a row. A vector of other numbers, one a row, is summed like that, too.

A matrix is the tensor's first axis against all others. *By neighbours*: 1 to 0, 3 to 2, 5 to 4 and
so on, then the pairs' sums in the same way, until one is left; the last of an odd number waits. So
a strip and a chunk meet in a tile that needs nothing from outside: it gives a part of the sums of
its rows and of its columns. Any power of two of strips, beginning at a multiple of it, gives one
part, too: how many of them a tile has is no matter of bits (`tile_rows`).

Lanes that no element falls into stay +0, and no other lane is ever -0, so of ``n`` elements' lanes
only the least power of two that is not below ``n`` has to be kept: the bits are the same.

Changing a number here changes golden values; but ``TILE``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray  # slow to import

    Array = NDArray[Any]

CHUNK = 65_536
LANES = 2_048
ROW_CHUNK = 1_024
ROW_LANES = 256
STRIP_ROWS = 64
TILE = STRIP_ROWS * ROW_CHUNK  # elements of a tile at most


def tile_rows(columns: int) -> int:
    """Return how many matrix rows a tile has: one strip, or a power of two of strips where a
    matrix has too few columns to fill a tile with one."""
    rows = STRIP_ROWS
    while 2 * rows * columns <= TILE and rows < TILE:
        rows *= 2
    return rows


def lanes_for(n: int, lanes: int) -> int:
    """Return how many of ``lanes`` a sum of ``n`` elements needs: a power of two, at least 1."""
    return min(1 << max(n - 1, 0).bit_length(), lanes)


def fold_by_halves(values: Any) -> Any:
    """Add up the lines of a NumPy array: line ``i`` adds line ``i + ceil(w / 2)``, until one is
    left."""
    values = values.copy()
    width = len(values)
    while width > 1:
        half = (width + 1) // 2
        values[: width - half] += values[half:width]
        width = half
    return values[0]


def add_neighbours(values: Any) -> Any:
    """Add up the lines of a NumPy array in pairs of neighbours, pairs of pairs, and so on."""
    while len(values) > 1:
        pairs = values[:-1:2] + values[1::2]
        values = np.concatenate([pairs, values[2 * len(pairs) :]])
    return values[0]


def add_to_lanes(lanes: Array, x: Array) -> None:
    """Lane ``l`` adds elements ``l, l + L, ...`` of the vector ``x`` in order."""
    for start in range(0, x.shape[-1], lanes.shape[-1]):
        part = x[..., start : start + lanes.shape[-1]]
        lanes[..., : part.shape[-1]] += part


def sum_in_lanes(x: Array, lanes: int) -> Any:
    """The sum along the last axis, in up to that many lanes."""
    sums = np.zeros((*x.shape[:-1], lanes_for(x.shape[-1], lanes)), x.dtype)
    add_to_lanes(sums, x)
    return fold_by_halves(np.moveaxis(sums, -1, 0))


def sum_rows(x: Array) -> Any:
    """The sum of each line of the matrix ``x``."""
    whole = x.shape[1] // ROW_CHUNK * ROW_CHUNK
    sums = sum_in_lanes(x[:, :whole].reshape(len(x), -1, ROW_CHUNK), ROW_LANES).T
    if whole < x.shape[1] or not whole:
        sums = np.concatenate([sums, sum_in_lanes(x[:, whole:], ROW_LANES)[None, :]])
    return add_neighbours(sums)


def total(values: Array) -> Any:
    """The sum of a vector in the order of a sum over a tensor."""
    chunks = [values[i : i + CHUNK] for i in range(0, max(len(values), 1), CHUNK)]
    sums = np.array([sum_in_lanes(chunk, LANES) for chunk in chunks], values.dtype)
    return sums[0] if len(sums) == 1 else total(sums)
