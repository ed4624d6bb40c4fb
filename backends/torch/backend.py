"""The backend: which implementation runs where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backend import Launch, available_backends, get_backend
from ...program import program
from ...rule import Rule
from ..host import HostBackend, HostTensor
from .launch import TorchLaunch

FUSED = "numba"  # whose kernels serve on the host, over the same memory


class TorchBackend(HostBackend):
    """Tensors, and NumPy arrays through shared memory, updated by one of the implementations."""

    def __init__(self, implementation: str = "") -> None:
        self.name = f"torch:{implementation}" if implementation else "torch"
        self.implementation = implementation or self._fastest()
        self._kernels: Any = None
        if self.implementation == "fused":
            self._kernels = get_backend(FUSED)

    def _fastest(self) -> str:
        return "fused" if available_backends()[FUSED].available else "foreach"

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> Launch:
        if self._kernels is not None:
            launch: Launch = self._kernels.launch(rule, scalars, param_dtype, grad_dtype)
            return launch
        traced = program(rule)
        reducing = bool(traced.sums or traced.small)
        if self.implementation == "compiled":
            from .compiled import CompiledLaunch  # the compiler takes a second to import

            return CompiledLaunch(rule, scalars, param_dtype, True, reducing)
        return TorchLaunch(rule, scalars, param_dtype, self.implementation == "foreach", reducing)

    def check_arithmetic(self) -> None:
        if self._kernels is not None:
            self._kernels.check_arithmetic()
        else:
            super().check_arithmetic()

    def array_gradients(self, tensors: Sequence[HostTensor]) -> Any:
        if self._kernels is not None:
            return self._kernels.array_gradients(tensors)
        return super().array_gradients(tensors)
