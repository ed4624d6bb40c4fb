"""APOLLO-Mini: the gradient, scaled as a whole by what Adam makes of one random sum of each row.

Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1 with
rank 1 and one scale for each tensor. The accepted reference is the authors' code,
https://github.com/zhuhanqing/APOLLO (apollo-torch 1.0.3), whose hyperparameters have these names,
but ``norm_growth``, which is 1.01 there, and ``projection_seed``. P has a random sign for each
column, and is renewed every ``update_proj_gap`` steps; a row is a slice of the first axis, all of
it:

    R = grad P,    exp_avg, exp_avg_sq = running means of R and R**2, one number for each row update
    = grad * norm(exp_avg / (sqrt(exp_avg_sq) + eps)) / (norm(R) + 1e-8) update is shortened where
    its norm is more than ``norm_growth`` times that of the last one param -= lr * sqrt(1 -
    beta2**t) / (1 - beta1**t) * sqrt(scale) * update + lr * weight_decay * param

``eps`` is added before the bias correction, as in the code. Vectors, and with ``projected=False``
all parameters of a group, take the code's AdamW step, which has this ``eps``, too.

Deviations from the code: P has random signs, where it has normal numbers: the sum of a row has the
same mean square, and signs satisfy the same bound (Achlioptas, Database-friendly random
projections, JCSS 66, 2003, Theorem 1.1). They follow from ``projection_seed`` and are the same for
all parameters, each of which takes as many as it has columns. The code projects a matrix of more
columns than rows to a sum of each column; pass it transposed (a view) for that. A tensor of more
than two axes, for which the code has no projection, is seen as a matrix. Decay is subtracted
together with the step (see ``adam.py``).

Limit: where the norm of a float32 gradient, or of its sums, is 1.8e19 or more (float64: 1.3e154)
its square is infinite: the parameter only decays, and may be NaN from the next step on.
"""

from ..language.intervals import NONNEGATIVE, POSITIVE, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import moment_row, moments

PAPER = "Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270"
LARGEST = 2.0**24  # up to it all compute dtypes hold whole numbers


def whole(xp, x):
    """Return the whole number that is not above ``x``, which is from 0 to 2**51."""
    nearest = (x + 2.0**52) - 2.0**52
    return nearest - xp.where(nearest > x, 1, 0)


def scalars(xp, step, carry, h):
    bias1, root_bias2 = 1 - xp.ipow(h.betas[0], step), xp.sqrt(1 - xp.ipow(h.betas[1], step))
    step_size = h.lr * root_bias2 / bias1
    return dict(**moment_row(h), eps=h.eps, step_size=step_size, decay=h.lr * h.weight_decay), carry


def projected_scalars(xp, step, carry, h):
    row, carry = scalars(xp, step, carry, h)
    row["step_size"] = row["step_size"] * xp.sqrt(h.scale)
    return dict(
        **row,
        seed=h.projection_seed,
        renewal=whole(xp, (step - 1) / h.update_proj_gap),
        norm_growth=h.norm_growth,
        limited=xp.where(step > 1, 1, 0),
    ), carry


def adapted(xp, s, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    return exp_avg / (xp.sqrt(exp_avg_sq) + s.eps), exp_avg, exp_avg_sq


def apollo_mini(projected=True):
    def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
        direction, exp_avg, exp_avg_sq = adapted(xp, s, grad, exp_avg, exp_avg_sq)
        return s.step_size * direction, exp_avg, exp_avg_sq

    def projected_delta(xp, s, param, grad, exp_avg, exp_avg_sq, update_norm):
        signs = xp.random_signs(grad, s.seed, s.renewal, per="column")
        low_rank = xp.sum(grad * signs, per="row")
        direction, exp_avg, exp_avg_sq = adapted(xp, s, low_rank, exp_avg, exp_avg_sq)
        factor = xp.norm(direction) / (xp.norm(low_rank) + 1e-8)
        full_norm = xp.norm(grad) * factor
        growth = xp.maximum(full_norm / (update_norm + 1e-8), s.norm_growth) / s.norm_growth
        limiter = xp.where(s.limited > 0, growth, 1)
        return s.step_size * (factor / limiter) * grad, exp_avg, exp_avg_sq, full_norm / limiter

    smaller = dict(exp_avg="row", exp_avg_sq="row", update_norm="tensor")
    return Rule(
        "apollo_mini",
        projected_scalars if projected else scalars,
        delta=projected_delta if projected else delta,
        decay=decoupled,
        defaults=dict(
            lr=1e-3,
            betas=(0.9, 0.999),
            eps=1e-6,
            weight_decay=0.0,
            scale=128.0,
            update_proj_gap=200.0,
            projection_seed=0.0,
            norm_growth=1.01,
        ),
        bounds=dict(
            scale=NONNEGATIVE,
            update_proj_gap=Interval(1.0, LARGEST, whole=True),
            projection_seed=Interval(0.0, LARGEST, whole=True),
            norm_growth=POSITIVE,
        ),
        per=smaller if projected else {},
        options=dict(projected=projected),
        factory=apollo_mini,
        shape_options=lambda shape: dict(projected=False) if len(shape) < 2 else {},
        reference=f"{PAPER}, Algorithm 1.",
    )
