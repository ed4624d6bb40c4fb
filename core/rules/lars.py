"""LARS: gradient descent with momentum, each tensor's step scaled to the norm of the parameter.

You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888, Algorithm 1 with the
trust coefficient of equation 6; the accepted reference is timm's ``Lars`` with
``always_adapt=True``:

    trust_ratio = trust_coefficient * norm(param) / (norm(grad) + weight_decay * norm(param) + eps)

or 1 where either norm is 0, times ``grad + weight_decay * param``, is what goes into the momentum
buffer. ``lr`` multiplies that, so its usual size is 1 and above, not 1e-3; the default of 1 is
timm's. The default momentum of 0.9 is the paper's (timm: none).

Deviations from the paper, all as in timm: the learning rate is outside the momentum buffer, which
differs when it changes; ``eps`` in the denominator; Nesterov's momentum as an option. Deviation
from timm: the ratio applies without weight decay, too (timm: only with ``always_adapt``), as in the
paper and in optax. optax divides by the norm of ``grad + weight_decay * param``: the same only
without weight decay. Pass biases and normalization's parameters in a group with
``trust_coefficient`` as it suits them, or to another optimizer, as one usually does.

Limit: a norm of float32 numbers from 1.8e19 on is infinite, as its square is (float64: 1.3e154).
Where that is the parameter's norm, the parameter becomes NaN; where it is only the gradient's, the
trust ratio is 0.
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule

REFERENCE = "You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888, Alg. 1."


def scalars(xp, step, carry, h):
    row = dict(
        lr=h.lr,
        momentum=h.momentum,
        weight_decay=h.weight_decay,
        trust_coefficient=h.trust_coefficient,
        eps=h.eps,
    )
    return row, carry


def scaled(xp, s, param, grad):
    finite_param = xp.finite_or_zero(param)
    param_norm = xp.norm(finite_param)
    grad_norm = xp.norm(grad)
    denom = grad_norm + s.weight_decay * param_norm + s.eps
    ratio = xp.where(grad_norm > 0, s.trust_coefficient * param_norm / denom, 1)
    trust_ratio = xp.where(param_norm > 0, ratio, 1)
    return trust_ratio * (grad + s.weight_decay * finite_param)


def delta(xp, s, param, grad):
    return s.lr * scaled(xp, s, param, grad)


def momentum_delta(xp, s, param, grad, momentum_buffer):
    momentum_buffer = s.momentum * momentum_buffer + scaled(xp, s, param, grad)
    return s.lr * momentum_buffer, momentum_buffer


def nesterov_delta(xp, s, param, grad, momentum_buffer):
    grad = scaled(xp, s, param, grad)
    momentum_buffer = s.momentum * momentum_buffer + grad
    return s.lr * (grad + s.momentum * momentum_buffer), momentum_buffer


def lars(momentum=True, nesterov=False):
    if nesterov and not momentum:
        raise ValueError("nesterov needs momentum > 0")
    with_momentum = nesterov_delta if nesterov else momentum_delta
    return Rule(
        "lars",
        scalars,
        delta=with_momentum if momentum else delta,
        defaults=dict(
            lr=1.0,
            momentum=0.9 if momentum else 0.0,
            weight_decay=0.0,
            trust_coefficient=1e-3,
            eps=1e-8,
        ),
        bounds=dict(momentum=NONNEGATIVE, trust_coefficient=NONNEGATIVE),
        options=dict(momentum=momentum, nesterov=nesterov),
        factory=lars,
        reference=REFERENCE,
    )
