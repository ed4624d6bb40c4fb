"""A backend of the tests: ``torch:fused`` on a CUDA device, behind the double of one.

The tensors are PyTorch's, in memory of the host that stands for the device's. Kernels run when the
double lets them; what PyTorch itself does is done at once, so it waits here for what comes before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np
import torch
from cupy._memory import Memory
from samestep.backends.torch.arrays import TorchArrays
from samestep.backends.torch.fused_on_device import FusedOnDevice
from samestep.backends.torch_tensors.view import as_numpy, as_tensor, check_parameter, is_tensor
from samestep.protocol import Availability


class _Held:
    """Memory of the double, which is given back when no array refers to it any more."""

    def __init__(self, size: int) -> None:
        self.memory = Memory(size)
        place = {"data": (self.memory.ptr, False), "shape": (size,)}
        self.__array_interface__ = {**place, "typestr": "|u1", "version": 3}


def on_device(array: np.ndarray) -> torch.Tensor:
    """A copy in memory of the double's device."""
    there = np.asarray(_Held(array.nbytes)).view(array.dtype).reshape(array.shape)
    there[...] = array
    return as_tensor(there)


def finish() -> None:
    """Wait for what is under way on the current stream."""
    cupy.cuda.get_current_stream().synchronize()


class DoubledArrays(TorchArrays):
    """Tensors in host memory, on the double's streams."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))

    def check_parameter(self, name: str, owner: Any) -> None:
        check_parameter(name, owner)

    def current(self) -> Any:
        return cupy.cuda.Device(self.number)

    def stream(self) -> int:
        return cupy.cuda.get_current_stream().ptr

    def stream_object(self) -> Any:
        return cupy.cuda.get_current_stream()

    def empty(self, size: int, dtype: str) -> torch.Tensor:
        return on_device(np.full(size, 0xFF, dtype))

    def copy(self, array: torch.Tensor, dtype: str | None = None) -> torch.Tensor:
        """A copy that lives until the work that reads it is done, as on a device."""
        return on_device(as_numpy(super().copy(array, dtype)))

    def of_number(self, number: np.ndarray) -> torch.Tensor:
        return on_device(number)

    @contextmanager
    def working(self) -> Iterator[None]:
        finish()
        with super().working():
            yield

    def to_numpy(self, array: torch.Tensor) -> np.ndarray:
        finish()
        return super().to_numpy(array.clone())


class DoubledBackend(FusedOnDevice):
    """``torch:fused``, with these tensors."""

    def accepts(self, array: Any) -> bool:
        return self._is_there(array)

    def zeros(self, size: int | tuple[int, ...], dtype: str) -> torch.Tensor:
        return on_device(np.zeros(size, dtype))

    def asarray(self, array: Any) -> Any:
        return array if is_tensor(array) else on_device(np.asarray(array))

    def copy_into(self, array: Any, values: Any) -> None:
        finish()
        super().copy_into(array, values)


def availability() -> Availability:
    return Availability("doubled", True, "torch:fused behind a double of a CUDA device")


def get_backend() -> DoubledBackend:
    return DoubledBackend("doubled", DoubledArrays())
