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
multiplying the parameter by ``1 - lr * weight_decay``, which in float32 rounds to a decay that is
19 % too large at lr = 1e-5 and weight_decay = 0.01, and to none at all at lr = 1e-6.
"""

from ..language.rule import Rule

ADAM = "Kingma & Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980, Algorithm 1"
ADAMW = "Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2"
AMSGRAD = "Reddi et al., On the Convergence of Adam and Beyond, ICLR 2018, Algorithm 2"


def moments(xp, step, h):
    beta1, beta2 = h.betas
    bias1, root_bias2 = 1 - xp.ipow(beta1, step), xp.sqrt(1 - xp.ipow(beta2, step))
    return dict(
        beta1=beta1,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
        step_size=h.lr * root_bias2 / bias1,
        scaled_eps=h.eps * root_bias2,
    )


def adam_scalars(xp, step, carry, h):
    return dict(**moments(xp, step, h), weight_decay=h.weight_decay), carry


def adamw_scalars(xp, step, carry, h):
    return dict(**moments(xp, step, h), decay=h.lr * h.weight_decay), carry


def adam_update(xp, s, param, grad, exp_avg, exp_avg_sq):
    grad = grad + s.weight_decay * xp.finite_or_zero(param)
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    return param - s.step_size * (exp_avg / denom), exp_avg, exp_avg_sq


def adam_amsgrad_update(xp, s, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq):
    grad = grad + s.weight_decay * xp.finite_or_zero(param)
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    max_exp_avg_sq = xp.maximum(max_exp_avg_sq, exp_avg_sq)
    denom = xp.sqrt(max_exp_avg_sq) + s.scaled_eps
    return param - s.step_size * (exp_avg / denom), exp_avg, exp_avg_sq, max_exp_avg_sq


def adamw_update(xp, s, param, grad, exp_avg, exp_avg_sq):
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    denom = xp.sqrt(exp_avg_sq) + s.scaled_eps
    param = param - (s.step_size * (exp_avg / denom) + s.decay * xp.finite_or_zero(param))
    return param, exp_avg, exp_avg_sq


def adamw_amsgrad_update(xp, s, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq):
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    max_exp_avg_sq = xp.maximum(max_exp_avg_sq, exp_avg_sq)
    denom = xp.sqrt(max_exp_avg_sq) + s.scaled_eps
    param = param - (s.step_size * (exp_avg / denom) + s.decay * xp.finite_or_zero(param))
    return param, exp_avg, exp_avg_sq, max_exp_avg_sq


def adam(amsgrad=False):
    return Rule(
        "adam",
        adam_scalars,
        adam_amsgrad_update if amsgrad else adam_update,
        defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
        options=dict(amsgrad=amsgrad),
        factory=adam,
        reference=f"{AMSGRAD}." if amsgrad else f"{ADAM}.",
    )


def adamw(amsgrad=False):
    return Rule(
        "adamw",
        adamw_scalars,
        adamw_amsgrad_update if amsgrad else adamw_update,
        defaults=dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2),
        options=dict(amsgrad=amsgrad),
        factory=adamw,
        reference=f"{ADAMW}; {AMSGRAD}." if amsgrad else f"{ADAMW}.",
    )
