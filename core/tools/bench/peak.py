"""Memory that a call takes beyond what is in use before it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RESET_PEAK = "5"  # for /proc/self/clear_refs, see proc(5)


@dataclass(frozen=True)
class StepMemory:
    """Peaks during one step, in bytes above the start. ``process`` is None where the operating
    system is not Linux; ``numpy`` counts what NumPy and Python allocate."""

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


def traced_growth(call: Callable[[], object]) -> int:
    """Return the bytes that a call allocates with NumPy and Python and does not give back."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


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
        before = _status("VmRSS")
        call()
        return max(_status("VmHWM") - before, 0)
    except OSError:
        return None


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def _return_free_memory() -> None:
    """Give free memory to the system, so that what a step reuses counts, too. glibc only."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
