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


def adam_row(xp, step, h):
    """Return the scalars of Adam's step ``step_size * exp_avg / (sqrt(exp_avg_sq) + scaled_eps)``,
    of the hyperparameters ``lr``, ``betas`` and ``eps``: both moments are corrected."""
    bias1, root_bias2 = 1 - xp.ipow(h.betas[0], step), xp.sqrt(1 - xp.ipow(h.betas[1], step))
    return dict(
        **moment_row(h),
        step_size=h.lr * root_bias2 / bias1,
        scaled_eps=h.eps * root_bias2,
    )
