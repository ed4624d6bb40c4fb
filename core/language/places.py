"""Finds where a rule's text stands: the file and the line, for messages."""

from __future__ import annotations

import inspect
import os.path
from collections.abc import Callable
from types import CodeType
from typing import Any

HERE = os.path.dirname(__file__)  # what runs and composes rules, and is not their text


def place_of_error(error: BaseException) -> str:
    """Return `` (FILE, line N)`` of the innermost line of a rule's text that an error came from;
    nothing if it came from none."""
    found, trace = "", error.__traceback__
    while trace is not None:
        found = _written(trace.tb_frame.f_code, trace.tb_lineno) or found
        trace = trace.tb_next
    return found


def place_of_function(function: Callable[..., Any]) -> str:
    """Return `` (FILE, line N)`` of where a function begins; nothing for one that was composed."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else _written(code, code.co_firstlineno)


def _written(code: CodeType, line: int) -> str:
    """Return a place in a rule's text, nothing for one in what runs it."""
    file = code.co_filename
    return "" if os.path.dirname(file) == HERE else f" ({file}, line {line})"
