"""The formulas of rules that see a parameter as a matrix, Muon and its relatives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mpmath

from .terms import State, Vector, average, norm, root, sign


def newton_schulz(h: SimpleNamespace, x: Vector) -> Vector:
    """Bring the singular values of a matrix near 1."""
    a, b, c = h.ns_coefficients
    for _ in range(int(h.ns_steps)):
        gram = x.dot(x.T)
        x = a * x + (b * gram + c * gram.dot(gram)).dot(x)
    return x


def orthogonalized(h: SimpleNamespace, eps: Any, g: Vector, s: State) -> Vector:
    """Advance Muon's momentum, and return what Newton and Schulz make of it, as a matrix."""
    m = s["momentum_buffer"] = h.momentum * s["momentum_buffer"] + (
        g if h.summed_momentum else (1 - h.momentum) * g
    )
    if h.nesterov:
        m = (g if h.summed_momentum else (1 - h.momentum) * g) + h.momentum * m
    x = m.reshape(len(m), m.size // len(m))
    return newton_schulz(h, x / max(norm(x), eps))


def muon(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    x = orthogonalized(h, h.eps, g, s)
    rows, columns = x.shape
    if h.match_rms_adamw:
        scale = mpmath.mpf("0.2") * mpmath.sqrt(max(rows, columns))
    else:
        scale = mpmath.sqrt(max(mpmath.mpf(1), mpmath.mpf(rows) / columns))
    return p * (1 - h.lr * h.weight_decay) - h.lr * scale * x.reshape(p.shape)


def normuon(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    x = orthogonalized(h, h.eps[0], g, s)
    rows, columns = x.shape
    v = average(s, "second_momentum_buffer", h.beta2, (x**2).sum(axis=1) / columns)
    y = x / (root(v) + h.eps[1]).reshape(rows, 1)
    if h.match_rms_adamw:
        length = mpmath.mpf("0.2") * mpmath.sqrt(rows * columns)
    else:
        length = norm(x) * mpmath.sqrt(max(mpmath.mpf(1), mpmath.mpf(rows) / columns))
    step = h.lr * length / (norm(y) + h.eps[1]) * y
    return p * (1 - h.lr * h.weight_decay) - step.reshape(p.shape)


def conditional_gradient(h: SimpleNamespace, p: Vector, direction: Vector) -> Vector:
    """Take Scion's step along a matrix of length 1 in the layer's norm."""
    return p * (1 - h.lr * h.weight_decay) - h.lr * h.scale * direction.reshape(p.shape)


def scion_mean(h: SimpleNamespace, g: Vector, s: State) -> tuple[Vector, Any, Any]:
    """Advance the mean of gradients, and return it as a matrix, with its rows and columns."""
    m = average(s, "momentum_buffer", 1 - h.alpha, g)
    x = m.reshape(len(m), m.size // len(m))
    return x, *map(mpmath.mpf, x.shape)


def scion(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    x, rows, columns = scion_mean(h, g, s)
    orthogonal = newton_schulz(h, x / max(norm(x), h.eps))
    return conditional_gradient(h, p, mpmath.sqrt(rows / columns) * orthogonal)


def scion_sign(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    x, _, columns = scion_mean(h, g, s)
    return conditional_gradient(h, p, sign(x) / columns)


def scion_rows(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    x, _, columns = scion_mean(h, g, s)
    norms = root((x**2).sum(axis=1, keepdims=True))
    return conditional_gradient(h, p, x / (norms * mpmath.sqrt(columns) + h.eps))


def scion_columns(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    x, rows, _ = scion_mean(h, g, s)
    return conditional_gradient(h, p, x / (root((x**2).sum(axis=0, keepdims=True) / rows) + h.eps))
