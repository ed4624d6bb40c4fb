"""Seconds that a new process takes to import the library and to take its first step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from .contenders import RULE

TIMED = """
import time
{before}
start = time.perf_counter()
{timed}
print(time.perf_counter() - start)
"""
PARAMS = """
import numpy as np
import samestep as ss
params, grads = [np.ones((256, 256), np.float32)], [np.ones((256, 256), np.float32)]
"""
STEP = f'ss.Optimizer("{RULE}", params, backend="numba").step(grads)'
SCRIPTS = {
    "import numpy": TIMED.format(before="", timed="import numpy"),
    "import samestep": TIMED.format(before="", timed="import samestep"),
    "first step, cold": TIMED.format(before=PARAMS, timed=STEP),
    "first step, warm": TIMED.format(before=PARAMS, timed=STEP),  # finds what cold has compiled
}


def measure_startup(rounds: int, advance: Callable[[], None]) -> dict[str, list[float]]:
    """Return the seconds of the ``SCRIPTS``, one timing of each per round.

    The first step is that of the Numba backend, with Numba's own import; cold means that the
    printed kernel has to be compiled, too.
    """
    seconds: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, script in SCRIPTS.items():
                seconds[name].append(_run(script, cache))
        advance()
    return seconds


def _run(script: str, cache: str) -> float:
    """Run a script in a process of its own and return the number that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SAMESTEP_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
