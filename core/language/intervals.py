"""The intervals that hyperparameters must lie in."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from .keywords import known_keywords


@dataclass(frozen=True)
class Interval:
    """An interval of the values that a hyperparameter may have: from ``low`` to ``high``, ends
    included or not; with ``whole``, its whole numbers only."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    whole: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        low = "(" if self.low_open else "["
        high = ")" if self.high_open else "]"
        return f"{low}{self.low:g}, {self.high:g}{high}" + " and whole" * self.whole


Interval.__init__ = known_keywords()(Interval.__init__)  # type: ignore[method-assign]
FINITE = Interval(-math.inf, math.inf, low_open=True, high_open=True)
NONNEGATIVE = Interval(0.0, math.inf, high_open=True)
POSITIVE = Interval(0.0, math.inf, low_open=True, high_open=True)
STEPS = Interval(1.0, math.inf, high_open=True, whole=True)
FRACTION = Interval(0.0, 1.0, high_open=True)  # a decay rate of a moving average
USUAL_BOUNDS = {
    "lr": NONNEGATIVE,
    "eps": NONNEGATIVE,
    "weight_decay": NONNEGATIVE,
    "betas": FRACTION,
    "average_decay": FRACTION,
    "average_start": NONNEGATIVE,
    "average_every": STEPS,
}


def plain(value: Any) -> Any:
    """Return a NumPy scalar, or an array without axes, as the number of Python that it is; anything
    else as it is."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and not value.shape else value


def checked_number(name: str, value: Any, interval: Interval) -> float:
    """Return ``value`` as a float. Raise TypeError if it is no number, ValueError if it is not
    finite or not in ``interval``, both with ``name``."""
    value = plain(value)
    if isinstance(value, (str, bytes, bool)) or value is None:
        raise TypeError(f"{name} must be a number, not {reprlib.repr(value)}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, not {reprlib.repr(value)}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {number}")
    if number not in interval:
        raise ValueError(f"{name} must be in {interval}, not {number:g}")
    return number
