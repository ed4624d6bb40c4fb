"""Adadelta.

Zeiler, ADADELTA: An Adaptive Learning Rate Method, arXiv:1212.5701, Algorithm 1. The accepted
reference is torch.optim.Adadelta, with a learning rate (1, as in the paper, by default) on top
and weight decay added to the gradient.

Deviations: none.
"""

from ..language.intervals import FRACTION
from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    row = dict(lr=h.lr, rho=h.rho, rest=1 - h.rho, eps=h.eps, weight_decay=h.weight_decay)
    return row, carry


def delta(xp, s, param, grad, square_avg, acc_delta):
    square_avg = s.rho * square_avg + s.rest * (grad * grad)
    delta = xp.sqrt(acc_delta + s.eps) / xp.sqrt(square_avg + s.eps) * grad
    acc_delta = s.rho * acc_delta + s.rest * (delta * delta)
    return s.lr * delta, square_avg, acc_delta


def adadelta():
    return Rule(
        "adadelta",
        scalars,
        delta=in_gradient(delta),
        defaults=dict(lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0),
        bounds=dict(rho=FRACTION),
        reference="Zeiler, ADADELTA: An Adaptive Learning Rate Method, arXiv:1212.5701, Algorithm 1.",
        factory=adadelta,
    )
