"""Line searches: how far to go along a direction.

A search asks ``phi(t)`` for the loss and its slope at a point, one after the other, and returns the
point that it accepts, which is the last one asked for, or None if none was good enough. A loss that
is infinite or NaN is too high. Arithmetic is on Python's floats. Both searches also accept a point
where the loss is the same up to rounding and the slope is flatter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

DECREASE = 1e-4  # of the loss, as a part of what the slope at the start promises
CURVATURE = 0.9  # what the slope's magnitude may be at most, as a part of that at the start
ROUNDING = 1e-14  # of the loss: differences below this, as a part of it, say nothing
MARGIN = 0.1  # of an interval, that a point inside of it keeps from its ends
SHRUNK = 0.66  # what two steps must make of an interval's width, else it is halved
EXTRAPOLATED = (1.1, 4.0)  # how many times the last interval's width to go on, at least and at most


class Point(NamedTuple):
    """A point along a direction: how far it is, the loss there and its slope."""

    t: float
    loss: float
    slope: float


Phi = Callable[[float], Point]
LineSearch = Callable[[Phi, Point, float, int], Point | None]


def strong_wolfe(phi: Phi, start: Point, t: float, limit: int) -> Point | None:
    """Search for a point where the strong Wolfe conditions hold: Nocedal & Wright, 2nd ed.,
    Algorithms 3.5 and 3.6, with safeguarded cubic interpolation.

    ``t`` is the first guess, ``limit`` how many points may be evaluated.
    """
    last = start
    for count in range(1, limit + 1):
        here = phi(t)
        if _is_level(start, here):
            return here
        if not _decreases(start, here) or here.loss >= last.loss:
            return _zoom(phi, start, last, here, limit - count)
        if _is_flat(start, here):
            return here
        if here.slope >= 0:
            return _zoom(phi, start, here, last, limit - count)
        low, high = (here.t + factor * (here.t - last.t) for factor in EXTRAPOLATED)
        guess = _cubic_minimum(last, here)
        t = high if guess is None or guess <= here.t else min(max(guess, low), high)
        last = here
    return None


def backtracking(phi: Phi, start: Point, t: float, limit: int) -> Point | None:
    """Search for a point where the loss decreases enough (Armijo), by shorter and shorter steps:
    the minimum of the parabola through what is known, between a tenth and a half of the last step.
    """
    for _ in range(limit):
        here = phi(t)
        if _decreases(start, here) or _is_level(start, here):
            return here
        above = here.loss - start.loss - start.slope * t
        guess = -start.slope * t * t / (2 * above) if math.isfinite(above) else t / 2
        t = min(max(guess, t / 10), t / 2)
    return None


def fixed_step(phi: Phi, start: Point, t: float, limit: int) -> Point | None:
    """Take the first guess, if the loss is finite there."""
    here = phi(t)
    return here if math.isfinite(here.loss) else None


LINE_SEARCHES: dict[str | None, LineSearch] = {
    "strong_wolfe": strong_wolfe, "backtracking": backtracking, None: fixed_step,
}  # fmt: skip


def _decreases(start: Point, here: Point) -> bool:
    """Say whether the loss is lower than at the start by enough; not if it is NaN."""
    return here.loss <= start.loss + DECREASE * here.t * start.slope


def _is_flat(start: Point, here: Point) -> bool:
    return abs(here.slope) <= -CURVATURE * start.slope


def _is_level(start: Point, here: Point) -> bool:
    """Say whether the losses differ by rounding only, so that the slopes have to tell: the
    approximate Wolfe conditions of Hager & Zhang (2005). Without them no gradient is smaller than
    about the root of the loss's rounding."""
    return abs(here.loss - start.loss) <= ROUNDING * abs(start.loss) and _is_flat(start, here)


def _zoom(phi: Phi, start: Point, low: Point, high: Point, limit: int) -> Point | None:
    """Search between two points, of which ``low`` has decreased enough and slopes down to
    ``high``."""
    before = math.inf  # the interval's width two steps ago
    width = abs(high.t - low.t)
    for _ in range(limit):
        t = _inside(low, high, halve=width > SHRUNK * before)
        if t in (low.t, high.t):  # there are no numbers between them
            return None
        here = phi(t)
        if _is_level(start, here):
            return here
        if not _decreases(start, here) or here.loss >= low.loss:
            high = here
        else:
            if _is_flat(start, here):
                return here
            if here.slope * (high.t - low.t) >= 0:
                high = low
            low = here
        before, width = width, abs(high.t - low.t)
    return None


def _inside(low: Point, high: Point, halve: bool) -> float:
    """Return a point of the interval: the cubic's minimum, not too near to the ends, or the
    middle."""
    guess = None if halve else _cubic_minimum(low, high)
    left, right = sorted((low.t, high.t))
    margin = MARGIN * (right - left)
    if guess is None:
        return left + (right - left) / 2
    return min(max(guess, left + margin), right - margin)


def _cubic_minimum(a: Point, b: Point) -> float | None:
    """Return where the cubic through both points with their slopes has its minimum, None if it has
    none (Nocedal & Wright, equation 3.59)."""
    gap = b.t - a.t
    first = a.slope + b.slope - 3 * (b.loss - a.loss) / gap
    square = first * first - a.slope * b.slope
    if not (math.isfinite(square) and square >= 0):
        return None
    root = math.copysign(math.sqrt(square), gap)
    below = b.slope - a.slope + 2 * root
    if below == 0:
        return None
    t = b.t - gap * ((b.slope + root - first) / below)
    return t if math.isfinite(t) else None
