"""Adafactor: gradients divided by the root of a second moment that is kept as its row and column
means, m + n numbers for an m x n matrix.

Shazeer & Stern, Adafactor, arXiv:1804.04235, Algorithm 4 (matrices), 5 (vectors: the second moment
as it is) and 6 (the hyperparameters' defaults). The accepted references are Mesh TensorFlow's (T5)
and Hugging Face's, whose state has these names:

    beta2_t = 1 - t**beta2_decay
    row, column = running means of grad**2 + eps1 along rows and down columns
    update = grad / sqrt(row * column / mean(row))
    alpha = max(eps2, RMS(param)) * rho,    rho = min(lr, 1 / sqrt(t))
    param -= alpha * (update / max(1, RMS(update) / d) + weight_decay * param)

Arguments have torch.optim.Adafactor's names: ``beta2_decay``, ``d`` (the clipping threshold) and
``eps`` = (eps1, eps2). ``lr`` is a bound for the relative step, 1e-2 in the paper. With
``relative_step=False`` rho is ``lr`` itself, for schedules; with ``scale_parameter=False`` alpha is
rho. A ``beta1`` keeps a full-size running mean of the updates, ``alpha`` included. Hugging Face's
``warmup_init`` is a schedule of the bound: ``lr = 1e-6 * t``.

Deviations from Hugging Face: a tensor of more than two axes is seen as a matrix, its first axis
against all others (a convolution's kernel as out x (in * height * width)); there as a stack of
matrices over the last two, which passing them one by one as views gives here, too. ``lr`` bounds
the relative step instead of replacing it. The decay is subtracted together with the step.
torch.optim.Adafactor differs: it adds no eps1 but keeps the estimate above it, and decays by ``lr``
instead of ``alpha``; optax decays by ``weight_decay`` alone. ``beta2_t`` depends on the C library's
``pow``.

Limit: sums of squares of float32 numbers overflow where their norm is 1.8e19 or more (float64:
1.3e154). Where these are a parameter's or a gradient's, the parameter may become NaN.
"""

import math

from ..language.intervals import FRACTION, NONNEGATIVE, POSITIVE, Interval
from ..language.rule import Rule

PAPER = (
    "Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, "
    "arXiv:1804.04235"
)


def scalars(xp, step, carry, h):
    eps1, eps2 = h.eps
    fading = xp.pow(step, h.beta2_decay)
    relative = 1 / xp.sqrt(step)
    bounded = xp.where(relative < h.lr, relative, h.lr)
    row = dict(
        beta2=1 - fading,
        rest2=fading,
        eps1=eps1,
        eps2=eps2,
        rho=xp.where(h.relative_step != 0, bounded, h.lr),
        d=h.d,
        weight_decay=h.weight_decay,
    )
    return row, carry


def moment_scalars(xp, step, carry, h):
    row, carry = scalars(xp, step, carry, h)
    return dict(**row, beta1=h.beta1, rest1=1 - h.beta1), carry


def root_mean_square(xp, x):
    return xp.sqrt(xp.mean(x * x))


def normalized(xp, s, grad, exp_avg_sq):
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad + s.eps1)
    return grad / xp.sqrt(exp_avg_sq), exp_avg_sq


def factored_normalized(xp, s, grad, exp_avg_sq_row, exp_avg_sq_col):
    square = grad * grad + s.eps1
    exp_avg_sq_row = s.beta2 * exp_avg_sq_row + s.rest2 * xp.mean(square, per="row")
    exp_avg_sq_col = s.beta2 * exp_avg_sq_col + s.rest2 * xp.mean(square, per="column")
    # roots of rows and of columns: their product underflows where both are as small as eps1
    row_factor = 1 / xp.sqrt(exp_avg_sq_row / xp.mean(exp_avg_sq_row))
    col_factor = 1 / xp.sqrt(exp_avg_sq_col)
    return grad * row_factor * col_factor, exp_avg_sq_row, exp_avg_sq_col


def adafactor(factored=True, scale_parameter=True, beta1=False):
    def step_sizes(xp, s, param, direction):
        """Return the step sizes of the clipped direction and of the decay."""
        alpha = s.rho
        if scale_parameter:
            alpha = xp.maximum(root_mean_square(xp, xp.finite_or_zero(param)), s.eps2) * s.rho
        clip = xp.maximum(root_mean_square(xp, direction) / s.d, 1)
        return alpha / clip, alpha * s.weight_decay

    def delta(xp, s, param, grad, exp_avg_sq):
        direction, exp_avg_sq = normalized(xp, s, grad, exp_avg_sq)
        step_size, decay = step_sizes(xp, s, param, direction)
        return step_size * direction + decay * xp.finite_or_zero(param), exp_avg_sq

    def moment_delta(xp, s, param, grad, exp_avg, exp_avg_sq):
        direction, exp_avg_sq = normalized(xp, s, grad, exp_avg_sq)
        step_size, decay = step_sizes(xp, s, param, direction)
        exp_avg = s.beta1 * exp_avg + s.rest1 * (step_size * direction)
        return exp_avg + decay * xp.finite_or_zero(param), exp_avg, exp_avg_sq

    def factored_delta(xp, s, param, grad, exp_avg_sq_row, exp_avg_sq_col):
        direction, row, col = factored_normalized(xp, s, grad, exp_avg_sq_row, exp_avg_sq_col)
        step_size, decay = step_sizes(xp, s, param, direction)
        return step_size * direction + decay * xp.finite_or_zero(param), row, col

    def factored_moment_delta(xp, s, param, grad, exp_avg, exp_avg_sq_row, exp_avg_sq_col):
        direction, row, col = factored_normalized(xp, s, grad, exp_avg_sq_row, exp_avg_sq_col)
        step_size, decay = step_sizes(xp, s, param, direction)
        exp_avg = s.beta1 * exp_avg + s.rest1 * (step_size * direction)
        return exp_avg + decay * xp.finite_or_zero(param), exp_avg, row, col

    whole = moment_delta if beta1 else delta
    in_rows_and_columns = factored_moment_delta if beta1 else factored_delta
    return Rule(
        "adafactor",
        moment_scalars if beta1 else scalars,
        delta=in_rows_and_columns if factored else whole,
        defaults=dict(
            lr=1e-2,
            beta2_decay=-0.8,
            eps=(1e-30, 1e-3),
            d=1.0,
            weight_decay=0.0,
            beta1=0.0,
            relative_step=True,
        ),
        bounds=dict(
            beta2_decay=Interval(-math.inf, 0.0, low_open=True),
            eps=(POSITIVE, NONNEGATIVE),
            d=POSITIVE,
            beta1=FRACTION,
        ),
        per=dict(exp_avg_sq_row="row", exp_avg_sq_col="column") if factored else {},
        options=dict(factored=factored, scale_parameter=scale_parameter, beta1=beta1),
        factory=adafactor,
        shape_options=lambda shape: dict(factored=False) if len(shape) < 2 else {},
        reference=f"{PAPER}, Algorithm {4 if factored else 5}.",
    )
