"""The backend where parameters are on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ...interrupts import held
from ...language.rule import Rule
from ..host.backend import check_subnormals
from ..host.judge import DecidesOnHost
from ..launching.initial_state import initial_state
from ..tensor import refuse_shared
from ..torch_tensors.reader import ByTorch, Watch
from ..torch_tensors.view import as_numpy, as_tensor, change_marker, is_tensor
from .device import (
    DEVICES,
    DeviceChecker,
    DeviceTensor,
    check_device_parameter,
    overlapping,
    reals,
)
from .implementations import backend_name, check_compiler, torch_launch
from .launch import TorchLaunch


class TorchOnDevice(DecidesOnHost):
    """A backend of tensors on one device. ``implementation`` is by default "foreach"."""

    def __init__(self, implementation: str, device: torch.device) -> None:
        self.name, self.device = backend_name(implementation), device
        self.implementation = implementation or "foreach"
        if implementation == "compiled":
            check_compiler(device)

    def accepts(self, array: Any) -> bool:
        return self._is_there(array) and array.device.type in DEVICES

    def _is_there(self, array: Any) -> bool:
        return is_tensor(array) and array.device == self.device

    def adopt(self, name: str, array: Any) -> DeviceTensor:
        if not self._is_there(array):
            where = array.device if is_tensor(array) else "cpu"
            raise ValueError(
                f"{name} is on {where}, the first parameter on {self.device}; make one optimizer "
                "for each device"
            )
        check_device_parameter(name, array)
        if self.implementation == "fused":
            raise TypeError(f"{name} is on {self.device}; {self.name!r} is for host memory only")
        return DeviceTensor(name, array)

    def check_overlap(self, tensors: Sequence[DeviceTensor]) -> None:
        refuse_shared(tensors, overlapping([t.owner for t in tensors]))

    def new_state(self, tensor: DeviceTensor, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        state = {}
        with held(), torch.inference_mode(False):
            for name, shape, dtype, value in initial_state(tensor, rule, hyper):
                state[name] = self.zeros(shape, dtype.name)
                if value:
                    reals(state[name]).fill_(value)
        return state

    def zeros(self, size: int | tuple[int, ...], dtype: str) -> torch.Tensor:
        return torch.zeros(size, dtype=getattr(torch, dtype), device=self.device)

    def gradient_checker(self, tensors: Sequence[DeviceTensor]) -> DeviceChecker:
        return DeviceChecker(tensors)

    def change_marker(self, tensors: Sequence[DeviceTensor]) -> Callable[[], None]:
        return change_marker(tensors)

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        return functools.partial(Watch(ByTorch(), tensors).unchanged, tensors)

    def check_arithmetic(self) -> None:
        check_subnormals()  # scalars are the host's

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> TorchLaunch:
        return torch_launch(self.implementation, rule, param_dtype)

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        seen = as_numpy(array.cpu() if is_tensor(array) else array)
        return np.array(seen) if copied and not self._is_there(array) else seen

    def asarray(self, array: Any) -> Any:
        return array if self._is_there(array) else as_tensor(np.asarray(array)).to(self.device)

    def copy_into(self, array: Any, values: Any) -> None:
        values = values if is_tensor(values) else as_tensor(np.asarray(values))
        with held(), torch.no_grad():
            array.copy_(values)
