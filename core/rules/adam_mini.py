"""Adam-mini: AdamW with one second moment for each row, or for the whole tensor.

Zhang et al., Adam-mini: Use Fewer Learning Rates To Gain More, arXiv:2406.16793, Algorithm 1: the
second moment is the running mean of a block's mean square. A block is a row (the first axis against
all others): an output of a linear layer, a token of an embedding. Of a vector, or with
``rows=False``, it is the whole tensor. The accepted reference is the authors' code, which finds out
by names what a parameter is:

    queries and keys, a block for each head    pass ``weight.reshape(heads, -1)``, a view
    biases                                     in a group with the rule ``adamw``
    normalization                              a vector: as it is
    all other matrices                         as they are

Deviations: decay is subtracted together with the step (see ``adam.py``).

Limit: where a root mean square of float32 gradients is 1.8e19 or more its square is infinite
(float64: 1.3e154), and the block only decays.
"""

from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import adam_row


def scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), decay=h.lr * h.weight_decay), carry


def adam_mini(rows=True):
    block = "row" if rows else "tensor"

    def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
        exp_avg = s.beta1 * exp_avg + s.rest1 * grad
        exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * xp.mean(grad * grad, per=block)
        return s.step_size * (exp_avg / (xp.sqrt(exp_avg_sq) + s.scaled_eps)), exp_avg, exp_avg_sq

    return Rule(
        "adam_mini",
        scalars,
        delta=delta,
        decay=decoupled,
        defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
        per=dict(exp_avg_sq=block),
        options=dict(rows=rows),
        factory=adam_mini,
        shape_options=lambda shape: dict(rows=False) if len(shape) < 2 else {},
        reference="Zhang et al., Adam-mini: Use Fewer Learning Rates To Gain More, arXiv:2406.16793, "
        "Algorithm 1.",
    )
