"""Step counts and carried scalars, shared by the parameters that have seen the same steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..language.rule import Rule


@dataclass(slots=True, eq=False)
class Clock:
    """The number of steps that some parameters have taken, and the rule's carry.

    Parameters of one group and one variant of the rule that have always stepped together share
    one clock and so one row of scalars; a step that some of them sit out splits it. ``decays`` is
    the weight decay mask: where it is False, ``weight_decay`` counts as zero.
    """

    rule: Rule
    group: int
    step: int
    carry: dict[str, float]
    decays: bool = True

    @property
    def key(self) -> tuple[Any, ...]:
        """A key that is equal for clocks that can be one."""
        return (self.rule, self.group, self.step, self.decays, *self.carry.items())

    def copy(self) -> Clock:
        """Return a clock that counts on its own."""
        return Clock(self.rule, self.group, self.step, dict(self.carry), self.decays)


def split(clocks: list[Clock], steps_now: Iterable[bool]) -> None:
    """Give those that step now clocks of their own, apart from those that do not, and share clocks
    that have become equal. ``clocks`` has one entry per parameter and is changed in place."""
    stepping, staying = _Successors(), _Successors()
    clocks[:] = [
        stepping[clock] if now else staying[clock]
        for clock, now in zip(clocks, steps_now, strict=True)
    ]


class _Successors(dict[Clock, Clock]):
    """The clock that each becomes; those that have become equal become one."""

    def __init__(self) -> None:
        self._shared: dict[tuple[Any, ...], Clock] = {}

    def __missing__(self, clock: Clock) -> Clock:
        self[clock] = successor = self._shared.setdefault(clock.key, clock.copy())
        return successor
