"""Random signs, one for each row or column of a matrix: what a rule projects a gradient by.

They come from the generator of `samestep.language.rounding`. The key is a seed and how often the
signs were renewed; the counter is an eighth of the row's or column's index, 0, and an array's
number that no array has. The sign is minus where the highest of the 16 bits is set. So no sign
depends on order, threads, batches, devices or the parameter: row 3 has the same sign in all
parameters of one seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .rounding import WORD, halves, philox


def random_signs(first: int, count: int, seed: Any, renewal: Any) -> Any:
    """Return 1 or -1 for each of so many rows or columns from the first one on, as int64."""
    call = np.arange(first // 8, (first + count + 7) // 8)
    words = philox((call & WORD, call >> 32, 0, WORD), (int(seed), int(renewal)))
    bits = np.stack(halves(words), -1).reshape(-1)[first % 8 :][:count]
    return 1 - 2 * (bits >> 15)
