"""The scalars of a step: the values that are equal for all elements, computed on the host in
float64."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..interrupts import held
from .places import place_of_function
from .rounding import KEY
from .vocabulary import HOST, IEEE, HostScalars


def next_scalars(
    rule: Any, steps: int, carry: Mapping[str, float], hyper: SimpleNamespace
) -> tuple[dict[str, Any], dict[str, float]]:
    """Compute the row of scalars of the next step, in float64, and the carry after it.

    ``steps`` have been taken and left this ``carry``, which is not changed. ``hyper`` has the
    hyperparameters as floats (or tuples of them).
    """
    try:
        return _scalars(rule, steps, carry, hyper, HOST)
    except ZeroDivisionError:  # floats are faster; numpy.float64 divides by zero
        with held(), np.errstate(all="ignore"):
            return _scalars(rule, steps, carry, as_numbers(vars(hyper), np.float64), IEEE)


def _scalars(
    rule: Any, steps: int, carry: Mapping[str, float], hyper: SimpleNamespace, xp: HostScalars
) -> tuple[dict[str, Any], dict[str, float]]:
    given = as_numbers(carry, xp.number) if carry else SimpleNamespace()  # as for most rules
    result = rule.scalars(xp, xp.number(steps + 1), given, hyper)
    row, after = row_and_carry(rule, result)
    return row, {name: float(value) for name, value in after.items()} if after else {}


def row_and_carry(rule: Any, result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of scalars and the new carry out of what ``rule.scalars`` returned. Raise
    TypeError if that is something else."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], dict):
        raise TypeError(
            f"rule {rule.name!r}: scalars must return a dict and the carry, not {result!r}"
            f"{place_of_function(rule.scalars)}"
        )
    row, after = result
    if isinstance(after, SimpleNamespace):
        after = vars(after)
    if not isinstance(after, dict) or after.keys() != rule.carry.keys():
        found = sorted(after) if isinstance(after, dict) else after
        raise TypeError(
            f"rule {rule.name!r}: scalars returned the carry {found}{place_of_function(rule.scalars)}; "
            f"the rule declares {sorted(rule.carry)}"
        )
    return row, after


def scalar_names(rule: Any) -> tuple[str, ...]:
    """Return the names of the scalars in a row, in order: the rule's own, then the key of random
    bits where the rule rounds with some."""
    own: tuple[str, ...] = tuple(next_scalars(rule, 0, rule.carry, as_numbers(rule.defaults))[0])
    return own + KEY * bool(rule.stochastic)


def as_numbers(values: Mapping[str, Any], number: type = float) -> SimpleNamespace:
    """Return hyperparameters or a carry as ``scalars`` takes them: attributes, all of type
    ``number``."""
    return SimpleNamespace(
        **{
            name: tuple(map(number, value)) if isinstance(value, tuple) else number(value)
            for name, value in values.items()
        }
    )
