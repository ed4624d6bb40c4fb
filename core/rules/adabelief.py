"""AdaBelief: Adam that divides by how far gradients are from their running mean.

Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients,
arXiv:2010.07468, Algorithm 2: epsilon is added to the second moment at each step, which keeps it,
and once more to the root. Weight decay is decoupled, as in the authors' code.

Deviations: no rectification, as in the paper and in optax; the authors' code has it by default.
optax has two epsilons.
"""

from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import adam_row


def scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), eps=h.eps, decay=h.lr * h.weight_decay), carry


def delta(xp, s, param, grad, exp_avg, exp_avg_var):
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    surprise = grad - exp_avg
    exp_avg_var = s.beta2 * exp_avg_var + s.rest2 * (surprise * surprise) + s.eps
    denom = xp.sqrt(exp_avg_var) + s.scaled_eps
    return s.step_size * (exp_avg / denom), exp_avg, exp_avg_var


adabelief = Rule(
    "adabelief",
    scalars,
    delta=delta,
    decay=decoupled,
    defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-16, weight_decay=0.0),
    reference="Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed "
    "Gradients, arXiv:2010.07468, Algorithm 2.",
)
