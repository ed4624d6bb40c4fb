"""Arrays in host memory: what the backends that compute on NumPy arrays share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...interrupts import held
from ...language.rule import Rule
from ...protocol import BackendBase
from ..gradients import GradientChecker
from ..launching.arithmetic import check_caller
from ..launching.initial_state import initial_state
from ..memory import apart, overlapping, overlaps_itself
from ..tensor import AdoptedTensor, check_dtype, refuse_shared
from ..tensor_gradients import TensorChecker
from ..torch_tensors import view as foreign
from ..torch_tensors.reader import Reader, Watch, reader_for
from ..torch_tensors.view import as_numpy, is_tensor, kind_of, owning_tensors
from .arrays import ARRAYS, HostArrays
from .judge import DecidesOnHost
from .products import product

Array = NDArray[Any]


class HostBackend(BackendBase, DecidesOnHost):
    """A backend of arrays in host memory: everything but how the arithmetic is done."""

    name = ""
    arrays: HostArrays = ARRAYS
    library = np

    def accepts(self, array: Any) -> bool:
        return foreign.on_host(array) if is_tensor(array) else isinstance(array, np.ndarray)

    def adopt(self, name: str, array: Any) -> AdoptedTensor:
        if is_tensor(array):
            self.arrays.check_parameter(name, array)
        elif not isinstance(array, np.ndarray):
            kind = kind_of(array)
            fixed = ", which nothing can change" if kind.startswith("jax") else ""
            raise TypeError(
                f"{name} is a {kind}{fixed}; backend {self.name!r} updates NumPy arrays in place "
                "(numpy.array makes one, a copy)"
            )
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(
                f"{name} is a masked array; its mask would be ignored (filled(0) makes an array)"
            )
        seen = as_numpy(array)
        check_dtype(name, seen.dtype)
        if not seen.flags.writeable:
            raise ValueError(f"{name} is read-only; a parameter is updated in place")
        if overlaps_itself(seen):
            raise ValueError(f"{name} overlaps itself: one element stands for several")
        return AdoptedTensor(name, array, self.arrays)

    def check_overlap(self, tensors: Sequence[AdoptedTensor]) -> None:
        refuse_shared(tensors, overlapping([t.array for t in tensors]))

    def new_state(self, tensor: AdoptedTensor, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for name, shape, dtype, value in initial_state(tensor, rule, hyper):
            array = np.zeros(shape, dtype)
            if value:
                self.arrays.reals(array)[...] = value
            state[name] = foreign.like(tensor.owner, array)
        return state

    def zeros(self, size: int, dtype: str) -> Array:
        return np.zeros(size, dtype)

    def on_matrices(self, function: Callable[..., None], *args: Any) -> None:
        with held(), np.errstate(all="ignore"):
            function(product, *args)

    def gradient_checker(self, tensors: Sequence[Any]) -> GradientChecker:
        if owners := owning_tensors(tensors):
            return TensorChecker(tensors, self.arrays, self.reader(owners))
        return GradientChecker(tensors, self.arrays)

    def reader(self, tensors: Sequence[Any]) -> Reader:
        """Return a reader of tensors of PyTorch such as these."""
        return reader_for(tensors)

    def change_marker(self, tensors: Sequence[AdoptedTensor]) -> Callable[[], None]:
        return foreign.change_marker(tensors)

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        return functools.partial(Watch(self.reader(tensors), tensors).unchanged, tensors)

    def check_arithmetic(self) -> None:
        check_caller()

    def to_numpy(self, array: Any, copied: bool = True) -> Array:
        seen = as_numpy(array)
        return np.array(seen) if copied else seen

    def apart(self, values: Sequence[Array], arrays: Sequence[Any]) -> list[Array]:
        return apart(values, list(map(as_numpy, arrays)))

    def asarray(self, array: Any) -> Any:
        return array if self.accepts(array) else np.asarray(array)

    def copy_into(self, array: Any, values: Any) -> None:
        with held(), np.errstate(over="ignore"):  # what is too large for the dtype is infinite
            as_numpy(array)[...] = as_numpy(values)
