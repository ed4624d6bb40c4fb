"""Checks of the arguments of schedules, written as annotations: ``T_max: Count``.

Each check takes the argument's name and what came, and returns it converted or raises TypeError
(the wrong kind of thing) or ValueError (out of bounds). A message never prints more than a short
piece of what came, since it may come from a file.
"""

from __future__ import annotations

import numbers
import reprlib
from functools import cache, partial
from typing import Annotated, Any, get_type_hints

from ..language.intervals import FINITE, FRACTION, NONNEGATIVE, POSITIVE, Interval, checked_number

LARGEST = 2**53  # up to here each whole number is a float64


def check_whole(name: str, value: Any, low: int) -> int:
    """Check a whole number of at least ``low``; it becomes an int."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, not {reprlib.repr(value)}")
    number = int(value)
    if number < low:
        raise ValueError(f"{name} must be at least {low}, not {number}")
    if number > LARGEST:
        raise ValueError(f"{name} must be at most 2**53; it is more")
    return number


def check_wholes(name: str, value: Any, low: int) -> tuple[int, ...]:
    """Check whole numbers of at least ``low``, none smaller than the one before it."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of whole numbers, not {reprlib.repr(value)}")
    found = tuple(check_whole(f"{name}[{i}]", number, low) for i, number in enumerate(value))
    if list(found) != sorted(found):
        raise ValueError(f"{name} must be sorted, not {reprlib.repr(found)}")
    return found


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Check that this is one of some strings."""
    if not isinstance(value, str) or value not in choices:
        allowed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {allowed}, not {reprlib.repr(value)}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Check that this is True or False and nothing else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {reprlib.repr(value)}")
    return value


Finite = Annotated[float, partial(checked_number, interval=FINITE)]
Nonnegative = Annotated[float, partial(checked_number, interval=NONNEGATIVE)]
Positive = Annotated[float, partial(checked_number, interval=POSITIVE)]
Factor = Annotated[float, partial(checked_number, interval=FRACTION)]
Fraction = Annotated[float, partial(checked_number, interval=Interval(0.0, 1.0))]
Count = Annotated[int, partial(check_whole, low=1)]
CountOrZero = Annotated[int, partial(check_whole, low=0)]
Milestones = Annotated[tuple[int, ...], partial(check_wholes, low=0)]
Flag = Annotated[bool, check_flag]


@cache
def checks_of(kind: type) -> dict[str, Any]:
    """The checks in the annotations of a class, by the argument's name."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")
    }
