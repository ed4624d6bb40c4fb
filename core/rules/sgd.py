"""Stochastic gradient descent, with momentum (heavy ball or Nesterov's).

The accepted reference is torch.optim.SGD; momentum after Sutskever et al., On the importance of
initialization and momentum in deep learning, ICML 2013, with the learning rate outside the buffer.
As in torch, the first step puts the gradient itself into the buffer, undamped; weight decay is
added to the gradient; while ``momentum`` is 0 in a running optimizer, steps are plain ones,
undamped, and the buffer stays as it is.

Deviations: where ``momentum`` is 0 at the first step already and is raised later, torch puts the
first gradient under momentum into the buffer undamped; here it is damped.
"""

from ..language.intervals import FINITE, NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    return dict(lr=h.lr, weight_decay=h.weight_decay), carry


def delta(xp, s, param, grad):
    return s.lr * grad


def momentum_scalars(xp, step, carry, h):
    row = dict(
        lr=h.lr,
        weight_decay=h.weight_decay,
        momentum=h.momentum,
        keep=xp.where(step == 1, 0, h.momentum),
        take=xp.where(step == 1, 1, 1 - h.dampening),
    )
    return row, carry


def momentum_delta(xp, s, param, grad, momentum_buffer):
    moving = s.momentum > 0
    momentum_buffer = xp.where(moving, s.keep * momentum_buffer + s.take * grad, momentum_buffer)
    return s.lr * xp.where(moving, momentum_buffer, grad), momentum_buffer


def nesterov_delta(xp, s, param, grad, momentum_buffer):
    moving = s.momentum > 0
    momentum_buffer = xp.where(moving, s.keep * momentum_buffer + s.take * grad, momentum_buffer)
    ahead = xp.where(moving, grad + s.momentum * momentum_buffer, grad)
    return s.lr * ahead, momentum_buffer


def sgd(momentum=False, nesterov=False):
    if nesterov and not momentum:
        raise ValueError("nesterov needs momentum > 0")
    with_momentum = nesterov_delta if nesterov else momentum_delta
    return Rule(
        "sgd",
        momentum_scalars if momentum else scalars,
        delta=in_gradient(with_momentum if momentum else delta),
        defaults=dict(lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0),
        bounds=dict(momentum=NONNEGATIVE, dampening=FINITE),
        options=dict(momentum=momentum, nesterov=nesterov),
        factory=sgd,
        reference="Sutskever et al., On the importance of initialization and momentum in deep "
        "learning, ICML 2013.",
    )
