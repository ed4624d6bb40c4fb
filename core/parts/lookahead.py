"""Lookahead: slow weights that follow those of another rule.

Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, arXiv:1907.08610, Algorithm 1. The
slow weights start as the parameter before the first step. After every ``sync_period`` steps they
move ``slow_step`` of the way to the parameter, which then goes on from there; the rule's own state
stays.
"""

from __future__ import annotations

import dataclasses
import functools
import math

from ..language.composition import check_names_apart, part, with_states
from ..language.intervals import Interval
from ..language.results import as_tuple
from ..language.rule import Rule

NAMES = {"slow", "first", "sync", "slow_step", "sync_period", "since_sync"}


@part
def lookahead(rule: Rule) -> Rule:
    """Return ``rule`` with slow weights, kept as the state ``slow``, to which it returns."""
    check_names_apart("lookahead", rule, NAMES)
    if rule.average_share is not None:
        raise ValueError(f"lookahead: rule {rule.name!r} averages its parameters itself")

    @functools.wraps(rule.scalars)
    def scalars(xp, step, carry, h):
        row, after = rule.scalars(xp, step, carry, h)
        count = carry.since_sync + 1
        row = {
            **row,
            "first": xp.where(step == 1, 1, 0),
            "sync": xp.where(count >= h.sync_period, 1, 0),
            "slow_step": h.slow_step,
        }
        after = after if isinstance(after, dict) else vars(after)
        return row, {**after, "since_sync": xp.where(count >= h.sync_period, 0, count)}

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        *own, slow = state
        slow = xp.where(s.first > 0, param, slow)
        param, *own = as_tuple(rule.update(xp, s, param, grad, *own))
        between = slow + s.slow_step * (param - slow)
        # an infinity stays what it is; inf - inf would make it NaN
        between = xp.where(xp.finite_or_zero(param) == param, between, param)
        slow = xp.where(s.sync > 0, between, slow)
        param = xp.where(s.sync > 0, slow, param)
        return (param, *own, slow)

    return dataclasses.replace(
        rule,
        name=f"lookahead_{rule.name}",
        scalars=scalars,
        update=with_states(update, rule, "slow"),
        delta=None,
        decay=None,
        defaults={**rule.defaults, "sync_period": 6.0, "slow_step": 0.5},
        bounds={
            **rule.bounds,
            "sync_period": Interval(1.0, math.inf, high_open=True, whole=True),
            "slow_step": Interval(0.0, 1.0),
        },
        carry={**rule.carry, "since_sync": 0.0},
        kept_in={**rule.kept_in, "slow": None},  # which the parameter becomes
    )
