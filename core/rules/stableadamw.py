"""StableAdamW: AdamW with a smaller step where gradients are larger than their running mean square
says.

Wortsman et al., Stable and low-precision training for large-scale vision-language models,
arXiv:2304.13013, Algorithm 2. Both step and decay are divided, tensor by tensor, by
``max(1, RMS(grad / max(sqrt(v_hat), eps)))``, where ``v_hat`` is the corrected second moment: the
update clipping of Adafactor in AdamW. Its ``d`` is 1. The accepted reference is optimi.StableAdamW,
which corrects betas instead of moments: the same where they stay what they are.

Deviations: decay is subtracted together with the step (see ``adam.py``).

Limit: an element with a gradient of float32 from 1.8e19 on, whose square is infinite (float64:
1.3e154), only decays. Where a gradient is infinite or NaN, so is the mean, and the whole tensor
becomes NaN.
"""

from ..language.rule import Rule
from ..parts.moments import adam_row, moments

REFERENCE = (
    "Wortsman et al., Stable and low-precision training for large-scale vision-language models, "
    "arXiv:2304.13013, Algorithm 2."
)


def scalars(xp, step, carry, h):
    root_bias2 = xp.sqrt(1 - xp.ipow(h.betas[1], step))
    row = dict(**adam_row(xp, step, h), root_bias2=root_bias2, decay=h.lr * h.weight_decay)
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    root = xp.sqrt(exp_avg_sq)
    ratio = grad / xp.maximum(root, s.scaled_eps)
    too_large = xp.maximum(s.root_bias2 * xp.sqrt(xp.mean(ratio * ratio)), 1)
    direction = s.step_size * (exp_avg / (root + s.scaled_eps))
    step = (direction + s.decay * xp.finite_or_zero(param)) / too_large
    return step, exp_avg, exp_avg_sq


stableadamw = Rule(
    "stableadamw",
    scalars,
    delta=delta,
    defaults=dict(lr=1e-3, betas=(0.9, 0.99), eps=1e-6, weight_decay=1e-2),
    reference=REFERENCE,
)
