"""RMSprop, plain or centered, with or without momentum.

Tieleman & Hinton, Lecture 6.5, Coursera 2012; centered: Graves, arXiv:1308.0850, equations 38-45.
The accepted reference is torch.optim.RMSprop: epsilon outside the square root, state starting at
zero, the learning rate outside the momentum buffer, which stays as it is while ``momentum`` is 0
in a running optimizer.

There is **no bias correction**. The running mean of squares starts at zero, so after the first
step it is only ``(1 - alpha) * grad**2`` and the first step is ``lr / sqrt(1 - alpha)`` long
whatever the gradient: ten times ``lr`` at alpha = 0.99. The steps shrink to their usual size
over some ``1 / (1 - alpha)`` steps; warm the learning rate up if that is too much.

Deviations: centered, the variance ``mean of squares - square of mean`` is taken as at least zero;
torch takes the square root of what rounding may have made negative. Where both have overflowed it
is infinite, as without centering, and no step is made.
"""

from ..language.intervals import FRACTION, NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import in_gradient

PLAIN = "Tieleman & Hinton, Lecture 6.5: rmsprop, Coursera 2012"
CENTERED = "Graves, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850, eq. 38-45"


def scalars(xp, step, carry, h):
    row = dict(
        lr=h.lr,
        alpha=h.alpha,
        rest=1 - h.alpha,
        eps=h.eps,
        weight_decay=h.weight_decay,
        momentum=h.momentum,
    )
    return row, carry


def delta(xp, s, param, grad, square_avg):
    square_avg = s.alpha * square_avg + s.rest * (grad * grad)
    return s.lr * (grad / (xp.sqrt(square_avg) + s.eps)), square_avg


def momentum_delta(xp, s, param, grad, square_avg, momentum_buffer):
    square_avg = s.alpha * square_avg + s.rest * (grad * grad)
    direction = s.momentum * momentum_buffer + grad / (xp.sqrt(square_avg) + s.eps)
    momentum_buffer = xp.where(s.momentum > 0, direction, momentum_buffer)
    return s.lr * direction, square_avg, momentum_buffer


def centered_delta(xp, s, param, grad, square_avg, grad_avg):
    square_avg = s.alpha * square_avg + s.rest * (grad * grad)
    grad_avg = s.alpha * grad_avg + s.rest * grad
    variance = xp.maximum(square_avg - xp.finite_or_zero(grad_avg * grad_avg), 0)
    return s.lr * (grad / (xp.sqrt(variance) + s.eps)), square_avg, grad_avg


def centered_momentum_delta(xp, s, param, grad, square_avg, grad_avg, momentum_buffer):
    square_avg = s.alpha * square_avg + s.rest * (grad * grad)
    grad_avg = s.alpha * grad_avg + s.rest * grad
    variance = xp.maximum(square_avg - xp.finite_or_zero(grad_avg * grad_avg), 0)
    direction = s.momentum * momentum_buffer + grad / (xp.sqrt(variance) + s.eps)
    momentum_buffer = xp.where(s.momentum > 0, direction, momentum_buffer)
    return s.lr * direction, square_avg, grad_avg, momentum_buffer


def rmsprop(momentum=False, centered=False):
    plain = momentum_delta if momentum else delta
    around_mean = centered_momentum_delta if momentum else centered_delta
    return Rule(
        "rmsprop",
        scalars,
        delta=in_gradient(around_mean if centered else plain),
        defaults=dict(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0),
        bounds=dict(alpha=FRACTION, momentum=NONNEGATIVE),
        options=dict(momentum=momentum, centered=centered),
        factory=rmsprop,
        reference=f"{CENTERED}." if centered else f"{PLAIN}.",
    )
