"""A part that keeps a copy of the parameter in 16 bits, written in the pass that writes the
parameter."""

from __future__ import annotations

import functools

from ..language.around import COPY
from ..language.composition import around, part
from ..language.results import as_tuple
from ..language.rule import Rule


@part
def copied(rule: Rule, dtype: str) -> Rule:
    """Return ``rule`` with the parameter, rounded to "bfloat16" or "float16", as the state
    ``copy``.

    An optimizer has the arrays in its place that its argument ``copy_to`` gives.
    """

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        *own, _ = state
        param, *own = as_tuple(rule.update(xp, s, param, grad, *own))
        return (param, *own, param)

    return around(rule, "copy_to", dtype, update, states=(COPY,), codec=dtype)
