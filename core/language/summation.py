"""The fixed order of reductions: constants that belong to the golden format.

Floating-point addition does not associate, so a sum has the same bits everywhere only if its
order is part of its definition. Ours suits SIMD lanes and CUDA blocks alike:

- **Over a tensor** (flat, in C order): chunks of ``CHUNK`` elements; within a chunk, lane ``l``
  of ``LANES`` starts at +0 and adds elements ``l, l + LANES, l + 2 * LANES, ...`` in order; the
  lanes fold by halves (lane ``l`` adds lane ``l + width``, for width ``LANES / 2, ..., 2, 1``).
  If there is more than one chunk, the chunks' sums are themselves summed as a tensor is.
- **Along rows** (of a matrix): the same with ``ROW_LANES`` lanes and without chunks.
- **Down columns**: strips of ``STRIP_ROWS`` rows; within a strip each column starts at +0 and
  adds its rows in order; the strips fold by halves, the upper half starting at ``ceil(w / 2)``.
- **Over a tensor, in a rule that also reduces rows or columns**: along rows, then the vector of
  row sums as a tensor.

A matrix is the tensor's first axis against all others. Lanes that no element falls into stay +0,
and no other lane is ever -0, so of ``n`` elements' lanes only the least power of two that is not
below ``n`` has to be kept: the bits are the same.

Changing a number here changes golden values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray  # slow to import

    Array = NDArray[Any]

CHUNK = 65_536
LANES = 2_048
ROW_LANES = 256
STRIP_ROWS = 64


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


def add_to_lanes(lanes: Array, x: Array) -> None:
    """Lane ``l`` adds elements ``l, l + L, ...`` of the vector ``x`` in order."""
    for start in range(0, x.shape[-1], lanes.shape[-1]):
        part = x[..., start : start + lanes.shape[-1]]
        lanes[..., : part.shape[-1]] += part


def sum_rows(x: Array, lanes: int) -> Any:
    """The sum of each line of ``x``, in up to that many lanes."""
    sums = np.zeros((len(x), lanes_for(x.shape[-1], lanes)), x.dtype)
    add_to_lanes(sums, x)
    return fold_by_halves(sums.T)


def total(values: Array) -> Any:
    """The sum of a vector in the order of a sum over a tensor."""
    chunks = [values[i : i + CHUNK] for i in range(0, max(len(values), 1), CHUNK)]
    sums = np.array([sum_rows(chunk[None, :], LANES)[0] for chunk in chunks], values.dtype)
    return sums[0] if len(sums) == 1 else total(sums)
