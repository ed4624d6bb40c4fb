"""Schedule-Free SGD, AdamW and RAdam: no schedule of the learning rate, an average instead.

Defazio et al., The Road Less Scheduled, arXiv:2405.15682, Algorithm 1 (AdamW) and equations 1 to 3
(SGD). The accepted reference is facebookresearch/schedule_free, whose default of
``weight_lr_power`` these have. Three points are kept in two arrays: gradients are of the parameter
``y``, between ``z``, which takes the steps, and ``x``, the weighted average of ``z``, which is what
was learned:

    y = beta1 * x + (1 - beta1) * z

``eval()`` turns the parameters into ``x = y + (1 - 1 / beta1) * (z - y)``, ``train()`` back into y,
each rounded once; a step takes y, and a dense gradient. While training, ``beta1`` (``momentum``)
has to stay what it is. A step of another learning rate weighs ``(t**r) * (largest lr so
far)**weight_lr_power`` in the average, warm-up of ``warmup_steps`` included. RAdam needs no
warm-up; its first steps, while the variance is not tractable, only update the second moment, or
with ``silent_sgd_phase=False`` are SGD's. Powers come from the C library.

Deviations from the reference: step counts and weights are each parameter's, there a group's. Decay
is of y, as there by default.
"""

from ..language.intervals import FRACTION, NONNEGATIVE, Interval
from ..language.rule import Rule

PAPER = "Defazio et al., The Road Less Scheduled, arXiv:2405.15682"
OPEN = Interval(0, 1, low_open=True, high_open=True)
BETAS = (OPEN, FRACTION)
AVERAGE = dict(weight_decay=0.0, r=0.0, weight_lr_power=2.0)
ADAM = dict(lr=0.0025, betas=(0.9, 0.999), eps=1e-8, **AVERAGE)
BOUNDS = dict(r=NONNEGATIVE, weight_lr_power=NONNEGATIVE)
CARRY = dict(largest_lr=0.0, weight_sum=0.0)


def momentum(h):
    return h.momentum


def first_beta(h):
    return h.betas[0]


def warmed(xp, step, h):
    """Return the learning rate, which the first ``warmup_steps`` reach in equal steps."""
    length = xp.where(h.warmup_steps > step, h.warmup_steps, step)
    return h.lr * (step / length)


def averaging(xp, step, carry, h, lr, beta1):
    """Return the scalars of a step of size ``lr`` in z, y and the average, and the carry after
    it."""
    largest = xp.where(lr > carry.largest_lr, lr, carry.largest_lr)
    weight = xp.pow(step, h.r) * xp.pow(largest, h.weight_lr_power)
    total = carry.weight_sum + weight
    toward_z = xp.where(total > 0, weight / xp.where(total > 0, total, 1), 0)
    row = dict(
        first=xp.where(step == 1, 1, 0),
        toward_z=toward_z,
        z_size=lr,
        y_size=lr * (1 - beta1 * (1 - toward_z)),
        weight_decay=h.weight_decay,
    )
    return row, dict(largest_lr=largest, weight_sum=total)


def second_moment(xp, step, h):
    bias2 = 1 - xp.ipow(h.betas[1], step)
    root_bias2 = xp.sqrt(bias2)
    return dict(
        beta2=h.betas[1], rest2=1 - h.betas[1], root_bias2=root_bias2, scaled_eps=h.eps * root_bias2
    )


def moved(xp, s, param, z, direction):
    """Return y and z after a step in this direction; an infinite parameter stays what it is."""
    direction = direction + s.weight_decay * xp.finite_or_zero(param)
    z = xp.where(s.first > 0, param, z)
    step = s.toward_z * (z - param) - s.y_size * direction
    finite = xp.finite_or_zero(param) == param
    return xp.where(finite, param + step, param), xp.where(finite, z - s.z_size * direction, param)


def sgd_scalars(xp, step, carry, h):
    return averaging(xp, step, carry, h, warmed(xp, step, h), h.momentum)


def sgd_update(xp, s, param, grad, z):
    return moved(xp, s, param, z, grad)


def adamw_scalars(xp, step, carry, h):
    row, carry = averaging(xp, step, carry, h, warmed(xp, step, h), h.betas[0])
    return dict(**row, **second_moment(xp, step, h)), carry


def adamw_update(xp, s, param, grad, z, exp_avg_sq):
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    direction = s.root_bias2 * (grad / (xp.sqrt(exp_avg_sq) + s.scaled_eps))
    return *moved(xp, s, param, z, direction), exp_avg_sq


def radam_scalars(xp, step, carry, h):
    power2 = xp.ipow(h.betas[1], step)
    rho_inf = 2 / (1 - h.betas[1]) - 1
    rho = rho_inf - 2 * step * power2 / (1 - power2)
    rectification = xp.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    size = xp.where(rho > 4, rectification, xp.where(h.silent_sgd_phase != 0, 0, 1))
    row, carry = averaging(xp, step, carry, h, h.lr * size, h.betas[0])
    return dict(**row, **second_moment(xp, step, h), adaptive=xp.where(rho > 4, 1, 0)), carry


def radam_update(xp, s, param, grad, z, exp_avg_sq):
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (grad * grad)
    adapted = s.root_bias2 * (grad / (xp.sqrt(exp_avg_sq) + s.scaled_eps))
    direction = xp.where(s.adaptive > 0, adapted, grad)
    return *moved(xp, s, param, z, direction), exp_avg_sq


sgd_schedulefree = Rule(
    "sgd_schedulefree",
    sgd_scalars,
    sgd_update,
    defaults=dict(lr=1.0, momentum=0.9, **AVERAGE, warmup_steps=0.0),
    bounds=dict(momentum=OPEN, warmup_steps=NONNEGATIVE, **BOUNDS),
    carry=CARRY,
    average_share=momentum,
    reference=f"{PAPER}, equations 1 to 3.",
)

adamw_schedulefree = Rule(
    "adamw_schedulefree",
    adamw_scalars,
    adamw_update,
    defaults=dict(**ADAM, warmup_steps=0.0),
    bounds=dict(betas=BETAS, warmup_steps=NONNEGATIVE, **BOUNDS),
    carry=CARRY,
    average_share=first_beta,
    reference=f"{PAPER}, Algorithm 1.",
)

radam_schedulefree = Rule(
    "radam_schedulefree",
    radam_scalars,
    radam_update,
    defaults=dict(**ADAM, silent_sgd_phase=True),
    bounds=dict(betas=BETAS, **BOUNDS),
    carry=CARRY,
    average_share=first_beta,
    reference=f"{PAPER}, Algorithm 1, with the rectification of Liu et al., arXiv:1908.03265.",
)
