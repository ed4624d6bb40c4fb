"""Parameters in host memory, whoever owns them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tensor import AdoptedTensor
from ..torch_tensors.view import as_numpy
from .arrays import ARRAYS, reals

Array = NDArray[Any]


class HostTensor(AdoptedTensor):
    """A parameter in host memory, a NumPy array or a tensor, seen as a NumPy array. State is of the
    owner's kind. One that is not C-contiguous and aligned is staged."""

    def __init__(self, name: str, owner: Any) -> None:
        super().__init__(name, owner, ARRAYS)

    def some_rows(self, indices: Array) -> HostRows:
        """Return those rows of the parameter and of its state, as they are now."""
        return HostRows(self, indices)


class HostRows(HostTensor):
    """Some rows of a parameter and of its state: copies, made when they are looked at, which `push`
    writes back. A launch that goes to ``indices`` of ``whole`` itself needs none, and says so by
    ``staged``."""

    def __init__(self, whole: HostTensor, indices: Array) -> None:
        self.name, self.owner, self.arrays = whole.name, whole.owner, whole.arrays
        self.whole, self.indices = whole, indices
        self.shape, self.complex = (len(indices), *whole.shape[1:]), whole.complex
        self.dtype, self.compute, self.staged = whole.dtype, whole.compute, True

    @functools.cached_property
    def array(self) -> Array:
        """A copy of the rows."""
        return _memory(self.whole.array)[self.indices]

    @functools.cached_property
    def flat(self) -> Array:
        """The copy as a vector of reals."""
        return reals(self.array)

    @functools.cached_property
    def state(self) -> dict[str, Any]:  # type: ignore[override]
        """Copies of the state's rows."""
        return {name: _memory(array)[self.indices] for name, array in self.whole.state.items()}

    def pull(self) -> None:
        """Do nothing: a copy is of what was there a moment ago."""

    def push(self) -> None:
        """Write the copies back."""
        if self.staged:
            _memory(self.whole.array)[self.indices] = self.array
            for name, array in self.state.items():
                _memory(self.whole.state[name])[self.indices] = array


def _memory(array: Any) -> Array:
    """Return a plain NumPy array over the same memory, not a subclass with ideas of its own."""
    return as_numpy(array).view(np.ndarray)
