"""ADOPT: Adam that normalizes a gradient by the squares before it, then takes the mean.

Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate,
arXiv:2411.02853, Algorithm 2. The accepted reference is the authors' code: the first gradient only
starts the second moment, and nothing moves; a normalized gradient is clipped to ``(t -
1)**clip_exponent`` at step t, of exponent 1/4; the root is at least ``eps``; weight decay is added
to the gradient, or subtracted from the parameter if ``decoupled_weight_decay`` (their
``decouple``). The power comes from the C library.

Deviations: decoupled decay is subtracted together with the step (see ``adam.py``). optax moves at
the first step, too; pytorch_optimizer decays at it.
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import decoupled, in_gradient


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    first = step == 1
    row = dict(
        lr=h.lr,
        beta1=beta1,
        rest1=xp.where(first, 0, 1 - beta1),
        keep=xp.where(first, 0, beta2),
        take=xp.where(first, 1, 1 - beta2),
        eps=h.eps,
        limit=xp.where(first, 1, xp.pow(step - 1, h.clip_exponent)),
        weight_decay=h.weight_decay,
        decay=xp.where(first, 0, h.lr * h.weight_decay),
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    normalized = grad / xp.maximum(xp.sqrt(exp_avg_sq), s.eps)
    clipped = xp.minimum(xp.maximum(normalized, -s.limit), s.limit)
    exp_avg = s.beta1 * exp_avg + s.rest1 * clipped
    exp_avg_sq = s.keep * exp_avg_sq + s.take * (grad * grad)
    return s.lr * exp_avg, exp_avg, exp_avg_sq


def adopt(decoupled_weight_decay=False):
    return Rule(
        "adopt",
        scalars,
        delta=delta if decoupled_weight_decay else in_gradient(delta),
        decay=decoupled if decoupled_weight_decay else None,
        defaults=dict(lr=1e-3, betas=(0.9, 0.9999), eps=1e-6, weight_decay=0.0, clip_exponent=0.25),
        bounds=dict(clip_exponent=NONNEGATIVE),
        options=dict(decoupled_weight_decay=decoupled_weight_decay),
        factory=adopt,
        reference="Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the "
        "Optimal Rate, arXiv:2411.02853, Algorithm 2.",
    )
