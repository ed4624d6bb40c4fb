"""D-Adapt Adam: Adam whose step size is a lower bound of the distance from the start to the
solution.

Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, arXiv:2301.07733, Algorithm 5.
``lr`` is a factor of the estimate ``d`` and may be a schedule around 1. The accepted reference is
the authors' code (dadaptation): no bias correction unless ``use_bias_correction``; weight decay is
added to the gradient, or subtracted from the parameter if ``decoupled_weight_decay`` (their
``decouple``). With g the gradient, v the second moment before the step, and sums over all
parameters:

    numerator = root * numerator + (1 - root) * sum(dlr * g * grad_sum / (sqrt(v) + eps))
    grad_sum = root * grad_sum + (1 - root) * dlr * g;    root = sqrt(beta2)
    d = max(d, numerator / ((1 - root) * sum(abs(grad_sum)))), which the next step takes

All parameters of the rule have one ``d``, whichever groups they are in; their ``lr`` should be the
same, but for those with 0. A parameter without a gradient takes no part in the sums of that step.

The first moment is a mean of steps, with ``lr`` and ``d`` in them, as in the paper: a changed
``lr`` takes effect as that mean moves.

Deviations: ``growth_rate=0`` sets no limit (theirs: infinity). Bias correction counts each
parameter's own steps. Where ``lr`` is 0, the moments and ``grad_sum`` go on. Decoupled decay is
subtracted together with the step (see ``adam.py``). There is no ``layer_scale``.

Limit: once a gradient that is not finite was taken, ``d`` stays what it is; ``skip_nonfinite``
leaves such a step out.
"""

from ..language.intervals import NONNEGATIVE, POSITIVE
from ..language.rule import Rule
from ..parts.decay import decoupled, in_gradient


def estimate(xp, carry, h):
    """Return the ``d`` of a step, from the sums of the steps before it."""
    d = xp.where(carry.d > 0, carry.d, h.d0)
    known = carry.d_denom > 0
    d_hat = xp.where(known, carry.d_numerator / xp.where(known, carry.d_denom, 1), d)
    grown = xp.where(h.growth_rate > 0, d * h.growth_rate, d_hat)
    d_hat = xp.where(grown < d_hat, grown, d_hat)
    return xp.where(d_hat > d, d_hat, d)


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    root = xp.sqrt(beta2)
    d = estimate(xp, carry, h)
    correction = xp.sqrt(1 - xp.ipow(beta2, step)) / (1 - xp.ipow(beta1, step))
    dlr = d * h.lr * xp.where(h.use_bias_correction != 0, correction, 1)
    row = dict(
        beta1=beta1,
        take1=dlr * (1 - beta1),
        beta2=beta2,
        rest2=1 - beta2,
        root=root,
        rest=1 - root,
        weight=(1 - root) * dlr,
        eps=h.eps,
        weight_decay=h.weight_decay,
        decay=dlr * h.weight_decay,
    )
    return row, dict(d=d, d_numerator=root * carry.d_numerator, d_denom=0)


def delta(xp, s, param, grad, exp_avg, exp_avg_sq, grad_sum, numerator, denominator):
    numerator = s.weight * xp.sum(grad * (grad_sum / (xp.sqrt(exp_avg_sq) + s.eps)))
    exp_avg = s.beta1 * exp_avg + s.take1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    grad_sum = s.root * grad_sum + s.weight * grad
    denominator = s.rest * xp.sum(xp.abs(grad_sum))
    step = exp_avg / (xp.sqrt(exp_avg_sq) + s.eps)
    return step, exp_avg, exp_avg_sq, grad_sum, numerator, denominator


def dadapt_adam(decoupled_weight_decay=False):
    return Rule(
        "dadapt_adam",
        scalars,
        delta=delta if decoupled_weight_decay else in_gradient(delta),
        decay=decoupled if decoupled_weight_decay else None,
        defaults=dict(
            lr=1.0,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=0.0,
            d0=1e-6,
            growth_rate=0.0,
            use_bias_correction=False,
        ),
        bounds=dict(eps=POSITIVE, d0=POSITIVE, growth_rate=NONNEGATIVE),
        per=dict(numerator="tensor", denominator="tensor"),
        carry=dict(d=0.0, d_numerator=0.0, d_denom=0.0),
        shared=dict(d=None, d_numerator="numerator", d_denom="denominator"),
        options=dict(decoupled_weight_decay=decoupled_weight_decay),
        factory=dadapt_adam,
        reference="Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, "
        "arXiv:2301.07733, Algorithm 5.",
    )
