"""The vocabulary on whole arrays: every sum is made at once, where the reference takes block after
block.

Exported NumPy files contain the text of what is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...language.summation import STRIP_ROWS, add_neighbours, sum_rows, total
from ...language.vocabulary import NumpyVocabulary


class WholeArrays(NumpyVocabulary):
    """The ``xp`` of ``update`` on arrays of ``rows`` by ``columns`` elements; flat ones without
    ``columns``."""

    def __init__(self, dtype: np.dtype[Any], rows: int, columns: int | None = None) -> None:
        self.dtype, self.rows, self.columns = dtype, rows, columns

    def sum(self, x: Any, per: str = "tensor") -> Any:
        if self.columns is None:
            return total(x)
        if per == "column":
            return sum_columns(x)[None, :]
        rows = sum_rows(x)
        return rows[:, None] if per == "row" else sum_rows(rows[None, :])[0]

    def max_abs(self, x: Any, per: str) -> Any:
        return np.abs(x).max(axis=1 if per == "row" else 0, keepdims=True, initial=0)

    def size(self, x: Any, per: str = "tensor") -> Any:
        columns = self.columns or 1
        of_rows = per == "tensor" and columns > 1 and x.shape[1] == 1  # a number per row
        counts = {"row": columns, "column": self.rows, "tensor": self.rows * columns}
        return self.dtype.type(self.rows if of_rows else counts[per])


def sum_columns(x: Any) -> Any:
    """The sum of each column: strips of rows, each added in order, then by neighbours."""
    strips = np.zeros((max(-(-len(x) // STRIP_ROWS), 1), x.shape[1]), x.dtype)
    for offset in range(min(len(x), STRIP_ROWS)):
        lines = x[offset::STRIP_ROWS]  # of each strip one
        strips[: len(lines)] += lines
    return add_neighbours(strips)
