"""The formulas of rules that keep products of gradients, such as Shampoo, for the oracle; written as
those in ``formulas.py`` are. Their parameters are matrices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np

from .formulas import State, Vector, average, norm, root


def power(matrix: Vector, exponent: Any) -> Vector:
    """Return a power of a symmetric matrix, by its eigenvalues."""
    values, vectors = mpmath.eigsy(mpmath.matrix(matrix.tolist()))
    v = np.array(vectors.tolist(), object)
    return (v * np.array([value**exponent for value in values], object)).dot(v.T)


def shampoo(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    x = g.reshape(len(g), g.size // len(g))
    for name, product in (("row", x.dot(x.T)), ("column", x.T.dot(x))):
        if beta2 < 1:
            gram = average(s, f"{name}_gram", beta2, product)
            mean = gram / (1 - beta2**t)
        else:
            mean = s[f"{name}_gram"] = s[f"{name}_gram"] + product
        s[f"{name}_age"] += 1
        first = t == h.start_preconditioning_step
        later = t > h.start_preconditioning_step and s[f"{name}_age"] >= h.precondition_frequency
        if first or later:
            s[f"{name}_age"] = mpmath.mpf(0)
            identity = np.array(mpmath.eye(len(mean)).tolist(), object)
            s[f"{name}_root"] = power(mean + h.eps * identity, -h.exponent)
    m = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    graft = m
    if h.grafting_beta2:
        beta2 = h.grafting_beta2
        v = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
        graft = m / (root(v) + h.grafting_eps)
    direction = graft
    if t >= h.start_preconditioning_step:
        between = s["row_root"].dot(m.reshape(x.shape)).dot(s["column_root"]).reshape(p.shape)
        length = norm(m if h.sgd_grafting else graft)
        grafted = h.grafting_beta2 or h.sgd_grafting
        scale = length / (norm(between) + mpmath.mpf("1e-16")) if grafted else 1
        direction = scale * between
    return p * (1 - h.lr * h.weight_decay) - h.lr * direction
