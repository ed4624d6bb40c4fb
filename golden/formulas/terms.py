"""Terms that formulas have in common: arrays of exact numbers, running means, norms."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

Vector = Any  # of mpmath numbers; matrices, too
State = dict[str, Any]

root = np.frompyfunc(mpmath.sqrt, 1, 1)
sign = np.frompyfunc(mpmath.sign, 1, 1)


def average(s: State, name: str, decay: Any, value: Vector) -> Vector:
    """Advance the exponential moving average ``name`` by one value, and return it."""
    s[name] = decay * s[name] + (1 - decay) * value
    return s[name]


def norm(x: Vector) -> Any:
    return mpmath.sqrt((x**2).sum())


def root_mean_square(x: Vector) -> Any:
    return mpmath.sqrt((x**2).sum() / x.size)
