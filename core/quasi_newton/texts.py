"""The texts of the passes over vectors of an L-BFGS iteration: rules, which every backend launches.

A pass computes in float64 on each element, in the order in which its text is written, and its sums
have the order of `samestep.language.summation`. So all of them have the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..language.rule import Rule

BLOCK = 5  # pairs that one pass adds to a direction
NAMES = [f"{kind}{k}" for kind in "ab" for k in range(BLOCK)]


def none(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return no scalars."""
    return {}, carry


def step_length(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return how far a point lies along the direction."""
    return dict(t=h.t), carry


def factor(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return what the gradient is multiplied by."""
    return dict(factor=h.factor), carry


def keep_update(xp: Any, s: Any, param: Any, grad: Any, kept: Any) -> Any:
    """Copy the gradient."""
    return param, grad


def move_update(xp: Any, s: Any, param: Any, grad: Any, x_start: Any) -> Any:
    """Move from where a line search starts along the direction ``grad``."""
    return x_start + s.t * grad, x_start


def slope_update(xp: Any, s: Any, param: Any, grad: Any, slope: Any) -> Any:
    """Compute the derivative of the loss along the direction ``param``."""
    return param, xp.sum(param * grad)


def change_update(xp: Any, s: Any, param: Any, grad: Any, grad_start: Any, grad_now: Any) -> Any:
    """Replace where a line search started, ``param``, and the gradient there by the changes up to
    the point ``grad`` and the gradient now."""
    return grad - param, grad_now - grad_start, grad_now


def dots_update(
    xp: Any, s: Any, param: Any, grad: Any, y: Any, s_dot_grad: Any, y_dot_grad: Any
) -> Any:
    """Compute the products of one pair, ``param`` and ``y``, with a vector."""
    return param, y, xp.sum(param * grad), xp.sum(y * grad)


def scale_update(xp: Any, s: Any, param: Any, grad: Any) -> Any:
    """Begin a direction with a multiple of the gradient."""
    return s.factor * grad


def add_scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return the coefficients of five pairs."""
    row = dict(a0=h.a0, a1=h.a1, a2=h.a2, a3=h.a3, a4=h.a4)
    return {**row, **dict(b0=h.b0, b1=h.b1, b2=h.b2, b3=h.b3, b4=h.b4)}, carry


def add_update(
    xp: Any, s: Any, param: Any, grad: Any, s1: Any, s2: Any, s3: Any, s4: Any,
    y0: Any, y1: Any, y2: Any, y3: Any, y4: Any,
) -> Any:  # fmt: skip
    """Add multiples of five pairs, of which ``grad`` is the first ``s``, to a direction."""
    by_s = s.a0 * grad + s.a1 * s1 + s.a2 * s2 + s.a3 * s3 + s.a4 * s4
    by_y = s.b0 * y0 + s.b1 * y1 + s.b2 * y2 + s.b3 * y3 + s.b4 * y4
    return param + (by_s + by_y), s1, s2, s3, s4, y0, y1, y2, y3, y4


def _rule(
    name: str,
    update: Callable[..., Any],
    reference: str,
    sums: Sequence[str] = (),
    scalars: Callable[..., Any] = none,
    **defaults: float,
) -> Rule:
    per = dict.fromkeys(sums, "tensor")
    return Rule(f"lbfgs_{name}", scalars, update, defaults=defaults, per=per, reference=reference)


KEEP = _rule("keep", keep_update, "A copy of the gradient.")
MOVE = _rule("move", move_update, "A point along a direction.", (), step_length, t=0.0)
SLOPE = _rule("slope", slope_update, "The slope along a direction.", ("slope",))
CHANGE = _rule("change", change_update, "What a step changed.")
DOTS = _rule("dots", dots_update, "Products with a pair.", ("s_dot_grad", "y_dot_grad"))
SCALE = _rule("scale", scale_update, "A multiple of the gradient.", (), factor, factor=-1.0)
ADD = _rule(
    "add", add_update, "Multiples of five pairs.", (), add_scalars, **dict.fromkeys(NAMES, 0.0)
)
