"""The backend: arrays on one CUDA device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ...language.rule import Rule
from ...protocol import Judge
from ..host.tensor import check_dtype
from ..launching.initial_state import initial_state
from ..memory import overlapping, overlaps_itself
from ..tensor import refuse_shared
from ..torch_tensors import view as foreign
from ..torch_tensors.reader import ByTorch, Watch
from .arrays import DeviceTensor, aligned, as_cupy, is_read_only, on_device, reals, shadow
from .gradients import DeviceChecker
from .judge import DeviceJudge
from .launch import CupyLaunch


class CupyBackend:
    """Arrays on a CUDA device, updated there by printed kernels on the current stream."""

    name = "cupy"

    def __init__(self) -> None:
        self._home: Any = None  # the device of the parameters
        self._last: Any = None  # the stream of the last work

    # ---- arrays

    def accepts(self, array: Any) -> bool:
        return on_device(array)

    def adopt(self, name: str, array: Any) -> DeviceTensor:
        if not on_device(array):
            raise TypeError(
                f"{name} is a {foreign.kind_of(array)}; backend 'cupy' updates arrays on a CUDA device in place "
                "(cupy.asarray(array) copies one there; backend.asarray does it for whichever "
                "backend runs)"
            )
        if foreign.is_tensor(array):
            foreign.check_parameter(name, array)
        seen = as_cupy(array)
        check_dtype(name, seen.dtype)
        if is_read_only(array):
            raise ValueError(f"{name} is read-only; a parameter is updated in place")
        if not aligned(seen):
            raise ValueError(f"{name} starts at {seen.data.ptr:#x}, which is not aligned")
        if overlaps_itself(shadow(seen)):
            raise ValueError(f"{name} overlaps itself: one element stands for several")
        self._home = self._home or seen.device
        with seen.device:
            return DeviceTensor(name, array, seen)

    def check_overlap(self, tensors: Sequence[DeviceTensor]) -> None:
        first = tensors[0]
        for tensor in tensors:
            if tensor.flat.device != first.flat.device:
                raise ValueError(
                    f"{first.name} is on device {first.flat.device.id} and {tensor.name} on "
                    f"device {tensor.flat.device.id}; an optimizer's parameters are on one"
                )
        refuse_shared(tensors, overlapping([shadow(t.array) for t in tensors]))

    def new_state(self, tensor: DeviceTensor, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        state = {}
        self._follow()
        with tensor.flat.device:
            for name, shape, dtype, value in initial_state(tensor, rule, hyper):
                state[name] = cupy.zeros(shape, dtype)
                if value:
                    reals(state[name])[...] = value
        return state

    def zeros(self, size: int, dtype: str) -> Any:
        with self._home:
            return cupy.zeros(size, dtype)

    def gradient_checker(self, tensors: Sequence[DeviceTensor]) -> DeviceChecker:
        return DeviceChecker(tensors)

    def to_numpy(self, array: Any, copied: bool = True) -> NDArray[Any]:
        if on_device(array):
            self._follow()
            found: NDArray[Any] = as_cupy(array).get()
            return found
        return np.array(array) if copied else np.asarray(array)

    def asarray(self, array: Any) -> Any:
        return array if on_device(array) else cupy.asarray(array)

    def copy_into(self, array: Any, values: Any) -> None:
        target = as_cupy(array)
        self._follow()
        with target.device:
            if np.ndim(values) == 0 and not on_device(values):
                target.fill(values)
            else:
                values = as_cupy(values) if on_device(values) else np.asarray(values)
                target[...] = cupy.asarray(values).astype(target.dtype, copy=False)

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        return functools.partial(Watch(ByTorch(), tensors).unchanged, tensors)

    def change_marker(self, tensors: Sequence[DeviceTensor]) -> Callable[[], None]:
        return foreign.change_marker(tensors)

    # ---- steps

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> CupyLaunch:
        return CupyLaunch(rule, param_dtype, grad_dtype)

    def judge(self, sums: Mapping[str, Sequence[Any]]) -> Judge:
        return DeviceJudge(sums)

    def capturing(self) -> bool:
        return bool(cupy.cuda.get_current_stream().is_capturing())

    def check_arithmetic(self) -> None:
        """Check nothing: kernels keep subnormal numbers whatever the processor is set to; what can
        be seen is that a step comes on another stream than what was before it."""
        self._follow()

    def _follow(self) -> None:
        """Make the current stream wait for this optimizer's work on other streams."""
        current = cupy.cuda.get_current_stream()
        if self._last is not None and self._last.ptr != current.ptr:
            if current.is_capturing():
                raise RuntimeError(
                    "a step is being captured on another stream than the optimizer's last work; "
                    "take the step before the capture on the same stream"
                )
            current.wait_event(self._last.record())
        self._last = current
