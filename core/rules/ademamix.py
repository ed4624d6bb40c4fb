"""AdEMAMix: AdamW with a second, much slower running mean of the gradient.

Pagliardini et al., The AdEMAMix Optimizer: Better, Faster, Older, arXiv:2409.03137, Algorithm 1.
The accepted reference is the authors' code: ``betas`` are of the fast mean, of the square and of
the slow mean, which is not corrected; ``alpha`` is 2.

Their warm-up of ``alpha`` and of the third beta over T steps are schedules here, as any number may
be: ``alpha=ss.schedules.linear_warmup(2.0, warmup_steps=T)``; the beta whose half-life grows in
equal steps is ``betas=(b1, b2, beta3)`` with the function

    u = min(t / T, 1); beta3(t) = exp(1 / ((1 - u) / log(b1) + u / log(b3)))

Deviations: decay is subtracted together with the step (see ``adam.py``). optax and bitsandbytes
have an ``alpha`` of 5.
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import decoupled


def scalars(xp, step, carry, h):
    beta1, beta2, beta3 = h.betas
    root_bias2 = xp.sqrt(1 - xp.ipow(beta2, step))
    row = dict(
        beta1=beta1, rest1=1 - beta1, beta2=beta2, rest2=1 - beta2, beta3=beta3, rest3=1 - beta3,
        fast_size=h.lr * root_bias2 / (1 - xp.ipow(beta1, step)),
        slow_size=h.lr * root_bias2 * h.alpha,
        scaled_eps=h.eps * root_bias2,
        decay=h.lr * h.weight_decay,
    )  # fmt: skip
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_slow, exp_avg_sq):
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_slow = s.beta3 * exp_avg_slow + s.rest3 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    mixed = s.fast_size * exp_avg + s.slow_size * exp_avg_slow
    return mixed / denom, exp_avg, exp_avg_slow, exp_avg_sq


ademamix = Rule(
    "ademamix",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=1e-3, betas=(0.9, 0.999, 0.9999), eps=1e-8, weight_decay=0.0, alpha=2.0),
    bounds=dict(alpha=NONNEGATIVE),
    reference="Pagliardini et al., The AdEMAMix Optimizer: Better, Faster, Older, "
    "arXiv:2409.03137, Algorithm 1.",
)
