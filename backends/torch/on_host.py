"""The backend where parameters are in host memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...language.rule import Rule
from ...protocol import Launch
from .. import numba
from ..gradients import GradientChecker
from ..host.backend import HostBackend
from ..host.tensor import HostTensor
from ..torch_tensors.reader import Reader
from ..torch_tensors.view import is_tensor, on_host
from .device import check_device_parameter
from .implementations import backend_name, torch_launch

# glibc gives freed memory back, and takes it anew page by page, until it has seen a block of this
# size come and go; after that it keeps up to twice as much. The block itself is never touched.
SEEN_BY_ALLOCATOR = 1 << 24


class TorchOnHost(HostBackend):
    """A backend of tensors in host memory, and NumPy arrays over the same memory.

    ``implementation`` is by default "fused", that of the Numba backend; "foreach" without Numba.
    """

    def __init__(self, implementation: str) -> None:
        self.name = backend_name(implementation)
        compiles = numba.availability().available
        self.implementation = implementation or ("fused" if compiles else "foreach")
        self._numba = numba.get_backend() if compiles else None
        self._fused = self._numba if self.implementation == "fused" else None

    def adopt(self, name: str, array: Any) -> HostTensor:
        if is_tensor(array) and not on_host(array):
            check_device_parameter(name, array)
            raise ValueError(
                f"{name} is on {array.device}, the first parameter on cpu; make one optimizer for "
                "each device"
            )
        return super().adopt(name, array)

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> Launch:
        if self._fused is not None:
            return self._fused.launch(rule, scalars, param_dtype, grad_dtype)
        torch.empty(SEEN_BY_ALLOCATOR, dtype=torch.uint8, device="cpu")
        return torch_launch(self.implementation, rule, param_dtype)

    def reader(self, tensors: Sequence[Any]) -> Reader:
        return super().reader(tensors) if self._numba is None else self._numba.reader(tensors)

    def array_checker(self, tensors: Sequence[HostTensor]) -> GradientChecker:
        return (
            super().array_checker(tensors)
            if self._fused is None
            else self._fused.array_checker(tensors)
        )

    def check_arithmetic(self) -> None:
        if self._fused is None:
            super().check_arithmetic()
        else:
            self._fused.check_arithmetic()

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        return super().to_numpy(array.cpu() if is_tensor(array) else array, copied)
