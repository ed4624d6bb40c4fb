"""Parts that change the gradient before a rule sees it.

Both look at the rows of a matrix, its first axis (the units of a layer), and at a vector as a
whole.
"""

from __future__ import annotations

from ..language.composition import composed, part
from ..language.intervals import POSITIVE
from ..language.rule import Rule


def _centered(xp, s, param, grad):
    return xp.where(xp.size(grad, per="row") > 1, grad - xp.mean(grad, per="row"), grad)


@part
def centralized(rule: Rule) -> Rule:
    """Return ``rule`` on gradients whose rows have mean zero; those of vectors stay as they are.

    Yong et al., Gradient Centralization, arXiv:2004.01461, equation 1.
    """
    return composed(rule, f"centralized_{rule.name}", grad=_centered)


def _unit_norm(xp, x):
    """Return the norm of each row, or of a vector as a whole."""
    square = xp.sum(x * x, per="row")
    return xp.sqrt(xp.where(xp.size(x, per="row") > 1, square, xp.sum(square)))


def _clipped_to_param(xp, s, param, grad):
    param_norm = xp.maximum(_unit_norm(xp, xp.finite_or_zero(param)), s.clip_floor)
    grad_norm = _unit_norm(xp, grad)
    limit = s.clip_ratio * param_norm
    return grad * xp.where(grad_norm > limit, limit / grad_norm, 1)


@part
def adaptively_clipped(rule: Rule) -> Rule:
    """Return ``rule`` on gradients of at most ``clip_ratio`` times their parameter's norm, row by
    row.

    Brock et al., High-Performance Large-Scale Image Recognition Without Normalization,
    arXiv:2102.06171, equation 3. A parameter counts as at least ``clip_floor`` long.
    """
    return composed(
        rule,
        f"adaptively_clipped_{rule.name}",
        grad=_clipped_to_param,
        defaults=dict(clip_ratio=0.01, clip_floor=1e-3),
        bounds=dict(clip_ratio=POSITIVE, clip_floor=POSITIVE),
    )
