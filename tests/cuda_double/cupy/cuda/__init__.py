from __future__ import annotations

from .._memory import (
    MemoryPointer,
    PinnedMemoryPointer,
    UnownedMemory,
    alloc_pinned_memory,
)
from .._work import Event, ExternalStream, Graph, Stream, get_current_stream, run_everything
from . import driver, function, memory, nvrtc, runtime
from ._device import Device

__all__ = [
    "Device",
    "Event",
    "ExternalStream",
    "Graph",
    "MemoryPointer",
    "PinnedMemoryPointer",
    "Stream",
    "UnownedMemory",
    "alloc_pinned_memory",
    "driver",
    "function",
    "get_current_stream",
    "memory",
    "nvrtc",
    "run_everything",
    "runtime",
]  # fmt: skip
