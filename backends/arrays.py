"""The questions that backends ask of arrays: each kind of array has one small adapter."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Arrays(Protocol):
    """Arrays of one kind (NumPy's, CuPy's, PyTorch's tensors) in one place."""

    @property
    def kind(self) -> type:
        """The type of these arrays."""

    def view(self, owner: Any) -> Any:
        """Return a parameter, a gradient or state as an array of this kind over the same memory (a
        lazy tensor as a copy)."""

    def check_parameter(self, name: str, owner: Any) -> None:
        """Raise TypeError or ValueError for an array that cannot be updated in place."""

    def gradient(self, name: str, grad: Any) -> Any:
        """Return a gradient as an array of this kind over the same memory. Raises TypeError or
        ValueError for what is none, or is elsewhere."""

    def indices(self, name: str, given: Any) -> Any:
        """Return the indices of a gradient as an array of this kind over the same memory; of a list
        as a new array. Raises TypeError for those that are elsewhere."""

    def dtype_name(self, array: Any) -> str:
        """Return ``"float32"``, or what NumPy calls a dtype of another byte order."""

    def usable(self, array: Any) -> bool:
        """Say whether compiled code can run over the array as it lies in memory."""

    def copy(self, array: Any, dtype: str | None = None) -> Any:
        """Return a copy that is contiguous in C's order, rounded to ``dtype`` if that is given."""

    def of_number(self, number: NDArray[Any]) -> Any:
        """Return a NumPy array without axes as an array of this kind, in this place."""

    def reals(self, array: Any) -> Any:
        """Return a contiguous array as a vector; complex elements are two reals each."""

    def shadow(self, array: Any) -> NDArray[Any]:
        """Return a NumPy array over the same addresses, to look at how arrays lie to each other.
        Its elements must not be touched: they may be on a device."""

    def positions(self, count: int) -> Any:
        """Return the integers from 0 to ``count`` - 1, int64."""

    def working(self) -> AbstractContextManager[Any]:
        """Return a block in which operators of these arrays may be used: they are taken without a
        warning, without a history, and where the arrays are."""

    def addresses(self, arrays: list[Any]) -> NDArray[np.int64]:
        """Return where the data of each array, its own kind's or its owner's, begins."""
