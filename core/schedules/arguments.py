"""Checks of the arguments of schedules, written as annotations: ``T_max: Count``.

Each check takes the argument's name and what came, and returns it converted or raises TypeError
(the wrong kind of thing) or ValueError (out of bounds). A message never prints more than a short
piece of what came, since it may come from a file.
"""

from __future__ import annotations

import functools
import numbers
import reprlib
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from ..language.intervals import FINITE, FRACTION, NONNEGATIVE, POSITIVE, Interval, checked_number

LARGEST = 2**53  # up to here each whole number is a float64


@dataclass(frozen=True)
class Number:
    """A finite real number in ``interval``; becomes a float."""

    interval: Interval

    def __call__(self, name: str, value: Any) -> float:
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, not {reprlib.repr(value)}")
        return checked_number(name, value, self.interval)


@dataclass(frozen=True)
class Whole:
    """A whole number of at least ``low``; becomes an int."""

    low: int

    def __call__(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} must be a whole number, not {reprlib.repr(value)}")
        number = int(value)
        if number < self.low:
            raise ValueError(f"{name} must be at least {self.low}, not {number}")
        if number > LARGEST:
            raise ValueError(f"{name} must be at most 2**53; it is more")
        return number


@dataclass(frozen=True)
class Wholes:
    """Whole numbers of at least ``low``, none smaller than the one before it; become a tuple."""

    low: int

    def __call__(self, name: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{name} must be a list of whole numbers, not {reprlib.repr(value)}")
        each = Whole(self.low)
        found = tuple(each(f"{name}[{i}]", number) for i, number in enumerate(value))
        if list(found) != sorted(found):
            raise ValueError(f"{name} must be sorted, not {reprlib.repr(found)}")
        return found


@dataclass(frozen=True)
class OneOf:
    """One of some strings."""

    choices: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            allowed = ", ".join(map(repr, self.choices))
            raise ValueError(f"{name} must be one of {allowed}, not {reprlib.repr(value)}")
        return value


def check_flag(name: str, value: Any) -> bool:
    """True or False and nothing else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {reprlib.repr(value)}")
    return value


Finite = Annotated[float, Number(FINITE)]
Nonnegative = Annotated[float, Number(NONNEGATIVE)]
Positive = Annotated[float, Number(POSITIVE)]
Factor = Annotated[float, Number(FRACTION)]
Fraction = Annotated[float, Number(Interval(0.0, 1.0))]
Count = Annotated[int, Whole(1)]
CountOrZero = Annotated[int, Whole(0)]
Milestones = Annotated[tuple[int, ...], Wholes(0)]
Flag = Annotated[bool, check_flag]


@functools.cache
def checks_of(kind: type) -> dict[str, Any]:
    """The checks in the annotations of a class, by the argument's name."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")
    }
