"""The dynamic map: the 256 parts of a block's scale that codes of ``dynamic8`` stand for.

It is that of Dettmers' 8-bit optimizers (arXiv:2110.02861), in bitsandbytes and torchao: decades of
10, from 1e-6 up to 1, of which each has twice as many values as the one below, all equally far
apart; and 0 and 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DECADES = 7


def dynamic_map(signed: bool) -> NDArray[Any]:
    """Return the 256 values, float32, rising; of both signs, or twice as many of one.

    The bits are those of ``create_dynamic_map`` of both libraries, where PyTorch's ``linspace``
    rounds once an element, as on x86 with FMA.
    """
    values = [np.zeros(1, np.float32), np.ones(1, np.float32)]
    for decade in range(DECADES):
        positive = _middles(2 ** (decade + (not signed))) * np.float32(
            10.0 ** (decade + 1 - DECADES)
        )
        values += [positive, -positive] if signed else [positive]
    return np.sort(np.concatenate(values))


def _middles(count: int) -> NDArray[Any]:
    """Return the middles of so many equal parts of the numbers from 0.1 to 1, float32."""
    k, tenth = np.arange(count + 1), np.float32(0.1)
    step = float((np.float32(1) - tenth) / np.float32(count))
    from_below, from_above = float(tenth) + step * k, 1 - step * (count - k)
    edges = np.where(k < (count + 1) // 2, from_below, from_above).astype(np.float32)
    middles: NDArray[Any] = (edges[:-1] + edges[1:]) / np.float32(2)
    return middles
