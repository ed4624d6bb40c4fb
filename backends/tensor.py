"""Parameters as backends adopt them: what those of all backends have in common."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Collection, Sequence
from typing import Any, Self

import numpy as np

from ..language.dtypes import COMPUTE_DTYPE, REAL_OF_COMPLEX
from ..pages import see
from .arrays import Arrays

Indices = tuple[Any, ...]  # vectors of the same length, one for each of some axes


class AdoptedTensor:
    """A parameter: ``owner`` is the array or tensor that was passed, ``array`` the same memory as
    the backend sees it.

    ``flat`` is its memory as a vector of reals. A parameter that compiled code cannot run over as
    it lies is staged: ``flat`` is then a copy, which `pull` fills before a step and `push` writes
    back. ``position`` is its place among all parameters of the optimizer.
    """

    state: dict[str, Any]
    position = 0
    copied_to: AdoptedTensor | None = None

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
                f"{self.shape} and {old} when the optimizer was made{see('in_place.md')}"
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

    def with_state(self, state: dict[str, Any], written: bool = False) -> Self:
        """Return the same parameter with another state, for launches that only read it, or, if it
        is to be ``written``, for others."""
        other = copy.copy(self)
        other.state, other.staged = state, written and self.staged
        return other

    def some_rows(self, where: Indices, vectors: Collection[str]) -> SomeRows:
        """Return those rows of the parameter and of its state, as they are now; ``vectors`` are the
        names of states that are a vector, of as many numbers for each row."""
        return SomeRows(self, where, vectors)


class SomeRows(AdoptedTensor):
    """Some rows of a parameter and of its state: copies, made when they are looked at, which `push`
    writes back. A launch that goes to the rows of ``whole`` itself needs none, and says so by
    ``staged``.

    ``where`` has a vector of indices for each of the parameter's first axes: a row is what they
    name together, a single element if they are as many as the axes.
    """

    def __init__(self, whole: AdoptedTensor, where: Indices, vectors: Collection[str]) -> None:
        self.name, self.owner, self.arrays = whole.name, whole.owner, whole.arrays
        self.vectors = vectors
        self.whole, self.where, self.position = whole, where, whole.position
        self.copied_to = whole.copied_to
        self.shape, self.complex = (len(where[0]), *whole.shape[len(where) :]), whole.complex
        self.dtype, self.compute, self.staged = whole.dtype, whole.compute, True

    @functools.cached_property
    def array(self) -> Any:
        """A copy of the rows."""
        return self._copied(self.arrays.view(self.whole.array))

    @functools.cached_property
    def flat(self) -> Any:
        """The copy as a vector of reals."""
        return self.arrays.reals(self.array)

    @functools.cached_property
    def state(self) -> dict[str, Any]:  # type: ignore[override]
        """Copies of the state's rows."""
        return {name: self._copied(self._of_whole(name)) for name in self.whole.state}

    def _of_whole(self, name: str) -> Any:
        """Return a state of the whole parameter, seen with its rows."""
        array = self.arrays.view(self.whole.state[name])
        if name not in self.vectors:
            return array
        rows = self.whole.shape[: len(self.where)]
        return array.reshape(*rows, len(array) // max(math.prod(rows), 1))

    def _copied(self, array: Any) -> Any:
        with self.arrays.working():
            rows = array[self.where]  # may be ordered as the array is
            return rows if self.arrays.usable(rows) else self.arrays.copy(rows)

    def pull(self) -> None:
        """Do nothing: a copy is of what was there a moment ago."""

    def push(self) -> None:
        """Write the copies back."""
        if self.staged:
            with self.arrays.working():
                self.whole.array[self.where] = self.array
                for name, rows in self.state.items():
                    self._of_whole(name)[self.where] = rows


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
