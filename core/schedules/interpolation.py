"""The way from one value to another: the shapes that several schedules share.

A shape gives two weights, how much of the way is ``done`` and how much is ``left``, each accurate
by itself, so that a schedule that ends at 0 keeps all its digits on the way there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Shape = Callable[[float, float], tuple[float, float]]


def linear(step: float, length: float) -> tuple[float, float]:
    """The part done grows in proportion to the step."""
    return step / length, (length - step) / length


def cos(step: float, length: float) -> tuple[float, float]:
    """The part done follows half a period of the cosine; (1 - cos x) / 2 as sin(x / 2)**2, by the C
    library's sin."""
    quarter = 0.5 * math.pi
    return (
        math.sin(quarter * (step / length)) ** 2,
        math.sin(quarter * ((length - step) / length)) ** 2,
    )


def one_minus_sqrt(step: float, length: float) -> tuple[float, float]:
    """The part left is 1 minus the square root of the part of the steps that is done."""
    done, left = linear(step, length)
    return math.sqrt(done), left / (1 + math.sqrt(done))


SHAPES: dict[str, Shape] = {"linear": linear, "cos": cos, "1-sqrt": one_minus_sqrt}


def between(start: float, end: float, weights: tuple[float, float]) -> float:
    """Return the value between ``start`` and ``end``, and exactly these where nothing is done or
    left.

    It starts from the nearer one, so that nothing cancels where one is much smaller.
    """
    done, left = weights
    half = 0.5 * end - 0.5 * start  # of the way; all of it could overflow
    return start + 2 * done * half if done <= left else end - 2 * left * half
