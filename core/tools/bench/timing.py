"""Fair timings on a machine that others use, too: contenders take turns within one run.

Whatever slows the machine down for a while slows down all of them, so the ratio of two times of
the same round says more than the times. Medians over the rounds are reported, of both, each with
the quartiles: a ratio whose quartiles enclose 1 is within the noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = list[Array]
Seconds = dict[str, list[float]]
WARM_UP_STEPS = 3
ENOUGH_SECONDS, MOST_STEPS = 0.02, 1000  # of one timing


class Contender:
    """An optimizer with copies of the parameters, and ``sets`` of gradients, which all share."""

    gradients: Any

    def __init__(self, params: Arrays, sets: Sequence[Arrays]) -> None:
        self.params: list[Any] = [param.copy() for param in params]
        self.sets: Sequence[Any] = sets

    def give(self, k: int) -> None:
        """Take gradient set ``k`` for the next step; not timed."""
        self.gradients = self.sets[k]

    def step(self) -> object:
        """Take one step, which is complete when this returns; timed."""
        raise NotImplementedError

    def count_bytes(self) -> int | None:
        """Count the bytes that a step moves; None if that is not possible."""
        return None


Maker = Callable[[Arrays, Sequence[Arrays]], Contender]


def take_turns(
    contenders: Mapping[str, Contender], sets: int, rounds: int, advance: Callable[[], None]
) -> Seconds:
    """Return seconds per step, one timing of each contender per round.

    Every step takes the next one of the ``sets`` of gradients. A timing is the mean of as many
    steps as fill ``ENOUGH_SECONDS``, after one step that is not timed.
    """
    turns = {name: _Turn(contender, sets) for name, contender in contenders.items()}
    seconds: Seconds = {name: [] for name in turns}
    names = list(turns)
    for _ in range(rounds):
        for name in names:
            seconds[name].append(turns[name].take())
        names = [*names[1:], names[0]]  # each of them goes first, and after each other one
        advance()
    return seconds


class Spread(NamedTuple):
    """The median of some figures, and the quartiles, between which half of them lie."""

    median: float
    low: float
    high: float

    def shown(self) -> str:
        """Return the median with the quartiles behind it, to the digit in which these differ: what
        stands after it is noise. Without a spread these are three digits of the median."""
        finest = (self.high - self.low) or abs(self.median) / 100
        decimals = max(0, -math.floor(math.log10(finest))) if finest else 0
        middle, low, high = (f"{figure:,.{decimals}f}" for figure in self)
        return f"{middle} [{low} {high}]"

    @property
    def within_noise_of_one(self) -> bool:
        """True for a ratio that says of two times that they are equal."""
        return self.low <= 1 <= self.high


def spread(figures: Sequence[float]) -> Spread:
    """Return the median and the quartiles of at least one figure."""
    low, high = np.percentile(figures, [25, 75]).tolist()
    return Spread(median(figures), low, high)


def ratios(seconds: Seconds, of: str, to: str) -> Spread:
    """Return the ratios of two contenders' times within the same round."""
    return spread([a / b for a, b in zip(seconds[of], seconds[to], strict=True)])


def ratio(seconds: Seconds, of: str, to: str) -> float:
    """Return the median of the ratios of two contenders' times within the same round."""
    return ratios(seconds, of, to).median


class _Turn:
    """Timings of one contender, each of the same number of steps."""

    def __init__(self, contender: Contender, sets: int) -> None:
        self.contender, self.sets, self.taken = contender, sets, 0
        estimate = min(self._time(1) for _ in range(WARM_UP_STEPS))
        self.steps = min(max(int(ENOUGH_SECONDS / estimate), 1), MOST_STEPS)

    def take(self) -> float:
        self._time(1)
        return self._time(self.steps)

    def _time(self, steps: int) -> float:
        total = 0.0
        for _ in range(steps):
            self.contender.give(self.taken % self.sets)
            self.taken += 1
            start = time.perf_counter()
            self.contender.step()
            total += time.perf_counter() - start
        return total / steps
