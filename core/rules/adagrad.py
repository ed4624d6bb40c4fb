"""Adagrad.

Duchi, Hazan & Singer, Adaptive Subgradient Methods, JMLR 12:2121-2159, 2011, Figure 1 (diagonal).
The accepted reference is torch.optim.Adagrad: epsilon outside the square root, the sum starting
at ``initial_accumulator_value``, weight decay added to the gradient.

There is **no bias correction**, and none is missing: the state is a sum, not an average. The
first step is exactly ``lr`` long whatever the gradient; from then on steps only get shorter, as
``lr / sqrt(number of steps)`` for gradients of constant size.

Deviations: none.
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    row = dict(
        step_size=h.lr / (1 + (step - 1) * h.lr_decay), eps=h.eps, weight_decay=h.weight_decay
    )
    return row, carry


def delta(xp, s, param, grad, sum):
    sum = sum + grad * grad
    return s.step_size * (grad / (xp.sqrt(sum) + s.eps)), sum


def adagrad():
    return Rule(
        "adagrad",
        scalars,
        delta=in_gradient(delta),
        defaults=dict(
            lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10
        ),
        bounds=dict(lr_decay=NONNEGATIVE, initial_accumulator_value=NONNEGATIVE),
        initial=dict(sum="initial_accumulator_value"),
        reference="Duchi, Hazan & Singer, Adaptive Subgradient Methods for Online Learning and "
        "Stochastic Optimization, JMLR 12:2121-2159, 2011, Figure 1.",
        factory=adagrad,
    )
