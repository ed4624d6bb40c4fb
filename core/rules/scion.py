"""Scion: steps of one length, in a norm that is chosen for each layer, along the mean of gradients.

Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, arXiv:2502.07529,
Algorithms 1 and 2; the accepted reference is the authors' code,
https://github.com/LIONS-EPFL/scion. The step is ``lr * scale`` times the direction of greatest
descent among those of length 1. Each norm is a rule, for groups, or for names (``rules``), of one
optimizer; ``rows`` are outputs, ``columns`` inputs of a layer:

- ``scion``, the spectral norm: the mean with singular values near 1 by Newton-Schulz (see
  ``muon.py``), times ``sqrt(rows / columns)``; for hidden layers.
- ``scion_sign``: its signs, divided by ``columns``; for the last layer.
- ``scion_rows``: its rows, of norm ``1 / sqrt(columns)``; for the last layer. With a ``scale``
  larger by the root of ``columns`` they have norm 1.
- ``scion_columns``: its columns, of root mean square 1; for the first layer, and for vectors.

``alpha`` is the share of a new gradient in the mean (in the code ``momentum``, by default 1, which
keeps no mean). ``weight_decay`` is 1 in the constrained form, which keeps a parameter in the ball
of radius ``scale``, and 0 in the unconstrained one. A parameter of more than two axes is a matrix
of its first axis against all others; a vector has one column, and is refused by ``scion``.

Deviations from the code: the iteration computes in the compute dtype, unless ``ns_dtype`` says
bfloat16, and the norm that it divides by is at least ``eps``, where the code adds it, as it does in
other norms; the kernel of a convolution is one matrix and its step is not divided by its area;
parameters are not given their first values (``init``); a table of a row for each word is not
transposed. Decay is subtracted together with the step (see ``adam.py``). Bits, golden files and
limits of ``scion``: ``muon.py``.

Limit of rows and columns: where a norm of float32 numbers is 1.8e19 or more its square is infinite
(float64: 1.3e154), and they make no step.
"""

from ..language.intervals import NONNEGATIVE, Interval
from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.orthogonal import BOUNDS, CHOICES, JORDAN, Orthogonal

REFERENCE = (
    "Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, arXiv:2502.07529, "
    "Algorithms 1 and 2."
)
DEFAULTS = dict(lr=1e-3, scale=1.0, weight_decay=1.0, alpha=0.1)
OF_ALL = dict(scale=NONNEGATIVE, alpha=Interval(0.0, 1.0, low_open=True))


def row_of_all(h):
    """Return the scalars of any norm."""
    return dict(
        step_size=h.lr * h.scale, decay=h.lr * h.weight_decay, alpha=h.alpha, rest=1 - h.alpha
    )


def sign_scalars(xp, step, carry, h):
    return row_of_all(h), carry


def root_scalars(xp, step, carry, h):
    return dict(**row_of_all(h), eps=h.eps), carry


def averaged(s, grad, momentum_buffer):
    """Return the mean of gradients after this one."""
    return s.rest * momentum_buffer + s.alpha * grad


def sign_delta(xp, s, param, grad, momentum_buffer):
    momentum_buffer = averaged(s, grad, momentum_buffer)
    step = s.step_size / xp.size(grad, per="row")
    return step * xp.sign(momentum_buffer), momentum_buffer


def rows_delta(xp, s, param, grad, momentum_buffer):
    momentum_buffer = averaged(s, grad, momentum_buffer)
    length = xp.norm(momentum_buffer, per="row") * xp.sqrt(xp.size(grad, per="row"))
    return s.step_size * (momentum_buffer / (length + s.eps)), momentum_buffer


def columns_delta(xp, s, param, grad, momentum_buffer):
    momentum_buffer = averaged(s, grad, momentum_buffer)
    length = xp.sqrt(xp.mean(momentum_buffer * momentum_buffer, per="column"))
    return s.step_size * (momentum_buffer / (length + s.eps)), momentum_buffer


def scion(ns_coefficients=None, ns_dtype=None):
    orthogonal = Orthogonal(ns_coefficients, ns_dtype)

    def scalars(xp, step, carry, h):
        row = dict(**row_of_all(h), **orthogonal.coefficients_of(h))
        return dict(**row, eps=h.eps, ns_steps=h.ns_steps), carry

    def delta(xp, s, param, grad, momentum_buffer):
        momentum_buffer = averaged(s, grad, momentum_buffer)
        direction = momentum_buffer / xp.maximum(xp.norm(momentum_buffer), s.eps)
        scale = xp.sqrt(xp.size(grad, per="column") / xp.size(grad, per="row"))
        return s.step_size * (scale * orthogonal(xp, s, direction)), momentum_buffer

    return Rule(
        "scion",
        scalars,
        delta=delta,
        decay=decoupled,
        defaults=dict(**DEFAULTS, ns_coefficients=JORDAN, eps=1e-7, ns_steps=5.0),
        bounds=dict(**OF_ALL, **BOUNDS),
        options=dict(ns_coefficients=ns_coefficients, ns_dtype=ns_dtype),
        choices=CHOICES,
        factory=scion,
        reference=REFERENCE,
    )


scion_sign = Rule(
    "scion_sign",
    sign_scalars,
    delta=sign_delta,
    decay=decoupled,
    defaults=DEFAULTS,
    bounds=OF_ALL,
    reference=REFERENCE,
)

scion_rows = Rule(
    "scion_rows",
    root_scalars,
    delta=rows_delta,
    decay=decoupled,
    defaults=dict(**DEFAULTS, eps=1e-8),
    bounds=OF_ALL,
    reference=REFERENCE,
)

scion_columns = Rule(
    "scion_columns",
    root_scalars,
    delta=columns_delta,
    decay=decoupled,
    defaults=dict(**DEFAULTS, eps=1e-8),
    bounds=OF_ALL,
    reference=REFERENCE,
)
