"""Parameters as backends adopt them: what those of all backends have in common."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

from ..language.dtypes import COMPUTE_DTYPE, REAL_OF_COMPLEX


class AdoptedTensor:
    """A parameter: ``owner`` is the array or tensor that was passed, ``array`` the same memory as
    the backend sees it.

    ``flat`` is its memory as a vector of reals. A parameter that compiled code cannot run over as
    it lies is staged: ``flat`` is then a copy, which `pull` fills before a step and `push` writes
    back.
    """

    name: str
    owner: Any
    array: Any
    shape: tuple[int, ...]
    complex: bool
    dtype: str  # of a real
    compute: str
    flat: Any
    staged: bool
    state: dict[str, Any]

    def _describe(self, array: Any, shape: tuple[int, ...], dtype: str) -> None:
        """Take note of the array, its shape, and its dtype's name."""
        self.array, self.shape = array, shape
        self.complex = dtype in REAL_OF_COMPLEX
        self.dtype = REAL_OF_COMPLEX.get(dtype, dtype)
        self.compute = COMPUTE_DTYPE[self.dtype]

    @property
    def size(self) -> int:
        """The number of reals."""
        return math.prod(self.shape) * (1 + self.complex)

    @property
    def rows_and_columns(self) -> tuple[int, int]:
        """The shape as a matrix: the first axis against all others. A parameter without elements
        has no rows either, so that nothing is computed for them."""
        rows = self.shape[0] if self.shape else 1
        return (rows, self.size // rows) if self.size else (0, 0)

    def with_state(self, state: dict[str, Any]) -> Self:
        """Return the same parameter with another state, for launches that only read it."""
        other = copy.copy(self)
        other.state, other.staged = state, False
        return other


def refuse_shared(tensors: Sequence[AdoptedTensor], found: tuple[int, int] | None) -> None:
    """Raise ValueError if two parameters, at these positions, were found to share memory."""
    if found is not None:
        a, b = (tensors[i].name for i in found)
        raise ValueError(f"{a} and {b} share memory; pass a shared parameter once")
