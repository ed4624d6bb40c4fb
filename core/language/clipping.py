"""Clipping inside the launch: any rule, on gradients that are clipped before it sees them.

``clip_value`` limits each element to [-clip_value, clip_value]; ``clip_norm`` scales a tensor's
gradient down to that Euclidean norm where it is longer (a second pass over the gradient). Both are
written in the vocabulary of rules, so every backend and printer has them. The norm of all
gradients together is `samestep.step.measurement`'s.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from .intervals import POSITIVE
from .kept import kept
from .rule import Rule
from .tracer import trace_scalars


@kept
def clipped(rule: Rule, clips: tuple[str, ...]) -> Rule:
    """Return a rule that clips its gradient by the named ones of `CLIPS` and then does what ``rule``
    does; the same object each time. Raise ValueError if ``rule`` has a name of theirs itself."""
    if not clips:
        return rule
    if taken := sorted(set(clips) & {*rule.defaults, *trace_scalars(rule)[0]}):
        raise ValueError(
            f"rule {rule.name!r} has a hyperparameter or a scalar of its own named {taken[0]!r}"
        )

    @functools.wraps(rule.scalars)
    def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
        row, carry = rule.scalars(xp, step, carry, h)
        return {**row, **{name: getattr(h, name) for name in clips}}, carry

    @functools.wraps(rule.update)
    def update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        if "clip_value" in clips:
            grad = xp.minimum(xp.maximum(grad, -s.clip_value), s.clip_value)
        if "clip_norm" in clips:
            grad_norm = xp.norm(grad)
            coefficient = xp.where(grad_norm > s.clip_norm, s.clip_norm / grad_norm, 1)
            grad = coefficient * grad
        return rule.update(xp, s, param, grad, *state)

    return dataclasses.replace(
        rule,
        name="_".join((rule.label, *clips)),
        scalars=scalars,
        update=update,
        defaults={**rule.defaults, **dict.fromkeys(clips, 1.0)},
        bounds={**rule.bounds, **dict.fromkeys(clips, POSITIVE)},
        options={},
        factory=None,
        shape_options=None,
    )
