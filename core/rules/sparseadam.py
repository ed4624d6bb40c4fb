"""Adam for gradients of some rows, as torch.optim.SparseAdam has it.

Kingma & Ba, Adam, arXiv:1412.6980, Algorithm 1, in the form of the end of section 2: epsilon is
added to the root of the uncorrected second moment. The accepted reference is
torch.optim.SparseAdam. It is *lazy*: rows that a gradient does not name are left as they are, where
Adam would let their moments decay and go on moving them. The step count is the parameter's.

Deviations: a dense gradient is taken as one that names every row, and complex parameters as two
reals per element; torch refuses both.
"""

from ..language.intervals import POSITIVE
from ..language.rule import Rule
from ..parts.moments import moment_row, moments


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    bias1, root_bias2 = 1 - xp.ipow(beta1, step), xp.sqrt(1 - xp.ipow(beta2, step))
    row = dict(
        **moment_row(h),
        step_size=h.lr * root_bias2 / bias1,
        eps=h.eps,
    )
    return row, carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    return s.step_size * (exp_avg / (xp.sqrt(exp_avg_sq) + s.eps)), exp_avg, exp_avg_sq


sparseadam = Rule(
    "sparseadam",
    scalars,
    delta=delta,
    defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8),
    bounds=dict(eps=POSITIVE),
    lazy=True,
    reference="Kingma & Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980, "
    "Algorithm 1, with epsilon as at the end of section 2.",
)
