"""Yogi: Adam whose second moment goes toward the square of the gradient by a part of that square.

Zaheer et al., Adaptive Methods for Nonconvex Optimization, NeurIPS 2018, Algorithm 2. So it falls
no faster than it rises. The accepted reference is optax's: both moments start at
``initial_accumulator_value`` and are corrected, which the paper's are not.

Deviations: weight decay, which neither has, is decoupled.
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import adam_row


def scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), decay=h.lr * h.weight_decay), carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    square = grad * grad
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = exp_avg_sq - s.rest2 * (xp.sign(exp_avg_sq - square) * square)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    return s.step_size * (exp_avg / denom), exp_avg, exp_avg_sq


yogi = Rule(
    "yogi",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(
        lr=1e-2, betas=(0.9, 0.999), eps=1e-3, weight_decay=0.0, initial_accumulator_value=1e-6
    ),
    bounds=dict(initial_accumulator_value=NONNEGATIVE),
    initial=dict(exp_avg="initial_accumulator_value", exp_avg_sq="initial_accumulator_value"),
    reference="Zaheer et al., Adaptive Methods for Nonconvex Optimization, NeurIPS 2018, Algorithm 2.",
)
