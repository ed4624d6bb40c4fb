"""Ctrl-C takes effect between steps, not within one."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
from collections.abc import Iterator
from typing import Any

# _signal, since the wrappers of its functions in signal take half as long as a small step
SIGINT = 2
_handler: Any = None
_came = False


def hold() -> bool:
    """Let an interrupt (SIGINT) wait until `release`; a second one does not wait.

    Only the main thread is ever interrupted, and only by a handler that Python knows: elsewhere
    there is nothing to do, and this is False.
    """
    global _handler
    handler = _signal.getsignal(SIGINT)
    if handler is _wait or not callable(handler):
        return False
    _handler = handler
    try:
        _signal.signal(SIGINT, _wait)
    except ValueError:  # not the main thread
        return False
    return True


def release(held: bool) -> None:
    """Let interrupts take effect again, if they were ``held``; one that came meanwhile does now."""
    global _came
    if held:
        _signal.signal(SIGINT, _handler)
        if _came:
            _came = False
            _signal.raise_signal(SIGINT)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Both, around a block."""
    was_held = hold()
    try:
        yield
    finally:
        release(was_held)


def _wait(signum: int, frame: Any) -> None:
    global _came
    _came = True
    _signal.signal(SIGINT, _handler)
