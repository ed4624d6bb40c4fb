"""GaLore: Adam in the subspace of the gradient's leading singular vectors, which is renewed now and
then.

Zhao et al., GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection,
arXiv:2403.03507, Algorithm 2. The accepted reference is the authors'
https://github.com/jiaweizzhao/GaLore (adamw.py and galore_projector.py with its type "std"), whose
hyperparameters have these names:

    Q = the right singular vectors of grad that have the ``rank`` largest singular values,
        at the first step and every ``update_proj_gap`` steps after it
    R = grad @ Q
    exp_avg, exp_avg_sq = running means of R and R**2
    step = sqrt(1 - beta2**t) / (1 - beta1**t) * scale * (exp_avg / (sqrt(exp_avg_sq) + eps)) @ Q.T

Of a matrix with fewer rows than columns Q has the left singular vectors, and R is ``grad.T @ Q``.
So states are numbers of the longer side, ``rank`` for each of its rows or columns, and Q of the
shorter one. As in the reference ``eps`` is added to the root before bias correction, the running
means stay what they are where the subspace changes, and ``step`` is multiplied by ``lr``.

``rank`` (structural) is at most as large as the parameter has rows or columns. All states are
smaller than the parameter, so ``state_dtype`` changes none; a step works on one array more of the
parameter's size. A parameter of more than two axes is a matrix of its first axis against all
others. One of fewer is an error: vectors are for another rule of the same optimizer, such as AdamW.

Deviations from the reference: signs of singular vectors, which it leaves to the library, are fixed,
and where the gradient has a lower rank than Q the other columns are made from the identity's (see
``../language/subspace.py``); it keeps R of a wide matrix transposed; it decomposes in float32, here
in the compute dtype; it decays the parameter after the step (here decay is subtracted together with
it, see ``adam.py``); its other types of projection, 4-bit projections and those of each axis of a
tensor are left out.

Limits: products and decompositions have the bits of one library on one machine only, so golden
files have a tolerance; equal singular values have vectors of the library's choice. A gradient with
an infinity or NaN makes states and parameter NaN: all of them where the basis is renewed, else its
row, or its column of a wide matrix; ``skip_nonfinite`` leaves such steps out. Where an element of R
is 1.8e19 or more in float32 (float64: 1.3e154) its square is infinite, and what it stands for steps
no more.
"""

import math

from ..language.intervals import NONNEGATIVE, STEPS, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.moments import moment_row
from ..parts.refresh import after_refresh, refresh_due

PAPER = "Zhao et al., GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection, arXiv:2403.03507"


def scalars(xp, step, carry, h):
    refresh = refresh_due(xp, step == 1, carry, h.update_proj_gap)
    bias1, root_bias2 = 1 - xp.ipow(h.betas[0], step), xp.sqrt(1 - xp.ipow(h.betas[1], step))
    row = dict(
        **moment_row(h),
        step_size=h.lr * h.scale * root_bias2 / bias1,
        decay=h.lr * h.weight_decay,
        eps=h.eps,
        refresh=refresh,
    )
    return row, after_refresh(xp, refresh, carry)


def delta(xp, s, param, grad, exp_avg, exp_avg_sq, basis):
    basis = xp.singular_basis(grad, basis, s.refresh)
    low_rank = xp.projected(grad, basis)
    exp_avg = xp.running_mean(exp_avg, low_rank, s.beta1, s.rest1)
    exp_avg_sq = xp.running_mean_of_squares(exp_avg_sq, low_rank, s.beta2, s.rest2)
    direction = xp.divided_by_root(exp_avg, exp_avg_sq, s.eps)
    return s.step_size * xp.projected_back(grad, direction, basis), exp_avg, exp_avg_sq, basis


def galore(rank=128):
    return Rule(
        "galore",
        scalars,
        delta=delta,
        decay=decoupled,
        per=dict(exp_avg="longer_rank", exp_avg_sq="longer_rank", basis="shorter_rank"),
        rank=rank,
        carry=dict(since_refresh=0.0),
        defaults=dict(
            lr=1e-3,
            betas=(0.9, 0.999),
            eps=1e-6,
            weight_decay=0.0,
            rank=float(rank),
            update_proj_gap=200.0,
            scale=0.25,
        ),
        bounds=dict(
            rank=Interval(1.0, math.inf, high_open=True, whole=True),
            update_proj_gap=STEPS,
            scale=NONNEGATIVE,
        ),
        options=dict(rank=rank),
        factory=galore,
        reference=f"{PAPER}, Algorithm 2.",
    )
