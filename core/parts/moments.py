"""The running means of a gradient and of its square, as Adam and its relatives keep them."""

from __future__ import annotations


def moment_row(h):
    """Return the scalars that `moments` needs, of the hyperparameter ``betas``."""
    beta1, beta2 = h.betas
    return dict(beta1=beta1, rest1=1 - beta1, beta2=beta2, rest2=1 - beta2)


def moments(xp, s, grad, exp_avg, exp_avg_sq):
    """Return both running means after this gradient. They start at zero and are not corrected."""
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    return exp_avg, exp_avg_sq
