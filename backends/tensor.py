"""Parameters as backends adopt them: what those of all backends have in common."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..language.dtypes import COMPUTE_DTYPE, REAL_OF_COMPLEX
from .arrays import Arrays


class AdoptedTensor:
    """A parameter: ``owner`` is the array or tensor that was passed, ``array`` the same memory as
    the backend sees it.

    ``flat`` is its memory as a vector of reals. A parameter that compiled code cannot run over as
    it lies is staged: ``flat`` is then a copy, which `pull` fills before a step and `push` writes
    back.
    """

    state: dict[str, Any]

    def __init__(self, name: str, owner: Any, arrays: Arrays) -> None:
        self.name, self.owner, self.arrays = name, owner, arrays
        self.state = {}
        self.look_again()

    def look_again(self) -> None:
        """Find the owner's memory, which may be elsewhere than it was."""
        self.array = self.arrays.view(self.owner)
        self.shape: tuple[int, ...] = tuple(self.array.shape)
        dtype = self.arrays.dtype_name(self.array)
        self.complex = dtype in REAL_OF_COMPLEX
        self.dtype: str = REAL_OF_COMPLEX.get(dtype, dtype)  # of a real
        self.compute: str = COMPUTE_DTYPE[self.dtype]
        self.staged = not self.arrays.usable(self.array)
        self._contiguous = self.arrays.copy(self.array) if self.staged else self.array
        self.flat = self.arrays.reals(self._contiguous)

    def check_unchanged(self) -> None:
        """Raise TypeError or ValueError if the owner is not what it was, but for its address."""
        self.arrays.check_parameter(self.name, self.owner)
        now = self.arrays.view(self.owner)
        if (now.shape, now.dtype) != (self.shape, self.array.dtype):
            new, old = (self.arrays.dtype_name(array) for array in (now, self.array))
            raise ValueError(
                f"{self.name} now has shape {tuple(now.shape)} and dtype {new}; it had "
                f"{self.shape} and {old} when the optimizer was made"
            )

    def flat_state(self, name: str) -> Any:
        """Return a state array as a vector of reals over the same memory."""
        return self.arrays.reals(self.arrays.view(self.state[name]))

    def pull(self) -> None:
        """Copy a staged parameter to where launches update it."""
        if self.staged:
            self._contiguous[...] = self.array

    def push(self) -> None:
        """Copy a staged parameter back."""
        if self.staged:
            self.array[...] = self._contiguous

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


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise TypeError for a dtype that no rule can update."""
    if dtype.name not in COMPUTE_DTYPE and dtype.name not in REAL_OF_COMPLEX:
        names = ", ".join([*COMPUTE_DTYPE, *REAL_OF_COMPLEX])
        raise TypeError(
            f"{name} has dtype {dtype}; expected one of {names} (astype(np.float64) makes a copy)"
        )
    if not dtype.isnative:
        raise TypeError(
            f"{name} has dtype {dtype.str}, which is not in this machine's byte order "
            f"(astype(np.{dtype.name}) makes a copy)"
        )
