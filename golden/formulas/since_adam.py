"""The formulas of Adam's younger relatives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np

from .terms import State, Vector, average, norm, root, root_mean_square, sign

cube_root = np.frompyfunc(mpmath.cbrt, 1, 1)


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


def madgrad(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    if t == 1:
        s["start"] = p
    g = g + h.weight_decay * p
    weight = (h.lr + h.eps) * mpmath.sqrt(t)
    s["grad_sum"] = s["grad_sum"] + weight * g
    s["grad_sum_sq"] = s["grad_sum_sq"] + weight * g**2
    z = s["start"] - s["grad_sum"] / (cube_root(s["grad_sum_sq"]) + h.eps)
    p = h.momentum * p + (1 - h.momentum) * z
    s["moved"] = p - s["start"]
    return p


def ftrl(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    n = h.initial_accumulator_value if t == 1 else s["accumulator"]
    sigma = (root(n + g**2) - root(n + 0 * g)) / h.lr
    z = s["linear"] = s["linear"] + g - sigma * p
    n = s["accumulator"] = n + g**2
    w = -(z - sign(z) * h.l1) / ((h.beta + root(n)) / h.lr + h.l2)
    return np.where(abs(z) <= h.l1, mpmath.mpf(0), w)


def projected(h: SimpleNamespace, p: Vector, g: Vector, direction: Vector) -> tuple[Vector, Any]:
    """Return the direction of SGDP as it is taken, and the ratio of the decay."""
    if p.ndim < 2 or not h.projection:
        return direction, 1
    for shape in ((len(p), p.size // len(p)), (1, p.size)):
        rows, grads = p.reshape(shape), g.reshape(shape)
        cosines = [
            abs((x * y).sum()) / (max(norm(x), h.eps) * max(norm(y), h.eps))
            for x, y in zip(rows, grads, strict=True)
        ]
        if max(cosines) < h.delta / mpmath.sqrt(shape[1]):
            units = np.array([x / (norm(x) + h.eps) for x in rows])
            parts = (units * direction.reshape(shape)).sum(axis=1).reshape(-1, 1)
            return direction - (units * parts).reshape(p.shape), h.wd_ratio
    return direction, 1


def sgdp(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    b = s["momentum_buffer"] = h.momentum * s["momentum_buffer"] + (1 - h.dampening) * g
    direction, ratio = projected(h, p, g, g + h.momentum * b if h.nesterov else b)
    decay = h.lr * h.weight_decay * ratio / (1 - h.momentum)
    return p * (1 - decay) - h.lr * direction


def adamp(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    m, v = average(s, "exp_avg", beta1, g), average(s, "exp_avg_sq", beta2, g**2)
    denom = root(v) / mpmath.sqrt(1 - beta2**t) + h.eps
    ahead = beta1 * m + (1 - beta1) * g if h.nesterov else m
    direction, ratio = projected(h, p, g, ahead / denom)
    return p * (1 - h.lr * h.weight_decay * ratio) - h.lr * direction / (1 - beta1**t)


def sophia(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    m = average(s, "exp_avg", h.betas[0], g)
    ratios = m / np.maximum(h.rho * (s["hessian"] + 0 * g), h.eps)
    return decayed(h, p) - h.lr * np.clip(ratios, -1, 1)


def sophia_hessian(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    average(s, "hessian", h.betas[1], g)
    return p


def adam_mini(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    m_hat = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    by_rows = h.rows and p.ndim > 1
    square = (g**2).sum(axis=1) / p.shape[1] if by_rows else (g**2).sum() / p.size
    v_hat = average(s, "exp_avg_sq", beta2, square) / (1 - beta2**t)
    v_hat = v_hat.reshape(-1, 1) if by_rows else np.array([v_hat])
    return decayed(h, p) - h.lr * m_hat / (root(v_hat) + h.eps)


def outer_mean(s: State, names: tuple[str, str], decay: Any, square: Vector) -> Vector:
    """Advance the running means of a matrix along rows and down columns, and return what they say
    of each element."""
    rows, columns = square.shape
    r = average(s, names[0], decay, square.sum(axis=1) / columns)
    c = average(s, names[1], decay, square.sum(axis=0) / rows)
    return np.outer(r, c) / (r.sum() / rows)


def came(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    (beta1, beta2, beta3), (eps1, eps2) = h.betas, h.eps
    factored = h.factored and p.ndim > 1
    if factored:
        v = outer_mean(s, ("exp_avg_sq_row", "exp_avg_sq_col"), beta2, g**2 + eps1)
    else:
        v = average(s, "exp_avg_sq", beta2, g**2 + eps1)
    u = g / root(v)
    u = u / max(1, root_mean_square(u) / h.clip_threshold)
    m = average(s, "exp_avg", beta1, u)
    if factored:
        instability = (u - m) ** 2 + eps2
        m = m / root(outer_mean(s, ("exp_avg_res_row", "exp_avg_res_col"), beta3, instability))
    return decayed(h, p) - h.lr * m


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
