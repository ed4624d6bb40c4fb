"""Lion: the sign of an interpolated momentum.

Chen et al., Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675, Algorithm 2. The
accepted reference is the authors' own implementation: decoupled weight decay, 0 by default.

Deviations: decay is subtracted together with the step (see ``adam.py``).
"""

from ..language.rule import Rule
from ..parts.decay import decoupled


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    row = dict(
        lr=h.lr,
        beta1=beta1,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
        decay=h.lr * h.weight_decay,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg):
    direction = xp.sign(s.beta1 * exp_avg + s.rest1 * grad)
    exp_avg = s.beta2 * exp_avg + s.rest2 * grad
    return s.lr * direction, exp_avg


lion = Rule(
    "lion",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0),
    reference="Chen et al., Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675, "
    "Algorithm 2.",
)
