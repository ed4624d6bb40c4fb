"""MADGRAD: dual averaging with momentum, divided by the cube root of a sum of squares.

Defazio & Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient
Method for Stochastic Optimization, arXiv:2101.11075, Algorithm 1. With lambda = (lr + eps) *
sqrt(t) at step t, and x the parameter, which begins at x0 and moves toward z:

    grad_sum += lambda * grad;    grad_sum_sq += lambda * grad**2
    z = x0 - grad_sum / (cbrt(grad_sum_sq) + eps);    x = momentum * x + (1 - momentum) * z

The accepted reference is facebookresearch/madgrad: weight decay is added to the gradient, lambda is
0 where ``lr`` is (which does not stop x on its way), and where the denominator is 0 (``eps=0``), z
is x0.

Deviations: the state ``moved`` is x - x0 without the rounding of x, in the place of x0. So a
parameter that something else has changed, such as decoupled decay, keeps that change; there it
returns to the way from x0.

Limit: after a gradient of float32 from 1.8e19 on, whose square is infinite (float64: 1.3e154), an
element returns to x0 and stays there.
"""

from ..language.intervals import FRACTION
from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    row = dict(
        weight=xp.where(h.lr > 0, h.lr + h.eps, 0) * xp.sqrt(step),
        toward=1 - h.momentum,
        eps=h.eps,
        weight_decay=h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, grad_sum, grad_sum_sq, moved):
    grad_sum = grad_sum + s.weight * grad
    grad_sum_sq = grad_sum_sq + s.weight * (grad * grad)
    denom = xp.cube_root(grad_sum_sq) + s.eps
    change = s.toward * (moved + xp.where(denom == 0, 0, grad_sum / denom))
    return change, grad_sum, grad_sum_sq, moved - change


def madgrad():
    return Rule(
        "madgrad",
        scalars,
        delta=in_gradient(delta),
        defaults=dict(lr=1e-2, momentum=0.9, weight_decay=0.0, eps=1e-6),
        bounds=dict(momentum=FRACTION),
        reference="Defazio & Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual "
        "Averaged Gradient Method for Stochastic Optimization, arXiv:2101.11075, Algorithm 1.",
        factory=madgrad,
    )
