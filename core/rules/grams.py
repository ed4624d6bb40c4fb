"""Grams: steps as long as Adam's, in the direction of the gradient's sign.

Cao et al., Grams: Gradient Descent with Adaptive Momentum Scaling, arXiv:2412.17107, Algorithm 1. A
gradient of zero makes no step. Weight decay is decoupled.

Deviations: epsilon is added after correction, as in the paper; the authors' code adds it to the
uncorrected root. Decay is subtracted together with the step (see ``adam.py``).
"""

from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import adam_row, moments


def scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), decay=h.lr * h.weight_decay), carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    size = s.step_size * (xp.abs(exp_avg) / (xp.sqrt(exp_avg_sq) + s.scaled_eps))
    return xp.sign(grad) * size, exp_avg, exp_avg_sq


grams = Rule(
    "grams",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0),
    reference="Cao et al., Grams: Gradient Descent with Adaptive Momentum Scaling, "
    "arXiv:2412.17107, Algorithm 1.",
)
