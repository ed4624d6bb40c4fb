"""Clipping inside the launch: any rule, on gradients that are clipped before it sees them.

``clip_value`` limits each element to [-clip_value, clip_value]; ``clip_norm`` scales a tensor's
gradient down to that Euclidean norm where it is longer (a second pass over the gradient). Both are
written in the vocabulary of rules, so every backend and printer has them. The norm of all
gradients together is `samestep.step.measurement`'s.
"""

from __future__ import annotations

from typing import Any

from .composition import composed
from .intervals import POSITIVE
from .kept import kept
from .names import shortened
from .rule import Rule


@kept
def clipped(rule: Rule, clips: tuple[str, ...]) -> Rule:
    """Return a rule that clips its gradient by the named ones of `CLIPS` and then does what
    ``rule`` does; the same object each time. Raise ValueError if ``rule`` has a name of theirs
    itself."""
    if not clips:
        return rule

    def clip(xp: Any, s: Any, param: Any, grad: Any) -> Any:
        if "clip_value" in clips:
            grad = xp.minimum(xp.maximum(grad, -s.clip_value), s.clip_value)
        if "clip_norm" in clips:
            grad_norm = xp.norm(grad)
            coefficient = xp.where(grad_norm > s.clip_norm, s.clip_norm / grad_norm, 1)
            grad = coefficient * grad
        return grad

    return composed(
        rule,
        shortened("_".join((rule.label, *clips))),
        grad=clip,
        defaults=dict.fromkeys(clips, 1.0),
        bounds=dict.fromkeys(clips, POSITIVE),
    )
