"""The backend: which implementation runs where."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...choice import available_backends, get_backend
from ...interrupts import held
from ...language.rule import Rule
from ...protocol import Launch
from ..gradients import GradientChecker
from ..host.backend import HostBackend
from ..launching.initial_state import initial_state
from ..torch_tensors.reader import Reader
from ..torch_tensors.view import as_numpy, as_tensor, is_tensor, on_host
from .device import KINDS, DeviceChecker, DeviceTensor, check_device_parameter, overlapping, reals
from .launch import TorchLaunch

FUSED_ON_HOST = "numba"  # whose kernels serve on the host, over the same memory
# glibc gives freed memory back, and takes it anew page by page, until it has seen a block of this
# size come and go; after that it keeps up to twice as much. The block itself is never touched.
SEEN_BY_ALLOCATOR = 1 << 24


class TorchBackend(HostBackend):
    """Tensors, and NumPy arrays through shared memory, updated by one of the implementations.

    All parameters of an optimizer are in host memory or on one device.
    """

    def __init__(self, implementation: str = "") -> None:
        self.name = f"torch:{implementation}" if implementation else "torch"
        self._wanted = implementation
        self._device: torch.device | None = None  # of the first parameter

    @functools.cached_property
    def implementation(self) -> str:
        """That which was asked for, or the fastest that is exact where the parameters are."""
        return self._wanted or (self._fastest_on_host if self._host else "foreach")

    @functools.cached_property
    def _fastest_on_host(self) -> str:
        return "fused" if available_backends()[FUSED_ON_HOST].available else "foreach"

    @property
    def _host(self) -> bool:
        return self._device is None or self._device.type == "cpu"

    def accepts(self, array: Any) -> bool:
        if is_tensor(array) and not on_host(array):
            return array.device.type in KINDS and self._wanted != "fused"
        return super().accepts(array)

    def adopt(self, name: str, array: Any) -> Any:
        device = array.device if is_tensor(array) else torch.device("cpu")
        tensor: Any
        if device.type == "cpu":
            tensor = super().adopt(name, array)
        else:
            check_device_parameter(name, array)
            if self._wanted == "fused":
                raise TypeError(f"{name} is on {device}; {self.name!r} is for host memory only")
            tensor = DeviceTensor(name, array)
        if self._device is None:
            self._device = device
            self.__dict__.pop("implementation", None)  # which was that of the host
        if device != self._device:
            raise ValueError(
                f"{name} is on {device}, the first parameter on {self._device}; make one "
                "optimizer for each device"
            )
        return tensor

    def check_overlap(self, tensors: Sequence[Any]) -> None:
        if self._host:
            super().check_overlap(tensors)
        elif found := overlapping([t.owner for t in tensors]):
            a, b = (tensors[i].name for i in found)
            raise ValueError(f"{a} and {b} share memory; pass a shared parameter once")

    def new_state(self, tensor: Any, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        if self._host:
            return super().new_state(tensor, rule, hyper)
        state = {}
        with held(), torch.inference_mode(False):
            for name, shape, dtype, value in initial_state(tensor, rule, hyper):
                state[name] = torch.zeros(
                    shape, dtype=getattr(torch, dtype.name), device=self._device
                )
                if value:
                    reals(state[name]).fill_(value)
        return state

    def zeros(self, size: int, dtype: str) -> Any:
        if self._host:
            return super().zeros(size, dtype)
        return torch.zeros(size, dtype=getattr(torch, dtype), device=self._device)

    def gradient_checker(self, tensors: Sequence[Any]) -> Any:
        return super().gradient_checker(tensors) if self._host else DeviceChecker(tensors)

    def array_checker(self, tensors: Sequence[Any]) -> GradientChecker:
        if self.implementation != "fused":
            return super().array_checker(tensors)
        found: GradientChecker = self._fused.array_checker(tensors)
        return found

    def reader(self, tensors: Sequence[Any]) -> Reader:
        if self._host and self._fastest_on_host == "fused":
            found: Reader = self._fused.reader(tensors)
            return found
        return super().reader(tensors)

    @functools.cached_property
    def _fused(self) -> Any:
        return get_backend(FUSED_ON_HOST)

    def check_arithmetic(self) -> None:
        if self.implementation == "fused":
            self._fused.check_arithmetic()
        else:
            super().check_arithmetic()

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> Launch:
        if self.implementation == "fused":
            fused: Launch = self._fused.launch(rule, scalars, param_dtype, grad_dtype)
            return fused
        if self._host:
            torch.empty(SEEN_BY_ALLOCATOR, dtype=torch.uint8, device="cpu")
        if self.implementation == "compiled":
            from .compiled import CompiledLaunch  # the compiler takes a second to import

            return CompiledLaunch(rule, param_dtype, True)
        return TorchLaunch(rule, param_dtype, self.implementation == "foreach")

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        if is_tensor(array) and not on_host(array):
            return as_numpy(array.detach().cpu())
        return super().to_numpy(array, copied)

    def copy_into(self, array: Any, values: Any) -> None:
        if is_tensor(array) and not on_host(array):
            values = values if is_tensor(values) else as_tensor(np.asarray(values))
            with held(), torch.no_grad():
                array.copy_(values)
        else:
            super().copy_into(array, values)
