"""SGDP: SGD whose steps do not lengthen weights of which only the direction matters.

Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights,
arXiv:2006.08217, Algorithm 1. Where a gradient is nearly orthogonal to the parameter in each row (a
channel, the first axis against all others), the step loses its part along the parameter row by row;
else, where it is so in the whole tensor, in the whole; else nothing. Nearly orthogonal means an
absolute cosine below ``delta / sqrt(size)``. The decay of what is projected is multiplied by
``wd_ratio``.

The accepted reference is clovaai/AdamP: each norm in a cosine is at least ``eps``; the norm that a
parameter is divided by has ``eps`` added; parameters of one axis are not projected
(``projection=False``); the buffer starts at 0, so ``dampening`` holds at the first step, too, and
its decay is divided by ``1 - momentum``.

Deviations: decay is subtracted together with the step (see ``adam.py``). The buffer is never
projected, as in the paper; their code does that in place without ``nesterov``.

Limit: where a norm of float32 numbers is 1.8e19 or more its square is infinite (float64: 1.3e154),
and the cosine counts as 0, or as too large if the product is infinite, too.
"""

from ..language.intervals import FRACTION, NONNEGATIVE
from ..language.rule import Rule
from ..parts.projection import projected, projection_row, unprojected


def scalars(xp, step, carry, h):
    row = dict(
        **projection_row(h),
        momentum=h.momentum,
        undamped=1 - h.dampening,
        of_buffer=xp.where(h.nesterov != 0, h.momentum, 1),
        of_grad=xp.where(h.nesterov != 0, 1, 0),
        step_size=h.lr,
        decay=h.lr * h.weight_decay / (1 - h.momentum),
    )
    return row, carry


def sgdp(projection=True):
    step = projected if projection else unprojected

    def delta(xp, s, param, grad, momentum_buffer):
        momentum_buffer = s.momentum * momentum_buffer + s.undamped * grad
        direction = s.of_buffer * momentum_buffer + s.of_grad * grad
        return step(xp, s, param, grad, direction), momentum_buffer

    return Rule(
        "sgdp",
        scalars,
        delta=delta,
        defaults=dict(
            lr=1e-3,
            momentum=0.0,
            dampening=0.0,
            nesterov=False,
            eps=1e-8,
            weight_decay=0.0,
            delta=0.1,
            wd_ratio=0.1,
        ),
        bounds=dict(momentum=FRACTION, delta=NONNEGATIVE, wd_ratio=NONNEGATIVE),
        options=dict(projection=projection),
        factory=sgdp,
        shape_options=lambda shape: dict(projection=False) if len(shape) < 2 else {},
        reference="Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
        "Scale-invariant Weights, arXiv:2006.08217, Algorithm 1.",
    )
