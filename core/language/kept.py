"""Results that are kept with the object that they are of, and are freed with it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

RESULTS = "kept_results"  # the attribute that has them
Result = TypeVar("Result")


def kept(function: Callable[..., Result]) -> Callable[..., Result]:
    """Have ``function`` return the same object each time for its first argument, a rule, a function
    or a graph, and equal others. A cache of its own would keep rules that are made at run time for
    good."""

    @functools.wraps(function)
    def look_up(of: Any, *args: Any) -> Result:
        try:
            results = vars(of)[RESULTS]
        except KeyError:
            results = {}
            object.__setattr__(of, RESULTS, results)  # rules are frozen
        key = (function, *args)
        if key not in results:
            results.setdefault(key, function(of, *args))
        found: Result = results[key]
        return found

    return look_up


def kept_while_used(function: Callable[..., Result]) -> Callable[..., Result]:
    """Have ``function``, which was made at run time, return the same object for the same arguments
    as long as somebody has it. Kept with a built-in rule, neither would ever be freed."""
    results: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()

    @functools.wraps(function)
    def look_up(*args: Any) -> Result:
        found: Result | None = results.get(args)
        if found is None:
            found = results.setdefault(args, function(*args))
        return found

    return look_up
