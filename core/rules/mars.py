"""MARS-AdamW and MARS-Lion: a gradient corrected by how it has changed, then clipped, in AdamW or
Lion.

Yuan et al., MARS: Unleashing the Power of Variance Reduction for Training Large Models,
arXiv:2411.10438, Algorithms 2 (AdamW) and 3 (Lion), in the approximate form, which takes the
gradient of the step before where the exact one would take another gradient of the same batch:

    c = grad + gamma * beta1 / (1 - beta1) * (grad - last_grad);    c = c / max(1, norm(c))

The accepted reference is the authors' code: the last gradient is 0 at the first step; Lion's
momentum is a mean of c with ``beta1`` and its sign is taken after c was added. It steps parameters
of one axis by AdamW: here they are a group with a rule of its own.

Deviations: decay is subtracted together with the step (see ``adam.py``).

Limit: where a norm of float32 numbers is 1.8e19 or more its square is infinite (float64: 1.3e154),
and c counts as 0.
"""

from ..language.intervals import FRACTION, NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import adam_row, moments

PAPER = (
    "Yuan et al., MARS: Unleashing the Power of Variance Reduction for Training Large Models, "
    "arXiv:2411.10438"
)


def correction_row(h, beta1):
    return dict(correction=h.gamma * beta1 / (1 - beta1), decay=h.lr * h.weight_decay)


def corrected(xp, s, grad, last_grad):
    correction = grad + s.correction * (grad - last_grad)
    return correction / xp.maximum(xp.norm(correction), 1)


def adamw_scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), **correction_row(h, h.betas[0])), carry


def adamw_delta(xp, s, param, grad, exp_avg, exp_avg_sq, last_grad):
    corrected_grad = corrected(xp, s, grad, last_grad)
    exp_avg, exp_avg_sq = moments(xp, s, corrected_grad, exp_avg, exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    return s.step_size * (exp_avg / denom), exp_avg, exp_avg_sq, grad


def lion_scalars(xp, step, carry, h):
    return dict(lr=h.lr, beta1=h.beta1, rest1=1 - h.beta1, **correction_row(h, h.beta1)), carry


def lion_delta(xp, s, param, grad, exp_avg, last_grad):
    exp_avg = s.beta1 * exp_avg + s.rest1 * corrected(xp, s, grad, last_grad)
    return s.lr * xp.sign(exp_avg), exp_avg, grad


mars_adamw = Rule(
    "mars_adamw",
    adamw_scalars,
    delta=adamw_delta,
    decay=decoupled,
    defaults=dict(lr=3e-3, betas=(0.95, 0.99), eps=1e-8, weight_decay=0.0, gamma=0.025),
    bounds=dict(gamma=NONNEGATIVE),
    reference=f"{PAPER}, Algorithm 2.",
)

mars_lion = Rule(
    "mars_lion",
    lion_scalars,
    delta=lion_delta,
    decay=decoupled,
    defaults=dict(lr=3e-3, beta1=0.95, weight_decay=0.0, gamma=0.025),
    bounds=dict(beta1=FRACTION, gamma=NONNEGATIVE),
    reference=f"{PAPER}, Algorithm 3.",
)
