"""RAdam: Adam whose adaptive denominator waits until its variance is tractable.

Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, arXiv:1908.03265,
Algorithm 2. The accepted reference is torch.optim.RAdam: the threshold is rho > 5 (the paper: 4),
epsilon is added to the uncorrected root, weight decay is added to the gradient, or subtracted
from the parameter if ``decoupled_weight_decay``.

Deviations: decoupled decay is subtracted together with the step (see ``adam.py``).
"""

from ..language.rule import Rule
from ..parts.decay import decoupled, in_gradient
from ..parts.moments import moment_row, moments


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    power2 = xp.ipow(beta2, step)
    bias1, bias2 = 1 - xp.ipow(beta1, step), 1 - power2
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * power2 / bias2
    rectification = xp.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    row = dict(
        **moment_row(h),
        eps=h.eps,
        adaptive=xp.where(rho > 5, 1, 0),
        step_size=xp.where(rho > 5, h.lr * rectification * xp.sqrt(bias2), h.lr) / bias1,
        weight_decay=h.weight_decay,
        decay=h.lr * h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    adapted = exp_avg / (xp.sqrt(exp_avg_sq) + s.eps)
    direction = xp.where(s.adaptive > 0, adapted, exp_avg)
    return s.step_size * direction, exp_avg, exp_avg_sq


def radam(decoupled_weight_decay=False):
    return Rule(
        "radam",
        scalars,
        delta=delta if decoupled_weight_decay else in_gradient(delta),
        decay=decoupled if decoupled_weight_decay else None,
        defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
        options=dict(decoupled_weight_decay=decoupled_weight_decay),
        factory=radam,
        reference="Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, "
        "arXiv:1908.03265, Algorithm 2.",
    )
