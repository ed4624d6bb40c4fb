"""Sophia: momentum divided by an average of the Hessian's diagonal, and clipped element by element.

Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training,
arXiv:2305.14342, Algorithm 3:

    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    param -= lr * weight_decay * param + lr * clip(exp_avg / max(rho * hessian, eps), 1)

A step leaves ``hessian`` as it is. Every so many steps, ten in the paper, the caller estimates the
diagonal and hands it over by `Optimizer.update_hessian`, which counts no step:

    hessian = beta2 * hessian + (1 - beta2) * estimate

The estimate is the caller's, Gauss-Newton-Bartlett (Sophia-G) or Hutchinson (Sophia-H); see
docs/howto/hessian.md. It is of what is minimized, whatever ``maximize`` says. Before the first one
``hessian`` is 0, and a step is one of the sign of the momentum.

The accepted reference is the authors' code, Liuhong99/Sophia, for the defaults and the order: an
estimate counts for the step after it. It has Sophia-G alone, and the factor of the batch size in
``step(bs=...)``: here it belongs to the estimate, as in the paper.

Deviations: ``max(rho * hessian, eps)`` is the paper's, which an estimate that is negative needs;
the authors' code adds 1e-15. Decay is subtracted together with the step (see ``adam.py``). optax
corrects the momentum's bias, takes the estimate in after the step, and does not clip the decay's
gradient.
"""

import math

from ..language.intervals import POSITIVE, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled

PAPER = (
    "Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model "
    "Pre-training, arXiv:2305.14342"
)


def scalars(xp, step, carry, h):
    beta1, _ = h.betas
    row = dict(
        lr=h.lr,
        beta1=beta1,
        rest1=1 - beta1,
        rho=h.rho,
        eps=h.eps,
        decay=h.lr * h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, hessian):
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    ratio = exp_avg / xp.maximum(s.rho * hessian, s.eps)
    return s.lr * xp.maximum(xp.minimum(ratio, 1), -1), exp_avg, hessian


def hessian_scalars(xp, step, carry, h):
    _, beta2 = h.betas
    return dict(beta2=beta2, rest2=1 - beta2), carry


def hessian_update(xp, s, param, grad, exp_avg, hessian):
    return param, exp_avg, s.beta2 * hessian + s.rest2 * grad


BETAS = (0.965, 0.99)

sophia_hessian = Rule(
    "sophia_hessian",
    hessian_scalars,
    hessian_update,
    defaults=dict(betas=BETAS),
    reference=f"{PAPER}, Algorithm 3: the average of estimates, which come in the place of gradients.",
)

sophia = Rule(
    "sophia",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=1e-4, betas=BETAS, rho=0.04, eps=1e-12, weight_decay=0.1),
    # a smaller one is 0 in float32, and 0 / 0 is NaN
    bounds=dict(rho=POSITIVE, eps=Interval(1e-30, math.inf, high_open=True)),
    hessian_rule=sophia_hessian,
    reference=f"{PAPER}, Algorithm 3.",
)
