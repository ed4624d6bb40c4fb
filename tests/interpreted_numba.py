"""What printed Numba modules import, for Python's own interpreter: nothing is compiled, and an
index out of bounds is an error. Tens of times as fast as compiling, for a small array."""

from __future__ import annotations

import ctypes
import re
from types import ModuleType
from typing import Any

import numpy as np

types = None
CALLED = {
    "pointer": lambda address, dtype: (address, dtype),
    "fetch_ahead": lambda *args: None,
    "added": lambda a, b: np.uint32((int(a) + int(b)) % 2**32),
}


def njit(*args: Any, **options: Any) -> Any:
    return lambda function: CALLED.get(function.__name__, function)


def intrinsic(function: Any) -> Any:
    return CALLED.get(function.__name__)


def carray(pointer: tuple[int, type], count: int) -> np.ndarray:
    address, dtype = pointer
    dtype = np.dtype(dtype)
    memory = (ctypes.c_char * (int(count) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memory, dtype)


def load(name: str, source: str) -> ModuleType:
    """In place of `samestep.backends.launching.source_cache.load`."""
    module = ModuleType(name)
    source = re.sub(
        r"^from numba[.\w]* import", f"from {__name__} import", source, flags=re.MULTILINE
    )
    exec(compile(source, f"<{name}>", "exec"), vars(module))
    return module
