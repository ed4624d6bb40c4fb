"""Steps without their part along the parameter, for SGDP and AdamP.

Where a gradient is nearly orthogonal to the parameter in each row (a channel, the first axis
against all others), the step loses its part along the parameter row by row; else, where it is so in
the whole tensor, in the whole; else nothing. Nearly orthogonal means an absolute cosine below
``delta / sqrt(size)``. The decay of what is projected is multiplied by ``wd_ratio``.
"""

from __future__ import annotations


def projection_row(h):
    """Return the scalars of a projection besides ``step_size`` and ``decay``, of hyperparameters
    that have the same names, and of ``eps``."""
    return dict(delta=h.delta, wd_ratio=h.wd_ratio, least=h.eps)


def crosswise(xp, s, product, grad_square, square, size):
    """Return 1 where a gradient and a parameter are nearly orthogonal, else 0: of their sums of
    products."""
    norms = xp.maximum(xp.sqrt(grad_square), s.least) * xp.maximum(xp.sqrt(square), s.least)
    return xp.where(xp.abs(product / norms) < s.delta / xp.sqrt(size), 1, 0)


def projected(xp, s, param, grad, direction):
    """Return the step along the direction without its part along the parameter, decay included."""
    finite = xp.finite_or_zero(param)
    product, grad_square = xp.sum(finite * grad, per="row"), xp.sum(grad * grad, per="row")
    square = xp.sum(finite * finite, per="row")
    whole_product, whole_square = xp.sum(product), xp.sum(square)
    in_row = crosswise(xp, s, product, grad_square, square, xp.size(grad, per="row"))
    in_all_rows = xp.where(xp.sum(1 - in_row) == 0, 1, 0)
    in_whole = crosswise(xp, s, whole_product, xp.sum(grad_square), whole_square, xp.size(grad))
    in_any = xp.maximum(in_all_rows, in_whole)
    # summed in a pass of its own: a fourth sum along rows is more than a GPU's registers hold
    along = xp.sum(xp.where(in_any == 1, finite * direction, 0), per="row")
    row_share = along / squared(xp.sqrt(square) + s.least)
    whole_share = xp.sum(along) / squared(xp.sqrt(whole_square) + s.least)
    share = xp.where(in_all_rows == 1, row_share, whole_share)
    ratio = xp.where(in_any == 1, s.wd_ratio, 1)
    return s.step_size * (direction - share * finite) + s.decay * ratio * finite


def unprojected(xp, s, param, grad, direction):
    """Return the step along the direction, decay included."""
    return s.step_size * direction + s.decay * xp.finite_or_zero(param)


def squared(x):
    """Return the square of a number."""
    return x * x
