"""Dion: the momentum's part of a low rank, with singular values of 1, which leaves it as it is
subtracted.

Ahn et al., Dion: Distributed Orthonormalized Updates, arXiv:2504.05295, Algorithm 1. The accepted
reference is the authors' https://github.com/microsoft/dion (dion_simple.py):

    M = momentum + grad
    P = orthonormal columns of M @ Q  (one step of power iteration from the state Q)
    R = M.T @ P
    Q = the columns of R, each divided by its norm + eps
    momentum = M - (1 - mu) * P @ R.T
    step = sqrt(rows / columns) * P @ Q.T

``rank`` (structural) is how many columns Q has, at most as many as the parameter has rows or
columns. A parameter of more than two axes is a matrix of its first axis against all others. One of
fewer is an error: vectors are for another rule of the same optimizer, such as AdamW.

Deviations from the reference: Q starts at numbers that are equally likely between -1 and 1 (there
normal ones), of ``basis_seed``, and alike for parameters of one shape; it decomposes in float32,
here in the compute dtype; a column of P that is in the span of those before it, as where the
momentum has a lower rank, is what its library returns, here 0, and Q keeps its column. Decay is
subtracted together with the step (see ``adam.py``).

Limits: products and decompositions have the bits of one library on one machine only, so golden
files have a tolerance. A gradient with an infinity or NaN, or whose products overflow, makes the
states and the parameter NaN; ``skip_nonfinite`` leaves such steps out.
"""

import math

from ..language.intervals import FRACTION, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled

PAPER = "Ahn et al., Dion: Distributed Orthonormalized Updates, arXiv:2504.05295"


def scalars(xp, step, carry, h):
    row = dict(
        lr=h.lr,
        decay=h.lr * h.weight_decay,
        leaving=1 - h.mu,
        eps=h.eps,
        first=xp.where(step == 1, 1, 0),
        basis_seed=h.basis_seed,
    )
    return row, carry


def delta(xp, s, param, grad, momentum, basis):
    momentum = momentum + grad
    basis = xp.random_start(basis, s.first, s.basis_seed)
    left = xp.orthonormal_product(momentum, basis)
    right = xp.transposed_product(momentum, left)
    basis = xp.unit_columns(right, basis, s.eps)
    momentum = momentum - s.leaving * xp.outer_product(left, right)
    scale = xp.sqrt(xp.size(param, per="column") / xp.size(param, per="row"))
    return s.lr * (scale * xp.outer_product(left, basis)), momentum, basis


def dion(rank=768):
    return Rule(
        "dion",
        scalars,
        delta=delta,
        decay=decoupled,
        per=dict(basis="column_rank"),
        rank=rank,
        defaults=dict(
            lr=0.01,
            mu=0.95,
            eps=1e-8,
            weight_decay=0.01,
            rank=float(rank),
            basis_seed=0.0,
        ),
        bounds=dict(
            mu=FRACTION,
            rank=Interval(1.0, math.inf, high_open=True, whole=True),
            basis_seed=Interval(0.0, 2.0**24, whole=True),
        ),
        options=dict(rank=rank),
        factory=dion,
        reference=f"{PAPER}, Algorithm 1.",
    )
