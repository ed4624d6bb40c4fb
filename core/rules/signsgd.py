"""signSGD and Signum: the sign of the gradient, or of its running mean.

Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems, arXiv:1802.04434,
Algorithm 1 (signSGD) and Algorithm 2 (Signum), on one worker. A zero has no sign: the element
stays where it is. Weight decay is decoupled, since inside a sign it would be lost.

Deviations: none.
"""

from ..language.intervals import FRACTION
from ..language.rule import Rule
from ..parts.decay import decoupled

PAPER = (
    "Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems, arXiv:1802.04434"
)


def signsgd_scalars(xp, step, carry, h):
    return dict(lr=h.lr, decay=h.lr * h.weight_decay), carry


def signsgd_delta(xp, s, param, grad):
    return s.lr * xp.sign(grad)


def signum_scalars(xp, step, carry, h):
    row = dict(lr=h.lr, momentum=h.momentum, rest=1 - h.momentum, decay=h.lr * h.weight_decay)
    return row, carry


def signum_delta(xp, s, param, grad, momentum_buffer):
    momentum_buffer = s.momentum * momentum_buffer + s.rest * grad
    return s.lr * xp.sign(momentum_buffer), momentum_buffer


signsgd = Rule(
    "signsgd",
    signsgd_scalars,
    delta=signsgd_delta,
    decay=decoupled,
    defaults=dict(lr=1e-3, weight_decay=0.0),
    reference=f"{PAPER}, Algorithm 1.",
)

signum = Rule(
    "signum",
    signum_scalars,
    delta=signum_delta,
    decay=decoupled,
    defaults=dict(lr=1e-3, momentum=0.9, weight_decay=0.0),
    bounds=dict(momentum=FRACTION),
    reference=f"{PAPER}, Algorithm 2.",
)
