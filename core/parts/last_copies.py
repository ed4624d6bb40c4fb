"""A part that keeps the last few copies of the parameter, one taken every so many steps; their mean
is the average.

A copy is what the step computes, before that is rounded to 16 bits. The first ``average_start``
steps are left out, and the first copy is taken ``average_every`` steps after them. Copies take
turns: the new one is written where the oldest was. A step writes one of them or none, so no launch
runs over all; see `samestep.language.last_copies`.
"""

from __future__ import annotations

import functools

from ..language.around import DEFAULTS, last_copies
from ..language.composition import around, part
from ..language.last_copies import TURN
from ..language.results import as_tuple
from ..language.rule import Rule


@part
def with_last_copies(rule: Rule, count: int) -> Rule:
    """Return ``rule`` with the last ``count`` copies of the parameter as the states ``average_0``,
    ``average_1``, ...: latest weight averaging (Kaddour, arXiv:2209.14981)."""
    copies = last_copies({"average": count})

    @functools.wraps(rule.scalars)
    def scalars(xp, step, carry, h):
        row, after = rule.scalars(xp, step, carry, h)
        after = after if isinstance(after, dict) else vars(after)
        counts = step > h.average_start
        since = carry.since_copy + 1
        taken = xp.where(counts, xp.where(since >= h.average_every, 1, 0), 0)
        following = xp.where(carry.next_copy + 1 < count, carry.next_copy + 1, 0)
        copied = xp.where(carry.averaged < count, carry.averaged + 1, count)
        own = dict(
            averaged=xp.where(counts, xp.where(taken > 0, copied, carry.averaged), 0),
            next_copy=xp.where(counts, xp.where(taken > 0, following, carry.next_copy), 0),
            since_copy=xp.where(counts, xp.where(taken > 0, 0, since), 0),
        )
        return {**row, TURN: xp.where(taken > 0, carry.next_copy, -1)}, {**after, **own}

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        param, *own = as_tuple(rule.update(xp, s, param, grad, *state[:-count]))
        turn = getattr(s, TURN)
        after = [xp.where(turn == k, param, copy) for k, copy in enumerate(state[-count:])]
        return (param, *own, *after)

    carry = dict(averaged=0.0, next_copy=0.0, since_copy=0.0)
    return around(
        rule,
        "average",
        count,
        update,
        states=copies,
        codec=None,
        scalars=scalars,
        names=(TURN, *carry),
        defaults={name: DEFAULTS[name] for name in ("average_start", "average_every")},
        carry=carry,
    )
