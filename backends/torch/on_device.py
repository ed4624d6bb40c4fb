"""The backends where parameters are on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...interrupts import held
from ...language.rule import Rule
from ...protocol import BackendBase
from .. import numba
from ..host.judge import DecidesOnHost
from ..launching.arithmetic import check_caller
from ..launching.initial_state import initial_state
from ..memory import overlapping, overlaps_itself
from ..tensor import AdoptedTensor, refuse_shared
from ..tensor_gradients import TensorChecker
from ..torch_tensors.reader import ByTorch, Reader, Watch
from ..torch_tensors.view import as_numpy, as_tensor, change_marker, is_tensor
from .arrays import DEVICES, TorchArrays
from .implementations import check_compiler, torch_launch
from .launch import TorchLaunch
from .products import NARROW, in_dtype, product


class TorchOnDevice(BackendBase):
    """A backend of tensors on one device: everything but how the arithmetic is done."""

    name: str
    implementation: str
    library = torch
    product_dtypes = NARROW

    def __init__(self, name: str, device: TorchArrays) -> None:
        self.name, self.device = name, device

    def accepts(self, array: Any) -> bool:
        return self._is_there(array) and array.device.type in DEVICES

    def _is_there(self, array: Any) -> bool:
        return is_tensor(array) and array.device == self.device.place

    def adopt(self, name: str, array: Any) -> AdoptedTensor:
        if not self._is_there(array):
            where = array.device if is_tensor(array) else "cpu"
            raise ValueError(
                f"{name} is on {where}, the first parameter on {self.device.place}; make one "
                "optimizer for each device"
            )
        self.device.check_parameter(name, array)
        if overlaps_itself(self.device.shadow(array)):
            raise ValueError(f"{name} overlaps itself: one element stands for several")
        return AdoptedTensor(name, array, self.device)

    def check_overlap(self, tensors: Sequence[AdoptedTensor]) -> None:
        refuse_shared(tensors, overlapping([self.device.shadow(t.array) for t in tensors]))

    def new_state(self, tensor: AdoptedTensor, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        state = {}
        for name, shape, dtype, value in initial_state(tensor, rule, hyper):
            state[name] = self.zeros(shape, dtype.name)
            if value:
                self.device.reals(state[name]).fill_(value)
        return state

    def zeros(self, size: int | tuple[int, ...], dtype: str) -> torch.Tensor:
        with held(), torch.inference_mode(False):  # what is made in it could not be changed outside
            return torch.zeros(size, dtype=getattr(torch, dtype), device=self.device.place)

    def on_matrices(self, function: Callable[..., None], *args: Any) -> None:
        with self.device.working():
            function(product, *args)

    def on_narrow_matrices(
        self, function: Callable[..., None], dtype: str, stack: Any, size: int, *numbers: float
    ) -> None:
        with self.device.working():
            in_dtype(function, dtype, stack, size, *numbers)

    def gradient_checker(self, tensors: Sequence[AdoptedTensor]) -> TensorChecker:
        return TensorChecker(tensors, self.device, self.reader([t.owner for t in tensors]))

    def reader(self, tensors: list[Any]) -> Reader:
        """Return a reader of tensors such as these: compiled code, where that can be compiled."""
        compiles = numba.availability().available
        return numba.get_backend().reader(tensors) if compiles else ByTorch()

    def change_marker(self, tensors: Sequence[AdoptedTensor]) -> Callable[[], None]:
        return change_marker(tensors)

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        return functools.partial(Watch(self.reader(tensors), tensors).unchanged, tensors)

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        if self._is_there(array):
            return self.device.to_numpy(array)
        return np.array(as_numpy(array)) if copied else as_numpy(array)

    def apart(self, values: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        return list(values)  # they are in host memory

    def asarray(self, array: Any) -> Any:
        return (
            array if self._is_there(array) else as_tensor(np.asarray(array)).to(self.device.place)
        )

    def copy_into(self, array: Any, values: Any) -> None:
        with held(), torch.no_grad():
            if isinstance(values, (int, float)):
                array.fill_(values)  # no copy from the host, which would be waited for
            else:
                array.copy_(values if is_tensor(values) else as_tensor(np.asarray(values)))


class OperationsOnDevice(TorchOnDevice, DecidesOnHost):
    """A rule's operations, by PyTorch; "forloop", "foreach" or "compiled"."""

    def __init__(self, name: str, implementation: str, device: TorchArrays) -> None:
        if implementation == "compiled":
            check_compiler(device.place)
        super().__init__(name, device)
        self.implementation = implementation

    def check_arithmetic(self) -> None:
        check_caller()  # scalars are the host's

    def numbers(self, arrays: Sequence[Any]) -> Callable[[], NDArray[np.float64]]:
        found: NDArray[np.float64] = self.device.to_numpy(self.device.stacked(arrays))
        return lambda: found

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> TorchLaunch:
        return torch_launch(self.implementation, rule, param_dtype)
