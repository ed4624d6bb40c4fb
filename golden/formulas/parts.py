"""The formulas of rules that are composed of parts: `FORMULAS`, from the papers of the parts,
around the formulas of the rules inside."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import mpmath
import numpy as np

from .classical import adagrad, adam, adamw, lion, rmsprop, sgd
from .terms import State, Vector, norm, root_mean_square, sign

Formula = Callable[[SimpleNamespace, int, Vector, Vector, State], Vector]


def without_decay(h: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(h), "weight_decay": mpmath.mpf(0)})


def with_delta(formula: Formula, change: Callable[..., Vector], beside: bool) -> Formula:
    """Return a formula that subtracts ``change(h, p, g, u)`` where this one subtracts ``u``; its
    decay is ``beside`` the step, and stays, or in the gradient."""

    def step(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
        u = p - formula(without_decay(h) if beside else h, t, p, g, s)
        return p - change(h, p, g, u) - (h.lr * h.weight_decay * p if beside else 0)

    return step


def with_gradient(formula: Formula, change: Callable[..., Vector]) -> Formula:
    """Return a formula that sees ``change(h, p, g)`` instead of the gradient."""
    return lambda h, t, p, g, s: formula(h, t, p, change(h, p, g), s)


def with_decay(formula: Formula, decay: Callable[..., Vector]) -> Formula:
    """Return a formula whose decay is ``decay(h, p, u)`` beside its step ``u``."""

    def step(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
        u = p - formula(without_decay(h), t, p, g, s)
        return p - u - decay(h, p, u)

    return step


def positive(x: Vector) -> Vector:
    """Return 1 where an element is positive, else 0."""
    return np.array(x > 0, int)


def where_gradient_agrees(h: SimpleNamespace, p: Vector, g: Vector, u: Vector) -> Vector:
    agrees = positive(u * g)
    share = mpmath.mpf(int(agrees.sum())) / agrees.size
    return u * agrees / max(share, mpmath.mpf("0.001"))


def centered(h: SimpleNamespace, p: Vector, g: Vector) -> Vector:
    return g - g.sum(axis=1, keepdims=True) / g.shape[1] if g.ndim == 2 else g


def clipped_to_param(h: SimpleNamespace, p: Vector, g: Vector) -> Vector:
    if g.ndim == 2:
        rows = zip(p, g, strict=True)
        return np.array([clipped_to_param(h, *row) for row in rows])
    limit = h.clip_ratio * max(norm(p), h.clip_floor)
    return g * min(mpmath.mpf(1), limit / norm(g))


def rms_at_most(h: SimpleNamespace, p: Vector, g: Vector, u: Vector) -> Vector:
    return u / max(1, root_mean_square(u) / (h.lr * h.rms_limit))


def lookahead(formula: Formula) -> Formula:
    def step(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
        if t == 1:
            s["slow"] = p
        p = formula(h, t, p, g, s)
        s["fast steps"] += 1
        if s["fast steps"] >= h.sync_period:
            s["fast steps"] = mpmath.mpf(0)
            p = s["slow"] = s["slow"] + h.slow_step * (p - s["slow"])
        return p

    return step


FORMULAS: dict[str, Formula] = {
    "cautious_adamw": with_delta(adamw, where_gradient_agrees, beside=True),
    "cautious_lion": with_delta(lion, where_gradient_agrees, beside=True),
    "cautious_decay_lion": with_decay(
        lion, lambda h, p, u: h.lr * h.weight_decay * p * positive(u * p)
    ),
    "centralized_sgd": with_gradient(sgd, centered),
    "adaptively_clipped_sgd": with_gradient(sgd, clipped_to_param),
    "rms_clipped_adamw": with_delta(adamw, rms_at_most, beside=True),
    "signed_sgd": with_delta(sgd, lambda h, p, g, u: h.lr * sign(u), beside=False),
    "trust_ratio_adam": with_delta(
        adam, lambda h, p, g, u: h.lr * norm(p) / norm(u) * u, beside=False
    ),
    "decoupled_adagrad": with_decay(adagrad, lambda h, p, u: h.lr * h.weight_decay * p),
    "independent_rmsprop": with_decay(rmsprop, lambda h, p, u: h.weight_decay * p),
    "lookahead_adamw": lookahead(adamw),
}
