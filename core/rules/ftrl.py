"""FTRL: follow the regularized leader, with a step size for each element and exact zeros by L1.

McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013, Algorithm 1. With n, the
sum of squares, in ``accumulator``:

    linear += grad - (sqrt(n + grad**2) - sqrt(n)) / lr * param;    n += grad**2
    param = (clip(linear, -l1, l1) - linear) / ((beta + sqrt(n)) / lr + l2)

The accepted reference is keras.optimizers.Ftrl (TensorFlow's), which has these states, n starting
at ``initial_accumulator_value``; its ``l1_regularization_strength`` is ``l1``, its
``l2_regularization_strength`` half of ``l2``. A parameter follows from the sums, which know where
it began as far as n grows from its start: the first step forgets ``sqrt(n / (n + grad**2))`` of it,
all of it where the gradient is 0.

Deviations: the difference of the roots is ``grad**2`` divided by their sum, which does not cancel.
The power of n is Keras's default, the root. Keras's shrinkage, a decay that is not in n, is left
out. ``lr`` is at least 1e-30, for its inverse to be a number of float32.

Limit: a gradient of float32 from 1.8e19 on, whose square is infinite (float64: 1.3e154), makes its
element NaN.
"""

import math

from ..language.intervals import NONNEGATIVE, Interval
from ..language.rule import Rule


def scalars(xp, step, carry, h):
    return dict(lr=h.lr, inverse_lr=1 / h.lr, l1=h.l1, least=h.beta + h.lr * h.l2), carry


def delta(xp, s, param, grad, accumulator, linear):
    finite, before = xp.finite_or_zero(param), xp.sqrt(accumulator)
    accumulator = accumulator + grad * grad
    root = xp.sqrt(accumulator)
    growth = xp.where(root == 0, 0, grad * grad / (root + before))
    linear = linear + (grad - s.inverse_lr * growth * finite)
    clipped = xp.minimum(xp.maximum(linear, -s.l1), s.l1)
    denom = root + s.least
    target = xp.where(denom == 0, 0, s.lr * (clipped - linear) / denom)
    return finite - target, accumulator, linear


ftrl = Rule(
    "ftrl",
    scalars,
    delta=delta,
    defaults=dict(lr=1e-3, l1=0.0, l2=0.0, beta=0.0, initial_accumulator_value=0.1),
    bounds=dict(
        lr=Interval(1e-30, math.inf, high_open=True),
        l1=NONNEGATIVE,
        l2=NONNEGATIVE,
        beta=NONNEGATIVE,
        initial_accumulator_value=NONNEGATIVE,
    ),
    initial=dict(accumulator="initial_accumulator_value"),
    reference="McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013, Algorithm 1.",
)
