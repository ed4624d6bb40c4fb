"""The formulas of rules that train one point and evaluate another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mpmath

from .terms import State, Vector, average, root


def schedule_free(
    h: SimpleNamespace, t: int, y: Vector, d: Vector, s: State, lr: Any, beta1: Any
) -> Vector:
    """Take a step in the direction ``d``; the paper's x is in the state, and returned is y."""
    if t == 1:
        s["z"] = s["x"] = y
    elif s["beta1"] != beta1:  # the steps know y and z, and take x from these
        s["x"] = (y - (1 - beta1) * s["z"]) / beta1
    s["beta1"] = beta1
    s["largest"] = max(lr, s["largest"])
    weight = mpmath.mpf(t) ** h.r * s["largest"] ** h.weight_lr_power
    s["sum"] += weight
    c = weight / s["sum"] if s["sum"] else 0
    s["z"] = s["z"] - lr * (d + h.weight_decay * y)
    s["x"] = (1 - c) * s["x"] + c * s["z"]
    return beta1 * s["x"] + (1 - beta1) * s["z"]


def warmed(h: SimpleNamespace, t: int) -> Any:
    return h.lr * min(1, t / h.warmup_steps)


def sgd_schedulefree(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    return schedule_free(h, t, p, g, s, warmed(h, t), h.momentum)


def adamw_schedulefree(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    v_hat = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
    return schedule_free(h, t, p, g / (root(v_hat) + h.eps), s, warmed(h, t), beta1)


def radam_schedulefree(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    v_hat = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return schedule_free(h, t, p, g, s, 0 if h.silent_sgd_phase else h.lr, beta1)
    r = mpmath.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return schedule_free(h, t, p, g / (root(v_hat) + h.eps), s, h.lr * r, beta1)
