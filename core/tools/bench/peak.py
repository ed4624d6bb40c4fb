"""Memory that a call takes beyond what is in use before it."""

from __future__ import annotations

import contextlib
import ctypes
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STATUS = "/proc/self/status"
RESET_PEAK = "5"  # for /proc/self/clear_refs, see proc(5)


@dataclass(frozen=True)
class StepMemory:
    """Peaks of memory during one step, in bytes above the start.

    ``numpy`` counts what NumPy and Python allocate. ``process`` is None if the system is not Linux.
    """

    numpy: int
    process: int | None

    @property
    def most(self) -> int:
        """The larger of the two: what the system sees has its granularity, and what Python sees
        leaves out what other libraries allocate."""
        return max(self.numpy, self.process or 0)


def peak_memory(step: Callable[[], object]) -> StepMemory:
    """Measure two calls of ``step``, one for each figure."""
    return StepMemory(traced_peak(step), resident_peak(step))


def traced_peak(call: Callable[[], object]) -> int:
    """Return the most bytes that NumPy and Python hold at one time during a call."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return max(tracemalloc.get_traced_memory()[1] - before, 0)
    finally:
        tracemalloc.stop()


def resident_peak(call: Callable[[], object]) -> int | None:
    """Return the most bytes by which the process grows during a call; None if not on Linux."""
    _return_free_memory()
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        before = proc_bytes(STATUS, "VmRSS")
        call()
        return max(proc_bytes(STATUS, "VmHWM") - before, 0)
    except OSError:
        return None


def proc_bytes(file: str, name: str) -> int:
    """Return the bytes in the line ``name: number kB`` of a file of Linux. Raises OSError."""
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise OSError(f"{file} has no {name}")


def _return_free_memory() -> None:
    """Give free memory to the system, so that what a step reuses counts, too. glibc only."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
