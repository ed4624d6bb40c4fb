"""CAME: Adafactor's direction and its running mean, divided by the root of how far they are apart.

Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization, arXiv:2307.02047,
Algorithm 2. The accepted reference is the authors' code (came_pytorch):

    row, column = running means (beta2) of grad**2 + eps1 along rows and down columns update = grad
    / sqrt(row * column / mean(row));    update /= max(1, RMS(update) / clip_threshold) m = running
    mean (beta1) of update row', column' = running means (beta3) of (update - m)**2 + eps2 param -=
    lr * (m / sqrt(row' * column' / mean(row')) + weight_decay * param)

Moments start at 0 and are not corrected. Vectors keep ``exp_avg_sq`` as it is, have no confidence,
and step by ``lr * m``.

Deviations: a tensor of more than two axes is seen as a matrix, its first axis against all others;
there as a stack of matrices over the last two. The decay is subtracted together with the step.

Limit: sums of squares of float32 numbers overflow where their norm is 1.8e19 or more (float64:
1.3e154); the parameter may become NaN.
"""

from ..language.intervals import POSITIVE
from ..language.rule import Rule
from ..parts.decay import decoupled
from .adafactor import normalized, root_mean_square


def scalars(xp, step, carry, h):
    beta1, beta2, beta3 = h.betas
    eps1, eps2 = h.eps
    row = dict(
        lr=h.lr,
        beta1=beta1,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
        beta3=beta3,
        rest3=1 - beta3,
        eps1=eps1,
        eps2=eps2,
        clip_threshold=h.clip_threshold,
        decay=h.lr * h.weight_decay,
    )
    return row, carry


def clip(xp, s, update):
    """Return what to divide an update by, for its root mean square to be at most the threshold."""
    return xp.maximum(root_mean_square(xp, update) / s.clip_threshold, 1)


def factors(xp, row, col):
    """Return what to multiply rows and columns by, to divide by the root of what they say of
    elements."""
    # roots of rows and of columns: their product underflows where both are as small as eps1
    return 1 / xp.sqrt(row / xp.mean(row)), 1 / xp.sqrt(col)


def vector_delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    update, exp_avg_sq = normalized(xp, s, grad, exp_avg_sq)
    exp_avg = s.beta1 * exp_avg + s.rest1 * (update / clip(xp, s, update))
    return s.lr * exp_avg, exp_avg, exp_avg_sq


def matrix_delta(
    xp, s, param, grad, exp_avg, exp_avg_sq_row, exp_avg_sq_col, exp_avg_res_row, exp_avg_res_col
):
    square = grad * grad + s.eps1
    exp_avg_sq_row = s.beta2 * exp_avg_sq_row + s.rest2 * xp.mean(square, per="row")
    exp_avg_sq_col = s.beta2 * exp_avg_sq_col + s.rest2 * xp.mean(square, per="column")
    row_factor, col_factor = factors(xp, exp_avg_sq_row, exp_avg_sq_col)
    row_factor = row_factor / clip(xp, s, grad * row_factor * col_factor)
    update = grad * row_factor * col_factor
    exp_avg = s.beta1 * exp_avg + s.rest1 * update
    residual = (update - exp_avg) * (update - exp_avg)
    row, col = xp.mean(residual, per="row") + s.eps2, xp.mean(residual, per="column") + s.eps2
    exp_avg_res_row = s.beta3 * exp_avg_res_row + s.rest3 * row
    exp_avg_res_col = s.beta3 * exp_avg_res_col + s.rest3 * col
    row_factor, col_factor = factors(xp, exp_avg_res_row, exp_avg_res_col)
    step = s.lr * (exp_avg * row_factor * col_factor)
    return step, exp_avg, exp_avg_sq_row, exp_avg_sq_col, exp_avg_res_row, exp_avg_res_col


def came(factored=True):
    per = dict(
        exp_avg_sq_row="row",
        exp_avg_sq_col="column",
        exp_avg_res_row="row",
        exp_avg_res_col="column",
    )
    return Rule(
        "came",
        scalars,
        delta=matrix_delta if factored else vector_delta,
        decay=decoupled,
        defaults=dict(
            lr=2e-4,
            betas=(0.9, 0.999, 0.9999),
            eps=(1e-30, 1e-16),
            clip_threshold=1.0,
            weight_decay=0.0,
        ),
        bounds=dict(eps=POSITIVE, clip_threshold=POSITIVE),
        per=per if factored else {},
        options=dict(factored=factored),
        factory=came,
        shape_options=lambda shape: dict(factored=False) if len(shape) < 2 else {},
        reference="Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization, "
        "arXiv:2307.02047, Algorithm 2.",
    )
