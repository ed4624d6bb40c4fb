"""Arrays on a CUDA device, whoever owns them, and parameters among them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ...language.dtypes import REAL_OF_COMPLEX
from ..tensor import AdoptedTensor
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
        return cupy.from_dlpack(array.detach() if foreign.is_tensor(array) else array)
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
    _wait_for(interface.get("stream"))
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0), strides)


def _wait_for(stream: int | None) -> None:
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


def shadow(array: Any) -> NDArray[Any]:
    """Return a NumPy array over the same addresses, to look at how arrays lie to each other. Its
    elements must not be touched: they are on the device."""
    interface = {
        "data": (int(array.data.ptr), True),
        "shape": array.shape,
        "strides": array.strides,
        "typestr": f"|V{array.itemsize}",
        "version": 3,
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface))


def aligned(array: Any) -> bool:
    """Say whether every element starts at a multiple of its size, or of its parts' size."""
    alignment = array.dtype.alignment
    return not any(x % alignment for x in (array.data.ptr, *array.strides))


def reals(array: Any) -> Any:
    """Return a contiguous array as a vector; complex elements are two reals each."""
    flat = array.reshape(-1)
    return flat.view(REAL_OF_COMPLEX[flat.dtype.name]) if flat.dtype.kind == "c" else flat


class DeviceTensor(AdoptedTensor):
    """A parameter on a device, seen as a CuPy array. One that is not C-contiguous is staged."""

    def __init__(self, name: str, owner: Any, array: Any) -> None:
        self.name, self.owner = name, owner
        self.state = {}
        self._describe(array, array.shape, array.dtype.name)
        self.staged = not array.flags.c_contiguous
        self._contiguous = array.copy(order="C") if self.staged else array
        self.flat = reals(self._contiguous)

    def flat_state(self, name: str) -> Any:
        """Return a state array as a vector of reals over the same memory."""
        return reals(self.state[name])

    def pull(self) -> None:
        """Copy a staged parameter to where launches update it."""
        if self.staged:
            self._contiguous[...] = self.array

    def push(self) -> None:
        """Copy a staged parameter back."""
        if self.staged:
            self.array[...] = self._contiguous
