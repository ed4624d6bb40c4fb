"""The formulas of rules that keep products of gradients, such as Shampoo. Their parameters are
matrices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np

from .terms import State, Vector, average, norm, root

SMALL = mpmath.mpf("1e-20")  # no eigenvalue of the cases' sums of products is that small, but 0


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


def soap(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    x, k = g.reshape(len(g), g.size // len(g)), t - 1
    if t == 1:
        s["exp_avg"], s["exp_avg_sq"], after = 0 * g, 0 * g, p
    else:
        left, right = s["row_basis"], s["column_basis"]
        m = average(s, "exp_avg", beta1, g).reshape(x.shape)
        v = average(s, "exp_avg_sq", beta2, left.T.dot(x).dot(right).reshape(p.shape) ** 2)
        ratio = left.T.dot(m).dot(right) / (root(v).reshape(x.shape) + h.eps)
        scale = h.lr * mpmath.sqrt(1 - beta2**k) / (1 - beta1**k)
        step = scale * left.dot(ratio).dot(right.T).reshape(p.shape)
        after = p * (1 - h.lr * h.weight_decay) - step
    for name, product in (("row", x.dot(x.T)), ("column", x.T.dot(x))):
        gram = average(s, f"{name}_gram", h.shampoo_beta, product)
        s[f"{name}_age"] += 1
        if t == 1 or s[f"{name}_age"] >= h.precondition_frequency:
            s[f"{name}_age"] = mpmath.mpf(0)
            before = s[f"{name}_basis"]
            s[f"{name}_basis"] = eigenvectors(gram) if t == 1 else iterated(gram, before)
    return after


def psgd_kron(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    names = "row_factor", "column_factor"
    if t == 1:
        s["mean"] = g
        s["scale"] = 1 / mpmath.sqrt((g**2).sum() / g.size + mpmath.mpf(h.damping) ** 2)
        rows, columns = len(g), g.size // len(g)
        for name, side in zip(names, (rows, columns), strict=True):
            s[name] = np.array(mpmath.eye(side).tolist(), object)
    s["mean"] = h.momentum * s["mean"] + (1 - mpmath.mpf(h.momentum)) * g
    left, right = (s[name].dot(s[name]) for name in names)
    x = left.dot(s["scale"] * s["mean"].reshape(len(left), len(right))).dot(right)
    s["age"] += 1
    if t > 1 and s["age"] >= h.precondition_frequency:
        s["age"] = mpmath.mpf(0)
        for name, product in zip(names, (x.dot(x.T), x.T.dot(x)), strict=True):
            q, expected = s[name], x.size // len(s[name])
            damped = product + h.damping * expected * q.dot(q).dot(q).dot(q)
            cube = damped.dot(damped).dot(damped)
            norm = np.trace(cube.dot(damped)) / np.trace(cube)
            identity = np.array(mpmath.eye(len(q)).tolist(), object)
            m = identity - h.preconditioner_lr / 2 / (norm + expected) * (
                damped - expected * identity
            )
            s[name] = m.dot(q).dot(m)
    elif t == 1:
        s["age"] = mpmath.mpf(0)
    rms = mpmath.sqrt((x**2).sum() / x.size)
    step = x.reshape(p.shape) * min(1, h.clip_rms / rms) if rms else 0 * p
    return p * (1 - h.lr * h.weight_decay) - h.lr * h.update_rms * step


def eigenvectors(gram: Vector) -> Vector:
    """Return the eigenvectors of a symmetric matrix, the largest eigenvalue first; the first
    element of each that is no less than 0.4 of the largest is positive."""
    values, vectors = mpmath.eigsy(mpmath.matrix(gram.tolist()))
    columns = np.array(vectors.tolist(), object).T[::-1]
    known = [v for v, value in zip(columns, reversed(values), strict=True) if value > SMALL]
    signed = [v if v[abs(v) > abs(v).max() * mpmath.mpf("0.4")][0] > 0 else -v for v in known]
    identity = np.array(mpmath.eye(len(gram)).tolist(), object)
    return completed(dict(enumerate(signed)), identity)


def iterated(gram: Vector, before: Vector) -> Vector:
    """Return ``before`` after a step of power iteration: the Gram-Schmidt process over the columns
    of the product, the longest first."""
    product = gram.dot(before)
    lengths = (before * product).sum(0)
    found: dict[int, Vector] = {}
    for k in sorted(range(len(gram)), key=lambda k: -lengths[k]):
        rest = outside(product[:, k], found)
        if norm(rest) > SMALL:
            found[k] = rest / norm(rest)
    return completed(found, before)


def completed(found: dict[int, Vector], basis: Vector) -> Vector:
    """Return a matrix of these columns, in their places; in the other places are columns of
    ``basis`` less what the matrix has of them, those of the same places first, where 0.4 of the
    mean is left."""
    side = len(basis)
    places = [k for k in range(side) if k not in found]
    result = dict(found)
    for k in places + sorted(found):
        rest = outside(basis[:, k], result)
        if norm(rest) ** 2 > mpmath.mpf("0.4") / side and len(result) < side:
            result[places[len(result) - len(found)]] = rest / norm(rest)
    return np.array([result[k] for k in range(side)], object).T


def outside(x: Vector, found: dict[int, Vector]) -> Vector:
    """Return a vector less its parts along orthonormal ones, twice, so that no rounding is left."""
    for v in [*found.values()] * 2:
        x = x - v * v.dot(x)
    return x
