"""Adam, AdamW and AMSGrad.

Kingma & Ba, Adam, arXiv:1412.6980, Algorithm 1; Loshchilov & Hutter, Decoupled Weight Decay
Regularization, arXiv:1711.05101, Algorithm 2 (AdamW); Reddi et al., On the Convergence of Adam
and Beyond, ICLR 2018, Algorithm 2 (AMSGrad). The accepted reference is torch.optim: epsilon is
added after bias correction, AMSGrad takes the maximum of the uncorrected second moments, Adam
adds weight decay to the gradient.

The correction of the second moment is moved out of the element's arithmetic,
``lr / b1 * m / (sqrt(v) / b2 + eps) = lr * b2 / b1 * m / (sqrt(v) + eps * b2)``: the same step
with one division less.

Deviations: AdamW subtracts ``lr * weight_decay * param`` together with the step instead of
multiplying the parameter by ``1 - lr * weight_decay`` (``parts/decay.py`` says why).
"""

from ..language.rule import Rule
from ..parts.decay import decoupled, in_gradient
from ..parts.moments import adam_row, moments

ADAM = "Kingma & Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980, Algorithm 1"
ADAMW = "Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2"
AMSGRAD = "Reddi et al., On the Convergence of Adam and Beyond, ICLR 2018, Algorithm 2"


def adam_scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), weight_decay=h.weight_decay), carry


def adamw_scalars(xp, step, carry, h):
    return dict(**adam_row(xp, step, h), decay=h.lr * h.weight_decay), carry


def delta(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    return s.step_size * (exp_avg / denom), exp_avg, exp_avg_sq


def amsgrad_delta(xp, s, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq):
    exp_avg, exp_avg_sq = moments(xp, s, grad, exp_avg, exp_avg_sq)
    max_exp_avg_sq = xp.maximum(max_exp_avg_sq, exp_avg_sq)
    denom = xp.sqrt(max_exp_avg_sq) + s.scaled_eps
    return s.step_size * (exp_avg / denom), exp_avg, exp_avg_sq, max_exp_avg_sq


def adam(amsgrad=False):
    return Rule(
        "adam",
        adam_scalars,
        delta=in_gradient(amsgrad_delta if amsgrad else delta),
        defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
        options=dict(amsgrad=amsgrad),
        factory=adam,
        reference=f"{AMSGRAD}." if amsgrad else f"{ADAM}.",
    )


def adamw(amsgrad=False):
    return Rule(
        "adamw",
        adamw_scalars,
        delta=amsgrad_delta if amsgrad else delta,
        decay=decoupled,
        defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2),
        options=dict(amsgrad=amsgrad),
        factory=adamw,
        reference=f"{ADAMW}; {AMSGRAD}." if amsgrad else f"{ADAMW}.",
    )
