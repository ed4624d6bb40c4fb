"""Decay by a factor ``gamma``: at every step, at regular steps, at given steps.

All use the C library's ``pow``: the same bits on machines with the same one.
"""

from __future__ import annotations

from bisect import bisect_right

from .arguments import Count, Finite, Milestones, Nonnegative
from .schedule import Schedule, kind


@kind
class exponential(Schedule):
    """``base * gamma ** step``, without end. torch's ExponentialLR.

    With ``gamma > 1`` a step whose value is not finite any more raises ValueError.
    """

    base: Finite
    gamma: Nonnegative

    def _at(self, step: int) -> float:
        return self.base * self.gamma**step


@kind
class step_decay(Schedule):
    """``base``, times ``gamma`` after every ``step_size`` steps, without end. torch's StepLR."""

    base: Finite
    step_size: Count
    gamma: Nonnegative = 0.1

    def _at(self, step: int) -> float:
        return self.base * self.gamma ** (step // self.step_size)


@kind
class multi_step_decay(Schedule):
    """``base``, times ``gamma`` at each of ``milestones``; then that. torch's MultiStepLR.

    ``milestones`` are sorted step numbers; one that comes twice counts twice.
    """

    base: Finite
    milestones: Milestones
    gamma: Nonnegative = 0.1

    def _at(self, step: int) -> float:
        return self.base * self.gamma ** bisect_right(self.milestones, step)
