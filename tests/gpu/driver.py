"""What GPU there is, asked from the driver itself: nothing is installed yet."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OLDEST = 12_000  # CUDA's way of numbering: 12.0
LIBRARY = "libcuda.so.1"
MAJOR, MINOR = 75, 76  # attributes of a device: its compute capability


class NoGpuError(Exception):
    """The message says in one line what is missing."""


@dataclass(frozen=True)
class Gpu:
    """The first GPU and the driver."""

    name: str
    capability: str
    memory: int  # bytes
    cuda: int  # the newest CUDA version that the driver supports

    @property
    def extra(self) -> str:
        """The extra of this package that suits the driver."""
        return f"cuda{min(self.cuda // 1000, 13)}"

    @property
    def cuda_version(self) -> str:
        return version(self.cuda)


def version(number: int) -> str:
    """13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def look(load: Callable[[str], Any] = ctypes.CDLL) -> Gpu:
    """The GPU that is there. Raises NoGpuError."""
    try:
        library = load(LIBRARY)
    except OSError:
        raise NoGpuError(f"there is no NVIDIA driver here ({LIBRARY} is not found)") from None
    number, device = ctypes.c_int(0), ctypes.c_int(0)
    if code := library.cuInit(0):
        raise NoGpuError(f"the NVIDIA driver finds no GPU (cuInit says {code})")
    if library.cuDeviceGetCount(ctypes.byref(number)) or number.value == 0:
        raise NoGpuError("the NVIDIA driver finds no GPU")
    library.cuDriverGetVersion(ctypes.byref(number))
    cuda = number.value
    if cuda < OLDEST:
        raise NoGpuError(
            f"the NVIDIA driver supports CUDA {version(cuda)}; it takes {version(OLDEST)} or newer"
        )
    library.cuDeviceGet(ctypes.byref(device), 0)
    name, memory = ctypes.create_string_buffer(100), ctypes.c_size_t(0)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (MAJOR, MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(str(number.value))
    return Gpu(name.value.decode(), ".".join(capability), memory.value, cuda)
