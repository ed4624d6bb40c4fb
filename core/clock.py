"""Step counts and carried scalars, shared by the parameters that have seen the same steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from .rule import Rule
from .vocabulary import HOST, IEEE, HostScalars


class Clock:
    """How many steps some parameters have taken, and the rule's carry.

    Parameters of one group and one variant of the rule that have always stepped together share
    one clock and so one row of scalars; a step that some of them sit out splits it. ``decays`` is
    the weight decay mask: where it is False, ``weight_decay`` counts as zero.
    """

    __slots__ = ("carry", "decays", "group", "rule", "step")

    def __init__(
        self, rule: Rule, group: int, step: int, carry: dict[str, float], decays: bool = True
    ) -> None:
        self.rule, self.group, self.step, self.carry = rule, group, step, carry
        self.decays = decays

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for clocks that can be one."""
        return (self.rule, self.group, self.step, self.decays, *self.carry.items())

    def copy(self) -> Clock:
        return Clock(self.rule, self.group, self.step, dict(self.carry), self.decays)


def next_scalars(
    rule: Rule, clock: Clock, hyper: SimpleNamespace
) -> tuple[dict[str, Any], dict[str, float]]:
    """The row of scalars of the step after ``clock``, in float64, and the carry after it.

    Nothing is changed. ``hyper`` has the hyperparameters as floats (or tuples of them).
    """
    try:
        return _scalars(rule, clock, hyper, HOST)
    except ZeroDivisionError:  # floats are faster; numpy.float64 divides by zero
        with np.errstate(all="ignore"):
            return _scalars(rule, clock, as_numbers(vars(hyper), np.float64), IEEE)


def _scalars(
    rule: Rule, clock: Clock, hyper: SimpleNamespace, xp: HostScalars
) -> tuple[dict[str, Any], dict[str, float]]:
    carry = as_numbers(clock.carry, xp.number)
    result = rule.scalars(xp, xp.number(clock.step + 1), carry, hyper)
    row, after = row_and_carry(rule, result)
    return row, {name: float(value) for name, value in after.items()}


def row_and_carry(rule: Rule, result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``rule.scalars`` returned, or TypeError if that is something else."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], dict):
        raise TypeError(
            f"rule {rule.name!r}: scalars must return a dict and the carry, not {result!r}"
        )
    row, after = result
    if isinstance(after, SimpleNamespace):
        after = vars(after)
    if not isinstance(after, dict) or after.keys() != rule.carry.keys():
        found = sorted(after) if isinstance(after, dict) else after
        raise TypeError(
            f"rule {rule.name!r}: scalars returned the carry {found}; "
            f"the rule declares {sorted(rule.carry)}"
        )
    return row, after


def scalar_names(rule: Rule) -> tuple[str, ...]:
    """The names of the scalars in a row, in order."""
    clock = Clock(rule, 0, 0, dict(rule.carry))
    return tuple(next_scalars(rule, clock, as_numbers(rule.defaults))[0])


def as_numbers(values: Mapping[str, Any], number: type = float) -> SimpleNamespace:
    """Hyperparameters or a carry as ``scalars`` gets them: attributes, all of type ``number``."""
    return SimpleNamespace(
        **{
            name: tuple(map(number, value)) if isinstance(value, tuple) else number(value)
            for name, value in values.items()
        }
    )


def split(clocks: list[Clock], steps_now: Iterable[bool]) -> None:
    """Give those that step now clocks of their own, apart from those that do not, and share
    clocks that have become equal. ``clocks`` has one entry per parameter and is changed in place."""
    shared: dict[tuple[Any, ...], Clock] = {}
    for i, now in enumerate(steps_now):
        key = (now, *clocks[i].key)
        if key not in shared:
            shared[key] = clocks[i].copy()
        clocks[i] = shared[key]
