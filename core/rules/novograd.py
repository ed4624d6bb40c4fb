"""NovoGrad: momentum of gradients that are normalized per tensor by a running mean of their squared
norm.

Ginsburg et al., Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep
Networks, arXiv:1905.11286, Algorithm 1; the accepted reference is optax.novograd. There is no bias
correction: the second moment starts as the first gradient's squared norm, and the first moment is a
sum, ``beta1 * exp_avg + ...``, not an average, so that steps grow up to ``1 / (1 - beta1)`` times.
Weight decay is added to the normalized gradient, so it goes through the momentum, from the first
step on.

The default betas are those of the authors' published code, (0.95, 0.98); the paper's text
recommends a ``beta2`` between 0.2 and 0.5 for some tasks, and optax has (0.9, 0.25).

Deviations from the paper: ``eps`` is added at the first step, too, as in optax. Apex's
FusedNovoGrad differs: it keeps the norm instead of its square and multiplies the normalized
gradient by ``1 - beta1`` unless told not to.

Limit: a norm of float32 gradients from 1.8e19 on is infinite, as its square is (float64: 1.3e154):
it counts as a gradient of 0, and so do all later ones, since the running mean stays infinite.
"""

from ..language.rule import Rule

REFERENCE = (
    "Ginsburg et al., Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of "
    "Deep Networks, arXiv:1905.11286, Algorithm 1."
)


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    row = dict(
        beta1=beta1,
        keep=xp.where(step == 1, 0, beta2),
        take=xp.where(step == 1, 1, 1 - beta2),
        eps=h.eps,
        weight_decay=h.weight_decay,
        lr=h.lr,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg_sq = s.keep * exp_avg_sq + s.take * xp.sum(grad * grad)
    denom = xp.sqrt(exp_avg_sq) + s.eps
    exp_avg = s.beta1 * exp_avg + (grad / denom + s.weight_decay * xp.finite_or_zero(param))
    return s.lr * exp_avg, exp_avg, exp_avg_sq


novograd = Rule(
    "novograd",
    scalars,
    delta=delta,
    defaults=dict(lr=1e-3, betas=(0.95, 0.98), eps=1e-8, weight_decay=0.0),
    per=dict(exp_avg_sq="tensor"),
    reference=REFERENCE,
)
