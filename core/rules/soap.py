"""SOAP: Adam on gradients that are rotated to the eigenvectors of Shampoo's two sums of products.

Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, arXiv:2409.11321, Algorithm 3. The
accepted reference is the authors' https://github.com/nikhilvyas/SOAP (soap.py):

    rotated = row_basis.T @ (grad, running mean of grad) @ column_basis
    step = row_basis @ (Adam of rotated) @ column_basis.T
    row_gram, column_gram = shampoo_beta * before + (1 - shampoo_beta) * (G @ G.T, G.T @ G)

A basis is used at the step after the one that refreshed it. The first step makes the bases by
eigenvectors, and changes neither the parameter nor the means, so Adam's bias correction counts from
the second. Later each basis is refreshed every ``precondition_frequency`` steps, by one step of
power iteration and QR (the paper's Algorithm 4). As in the reference ``eps`` is added to the root
before bias correction.

Parameters are matrices, in blocks, as those of Shampoo are (see ``shampoo.py``).

Deviations from the reference: ``shampoo_beta`` has the value that its -1 stands for; its options
other than those here are left out; it decomposes in float32, here in the compute dtype; it keeps a
basis for each axis of a tensor, none for a side above 10,000; it sorts the eigenvectors at each
refresh, and the second moment with them, here each stays in its column; it refreshes where the step
is a multiple of the frequency, and decays the parameter after the step (here decay is subtracted
together with it, see ``adam.py``). While a product has no full rank, as that of the longer side at
first, Adam's step depends on which basis its null space has: the reference takes what the library
gives, here it is made from the identity's columns, later from the basis before (see
``../language/eigenbasis.py``).

Limits: products and decompositions have the bits of one library on one machine only, so golden
files have a tolerance; equal eigenvalues have eigenvectors of the library's choice. A gradient with
an infinity or NaN, or whose products overflow, makes products, bases and with them the parameter
NaN; ``skip_nonfinite`` leaves such steps out.
"""

from ..language.intervals import FRACTION, STEPS
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.refresh import after_refresh, refresh_due

PAPER = "Vyas et al., SOAP, arXiv:2409.11321"


def scalars(xp, step, carry, h):
    (beta1, beta2), first = h.betas, step == 1
    taken = xp.where(first, 1, step - 1)
    refresh = refresh_due(xp, first, carry, h.precondition_frequency)
    row = dict(
        step_size=h.lr * xp.sqrt(1 - xp.ipow(beta2, taken)) / (1 - xp.ipow(beta1, taken)),
        decay=xp.where(first, 0, h.lr * h.weight_decay),
        beta1=beta1,
        rest1=xp.where(first, 0, 1 - beta1),
        beta2=beta2,
        rest2=xp.where(first, 0, 1 - beta2),
        shampoo_beta=h.shampoo_beta,
        shampoo_rest=1 - h.shampoo_beta,
        eps=h.eps,
        first=xp.where(first, 1, 0),
        refresh=refresh,
    )
    return row, after_refresh(xp, refresh, carry)


def delta(
    xp, s, param, grad, exp_avg, exp_avg_sq, row_gram, column_gram, row_basis, column_basis
):  # fmt: skip
    row_gram = xp.row_gram(grad, row_gram, s.shampoo_beta, s.shampoo_rest)
    column_gram = xp.column_gram(grad, column_gram, s.shampoo_beta, s.shampoo_rest)
    rotated = xp.rotated(grad, row_basis, column_basis)
    exp_avg = s.beta1 * exp_avg + s.rest1 * grad
    exp_avg_sq = s.beta2 * exp_avg_sq + s.rest2 * (rotated * rotated)
    mean = xp.rotated(exp_avg, row_basis, column_basis)
    step = xp.rotated_back(mean / (xp.sqrt(exp_avg_sq) + s.eps), row_basis, column_basis)
    row_basis = xp.eigenbasis(row_gram, row_basis, s.refresh, s.first)
    column_basis = xp.eigenbasis(column_gram, column_basis, s.refresh, s.first)
    states = exp_avg, exp_avg_sq, row_gram, column_gram, row_basis, column_basis
    return s.step_size * xp.where(s.first > 0, 0, step), *states


soap = Rule(
    "soap",
    scalars,
    delta=delta,
    decay=decoupled,
    per=dict(
        row_gram="row_pair",
        column_gram="column_pair",
        row_basis="row_pair",
        column_basis="column_pair",
    ),
    carry=dict(since_refresh=0.0),
    defaults=dict(
        lr=3e-3,
        betas=(0.95, 0.95),
        eps=1e-8,
        weight_decay=0.01,
        precondition_frequency=10.0,
        shampoo_beta=0.95,
    ),
    bounds=dict(precondition_frequency=STEPS, shampoo_beta=FRACTION),
    reference=f"{PAPER}, Algorithm 3.",
)
