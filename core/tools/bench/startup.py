"""What a new process pays: importing the library, and the first step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from statistics import median

from .contenders import RULE

IMPORT = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
FIRST_STEP = f"""
import time
import numpy as np
import samestep as ss
params, grads = [np.ones((256, 256), np.float32)], [np.ones((256, 256), np.float32)]
start = time.perf_counter()
ss.Optimizer("{RULE}", params, backend="numba").step(grads)
print(time.perf_counter() - start)
"""
NAMES = ("import numpy", "import samestep", "first step, cold", "first step, warm")


def measure_startup(rounds: int, advance: Callable[[], None]) -> dict[str, float]:
    """Median seconds of ``NAMES``. The first step is that of the Numba backend, with Numba's own
    import; cold means that the printed kernel has to be compiled, too."""
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            taken = (
                _seconds(IMPORT.format(module="numpy"), cache),
                _seconds(IMPORT.format(module="samestep"), cache),
                _seconds(FIRST_STEP, cache),
                _seconds(FIRST_STEP, cache),  # finds what the one before has compiled
            )
        for name, value in zip(NAMES, taken, strict=True):
            seconds[name].append(value)
        advance()
    return {name: median(values) for name, values in seconds.items()}


def _seconds(script: str, cache: str) -> float:
    """What ``script`` prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SAMESTEP_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
