"""AdamP: Adam whose steps do not lengthen weights of which only the direction matters.

Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights,
arXiv:2006.08217, Algorithm 2: Adam's step, projected as that of SGDP is (see ``sgdp.py``), and the
decay of AdamW, which is multiplied by ``wd_ratio`` where a step is projected.

The accepted reference is clovaai/AdamP: each norm in a cosine is at least ``eps``, Adam's own; the
norm that a parameter is divided by has ``eps`` added; parameters of one axis are not projected
(``projection=False``); with ``nesterov`` the step is along ``beta1 * exp_avg + (1 - beta1) *
grad``.

Deviations: decay is subtracted together with the step (see ``adam.py``). The corrections of bias
are in the scalars, so the direction before it is projected is theirs times a number.

Limit: where a norm of float32 numbers is 1.8e19 or more its square is infinite (float64: 1.3e154),
and the cosine counts as 0, or as too large if the product is infinite, too.
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.moments import adam_row, moments
from ..parts.projection import projected, projection_row, unprojected


def scalars(xp, step, carry, h):
    beta1, _ = h.betas
    row = dict(
        **adam_row(xp, step, h),
        **projection_row(h),
        of_mean=xp.where(h.nesterov != 0, beta1, 1),
        of_grad=xp.where(h.nesterov != 0, 1 - beta1, 0),
        decay=h.lr * h.weight_decay,
    )
    return row, carry


def adamp(projection=True):
    step = projected if projection else unprojected

    def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
        exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
        denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
        direction = (s.of_mean * exp_avg + s.of_grad * grad) / denom
        return step(xp, s, param, grad, direction), exp_avg, exp_avg_sq

    return Rule(
        "adamp",
        scalars,
        delta=delta,
        defaults=dict(
            lr=1e-3,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=0.0,
            delta=0.1,
            wd_ratio=0.1,
            nesterov=False,
        ),
        bounds=dict(delta=NONNEGATIVE, wd_ratio=NONNEGATIVE),
        options=dict(projection=projection),
        factory=adamp,
        shape_options=lambda shape: dict(projection=False) if len(shape) < 2 else {},
        reference="Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
        "Scale-invariant Weights, arXiv:2006.08217, Algorithm 2.",
    )
