"""Rprop: only the gradient's sign counts; each element has a step size of its own.

Riedmiller & Braun, A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP
Algorithm, ICNN 1993; in the form without weight backtracking (Igel & Hüsken 2000, iRprop-). The
accepted reference is torch.optim.Rprop: after a change of sign the gradient counts as zero, once.
``lr`` is the initial step size; it has no effect later. A gradient that is NaN has no sign, as in
torch: its element stays, with its step size, in this step, and the next goes by its own sign.

Deviations: signs are multiplied, not gradients, whose product could underflow; ``weight_decay``
(torch has none) is added to the gradient.
"""

from ..language.intervals import FINITE, NONNEGATIVE, POSITIVE, Interval
from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    eta_minus, eta_plus = h.etas
    smallest, largest = h.step_sizes
    row = dict(
        eta_minus=eta_minus,
        eta_plus=eta_plus,
        smallest=smallest,
        largest=largest,
        weight_decay=h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, prev, step_size):
    agreement = xp.sign(grad) * xp.sign(prev)
    factor = xp.where(agreement > 0, s.eta_plus, xp.where(agreement < 0, s.eta_minus, 1))
    step_size = xp.minimum(xp.maximum(step_size * factor, s.smallest), s.largest)
    grad = xp.where(agreement < 0, 0, grad)
    direction = xp.where(grad != grad, 0, xp.sign(grad))
    return direction * step_size, grad, step_size


def rprop():
    return Rule(
        "rprop",
        scalars,
        delta=in_gradient(delta),
        defaults=dict(lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), weight_decay=0.0),
        bounds=dict(
            etas=(
                Interval(0, 1, low_open=True, high_open=True),
                Interval(1, FINITE.high, low_open=True, high_open=True),
            ),
            step_sizes=(NONNEGATIVE, POSITIVE),
        ),
        initial=dict(step_size="lr"),
        reference="Riedmiller & Braun, A Direct Adaptive Method for Faster Backpropagation Learning: "
        "The RPROP Algorithm, ICNN 1993.",
        factory=rprop,
    )
