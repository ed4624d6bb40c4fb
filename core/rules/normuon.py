"""NorMuon: Muon whose rows, the neurons, take steps of like lengths.

Li, Liu, Liang, Chen, Zhao, NorMuon: Making Muon more efficient and scalable, arXiv:2510.05491,
Algorithm 1; the accepted reference is the authors' code, https://github.com/zichongli5/NorMuon. A
row of the momentum that was made orthogonal (see ``muon.py``) is divided by the root of the running
mean of its squares; then the matrix is scaled to the norm that it had, times Muon's scale, as in
the code. With ``match_rms_adamw`` the step has a root mean square of ``0.2 * lr``, as in the paper,
whose momentum is without ``nesterov``.

``eps`` are the least norm of a momentum, as Muon's, and what is added to the root and to the norm
that are divided by. No hyperparameter is structural; ``second_momentum_buffer`` is one number per
row.

Deviations from the code: the iteration computes in the compute dtype, unless ``ns_dtype`` says
bfloat16; the momentum's norm is at least ``eps[0]``, where the code adds it; the row of a parameter
of more than two axes is all of a slice of the first axis, not along the last axis; Muon's scale is
that of the matrix, where the code takes the last two axes. Decay is subtracted together with the
step (see ``adam.py``). A parameter of fewer than two axes is an error. Bits and golden files:
``muon.py``; ``second_momentum_buffer`` follows from products, too.
"""

from ..language.intervals import FRACTION
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.orthogonal import BOUNDS, CHOICES, JORDAN, Orthogonal
from .muon import muon_row, orthogonalized, step_scale

REFERENCE = "Li et al., NorMuon: Making Muon more efficient and scalable, arXiv:2510.05491."


def normuon(ns_coefficients=None, ns_dtype=None):
    orthogonal = Orthogonal(ns_coefficients, ns_dtype)

    def scalars(xp, step, carry, h):
        least_norm, eps = h.eps
        row = muon_row(xp, h, least_norm, orthogonal)
        return dict(**row, beta2=h.beta2, rest2=1 - h.beta2, row_eps=eps), carry

    def delta(xp, s, param, grad, momentum_buffer, second_momentum_buffer):
        whole, momentum_buffer = orthogonalized(xp, s, grad, momentum_buffer, orthogonal)
        square = xp.mean(whole * whole, per="row")
        second_momentum_buffer = s.beta2 * second_momentum_buffer + s.rest2 * square
        normalized = whole / (xp.sqrt(second_momentum_buffer) + s.row_eps)
        usual_norm = step_scale(xp, s, grad) * xp.norm(whole)
        rms_norm = 0.2 * xp.sqrt(xp.size(grad))
        length = xp.where(s.match_rms_adamw > 0, rms_norm, usual_norm)
        step_size = s.lr * (length / (xp.norm(normalized) + s.row_eps))
        return step_size * normalized, momentum_buffer, second_momentum_buffer

    return Rule(
        "normuon",
        scalars,
        delta=delta,
        decay=decoupled,
        per=dict(second_momentum_buffer="row"),
        defaults=dict(
            lr=0.02,
            weight_decay=0.0,
            momentum=0.95,
            beta2=0.95,
            nesterov=True,
            ns_coefficients=JORDAN,
            eps=(1e-7, 1e-10),
            ns_steps=5.0,
            match_rms_adamw=False,
            summed_momentum=False,
        ),
        bounds=dict(beta2=FRACTION, **BOUNDS),
        options=dict(ns_coefficients=ns_coefficients, ns_dtype=ns_dtype),
        choices=CHOICES,
        factory=normuon,
        reference=REFERENCE,
    )
