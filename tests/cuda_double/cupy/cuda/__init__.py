from __future__ import annotations

from .._memory import MemoryPointer, UnownedMemory
from .._work import Event, ExternalStream, Graph, Stream, get_current_stream, run_everything
from . import memory, runtime
from ._device import Device

__all__ = [
    "Device",
    "Event",
    "ExternalStream",
    "Graph",
    "MemoryPointer",
    "Stream",
    "UnownedMemory",
    "get_current_stream",
    "memory",
    "run_everything",
    "runtime",
]  # fmt: skip
