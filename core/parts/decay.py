"""Weight decay: added to the gradient, or subtracted beside the step.

An infinite parameter (a masked logit) stays what it is, so decay is of ``finite_or_zero(param)``.
"""

from __future__ import annotations

import dataclasses
import functools

from ..language.composition import composed, part
from ..language.rule import Rule


def in_gradient(function):
    """Return a rule's update or delta with ``s.weight_decay * param`` added to the gradient: the
    decay of the loss's own L2 term."""

    @functools.wraps(function)
    def with_decay(xp, s, param, grad, *state):
        grad = grad + s.weight_decay * xp.finite_or_zero(param)
        return function(xp, s, param, grad, *state)

    with_decay.without_decay = function  # type: ignore[attr-defined]
    return with_decay


def decoupled(xp, s, param, delta):
    """Return what decoupled decay subtracts. Loshchilov & Hutter, arXiv:1711.05101.

    It is subtracted together with the step: multiplying the parameter by ``1 - lr * weight_decay``
    rounds, in float32, to a decay that is 19 % too large at lr = 1e-5 and weight_decay = 0.01, and
    to none at all at lr = 1e-6.
    """
    return s.decay * xp.finite_or_zero(param)


def _beside(xp, s, param, delta):
    return s.decay_beside * xp.finite_or_zero(param)


def _times_lr(xp, step, h):
    return dict(decay_beside=h.lr * h.weight_decay)


def _alone(xp, step, h):
    return dict(decay_beside=h.weight_decay)


def _with_decay(rule: Rule, name: str, row) -> Rule:
    """Return ``rule`` with this decay in the place of its own, or in addition if it has none."""
    inside = rule.delta
    while inside is not None and not hasattr(inside, "without_decay"):
        inside = getattr(inside, "__wrapped__", None)
    if inside is not None and inside is not rule.delta:
        raise ValueError(
            f"{name}: the decay inside rule {rule.name!r} is out of reach; "
            "give it another one first, then compose"
        )
    if inside is not None:
        rule = dataclasses.replace(rule, delta=inside.without_decay)
    defaults = {} if "weight_decay" in rule.defaults else dict(weight_decay=0.0)
    return composed(rule, name, decay=_beside, row=row, defaults=defaults)


@part
def decoupled_decay(rule: Rule) -> Rule:
    """Return ``rule`` with ``lr * weight_decay * param`` subtracted beside its step, as in AdamW.

    It takes the place of the rule's own decay, and comes before other parts.
    """
    return _with_decay(rule, f"decoupled_{rule.name}", _times_lr)


@part
def independent_decay(rule: Rule) -> Rule:
    """Return ``rule`` with ``weight_decay * param`` subtracted beside its step, whatever ``lr`` is.

    It takes the place of the rule's own decay, and comes before other parts.
    """
    return _with_decay(rule, f"independent_{rule.name}", _alone)


@part
def cautious_decay(rule: Rule) -> Rule:
    """Return ``rule`` with its decay, which is beside the step, only where it points the same way.

    Chen et al., Cautious Weight Decay, arXiv:2510.12402, Algorithm 1: an element decays where step
    and parameter have the same sign.
    """
    beside = rule.decay
    if beside is None:
        raise ValueError(
            f"cautious_decay: rule {rule.name!r} has no decay beside its step; "
            "decoupled_decay(rule) has one"
        )

    def decay(xp, s, param, delta):
        return xp.where(delta * param > 0, beside(xp, s, param, delta), 0)

    return composed(rule, f"cautious_decay_{rule.name}", decay=decay)
