"""A double of the part of CuPy that the backend needs, for machines without a GPU.

Printed CUDA text is compiled by g++ (``_host.py``) and run on the CPU; work waits in its stream
until somebody waits for it (``_work.py``). Where CuPy would go wrong without a word the double
raises. ``tests/backends/cupy/cupy_drift.py`` holds names and signatures against the real one.
"""

from __future__ import annotations

from . import cuda, linalg
from ._array import (
    arange,
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    empty,
    from_dlpack,
    isfinite,
    matmul,
    ndarray,
    stack,
    where,
    zeros,
    zeros_like,
)
from ._memory import get_default_memory_pool

__version__ = "14.2.0"
__all__ = [
    "arange", "array", "asarray", "ascontiguousarray", "asnumpy", "cuda", "empty", "from_dlpack",
    "get_default_memory_pool", "isfinite", "linalg", "matmul", "ndarray", "stack", "where", "zeros",
    "zeros_like",
]  # fmt: skip
