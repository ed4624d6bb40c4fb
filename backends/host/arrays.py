"""NumPy arrays, and tensors of PyTorch in host memory as NumPy sees them."""

from __future__ import annotations

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
    view = staticmethod(as_numpy)
    shadow = staticmethod(np.asarray)
    usable = staticmethod(directly_usable)

    def check_parameter(self, name: str, owner: Any) -> None:
        """Raise TypeError or ValueError for a tensor that cannot be updated through its memory."""
        check_parameter(name, owner)

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
        """Return a contiguous array as a vector of reals."""
        return reals(array)

    def addresses(self, arrays: list[Array]) -> NDArray[np.int64]:
        """Return where the data of each array begins."""
        return addresses(arrays)


ARRAYS = HostArrays()


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
