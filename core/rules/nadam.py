"""NAdam: Adam with Nesterov momentum and a warmed-up momentum.

Dozat, Incorporating Nesterov Momentum into Adam, ICLR 2016 workshop (OpenReview
OM0jvwB8jIp57ZJjtNEZ), Algorithm 2 with the momentum schedule of its appendix. The accepted
reference is torch.optim.NAdam: mu_t = beta1 * (1 - 0.96**(t * momentum_decay) / 2), weight decay
added to the gradient, or subtracted from the parameter if ``decoupled_weight_decay``.

The correction of the second moment is moved into the scalars, as in ``adam.py``. The product of all
momenta so far is carried along (``mu_product``), so betas may change on the way. The power of 0.96
is fractional and comes from the C library.

Deviations: decoupled decay is subtracted together with the step (see ``adam.py``).
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import decoupled, in_gradient
from ..parts.moments import moment_row, moments


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    mu = beta1 * (1 - 0.5 * xp.pow(0.96, step * h.momentum_decay))
    mu_next = beta1 * (1 - 0.5 * xp.pow(0.96, (step + 1) * h.momentum_decay))
    mu_product = carry.mu_product * mu
    root_bias2 = xp.sqrt(1 - xp.ipow(beta2, step))
    row = dict(
        **moment_row(h),
        scaled_eps=h.eps * root_bias2,
        grad_size=h.lr * root_bias2 * (1 - mu) / (1 - mu_product),
        momentum_size=h.lr * root_bias2 * mu_next / (1 - mu_product * mu_next),
        weight_decay=h.weight_decay,
        decay=h.lr * h.weight_decay,
    )
    return row, dict(mu_product=mu_product)


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    step = (s.grad_size * grad + s.momentum_size * exp_avg) / denom
    return step, exp_avg, exp_avg_sq


def nadam(decoupled_weight_decay=False):
    return Rule(
        "nadam",
        scalars,
        delta=delta if decoupled_weight_decay else in_gradient(delta),
        decay=decoupled if decoupled_weight_decay else None,
        defaults=dict(lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3),
        bounds=dict(momentum_decay=NONNEGATIVE),
        carry=dict(mu_product=1.0),
        options=dict(decoupled_weight_decay=decoupled_weight_decay),
        factory=nadam,
        reference="Dozat, Incorporating Nesterov Momentum into Adam, ICLR 2016 workshop, "
        "Algorithm 2.",
    )
