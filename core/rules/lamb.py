"""LAMB: Adam's direction, scaled per tensor by the ratio of parameter norm to update norm.

You et al., Large Batch Optimization for Deep Learning, arXiv:1904.00962, Algorithm 2; the
accepted reference is Apex's FusedLAMB.

Deviations from Apex: the trust ratio applies always (Apex: only where ``weight_decay`` is not 0,
unless ``use_nvlamb``), as in optax; gradients are not clipped here.

Limit: a norm of float32 numbers from 1.8e19 on is infinite, as its square is (float64: 1.3e154).
Where that is the parameter's norm, its step is infinite or NaN; where only the direction's, there
is none.
"""

from ..language.rule import Rule
from ..parts.moments import moment_row, moments

REFERENCE = "You et al., Large Batch Optimization for Deep Learning, arXiv:1904.00962, Algorithm 2."


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    root_bias2 = xp.sqrt(1 - xp.ipow(beta2, step))
    row = dict(
        **moment_row(h),
        correction=root_bias2 / (1 - xp.ipow(beta1, step)),
        scaled_eps=h.eps * root_bias2,
        weight_decay=h.weight_decay,
        lr=h.lr,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    finite_param = xp.finite_or_zero(param)
    direction = s.correction * (exp_avg / denom) + s.weight_decay * finite_param
    param_norm = xp.norm(finite_param)
    update_norm = xp.norm(direction)
    ratio = xp.where(update_norm > 0, param_norm / update_norm, 1)
    trust_ratio = xp.where(param_norm > 0, ratio, 1)
    return s.lr * (trust_ratio * direction), exp_avg, exp_avg_sq


lamb = Rule(
    "lamb",
    scalars,
    delta=delta,
    defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01),
    reference=REFERENCE,
)
