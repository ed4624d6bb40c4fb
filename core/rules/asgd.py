"""ASGD: averaged stochastic gradient descent.

Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim.
30(4), 1992. The accepted reference is torch.optim.ASGD: the step size of step t is
``lr / (1 + lambd * lr * (t - 1))**alpha``, the average in ``ax`` starts to differ from the
parameter after step ``t0``, weight decay is added to the gradient. The power is fractional and
comes from the C library.

Deviations: torch computes the step size at the end of the step before, from the learning rate of
then; here a changed hyperparameter takes effect at once, and nothing need be carried. Decay by
``lambd`` is subtracted together with the step (see ``adam.py``).
"""

from ..language.intervals import NONNEGATIVE
from ..language.rule import Rule
from ..parts.decay import in_gradient


def scalars(xp, step, carry, h):
    eta = h.lr / xp.pow(1 + h.lambd * h.lr * (step - 1), h.alpha)
    row = dict(
        eta=eta,
        decay=h.lambd * eta,
        mu=1 / xp.where(step - 1 - h.t0 > 1, step - 1 - h.t0, 1),
        weight_decay=h.weight_decay,
    )
    return row, carry


def update(xp, s, param, grad, ax):
    param = param - (s.eta * grad + s.decay * xp.finite_or_zero(param))
    average = xp.where(s.mu == 1, param, ax + s.mu * (param - ax))
    # the average of an infinity is itself; inf - inf would make it NaN
    ax = xp.where(xp.finite_or_zero(param) == param, average, param)
    return param, ax


def asgd():
    return Rule(
        "asgd",
        scalars,
        in_gradient(update),
        defaults=dict(lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0),
        bounds=dict(lambd=NONNEGATIVE, alpha=NONNEGATIVE, t0=NONNEGATIVE),
        kept_in=dict(ax=None),  # an average, as exact as the parameter
        reference="Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, "
        "SIAM J. Control Optim. 30(4), 1992.",
        factory=asgd,
    )
