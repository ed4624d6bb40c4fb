"""The formulas of Adam's younger relatives, for the oracle: from their papers, as those in `formulas`."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np

from .formulas import State, Vector, average, norm, root, sign


def decayed(h: SimpleNamespace, p: Vector) -> Vector:
    return p * (1 - h.lr * h.weight_decay)


def ademamix(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2, beta3 = h.betas
    fast = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    slow = average(s, "exp_avg_slow", beta3, g)
    v_hat = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
    return decayed(h, p) - h.lr * (fast + h.alpha * slow) / (root(v_hat) + h.eps)


def mars_gradient(h: SimpleNamespace, beta1: mpmath.mpf, g: Vector, s: State) -> Vector:
    c = g + h.gamma * beta1 / (1 - beta1) * (g - s["last_grad"])
    s["last_grad"] = g
    return c / norm(c) if norm(c) > 1 else c


def mars_adamw(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    c = mars_gradient(h, beta1, g, s)
    m_hat = average(s, "exp_avg", beta1, c) / (1 - beta1**t)
    v_hat = average(s, "exp_avg_sq", beta2, c**2) / (1 - beta2**t)
    return decayed(h, p) - h.lr * m_hat / (root(v_hat) + h.eps)


def mars_lion(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    m = average(s, "exp_avg", h.beta1, mars_gradient(h, h.beta1, g, s))
    return decayed(h, p) - h.lr * sign(m)


def adan(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2, beta3 = h.betas
    difference = g - g if t == 1 else g - s["last_grad"]
    s["last_grad"] = g
    m_hat = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    d_hat = average(s, "exp_avg_diff", beta2, difference) / (1 - beta2**t)
    n_hat = average(s, "exp_avg_sq", beta3, (g + beta2 * difference) ** 2) / (1 - beta3**t)
    p = p - h.lr * (m_hat + beta2 * d_hat) / (root(n_hat) + h.eps)
    return p / (1 + h.lr * h.weight_decay)


def adabelief(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    m = average(s, "exp_avg", beta1, g)
    s["exp_avg_var"] = beta2 * s["exp_avg_var"] + (1 - beta2) * (g - m) ** 2 + h.eps
    v_hat = s["exp_avg_var"] / (1 - beta2**t)
    return decayed(h, p) - h.lr * m / (1 - beta1**t) / (root(v_hat) + h.eps)


def yogi(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    if t == 1:
        s["exp_avg"] = s["exp_avg_sq"] = h.initial_accumulator_value + 0 * g
    m_hat = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    v = s["exp_avg_sq"]
    v = s["exp_avg_sq"] = v - (1 - beta2) * sign(v - g**2) * g**2
    return decayed(h, p) - h.lr * m_hat / (root(v / (1 - beta2**t)) + h.eps)


def adopt(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    if not h.decoupled_weight_decay:
        g = g + h.weight_decay * p
    if t == 1:
        s["exp_avg"], s["exp_avg_sq"] = 0 * g, g**2
        return p
    limit = mpmath.mpf(t - 1) ** h.clip_exponent
    normalized = g / np.maximum(root(s["exp_avg_sq"]), h.eps)
    m = average(s, "exp_avg", beta1, np.minimum(np.maximum(normalized, -limit), limit))
    average(s, "exp_avg_sq", beta2, g**2)
    return (decayed(h, p) if h.decoupled_weight_decay else p) - h.lr * m


def laprop(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    v_hat = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
    m = average(s, "exp_avg", beta1, g / (root(v_hat) + h.eps))
    return decayed(h, p) - h.lr * m / (1 - beta1**t)


def grams(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    m_hat = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    v_hat = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
    return decayed(h, p) - h.lr * sign(g) * abs(m_hat / (root(v_hat) + h.eps))
