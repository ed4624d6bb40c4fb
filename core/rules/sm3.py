"""SM3: Adagrad whose sums of squares are kept as one number for each row and column of a matrix.

Anil, Gupta, Koren, Singer, Memory-Efficient Adaptive Optimization, arXiv:1901.11150, Algorithm
SM3-II. An element's sum is the smaller one of its row and its column, plus its square; a row and a
column keep the largest of their elements:

    accumulator = min(row, column) + grad**2
    row, column = the largest of accumulator along rows and down columns
    exp_avg = momentum * exp_avg + (1 - momentum) * grad / sqrt(accumulator + eps)
    param -= lr * exp_avg

The accepted reference is the authors' code in google-research (``sm3``), in its version with
``beta2``: below 1 the sum is a running mean, ``beta2 * min(row, column) + (1 - beta2) * grad**2``.
With ``momentum=0`` there is no ``exp_avg``. A vector keeps a sum for each element, so it takes
Adagrad's step.

Deviations: a tensor of more than two axes is seen as a matrix, its first axis against all others;
there it keeps maxima for each of its axes. ``eps`` may not be 0: for the paper's 0 / 0 = 0 it would
have to be looked at each element. There is no weight decay, as there.

Limit: in float32 the square of a gradient of 1.8e19 or more is infinite, and its row and column
rest from then on (float64: 1.3e154).
"""

from ..language.intervals import FRACTION, POSITIVE, Interval
from ..language.rule import Rule


def scalars(xp, step, carry, h):
    row = dict(lr=h.lr, beta2=h.beta2, rest2=xp.where(h.beta2 == 1, 1, 1 - h.beta2), eps=h.eps)
    return row, carry


def momentum_scalars(xp, step, carry, h):
    row, carry = scalars(xp, step, carry, h)
    return dict(**row, momentum=h.momentum, undamped=1 - h.momentum), carry


def scaled(xp, s, grad, previous):
    """Return the gradient divided by the root of an accumulator, and that accumulator."""
    accumulator = s.beta2 * previous + s.rest2 * (grad * grad)
    return grad / xp.sqrt(accumulator + s.eps), accumulator


def factored_scaled(xp, s, grad, accumulator_row, accumulator_col):
    direction, accumulator = scaled(xp, s, grad, xp.minimum(accumulator_row, accumulator_col))
    return direction, xp.max_abs(accumulator, per="row"), xp.max_abs(accumulator, per="column")


def delta(xp, s, param, grad, accumulator):
    direction, accumulator = scaled(xp, s, grad, accumulator)
    return s.lr * direction, accumulator


def momentum_delta(xp, s, param, grad, exp_avg, accumulator):
    direction, accumulator = scaled(xp, s, grad, accumulator)
    exp_avg = s.momentum * exp_avg + s.undamped * direction
    return s.lr * exp_avg, exp_avg, accumulator


def factored_delta(xp, s, param, grad, accumulator_row, accumulator_col):
    direction, row, col = factored_scaled(xp, s, grad, accumulator_row, accumulator_col)
    return s.lr * direction, row, col


def factored_momentum_delta(xp, s, param, grad, exp_avg, accumulator_row, accumulator_col):
    direction, row, col = factored_scaled(xp, s, grad, accumulator_row, accumulator_col)
    exp_avg = s.momentum * exp_avg + s.undamped * direction
    return s.lr * exp_avg, exp_avg, row, col


def sm3(factored=True, momentum=True):
    whole = momentum_delta if momentum else delta
    in_rows_and_columns = factored_momentum_delta if momentum else factored_delta
    return Rule(
        "sm3",
        momentum_scalars if momentum else scalars,
        delta=in_rows_and_columns if factored else whole,
        defaults=dict(lr=0.1, momentum=0.9, beta2=1.0, eps=1e-30),
        bounds=dict(momentum=FRACTION, beta2=Interval(0.0, 1.0), eps=POSITIVE),
        per=dict(accumulator_row="row", accumulator_col="column") if factored else {},
        options=dict(factored=factored, momentum=momentum),
        factory=sm3,
        shape_options=lambda shape: dict(factored=False) if len(shape) < 2 else {},
        reference="Anil et al., Memory-Efficient Adaptive Optimization, arXiv:1901.11150, "
        "Algorithm SM3-II.",
    )
