"""NumPy arrays, and tensors of PyTorch in host memory as NumPy sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...interrupts import held
from ...language.dtypes import REAL_OF_COMPLEX, numpy_dtype
from ..memory import addresses, directly_usable
from ..torch_tensors import view as foreign
from ..torch_tensors.view import as_numpy, check_plain, described, is_tensor, kind_of, on_host

Array = NDArray[Any]


class HostArrays:
    """NumPy's face of `Arrays`."""

    kind = np.ndarray
    shadow = staticmethod(np.asarray)
    usable = staticmethod(directly_usable)
    addresses = staticmethod(addresses)

    def view(self, owner: Any) -> Array:
        """Return an array or a tensor as a plain NumPy array over the same memory, not a subclass
        with ideas of its own."""
        return np.asarray(as_numpy(owner))

    def check_parameter(self, name: str, owner: Any) -> None:
        """Raise TypeError or ValueError for a tensor that cannot be updated through its memory."""
        foreign.check_parameter(name, owner)
        if not on_host(owner):
            raise TypeError(
                f"{name} is a {described(owner)}; expected one in host memory (move it with "
                "cpu(), or choose a backend for its device)"
            )

    def gradient(self, name: str, grad: Any) -> Array:
        """Return a gradient, an array or a tensor, as an array over the same memory."""
        if is_tensor(grad):
            check_plain(name, grad)
            if not on_host(grad):
                raise TypeError(f"{name} is a {described(grad)}; expected one in host memory")
            grad = as_numpy(grad)
        if not isinstance(grad, np.ndarray):
            raise TypeError(
                f"{name} is a {kind_of(grad)}; expected a NumPy array (numpy.asarray makes one) or None"
            )
        if isinstance(grad, np.ma.MaskedArray):
            raise TypeError(
                f"{name} is a masked array; its mask would be ignored "
                "(grad.filled(0) makes an array)"
            )
        return grad

    def indices(self, name: str, given: Any) -> Array:
        """Return indices, an array, a tensor or a list, as an array."""
        if is_tensor(given) and not on_host(given):
            raise TypeError(f"{name} has indices on {given.device}; expected them in host memory")
        return self.view(given)

    def dtype_name(self, array: Array) -> str:
        """Return the dtype's name, with the byte order if that is not this machine's."""
        return str(array.dtype)

    def copy(self, array: Array, dtype: str | None = None) -> Array:
        """Return a copy in C's order, rounded to ``dtype`` if that is given."""
        with held(), np.errstate(over="ignore"):
            return np.array(array, None if dtype is None else numpy_dtype(dtype), order="C")

    def of_number(self, number: Array) -> Array:
        """Return a number as it is."""
        return number

    def reals(self, array: Array) -> Array:
        """Return a contiguous array as a vector; complex elements are two reals each."""
        flat = np.asarray(array).reshape(-1)  # a matrix stays one, with two axes
        return flat.view(REAL_OF_COMPLEX[flat.dtype.name]) if flat.dtype.kind == "c" else flat

    def positions(self, count: int) -> Array:
        """Return the integers from 0 on."""
        return np.arange(count)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Take sums that are infinite or NaN without a warning."""
        with held(), np.errstate(over="ignore", invalid="ignore"):
            yield


ARRAYS = HostArrays()
