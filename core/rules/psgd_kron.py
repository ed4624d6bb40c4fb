"""PSGD-Kron: a running mean of gradients, whitened by two factors that are fitted by products
alone.

Li, Preconditioned Stochastic Gradient Descent, arXiv:1512.04202; the preconditioner ``P = Q Q`` of
two Kronecker factors and its fit, named QUAD, are those of the author's
https://github.com/lixilinx/psgd_torch (psgd.py, ``update_precond_kron_whiten_quad``), the accepted
reference; the step is that of https://github.com/evanatyourservice/quad_torch:

    X = row_factor^2 @ (running mean of G) @ column_factor^2 M = I - preconditioner_lr / 2 / (norm
    of X X^T + columns) * (X X^T - columns * I) row_factor = M @ row_factor @ M
    (and so of the columns) step = lr * update_rms * X, clipped so that its root mean square is at
    most lr * update_rms * clip_rms

The factors are symmetric, so neither a triangular solve nor a decomposition is needed. They are
fitted every ``precondition_frequency`` steps. Both begin as the identity, and the mean is divided
by the root mean square of the first gradient, which is quad_torch's first scale. ``update_rms`` of
0.2 is its ``lr_style="adam"``, 1 its None. ``preconditioner_lr`` is psgd_torch's; quad_torch's
decays from 0.7 to 0.3, which a schedule does.

A parameter of more than two axes is a matrix of its first axis against all others, in blocks where
a side is above 1,024 (see ``shampoo.py``). One of fewer is an error: vectors are for another rule
of the same optimizer.

Deviations from the references: nothing is drawn. psgd_torch fits at steps that it draws, and both
add noise of ``damping`` to the gradient; here ``damping * columns * row_factor^4`` is added to ``X
X^T`` instead, so ``P`` stays below ``1 / damping`` where there is no gradient. Their norm is a
lower bound from a start that is drawn or is the longest row, here one that goes by traces (see
``../language/whitening.py``); they divide by a fading maximum of it, here by the norm itself,
psgd_torch's ``betaL=0``. The first step fits nothing. The step is that of the factors before the
fit, as in psgd_torch's earlier ``precond_grad_kron_whiten_quad``; now both take those after it, for
four more products and two more arrays. Both have a diagonal for a vector and for the longer side of
a matrix (``max_skew``), here both sides have a square. They balance the factors now and then, which
changes no step. quad_torch merges axes to the matrix that is nearest to a square, and decays the
parameter before the step (here decay is subtracted together with it, see ``adam.py``).

Limits: products have the bits of one library on one machine only, so golden files have a tolerance.
A gradient with an infinity or NaN, or whose products overflow, makes factors and with them the
parameter NaN; ``skip_nonfinite`` leaves such steps out.
"""

from ..language.intervals import FRACTION, NONNEGATIVE, POSITIVE, STEPS, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.refresh import after_refresh, refresh_due

PAPER = "Li, Preconditioned Stochastic Gradient Descent, arXiv:1512.04202"


def scalars(xp, step, carry, h):
    first = step == 1
    refresh = refresh_due(xp, first, carry, h.precondition_frequency)
    row = dict(
        step_size=h.lr * h.update_rms,
        decay=h.lr * h.weight_decay,
        rest=xp.where(first, 1, 1 - h.momentum),
        rate=h.preconditioner_lr,
        damping=h.damping,
        damping_square=h.damping * h.damping,
        clip_rms=h.clip_rms,
        first=xp.where(first, 1, 0),
        refresh=refresh,
    )
    return row, after_refresh(xp, refresh, carry)


def delta(xp, s, param, grad, momentum_buffer, first_scale, row_factor, column_factor):
    momentum_buffer = momentum_buffer + s.rest * (grad - momentum_buffer)
    scale = 1 / xp.sqrt(xp.mean(grad * grad) + s.damping_square)
    first_scale = xp.where(s.first > 0, scale, first_scale)
    scaled = first_scale * momentum_buffer
    whitened = xp.multiplied(scaled, row_factor, column_factor)
    whitened = xp.multiplied(whitened, row_factor, column_factor)
    fit = s.refresh, s.first, s.rate, s.damping
    row_factor = xp.row_whitening(whitened, row_factor, *fit)
    column_factor = xp.column_whitening(whitened, column_factor, *fit)
    direction = xp.where(s.first > 0, scaled, whitened)
    rms = xp.sqrt(xp.mean(direction * direction))
    step = s.step_size * (s.clip_rms / xp.maximum(rms, s.clip_rms)) * direction
    return step, momentum_buffer, first_scale, row_factor, column_factor


psgd_kron = Rule(
    "psgd_kron",
    scalars,
    delta=delta,
    decay=decoupled,
    per=dict(first_scale="tensor", row_factor="row_pair", column_factor="column_pair"),
    carry=dict(since_refresh=0.0),
    defaults=dict(
        lr=1e-3,
        momentum=0.95,
        weight_decay=0.1,
        preconditioner_lr=0.1,
        precondition_frequency=1.0,
        damping=1e-9,
        update_rms=0.2,
        clip_rms=1.05,
    ),
    bounds=dict(
        momentum=FRACTION,
        preconditioner_lr=Interval(0.0, 1.0),
        precondition_frequency=STEPS,
        damping=POSITIVE,
        update_rms=NONNEGATIVE,
        clip_rms=POSITIVE,
    ),
    reference=f"{PAPER}, with its author's fit QUAD.",
)
