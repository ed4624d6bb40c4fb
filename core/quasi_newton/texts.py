"""The texts of the passes over vectors of an L-BFGS iteration: rules, which every backend launches.

A pass computes in float64 on each element, in the order in which its text is written, and its sums
have the order of `samestep.language.summation`. So all of them have the same bits everywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..language.rule import Rule


def none(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return no scalars."""
    return {}, carry


def step_length(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return how far a point lies along the direction."""
    return dict(t=h.t), carry


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


@cache
def direction_rule(history: int) -> Rule:
    """Return the rule that forms the direction from the gradient and this many pairs: the
    combination of them with the coefficients that are its scalars."""
    changes = [f"s{k}" for k in range(history)]
    grad_changes = [f"y{k}" for k in range(history)]
    vectors = (*changes, *grad_changes)
    coefficients = ("of_grad", *(f"of_{name}" for name in vectors))

    def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
        return {name: getattr(h, name) for name in coefficients}, carry

    def update(xp: Any, s: Any, param: Any, grad: Any, *states: Any) -> Any:
        result = s.of_grad * grad
        for name, vector in zip(vectors, states, strict=True):
            result = result + getattr(s, f"of_{name}") * vector
        return result, *states

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ("xp", "s", "param", "grad", *vectors)
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    update.__signature__ = signature  # type: ignore[attr-defined]
    about = "The direction as a combination of the gradient and all pairs."
    zeros = dict.fromkeys(coefficients, 0.0)
    return _rule("direction", update, about, (), scalars, **zeros)
