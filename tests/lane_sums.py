"""The fixed order of sums, with every lane taking part: what `samestep.language.summation`
shortens."""

from __future__ import annotations

import numpy as np
from samestep.language.summation import CHUNK, LANES, ROW_CHUNK, ROW_LANES


def in_all_lanes(vector, lanes):
    """As `samestep.language.summation` has it: every lane starts at +0 and takes part."""
    padded = np.zeros(-(-max(vector.size, 1) // lanes) * lanes, vector.dtype)
    sums = padded[:lanes].copy()
    with np.errstate(all="ignore"):
        for start in range(0, vector.size, lanes):
            part = vector[start : start + lanes]
            sums[: part.size] = sums[: part.size] + part
        while sums.size > 1:
            sums = sums[: sums.size // 2] + sums[sums.size // 2 :]
    return sums[0]


def over_tensor(vector):
    sums = [in_all_lanes(vector[i : i + CHUNK], LANES) for i in range(0, vector.size, CHUNK)]
    return sums[0] if len(sums) == 1 else over_tensor(np.array(sums))


def along_row(vector):
    sums = [
        in_all_lanes(vector[i : i + ROW_CHUNK], ROW_LANES) for i in range(0, vector.size, ROW_CHUNK)
    ]
    with np.errstate(all="ignore"):
        while len(sums) > 1:
            sums = [
                a + b for a, b in zip(sums[::2], [*sums[1::2], vector.dtype.type(0)], strict=False)
            ]
    return sums[0]
