"""Tensors on a device, which only PyTorch can see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...interrupts import held
from ..memory import shadow
from ..torch_tensors.view import (
    as_numpy,
    as_tensor,
    check_parameter,
    check_plain,
    described,
    dtype_name,
    is_tensor,
    kind_of,
    plain,
)

Tensor = torch.Tensor
DEVICES = ("cuda",)  # types of device whose arithmetic is that of IEEE 754


def check_device_parameter(name: str, tensor: Any) -> None:
    """Raise TypeError or ValueError for a tensor that cannot be updated on its device."""
    check_parameter(name, tensor)
    if tensor.device.type not in DEVICES:
        raise TypeError(
            f"{name} is a {described(tensor)}; expected one in host memory or on "
            f"{' or '.join(DEVICES)}"
        )


class TorchArrays:
    """PyTorch's face of `Device`."""

    kind = Tensor
    view = staticmethod(plain)
    dtype_name = staticmethod(dtype_name)

    def __init__(self, device: torch.device) -> None:
        self.place, self.number = device, device.index or 0

    # ---- arrays

    def check_parameter(self, name: str, owner: Any) -> None:
        """Raise TypeError or ValueError for a tensor that cannot be updated on its device."""
        check_device_parameter(name, owner)

    def gradient(self, name: str, grad: Any) -> Tensor:
        """Return a gradient as a tensor without history over the same memory."""
        if not is_tensor(grad):
            raise TypeError(
                f"{name} is a {kind_of(grad)}; expected a tensor on {self.place} or None"
            )
        check_plain(name, grad)
        if grad.device != self.place:
            raise TypeError(f"{name} is a {described(grad)}; the parameter is on {self.place}")
        found: Tensor = plain(grad)
        return found

    def indices(self, name: str, given: Any) -> Tensor:
        """Return indices, a tensor or a list, as a tensor."""
        if isinstance(given, list):
            return torch.tensor(given, device=self.place)
        if not is_tensor(given):
            raise TypeError(
                f"{name} has indices that are a {kind_of(given)}; expected a tensor on {self.place}"
            )
        if given.device != self.place:
            raise TypeError(f"{name} has indices on {given.device}; expected them on {self.place}")
        found: Tensor = plain(given)
        return found

    def usable(self, array: Tensor) -> bool:
        """Say whether it is contiguous."""
        return array.is_contiguous()

    def copy(self, array: Tensor, dtype: str | None = None) -> Tensor:
        """Return a contiguous copy, rounded to ``dtype`` if that is given."""
        kind = array.dtype if dtype is None else getattr(torch, dtype)
        return array.to(kind, memory_format=torch.contiguous_format, copy=True)

    def of_number(self, number: NDArray[Any]) -> Tensor:
        """Return a number on the device."""
        found: Tensor = as_tensor(number).to(self.place)
        return found

    def reals(self, array: Tensor) -> Tensor:
        """Return a contiguous tensor as a vector of reals."""
        return (torch.view_as_real(array) if array.is_complex() else array).reshape(-1)

    def shadow(self, array: Tensor) -> NDArray[Any]:
        """Return a NumPy array over the same addresses, not to be touched."""
        shape, size = tuple(array.shape), array.element_size()
        if not array.numel():  # which has no address
            return np.empty(shape, f"|V{size}")
        return shadow(array.data_ptr(), shape, tuple(size * n for n in array.stride()), size)

    def positions(self, count: int) -> Tensor:
        """Return the integers from 0 on."""
        return torch.arange(count, device=self.place)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Record no history, make tensors that can be changed, and the device current."""
        with held(), torch.inference_mode(False), torch.no_grad(), self.current():
            yield

    def addresses(self, arrays: list[Tensor]) -> NDArray[np.int64]:
        """Return where the data of each tensor begins."""
        return np.fromiter((tensor.data_ptr() for tensor in arrays), np.int64, len(arrays))

    # ---- the device

    def current(self) -> Any:
        """Return a block in which the device is current."""
        return torch.cuda.device(self.place)

    def stream(self) -> int:
        """Return the handle of PyTorch's current stream."""
        return int(torch.cuda.current_stream(self.place).cuda_stream)

    def stream_object(self) -> Any:
        """Return PyTorch's current stream."""
        return torch.cuda.current_stream(self.place)

    def empty(self, size: int, dtype: str) -> Tensor:
        """Return a vector that is not initialized."""
        with held(), torch.inference_mode(False):
            return torch.empty(size, dtype=getattr(torch, dtype), device=self.place)

    def stacked(self, arrays: Sequence[Tensor]) -> Tensor:
        """Return a vector of float64 with the numbers of these tensors."""
        with self.working():
            return torch.stack([plain(array).double() for array in arrays])

    def to_numpy(self, array: Tensor) -> NDArray[Any]:
        """Return a copy on the host, after what is under way on the current stream."""
        return as_numpy(array.cpu())
