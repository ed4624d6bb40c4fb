"""Adamax: Adam with the infinity norm.

Kingma & Ba, Adam, arXiv:1412.6980, Algorithm 2. The accepted reference is torch.optim.Adamax:
epsilon is added to the gradient's magnitude inside the maximum (the paper has none), weight decay
is added to the gradient.

Deviations: none.
"""

from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    row = dict(
        beta1=beta1,
        rest1=1 - beta1,
        beta2=beta2,
        step_size=h.lr / (1 - xp.ipow(beta1, step)),
        eps=h.eps,
        weight_decay=h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_inf):
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_inf = xp.maximum(s.beta2 * exp_inf, xp.abs(grad) + s.eps)
    return s.step_size * (exp_avg / exp_inf), exp_avg, exp_inf


def adamax():
    return Rule(
        "adamax",
        scalars,
        delta=in_gradient(delta),
        defaults=dict(lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
        reference="Kingma & Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980, "
        "Algorithm 2.",
        factory=adamax,
    )
