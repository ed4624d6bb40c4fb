"""LaProp: the running mean of normalized gradients, where Adam normalizes the running mean.

Ziyin, Wang & Ueda, LaProp: Separating Momentum and Adaptivity in Adam, arXiv:2002.04839, Algorithm
1. Both moments are corrected. Weight decay is decoupled.

Deviations: the learning rate is outside of the mean, as in the paper; the authors' code has it
inside, which is another step while it changes.
"""

from ..language.rule import Rule
from ..parts.decay import decoupled


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    root_bias2 = xp.sqrt(1 - xp.ipow(beta2, step))
    row = dict(
        beta1=beta1,
        beta2=beta2,
        rest2=1 - beta2,
        normal_size=(1 - beta1) * root_bias2,
        scaled_eps=h.eps * root_bias2,
        step_size=h.lr / (1 - xp.ipow(beta1, step)),
        decay=h.lr * h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    exp_avg = s.beta1 * exp_avg + s.normal_size * (grad / (xp.sqrt(exp_avg_sq) + s.scaled_eps))
    return s.step_size * exp_avg, exp_avg, exp_avg_sq


laprop = Rule(
    "laprop",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=4e-4, betas=(0.9, 0.999), eps=1e-15, weight_decay=0.0),
    reference="Ziyin, Wang & Ueda, LaProp: Separating Momentum and Adaptivity in Adam, "
    "arXiv:2002.04839, Algorithm 1.",
)
