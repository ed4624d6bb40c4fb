"""Parameters in host memory, whoever owns them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.dtypes import COMPUTE_DTYPE, REAL_OF_COMPLEX
from ..memory import directly_usable
from ..tensor import AdoptedTensor
from ..torch_tensors import view as foreign
from ..torch_tensors.view import as_numpy

Array = NDArray[Any]


class HostTensor(AdoptedTensor):
    """A parameter in host memory, a NumPy array or a tensor, seen as a NumPy array. State is of the
    owner's kind. One that is not C-contiguous and aligned is staged."""

    def __init__(self, name: str, owner: Any) -> None:
        self.name, self.owner = name, owner
        self.state = {}
        self.look_again()

    def look_again(self) -> None:
        """Find the owner's memory, which may be elsewhere than it was."""
        array = as_numpy(self.owner)
        self._describe(array, array.shape, array.dtype.name)
        self.staged = not directly_usable(array)
        self.flat = reals(np.array(array, order="C") if self.staged else array)

    def check_unchanged(self) -> None:
        """Raise TypeError or ValueError if the owner is not what it was, but for its address."""
        check_parameter(self.name, self.owner)
        now = as_numpy(self.owner)
        if (now.shape, now.dtype) != (self.shape, self.array.dtype):
            raise ValueError(
                f"{self.name} now has shape {now.shape} and dtype {now.dtype}; it had {self.shape} "
                f"and {self.array.dtype} when the optimizer was made"
            )

    def flat_state(self, name: str) -> Array:
        """Return a state array as a vector of reals over the same memory."""
        return reals(as_numpy(self.state[name]))

    def some_rows(self, indices: Array) -> HostRows:
        """Return those rows of the parameter and of its state, as they are now."""
        return HostRows(self, indices)

    def pull(self) -> None:
        """Copy a staged parameter to where launches update it."""
        if self.staged:
            self.flat[...] = reals(np.ascontiguousarray(self.array))

    def push(self) -> None:
        """Copy a staged parameter back."""
        if self.staged:
            self.array[...] = self.flat.view(self.array.dtype).reshape(self.shape)


class HostRows(HostTensor):
    """Some rows of a parameter and of its state: copies, made when they are looked at, which `push`
    writes back. A launch that goes to ``indices`` of ``whole`` itself needs none, and says so by
    ``staged``."""

    def __init__(self, whole: HostTensor, indices: Array) -> None:
        self.name, self.owner, self.whole, self.indices = whole.name, whole.owner, whole, indices
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


def reals(array: Array) -> Array:
    """Return a contiguous array as a vector; complex elements are two reals each."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "c":
        flat = flat.view(REAL_OF_COMPLEX[flat.dtype.name])
    return flat.view(np.ndarray)


def check_parameter(name: str, tensor: Any) -> None:
    """Raise TypeError or ValueError for a tensor that cannot be updated through its memory."""
    foreign.check_parameter(name, tensor)
    if not foreign.on_host(tensor):
        raise TypeError(
            f"{name} is a {foreign.described(tensor)}; expected one in host memory (move it with "
            "cpu(), or choose a backend for its device)"
        )


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise TypeError for a dtype that no rule can update."""
    if dtype.name not in COMPUTE_DTYPE and dtype.name not in REAL_OF_COMPLEX:
        names = ", ".join([*COMPUTE_DTYPE, *REAL_OF_COMPLEX])
        raise TypeError(f"{name} has dtype {dtype}; expected one of {names}")
    if not dtype.isnative:
        raise TypeError(f"{name} has dtype {dtype.str}, which is not in this machine's byte order")
