"""Parts that change what a rule subtracts."""

from __future__ import annotations

from ..language.composition import composed, part
from ..language.intervals import POSITIVE
from ..language.rule import Rule


def _where_gradient_agrees(xp, s, param, grad, delta):
    agrees = xp.where(delta * grad > 0, 1, 0)
    share = xp.maximum(xp.mean(agrees), 1e-3)
    return delta * agrees / share


@part
def cautious(rule: Rule) -> Rule:
    """Return ``rule`` without the elements of its step that go against the gradient.

    Liang et al., Cautious Optimizers, arXiv:2411.16085, Algorithm 1: the elements that stay are
    divided by their share of all, at least 1e-3. Weight decay beside the step stays as it is.
    """
    return composed(rule, f"cautious_{rule.name}", delta=_where_gradient_agrees)


def _largest_rms(xp, step, h):
    return dict(largest_rms=h.lr * h.rms_limit)


def _rms_at_most(xp, s, param, grad, delta):
    rms = xp.sqrt(xp.mean(delta * delta))
    return delta / xp.maximum(rms / s.largest_rms, 1)


@part
def rms_clipped(rule: Rule) -> Rule:
    """Return ``rule`` with steps whose root mean square is at most ``lr * rms_limit``.

    Shazeer & Stern, Adafactor, arXiv:1804.04235, section 6, for any rule.
    """
    return composed(
        rule,
        f"rms_clipped_{rule.name}",
        delta=_rms_at_most,
        row=_largest_rms,
        defaults=dict(rms_limit=1.0),
        bounds=dict(rms_limit=POSITIVE),
    )


def _sign_size(xp, step, h):
    return dict(sign_size=h.lr)


def _sign(xp, s, param, grad, delta):
    return s.sign_size * xp.sign(delta)


@part
def signed(rule: Rule) -> Rule:
    """Return ``rule`` with steps of ``lr`` in the direction of each element's sign."""
    return composed(rule, f"signed_{rule.name}", delta=_sign, row=_sign_size)


def _trust_size(xp, step, h):
    return dict(trust_size=h.lr)


def _as_long_as_param(xp, s, param, grad, delta):
    param_norm = xp.norm(xp.finite_or_zero(param))
    delta_norm = xp.norm(delta)
    ratio = xp.where(delta_norm > 0, s.trust_size * param_norm / delta_norm, 1)
    return xp.where(param_norm > 0, ratio, 1) * delta


@part
def trust_ratio(rule: Rule) -> Rule:
    """Return ``rule`` with steps of ``lr`` times their parameter's norm, as LARS and LAMB have
    them.

    You et al., arXiv:1708.03888, 1904.00962. Where either norm is 0, the step stays as it is.
    """
    return composed(rule, f"trust_ratio_{rule.name}", delta=_as_long_as_param, row=_trust_size)
