"""Ctrl-C takes effect between steps, not within one, and leaves no mode of the process switched.

Python looks at signals whenever a function starts. Where an interrupt comes as the ``__exit__`` of
a context manager does, nothing is put back: ``torch.no_grad()`` then holds for the whole process.
So modes are entered where interrupts are held only, or are put back by a function in C, called
first in a ``finally``.
"""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

try:  # from _signal, since their wrappers in signal take half as long as a small step
    from _signal import getsignal, raise_signal, signal  # type: ignore[import-not-found]
except ImportError:  # a Python without signals has no interrupts: none is ever held

    def getsignal(signum: int) -> None:
        """Say that Python handles no signal."""


SIGINT = 2
SWITCHING = ("__enter__", "__exit__")  # functions that switch a mode

Result = TypeVar("Result")

_main: int | None = None  # the main thread, once it was asked for
_holding = False
_came = False  # an interrupt that waits
_handler: Any = None  # the one that is called where interrupts are not held


def hold() -> None:
    """Let an interrupt (SIGINT) wait until `release`. A second one does not wait, unless it comes
    as a context manager is entered or left.

    Only the main thread is ever interrupted, and only by a handler that Python knows: elsewhere
    there is nothing to do, nor where they are held already. An interrupt can come between this call
    and the next line, so the call stands in the ``try`` whose ``finally`` releases.
    """
    global _holding, _handler
    if _holding or get_ident() != (_main or _main_thread()):
        return
    handler = getsignal(SIGINT)
    if not callable(handler):
        return
    try:
        # signals are looked at as `signal` begins and after it, not between these two lines
        _holding = True
        before = signal(SIGINT, _wait)
    except BaseException:
        _holding = False
        if getsignal(SIGINT) is _wait:  # the handler of another signal has raised
            signal(SIGINT, handler)
        raise
    if before is not _wait:
        _handler = before


def holding() -> bool:
    """Say whether interrupts are held already: then whoever holds them releases them."""
    return _holding


def release() -> None:
    """Let interrupts take effect again, if they are held; one that came meanwhile does now."""
    global _holding, _came
    if _holding and get_ident() == _main:
        now = getsignal(SIGINT)
        came, handler = _came, _handler if now is _wait else now  # one that was set meanwhile stays
        _holding = _came = False  # nor here; one that comes as `signal` begins takes effect there
        signal(SIGINT, handler)
        if came:
            raise_signal(SIGINT)


class held:
    """Holds interrupts around a block: ``with held(), torch.no_grad():``."""

    __slots__ = ("_outermost",)

    def __enter__(self) -> held:
        self._outermost = not holding()
        hold()
        return self

    def __exit__(self, *_: object) -> None:
        if self._outermost:
            release()

    def outside(self, function: Callable[[], Result]) -> Result:
        """Call a function of the user's: interrupts take effect in it as they do outside."""
        if not self._outermost:
            return function()
        try:
            release()
            return function()
        finally:
            try:
                hold()
            except BaseException:  # an interrupt came first; no other may come as modes are left
                hold()
                raise


def _wait(signum: int, frame: FrameType | None) -> None:
    """The handler of interrupts while they are held."""
    global _came
    if not _holding:  # somebody has kept it, and put it back since
        signal(SIGINT, _handler)
        raise_signal(SIGINT)
    elif not _came or _is_switching(frame) or not callable(_handler):
        _came = True
    else:
        _came = False  # if the handler raises, that was for both
        _handler(signum, frame)
        _came = True


def _is_switching(frame: FrameType | None) -> bool:
    """Say whether a mode is being switched. A step taken by an ``__exit__`` looks like that, too;
    the second interrupt then waits as the first does."""
    while frame is not None:
        if frame.f_code.co_name in SWITCHING or frame.f_code in OWN:
            return True
        frame = frame.f_back
    return False


OWN = (hold.__code__, release.__code__)


def _main_thread() -> int | None:
    global _main
    import threading  # slow to import, and not needed before the first step

    _main = threading.main_thread().ident
    return _main


def _find_main_thread() -> None:
    """In a forked child: the thread that forked is its main thread."""
    global _main
    _main = get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)
