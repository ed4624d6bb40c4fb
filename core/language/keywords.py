"""Answers calls with an unknown keyword: which one was probably meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .names import suggestion

OWN = ("self", "cls")  # what a call does not name
Function = TypeVar("Function", bound=Callable[..., Any])


def known_keywords(advice: str = "") -> Callable[[Function], Function]:
    """Make a function refuse an unknown keyword with a TypeError that names those it takes and the
    one that was probably meant. ``advice`` is the end of the message."""

    def decorated(function: Function) -> Function:
        takes = [name for name in inspect.signature(function).parameters if name not in OWN]
        called = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for name in kwargs:
                if name not in takes:
                    raise TypeError(
                        f"{called} takes no argument {name!r}; {suggestion(name, takes)}"
                        f"it takes {', '.join(takes)}{advice}"
                    )
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorated
