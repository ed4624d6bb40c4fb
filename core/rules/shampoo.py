"""Shampoo: gradients multiplied by inverse roots of two sums of their products, of rows and of
columns.

Gupta, Koren, Singer, Shampoo: Preconditioned Stochastic Tensor Optimization, arXiv:1802.09568,
Algorithm 1, with what Anil et al., arXiv:2002.09018, and Shi et al., arXiv:2309.06497, Algorithm 2,
have added: running means, grafting, blocks, roots that are computed now and then. The accepted
reference is https://github.com/facebookresearch/optimizers (distributed_shampoo):

    row_gram, column_gram = beta2 * before + (1 - beta2) * (G @ G.T, G.T @ G)  (sums if beta2 is 1)
    root = (gram / (1 - beta2**t) + eps * I) ** -exponent                      (at refreshes)
    step = row_root @ (running mean of G) @ column_root

Roots are refreshed at ``start_preconditioning_step``, and from there on every
``precondition_frequency`` steps. Before that the step is the running mean of gradients.
``grafting_beta2`` (structural) keeps a second moment, too: the step has the norm of Adam's, with
``grafting_eps``, which is also what is taken before the start; RMSprop's is that with a first beta
of 0. ``sgd_grafting`` gives it the norm of the running mean. All means are bias-corrected, as by
the reference's default.

A parameter of more than two axes is a matrix of its first axis against all others. One of fewer is
an error: vectors are for another rule of the same optimizer, such as AdamW. A side above 1,024 is
cut into blocks of equal size (see ``../language/blocks.py``), each with its own products and roots.

Deviations from the reference: it keeps a product for each axis of a tensor, and one for a vector,
here refused; its blocks are of 1,024 and a rest, and its norms of grafting are those of blocks,
here of the parameter; its default raises only eigenvalues that are below ``eps`` (here, as in the
papers, ``eps`` is added to all, its ``perturb_before_computation=False``); it refreshes where the
step is a multiple of the frequency. Decay is decoupled and subtracted together with the step (see
``adam.py``). Products and decompositions have the bits of one library on one machine only, so
golden files have a tolerance; with a small ``eps`` a root multiplies such differences by up to
``eps**-exponent``.

Limit: a gradient with an infinity or NaN, or whose products overflow, makes products, roots and
with them the parameter NaN; ``skip_nonfinite`` leaves such steps out.
"""

from ..language.intervals import FRACTION, NONNEGATIVE, POSITIVE, STEPS, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.refresh import after_refresh, refresh_due

PAPER = "Shi et al., Distributed Shampoo, arXiv:2309.06497"
TINY = 1e-16  # is added to a norm that is divided by, as in the reference


def scalars(xp, step, carry, h):
    beta1, beta2 = h.betas
    started, first = step >= h.start_preconditioning_step, step == h.start_preconditioning_step
    refresh = xp.where(started, refresh_due(xp, first, carry, h.precondition_frequency), 0)
    row = dict(
        lr=h.lr,
        decay=h.lr * h.weight_decay,
        beta1=beta1,
        rest1=1 - beta1,
        scale1=1 / (1 - xp.ipow(beta1, step)),
        beta2=beta2,
        rest2=xp.where(beta2 < 1, 1 - beta2, 1),
        scale2=1 / xp.where(beta2 < 1, 1 - xp.ipow(beta2, step), 1),
        eps=h.eps,
        exponent=h.exponent,
        refresh=refresh,
        started=xp.where(started, 1, 0),
        sgd_grafting=h.sgd_grafting,
    )
    return row, after_refresh(xp, refresh, carry)


def grafting_scalars(xp, step, carry, h):
    row, carry = scalars(xp, step, carry, h)
    beta2 = h.grafting_beta2
    more = dict(
        grafting_beta2=beta2,
        grafting_rest2=1 - beta2,
        grafting_scale2=1 / (1 - xp.ipow(beta2, step)),
        grafting_eps=h.grafting_eps,
    )
    return {**row, **more}, carry


def preconditioned(xp, s, grad, exp_avg, row_gram, column_gram, row_root, column_root):
    """Return the mean of gradients, that between the roots, and the states after this gradient."""
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    row_gram = xp.row_gram(grad, row_gram, s.beta2, s.rest2)
    column_gram = xp.column_gram(grad, column_gram, s.beta2, s.rest2)
    row_root = xp.inverse_root(row_gram, row_root, s.refresh, s.scale2, s.eps, s.exponent)
    column_root = xp.inverse_root(column_gram, column_root, s.refresh, s.scale2, s.eps, s.exponent)
    mean = s.scale1 * exp_avg
    between = xp.multiplied(mean, row_root, column_root)
    return mean, between, (exp_avg, row_gram, column_gram, row_root, column_root)


def delta(xp, s, param, grad, exp_avg, row_gram, column_gram, row_root, column_root):
    states = exp_avg, row_gram, column_gram, row_root, column_root
    mean, between, states = preconditioned(xp, s, grad, *states)
    scale = xp.norm(mean) / (xp.norm(between) + TINY)
    direction = xp.where(s.sgd_grafting > 0, scale, 1) * between
    return s.lr * xp.where(s.started > 0, direction, mean), *states


def grafted_delta(
    xp, s, param, grad, exp_avg, row_gram, column_gram, row_root, column_root, exp_avg_sq
):
    states = exp_avg, row_gram, column_gram, row_root, column_root
    mean, between, states = preconditioned(xp, s, grad, *states)
    exp_avg_sq = s.grafting_beta2 * exp_avg_sq + s.grafting_rest2 * (grad * grad)
    graft = mean / (xp.sqrt(s.grafting_scale2 * exp_avg_sq) + s.grafting_eps)
    length = xp.where(s.sgd_grafting > 0, xp.norm(mean), xp.norm(graft))
    direction = length / (xp.norm(between) + TINY) * between
    return s.lr * xp.where(s.started > 0, direction, graft), *states, exp_avg_sq


def shampoo(grafting_beta2=False):
    return Rule(
        "shampoo",
        grafting_scalars if grafting_beta2 else scalars,
        delta=grafted_delta if grafting_beta2 else delta,
        decay=decoupled,
        per=dict(
            row_gram="row_pair",
            column_gram="column_pair",
            row_root="row_pair",
            column_root="column_pair",
        ),
        carry=dict(since_refresh=0.0),
        defaults=dict(
            lr=1e-2,
            betas=(0.9, 1.0),
            eps=1e-12,
            weight_decay=0.0,
            precondition_frequency=1.0,
            start_preconditioning_step=1.0,
            exponent=0.25,
            sgd_grafting=False,
            grafting_beta2=0.0,
            grafting_eps=1e-8,
        ),
        bounds=dict(
            betas=(FRACTION, Interval(0.0, 1.0)),
            precondition_frequency=STEPS,
            start_preconditioning_step=STEPS,
            exponent=POSITIVE,
            eps=POSITIVE,
            grafting_beta2=FRACTION,
            grafting_eps=NONNEGATIVE,
        ),
        options=dict(grafting_beta2=grafting_beta2),
        factory=shampoo,
        reference=f"{PAPER}, Algorithm 2.",
    )
