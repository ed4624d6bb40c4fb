"""Arrays on a CUDA device, whoever owns them, as CuPy sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ...language.dtypes import REAL_OF_COMPLEX, numpy_dtype
from ..memory import shadow
from ..torch_tensors import view as foreign

ON_CUDA = (2, 13)  # DLPack's numbers of CUDA memory, plain and managed
LEGACY_STREAM = 1  # how the array interface calls the default stream


def on_device(array: Any) -> bool:
    """Say whether ``array`` lies on a CUDA device and tells its address."""
    if isinstance(array, cupy.ndarray):
        return True
    try:
        if hasattr(array, "__dlpack_device__"):
            return array.__dlpack_device__()[0] in ON_CUDA
        return hasattr(array, "__cuda_array_interface__")
    except (AttributeError, BufferError, RuntimeError, TypeError):
        return False  # it knows the protocol and has nothing to say


def as_cupy(array: Any) -> Any:
    """Return an array on a device as a CuPy array over the same memory; work on it is ordered after
    what its owner has under way."""
    if isinstance(array, cupy.ndarray):
        return array
    if hasattr(array, "__dlpack_device__"):
        return cupy.from_dlpack(foreign.plain(array) if foreign.is_tensor(array) else array)
    return _through_interface(array, array.__cuda_array_interface__)


def _through_interface(array: Any, interface: dict[str, Any]) -> Any:
    """Convert by the CUDA array interface, version 2 or 3. CuPy's own conversion waits for the
    owner's stream on the host; here the current stream waits."""
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    address, _ = interface["data"]
    strides = interface.get("strides")
    span = dtype.itemsize
    if strides is None:
        span *= int(np.prod(shape, dtype=np.int64))
    else:
        span += sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    memory = cupy.cuda.UnownedMemory(address, span, array, -1 if address else 0)
    wait_for(interface.get("stream"))
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0), strides)


def wait_for(stream: int | None) -> None:
    """Make the current stream wait for what another one, with this handle, has under way."""
    current = cupy.cuda.get_current_stream()
    if stream is None or stream == (current.ptr or LEGACY_STREAM):
        return
    event = cupy.cuda.Event(disable_timing=True)
    event.record(cupy.cuda.ExternalStream(0 if stream == LEGACY_STREAM else stream))
    current.wait_event(event)


def is_read_only(array: Any) -> bool:
    """Say whether the array's owner declares it read-only."""
    interface = None
    if not isinstance(array, cupy.ndarray) and not foreign.is_tensor(array):
        interface = getattr(array, "__cuda_array_interface__", None)
    return bool(interface and interface["data"][1])


def aligned(array: Any) -> bool:
    """Say whether every element starts at a multiple of its size, or of its parts' size."""
    alignment = array.dtype.alignment
    return not any(x % alignment for x in (array.data.ptr, *array.strides))


class CupyArrays:
    """CuPy's face of `Device`."""

    kind = cupy.ndarray
    view = staticmethod(as_cupy)

    def __init__(self, number: int) -> None:
        self.number = number

    # ---- arrays

    def check_parameter(self, name: str, owner: Any) -> None:
        """Raise TypeError or ValueError for an array that cannot be updated in place."""
        if not on_device(owner):
            raise TypeError(
                f"{name} is a {foreign.kind_of(owner)}; backend 'cupy' updates arrays on a CUDA "
                "device in place (cupy.asarray(array) copies one there; backend.asarray does it "
                "for whichever backend runs)"
            )
        if foreign.is_tensor(owner):
            foreign.check_parameter(name, owner)

    def gradient(self, name: str, grad: Any) -> Any:
        """Return a gradient, whoever owns it, as a CuPy array over the same memory."""
        if foreign.is_tensor(grad):
            foreign.check_plain(name, grad)
        if not on_device(grad):
            raise TypeError(
                f"{name} is a {foreign.kind_of(grad)}; expected an array on a CUDA device "
                "(cupy.asarray copies one there) or None"
            )
        array = self._here(name, as_cupy(grad))
        if not aligned(array):
            raise ValueError(f"{name} starts at {array.data.ptr:#x}, which is not aligned")
        return array

    def indices(self, name: str, given: Any) -> Any:
        """Return indices, an array, a tensor or a list, as a CuPy array."""
        if isinstance(given, list):
            return cupy.asarray(given)
        if not on_device(given):
            raise TypeError(
                f"{name} has indices that are a {foreign.kind_of(given)}; expected an array on the "
                "CUDA device (cupy.asarray copies one there)"
            )
        return self._here(f"{name} has indices: the array", as_cupy(given))

    def _here(self, name: str, array: Any) -> Any:
        """Return the array if it is on this device. Raises ValueError."""
        if array.device.id != self.number:
            raise ValueError(
                f"{name} is on device {array.device.id}; the parameters are on {self.number}"
            )
        return array

    def dtype_name(self, array: Any) -> str:
        """Return the name of the dtype."""
        name: str = array.dtype.name
        return name

    def usable(self, array: Any) -> bool:
        """Say whether it is contiguous in C's order."""
        return bool(array.flags.c_contiguous)

    def copy(self, array: Any, dtype: str | None = None) -> Any:
        """Return a copy in C's order, rounded to ``dtype`` if that is given."""
        copied = array.copy(order="C")
        return copied if dtype is None else copied.astype(numpy_dtype(dtype), copy=False)

    def of_number(self, number: NDArray[Any]) -> Any:
        """Return a number on the device."""
        with self.current():
            return cupy.asarray(number)

    def reals(self, array: Any) -> Any:
        """Return a contiguous array as a vector of reals."""
        flat = array.reshape(-1)
        return flat.view(REAL_OF_COMPLEX[flat.dtype.name]) if flat.dtype.kind == "c" else flat

    def shadow(self, array: Any) -> NDArray[Any]:
        """Return a NumPy array over the same addresses, not to be touched."""
        return shadow(int(array.data.ptr), array.shape, array.strides, array.itemsize)

    def positions(self, count: int) -> Any:
        """Return the integers from 0 on."""
        return cupy.arange(count, dtype="int64")

    def working(self) -> Any:
        """Return a block in which the device is current."""
        return self.current()

    def addresses(self, arrays: list[Any]) -> NDArray[np.int64]:
        """Return where the data of each array begins."""
        return np.fromiter((a.data.ptr for a in arrays), np.int64, len(arrays))

    # ---- the device

    def current(self) -> Any:
        """Return a block in which the device is current."""
        return cupy.cuda.Device(self.number)

    def stream(self) -> int:
        """Return the handle of CuPy's current stream."""
        return int(cupy.cuda.get_current_stream(self.number).ptr)

    def stream_object(self) -> Any:
        """Return CuPy's current stream."""
        return cupy.cuda.get_current_stream(self.number)

    def empty(self, size: int, dtype: str) -> Any:
        """Return a vector that is not initialized."""
        with self.current():
            return cupy.empty(size, dtype)

    def stacked(self, arrays: Sequence[Any]) -> Any:
        """Return a vector of float64 with the numbers of these arrays."""
        with self.current():
            return cupy.stack([as_cupy(array) for array in arrays]).astype("float64")

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Return a copy on the host, after what is under way on the current stream."""
        found: NDArray[Any] = as_cupy(array).get()
        return found
