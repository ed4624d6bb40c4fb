"""The backends where parameters are in host memory: tensors, and NumPy arrays through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...interrupts import held
from ...language.rule import Rule
from .. import numba
from ..host.backend import HostBackend
from ..tensor import AdoptedTensor
from ..torch_tensors.reader import Reader
from ..torch_tensors.view import is_tensor, on_host
from .arrays import check_device_parameter
from .implementations import backend_name, torch_launch
from .launch import TorchLaunch
from .products import NARROW, in_dtype


class TorchOnHost(HostBackend):
    """A backend of arrays in host memory that knows tensors elsewhere, too."""

    implementation: str
    product_dtypes = NARROW

    def on_narrow_matrices(
        self, function: Callable[..., None], dtype: str, stack: Any, size: int, *numbers: float
    ) -> None:
        with held(), torch.inference_mode(False), torch.no_grad():
            in_dtype(function, dtype, torch.from_numpy(stack), size, *numbers)

    def adopt(self, name: str, array: Any) -> AdoptedTensor:
        if is_tensor(array) and not on_host(array):
            check_device_parameter(name, array)
            raise ValueError(
                f"{name} is on {array.device}, the first parameter on cpu; make one optimizer for "
                "each device"
            )
        return super().adopt(name, array)

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        return super().to_numpy(array.cpu() if is_tensor(array) else array, copied)


class FusedOnHost(TorchOnHost, numba.NumbaBackend):
    """The kernels of the Numba backend, over the memory of tensors."""

    implementation = "fused"

    def __init__(self, name: str) -> None:
        self.name = name


class OperationsOnHost(TorchOnHost):
    """A rule's operations, by PyTorch; "forloop", "foreach" or "compiled"."""

    def __init__(self, name: str, implementation: str) -> None:
        self.name, self.implementation = name, implementation

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> TorchLaunch:
        return torch_launch(self.implementation, rule, param_dtype)

    def reader(self, tensors: Sequence[Any]) -> Reader:
        compiles = numba.availability().available
        return numba.get_backend().reader(tensors) if compiles else super().reader(tensors)


def host_backend(implementation: str) -> TorchOnHost:
    """Return the backend with this implementation; the default is "fused", without Numba "foreach".

    Raises RuntimeError for one that cannot run here.
    """
    name, status = backend_name(implementation), numba.availability()
    implementation = implementation or ("fused" if status.available else "foreach")
    if implementation != "fused":
        return OperationsOnHost(name, implementation)
    if not status.available:
        raise RuntimeError(f"backend {name!r} cannot run here: {status.detail}; {status.install}")
    return FusedOnHost(name)
