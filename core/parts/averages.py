"""A part that keeps an average of the parameter, written in the pass that writes the parameter.

The average starts as the parameter after the first step that counts, so it needs no correction of a
bias; the first ``average_start`` steps are left out. It is of what the step computes, before that
is rounded to 16 bits. Evaluating with it gives better models than the last step's parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..language.around import DEFAULTS, checked_choice
from ..language.composition import around, part
from ..language.results import as_tuple
from ..language.rule import Rule
from .last_copies import with_last_copies


def _of_ema(xp, h, count):
    return xp.where(count > 1, 1 - h.average_decay, 1)


def _of_mean(xp, h, count):
    return 1 / xp.where(count > 1, count, 1)


WEIGHTS: dict[str, Callable[..., Any]] = {"ema": _of_ema, "mean": _of_mean}


@part
def averaged(rule: Rule, kind: str | int = "ema") -> Rule:
    """Return ``rule`` with an average of the parameter, kept as the state ``average``.

    "ema" has a weight of ``1 - average_decay`` for the last step (Polyak & Juditsky, 1992, made
    exponential); "mean" has equal weights (stochastic weight averaging, Izmailov et al.,
    arXiv:1803.05407). What is infinite has itself as its average. A whole number keeps so many of
    the last copies instead, see `with_last_copies`.
    """
    kind = checked_choice("average", kind) or "ema"
    if isinstance(kind, int):
        return with_last_copies(rule, kind)
    weight_of = WEIGHTS[kind]

    @functools.wraps(rule.scalars)
    def scalars(xp, step, carry, h):
        row, after = rule.scalars(xp, step, carry, h)
        after = after if isinstance(after, dict) else vars(after)
        count = xp.where(step > h.average_start, carry.averaged + 1, 0)
        row = {**row, "average_weight": weight_of(xp, h, count)}
        return row, {**after, "averaged": count}

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        *own, average = state
        param, *own = as_tuple(rule.update(xp, s, param, grad, *own))
        average = average + s.average_weight * (param - average)
        average = xp.where(xp.finite_or_zero(average) == average, average, param)
        average = xp.where(s.average_weight < 1, average, param)
        return (param, *own, average)

    hyper = ("average_decay", "average_start")
    return around(
        rule,
        "average",
        kind,
        update,
        states=("average",),
        codec=None,
        scalars=scalars,
        names=("average_weight", "averaged"),
        defaults={name: DEFAULTS[name] for name in hyper},
        carry={"averaged": 0.0},
    )
