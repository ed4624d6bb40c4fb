"""A word to whoever waits at a terminal while kernels are compiled for the first time."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 1.0  # seconds
_said = threading.Event()  # once a process


@contextlib.contextmanager
def compiling(folder: Path) -> Iterator[None]:
    """Warn that kernels are being compiled, and kept in ``folder``, if this block takes a second.

    Only where stderr is a terminal: in logs and notebooks, which show warnings as faults, nobody
    waits in front of it.
    """
    timer = threading.Timer(PATIENCE, _say, [folder])
    timer.daemon = True
    if not _said.is_set() and sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(RuntimeError):  # no thread can be started; the work goes on
            timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(folder: Path) -> None:
    if _said.is_set():
        return
    _said.set()
    text = f"kernels are being compiled, this once; later processes find them in {folder}"
    with contextlib.suppress(RuntimeWarning):  # a filter makes errors of warnings: nobody is there
        warnings.warn_explicit(text, RuntimeWarning, "samestep", 1, module="samestep")
