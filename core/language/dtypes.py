"""Storage dtypes and the compute dtype each of them is updated in.

Parameters and gradients may be stored in 16, 32 or 64 bits. Arithmetic and state are float64
for float64 parameters and float32 for all others; loads convert up exactly, and a result is
rounded once, to nearest even, when it is stored. A complex parameter is two reals per element.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np

COMPUTE_DTYPE = {
    "float64": "float64",
    "float32": "float32",
    "bfloat16": "float32",
    "float16": "float32",
}
WIDER: Literal["wider"] = "wider"
Cast = bool | Literal["wider"]  # which gradients are converted: all, or where nothing is lost
REAL_OF_COMPLEX = {"complex64": "float32", "complex128": "float64"}


@functools.cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype called ``name``; bfloat16 comes from ml_dtypes, imported only if asked
    for."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def dtype_of(array: Any) -> np.dtype[Any]:
    """Return the NumPy dtype of an array, or of a framework's tensor (``torch.float32``:
    float32)."""
    return numpy_dtype(name_of(array.dtype))


@functools.cache
def name_of(dtype: Any) -> str:
    """Return the name of a dtype, NumPy's or a framework's; cached, since NumPy makes it anew."""
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def named(value: Any) -> Any:
    """Return the name of a dtype, NumPy's (``np.float16``) or a framework's; anything else as it
    is."""
    if isinstance(value, type) and issubclass(value, np.generic):
        value = np.dtype(value)
    is_dtype = isinstance(value, np.dtype) or type(value).__name__ == "dtype"
    return name_of(value) if is_dtype else value


def gradient_dtypes(param_dtype: str) -> tuple[str, ...]:
    """Return the names of the dtypes that a gradient may have: the parameter's, and float32 for
    16-bit parameters."""
    compute = COMPUTE_DTYPE[param_dtype]
    return (param_dtype,) if compute == param_dtype else (param_dtype, compute)


def taken_as(param_dtype: str, grad_dtype: str, cast: Cast) -> str | None:
    """Return the dtype in which a launch takes a gradient of this dtype; None where it takes none.

    Launches take `gradient_dtypes`. 16 bits lose nothing in the compute dtype float32. Whatever
    else is real, for a real parameter, or complex, for a complex one, is rounded if ``cast`` says
    so.
    """
    if cast == WIDER:
        cast = numpy_dtype(grad_dtype).itemsize < numpy_dtype(param_dtype).itemsize
    if param_dtype in REAL_OF_COMPLEX:
        fits = grad_dtype == param_dtype or (cast and grad_dtype in REAL_OF_COMPLEX)
        return param_dtype if fits else None
    if grad_dtype in gradient_dtypes(param_dtype):
        return grad_dtype
    compute = COMPUTE_DTYPE[param_dtype]
    exact = compute == COMPUTE_DTYPE.get(grad_dtype) == "float32" != grad_dtype
    return compute if exact or (cast and grad_dtype in COMPUTE_DTYPE) else None
