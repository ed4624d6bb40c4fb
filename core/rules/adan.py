"""Adan: Adam with Nesterov momentum, written with the difference of successive gradients.

Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models,
arXiv:2208.06677, Algorithm 1. The accepted reference is the authors' code (sail-sg): ``betas`` are
one minus those of the paper, the difference is 0 at the first step, decay is proximal: the
parameter is divided by ``1 + lr * weight_decay`` after the step, which is

    param -= (step + lr * weight_decay * param) / (1 + lr * weight_decay)

Deviations: none. optax takes ``1 - betas[1]`` for ``betas[1]`` in two places, another algorithm.
"""

from ..language.rule import Rule
from ..parts.decay import decoupled


def scalars(xp, step, carry, h):
    beta1, beta2, beta3 = h.betas
    root_bias3 = xp.sqrt(1 - xp.ipow(beta3, step))
    size = h.lr * root_bias3 / (1 + h.lr * h.weight_decay)
    row = dict(
        beta1=beta1, rest1=1 - beta1, beta2=beta2, rest2=1 - beta2, beta3=beta3, rest3=1 - beta3,
        first=xp.where(step == 1, 1, 0),
        step_size=size / (1 - xp.ipow(beta1, step)),
        diff_size=size * beta2 / (1 - xp.ipow(beta2, step)),
        scaled_eps=h.eps * root_bias3,
        decay=h.lr * h.weight_decay / (1 + h.lr * h.weight_decay),
    )  # fmt: skip
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_diff, exp_avg_sq, last_grad):
    diff = xp.where(s.first > 0, 0, grad - last_grad)
    ahead = grad + s.beta2 * diff
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_diff = s.beta2 * exp_avg_diff + s.rest2 * diff
    exp_avg_sq = s.beta3 * exp_avg_sq + s.rest3 * (ahead * ahead)
    step = s.step_size * exp_avg + s.diff_size * exp_avg_diff
    return step / (xp.sqrt(exp_avg_sq) + s.scaled_eps), exp_avg, exp_avg_diff, exp_avg_sq, grad


adan = Rule(
    "adan",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0),
    reference="Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep "
    "Models, arXiv:2208.06677, Algorithm 1.",
)
