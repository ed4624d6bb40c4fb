"""The backend: arrays on one CUDA device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ...language.rule import Rule
from ..cuda.backend import CudaBackend
from ..gradients import GradientChecker
from ..launching.initial_state import initial_state
from ..memory import overlapping, overlaps_itself
from ..tensor import AdoptedTensor, check_dtype, refuse_shared
from ..torch_tensors import view as foreign
from ..torch_tensors.reader import ByTorch, Watch
from .arrays import CupyArrays, aligned, as_cupy, is_read_only, on_device
from .gradients import CupyChecker, CupyTensorChecker


class CupyBackend(CudaBackend):
    """Arrays on a CUDA device, updated there by printed kernels on the current stream."""

    name = "cupy"
    library = cupy

    def __init__(self) -> None:
        self.device: CupyArrays = CupyArrays(cupy.cuda.Device().id)
        self._adopted = False  # whether the device is that of the parameters

    # ---- arrays

    def accepts(self, array: Any) -> bool:
        return on_device(array)

    def adopt(self, name: str, array: Any) -> AdoptedTensor:
        self.device.check_parameter(name, array)
        seen = as_cupy(array)
        check_dtype(name, seen.dtype)
        if is_read_only(array):
            raise ValueError(f"{name} is read-only; a parameter is updated in place")
        if not aligned(seen):
            raise ValueError(f"{name} starts at {seen.data.ptr:#x}, which is not aligned")
        if overlaps_itself(self.device.shadow(seen)):
            raise ValueError(f"{name} overlaps itself: one element stands for several")
        if not self._adopted:
            self.device, self._adopted = CupyArrays(seen.device.id), True
        with seen.device:
            return AdoptedTensor(name, array, self.device)

    def check_overlap(self, tensors: Sequence[AdoptedTensor]) -> None:
        first = tensors[0]
        for tensor in tensors:
            if tensor.flat.device != first.flat.device:
                raise ValueError(
                    f"{first.name} is on device {first.flat.device.id} and {tensor.name} on "
                    f"device {tensor.flat.device.id}; an optimizer's parameters are on one"
                )
        refuse_shared(tensors, overlapping([self.device.shadow(t.array) for t in tensors]))

    def new_state(self, tensor: AdoptedTensor, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        state = {}
        self.follow()
        with self.device.current():
            for name, shape, dtype, value in initial_state(tensor, rule, hyper):
                state[name] = cupy.zeros(shape, dtype)
                if value:
                    self.device.reals(state[name])[...] = value
        return state

    def zeros(self, size: int, dtype: str) -> Any:
        with self.device.current():
            return cupy.zeros(size, dtype)

    def on_matrices(self, function: Callable[..., None], *args: Any) -> None:
        with self.device.current():
            function(cupy.matmul, *args)

    def gradient_checker(self, tensors: Sequence[AdoptedTensor]) -> GradientChecker:
        if foreign.owning_tensors(tensors):
            return CupyTensorChecker(tensors, self.device, ByTorch())
        return CupyChecker(tensors, self.device)

    def to_numpy(self, array: Any, copied: bool = True) -> NDArray[Any]:
        if on_device(array):
            self.follow()
            return self.device.to_numpy(array)
        return np.array(array) if copied else np.asarray(array)

    def apart(self, values: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        return list(values)  # they are in host memory

    def asarray(self, array: Any) -> Any:
        return array if on_device(array) else cupy.asarray(array)

    def copy_into(self, array: Any, values: Any) -> None:
        target = as_cupy(array)
        self.follow()
        with target.device:
            if np.ndim(values) == 0 and not on_device(values):
                target.fill(values)
            else:
                values = as_cupy(values) if on_device(values) else np.asarray(values)
                target[...] = cupy.asarray(values).astype(target.dtype, copy=False)

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        return functools.partial(Watch(ByTorch(), tensors).unchanged, tensors)

    def change_marker(self, tensors: Sequence[AdoptedTensor]) -> Callable[[], None]:
        return foreign.change_marker(tensors)
