"""Prodigy: Adam whose step size is an estimate of the distance from the start to the solution.

Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, arXiv:2306.06101,
Algorithm 4. ``lr`` is a factor of the estimate ``d`` and may be a schedule around 1. The accepted
reference is the authors' code (prodigyopt): decoupled weight decay; the factor ``1 - beta3`` of
both sums is left out, which cancels; no bias correction unless ``use_bias_correction``;
``safeguard_warmup`` keeps ``lr`` out of the denominator. With g the gradient, x a parameter and
sums over all parameters:

    numerator = beta3 * numerator + sum(d / d0 * dlr * g * (p0 - x));    beta3 = sqrt(beta2)
    grad_sum = beta3 * grad_sum + d / d0 * dlr * g;    denominator = sum(abs(grad_sum))
    d = max(d, d_coef * numerator / denominator), which the next step takes

All parameters of the rule have one ``d``, whichever groups they are in; their ``lr`` should be the
same, but for those with 0. A parameter without a gradient takes no part in the sums of that step.

Deviations: ``eps`` is multiplied by the ``d`` of the step, as in the paper; the authors' code and
optax take the next one. ``growth_rate=0`` sets no limit (theirs: infinity). Bias correction counts
each parameter's own steps. Where ``lr`` is 0, the moments and ``grad_sum`` go on. Decay is
subtracted together with the step (see ``adam.py``). There is no ``beta3`` of its own, no coupled
decay, no ``slice_p``, which leaves out elements of the sums. optax always corrects the bias and has
no ``growth_rate``.

Limit: once a gradient that is not finite was taken, ``d`` stays what it is; ``skip_nonfinite``
leaves such a step out.
"""

from ..language.intervals import NONNEGATIVE, POSITIVE
from ..language.rule import Rule
from ..parts.decay import decoupled


def estimate(xp, carry, h):
    """Return the ``d`` of a step and the largest estimate, from the sums of the steps before it."""
    d = xp.where(carry.d > 0, carry.d, h.d0)
    known = carry.d_denom > 0
    d_hat = xp.where(known, h.d_coef * carry.d_numerator / xp.where(known, carry.d_denom, 1), d)
    d_max = xp.where(carry.d_max > d, carry.d_max, d)
    d_max = xp.where(d_hat > d_max, d_hat, d_max)
    grown = h.growth_rate * xp.where(d == h.d0, d_max, d)
    limited = xp.where(grown < d_max, grown, d_max)
    return xp.where(h.growth_rate > 0, limited, d_max), d_max


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    beta3 = xp.sqrt(beta2)
    d, d_max = estimate(xp, carry, h)
    correction = xp.sqrt(1 - xp.ipow(beta2, step)) / (1 - xp.ipow(beta1, step))
    dlr = d * h.lr * xp.where(h.use_bias_correction != 0, correction, 1)
    weight = d / h.d0 * dlr
    row = dict(
        first=xp.where(step == 1, 1, 0),
        beta1=beta1,
        take1=d * (1 - beta1),
        beta2=beta2,
        take2=d * d * (1 - beta2),
        beta3=beta3,
        weight=weight,
        take3=xp.where(h.safeguard_warmup != 0, d / h.d0 * d, weight),
        dlr=dlr,
        scaled_eps=d * h.eps,
        decay=dlr * h.weight_decay,
    )
    return row, dict(d=d, d_max=d_max, d_numerator=beta3 * carry.d_numerator, d_denom=0)


def delta(xp, s, param, grad, exp_avg, exp_avg_sq, grad_sum, p0, numerator, denominator):
    p0 = xp.where(s.first > 0, param, p0)
    exp_avg = s.beta1 * exp_avg + s.take1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.take2 * (grad * grad)
    grad_sum = s.beta3 * grad_sum + s.take3 * grad
    numerator = s.weight * xp.sum(grad * xp.finite_or_zero(p0 - param))
    denominator = xp.sum(xp.abs(grad_sum))
    step = s.dlr * (exp_avg / (xp.sqrt(exp_avg_sq) + s.scaled_eps))
    return step, exp_avg, exp_avg_sq, grad_sum, p0, numerator, denominator


prodigy = Rule(
    "prodigy",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(
        lr=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        d0=1e-6,
        d_coef=1.0,
        growth_rate=0.0,
        use_bias_correction=False,
        safeguard_warmup=False,
    ),
    bounds=dict(d0=POSITIVE, d_coef=POSITIVE, growth_rate=NONNEGATIVE),
    per=dict(numerator="tensor", denominator="tensor"),
    kept_in=dict(p0=None),  # small distances to it are what d follows from
    carry=dict(d=0.0, d_max=0.0, d_numerator=0.0, d_denom=0.0),
    shared=dict(d=None, d_max=None, d_numerator="numerator", d_denom="denominator"),
    reference="Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, "
    "arXiv:2306.06101, Algorithm 4.",
)
