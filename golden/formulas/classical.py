"""The formulas of the optimizers that are known longest, SGD to Lion."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np

from .terms import State, Vector, average, norm, root, root_mean_square, sign


def sgd(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    g = g + h.weight_decay * p
    if h.momentum == 0:
        return p - h.lr * g
    s["momentum_buffer"] = (
        g if t == 1 else h.momentum * s["momentum_buffer"] + (1 - h.dampening) * g
    )
    if h.nesterov:
        g = g + h.momentum * s["momentum_buffer"]
        return p - h.lr * g
    return p - h.lr * s["momentum_buffer"]


def adam_direction(h: SimpleNamespace, t: int, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    m = average(s, "exp_avg", beta1, g)
    v = average(s, "exp_avg_sq", beta2, g**2)
    if getattr(h, "amsgrad", False):
        v = s["max_exp_avg_sq"] = np.maximum(s["max_exp_avg_sq"], v)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return m_hat / (root(v_hat) + h.eps)


def adam(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    return p - h.lr * adam_direction(h, t, g + h.weight_decay * p, s)


def adamw(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    return p * (1 - h.lr * h.weight_decay) - h.lr * adam_direction(h, t, g, s)


def stableadamw(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    direction = adam_direction(h, t, g, s)
    v_hat = s["exp_avg_sq"] / (1 - h.betas[1] ** t)
    rms = root_mean_square(g / root(np.maximum(v_hat, h.eps**2)))
    eta = h.lr / max(1, rms)
    return p * (1 - eta * h.weight_decay) - eta * direction


def sparseadam(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    m = average(s, "exp_avg", beta1, g)
    v = average(s, "exp_avg_sq", beta2, g**2)
    alpha = h.lr * mpmath.sqrt(1 - beta2**t) / (1 - beta1**t)
    return p - alpha * m / (root(v) + h.eps)


def lamb(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    update = adam_direction(h, t, g, s) + h.weight_decay * p
    trust = norm(p) / norm(update) if norm(p) and norm(update) else 1
    return p - h.lr * trust * update


def lars(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    denominator = norm(g) + h.weight_decay * norm(p) + h.eps
    trust = h.trust_coefficient * norm(p) / denominator if norm(p) and norm(g) else 1
    d = trust * (g + h.weight_decay * p)
    if h.momentum == 0:
        return p - h.lr * d
    b = s["momentum_buffer"] = h.momentum * s["momentum_buffer"] + d
    return p - h.lr * (d + h.momentum * b if h.nesterov else b)


def novograd(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    if t == 1:
        s["exp_avg_sq"] = norm(g) ** 2
    else:
        average(s, "exp_avg_sq", beta2, norm(g) ** 2)
    normalized = g / (mpmath.sqrt(s["exp_avg_sq"]) + h.eps)
    s["exp_avg"] = beta1 * s["exp_avg"] + normalized + h.weight_decay * p
    return p - h.lr * s["exp_avg"]


def adafactor(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    eps1, eps2 = h.eps
    beta2 = 1 - mpmath.mpf(t) ** h.beta2_decay
    square = g**2 + eps1
    if p.ndim == 2 and h.factored:
        rows, columns = p.shape
        r = average(s, "exp_avg_sq_row", beta2, square.sum(axis=1) / columns)
        c = average(s, "exp_avg_sq_col", beta2, square.sum(axis=0) / rows)
        v = np.outer(r, c) / (r.sum() / rows)
    else:
        v = average(s, "exp_avg_sq", beta2, square)
    u = g / root(v)
    u = u / max(1, root_mean_square(u) / h.d)
    rho = min(h.lr, 1 / mpmath.sqrt(t)) if h.relative_step else h.lr
    alpha = max(eps2, root_mean_square(p)) * rho if h.scale_parameter else rho
    step = average(s, "exp_avg", h.beta1, alpha * u) if h.beta1 else alpha * u
    return p - step - alpha * h.weight_decay * p


def rmsprop(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    g = g + h.weight_decay * p
    v = average(s, "square_avg", h.alpha, g**2)
    if h.centered:
        v = v - average(s, "grad_avg", h.alpha, g) ** 2
    d = g / (root(v) + h.eps)
    if h.momentum:
        d = s["momentum_buffer"] = h.momentum * s["momentum_buffer"] + d
    return p - h.lr * d


def adagrad(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    g = g + h.weight_decay * p
    s["sum"] = (h.initial_accumulator_value if t == 1 else s["sum"]) + g**2
    return p - h.lr / (1 + (t - 1) * h.lr_decay) * g / (root(s["sum"]) + h.eps)


def sm3(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    keep, take = (1, 1) if h.beta2 == 1 else (h.beta2, 1 - h.beta2)
    if p.ndim == 2 and h.factored:
        previous = np.minimum.outer(s["accumulator_row"], s["accumulator_col"])
        v = keep * previous + take * g**2
        s["accumulator_row"], s["accumulator_col"] = v.max(axis=1), v.max(axis=0)
    else:
        v = s["accumulator"] = keep * s["accumulator"] + take * g**2
    d = g / root(v + h.eps)
    return p - h.lr * (average(s, "exp_avg", h.momentum, d) if h.momentum else d)


def adadelta(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    g = g + h.weight_decay * p
    v = average(s, "square_avg", h.rho, g**2)
    delta = root((s["acc_delta"] + h.eps) / (v + h.eps)) * g
    average(s, "acc_delta", h.rho, delta**2)
    return p - h.lr * delta


def adamax(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    g = g + h.weight_decay * p
    m = average(s, "exp_avg", beta1, g)
    u = s["exp_inf"] = np.maximum(beta2 * s["exp_inf"], abs(g) + h.eps)
    return p - h.lr / (1 - beta1**t) * m / u


def nadam(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    if not h.decoupled_weight_decay:
        g = g + h.weight_decay * p
    m = average(s, "exp_avg", beta1, g)
    v_hat = average(s, "exp_avg_sq", beta2, g**2) / (1 - beta2**t)
    mu, mu_next = (
        beta1 * (1 - mpmath.mpf("0.96") ** (k * h.momentum_decay) / 2) for k in (t, t + 1)
    )
    product = s["mu_product"] = mu * (1 if t == 1 else s["mu_product"])
    blend = (1 - mu) / (1 - product) * g + mu_next / (1 - product * mu_next) * m
    decayed = p * (1 - h.lr * h.weight_decay) if h.decoupled_weight_decay else p
    return decayed - h.lr * blend / (root(v_hat) + h.eps)


def radam(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    if not h.decoupled_weight_decay:
        g = g + h.weight_decay * p
    m_hat = average(s, "exp_avg", beta1, g) / (1 - beta1**t)
    v = average(s, "exp_avg_sq", beta2, g**2)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    decayed = p * (1 - h.lr * h.weight_decay) if h.decoupled_weight_decay else p
    if rho <= 5:
        return decayed - h.lr * m_hat
    r = mpmath.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return decayed - h.lr * m_hat * r * mpmath.sqrt(1 - beta2**t) / (root(v) + h.eps)


def asgd(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    g = g + h.weight_decay * p
    eta = h.lr / (1 + h.lambd * h.lr * (t - 1)) ** h.alpha
    p = p * (1 - h.lambd * eta) - eta * g
    mu = 1 / max(mpmath.mpf(1), t - 1 - h.t0)
    s["ax"] = s["ax"] + mu * (p - s["ax"])
    return p


def lion(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    direction = sign(beta1 * s["exp_avg"] + (1 - beta1) * g)
    average(s, "exp_avg", beta2, g)
    return p * (1 - h.lr * h.weight_decay) - h.lr * direction


def signsgd(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    return p * (1 - h.lr * h.weight_decay) - h.lr * sign(g)


def signum(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    m = average(s, "momentum_buffer", h.momentum, g)
    return p * (1 - h.lr * h.weight_decay) - h.lr * sign(m)


def rprop(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    """Take the first step; there is no gradient before it that could agree or disagree."""
    if t != 1:
        raise NotImplementedError("the truth of a rule that takes a sign is one step")
    s["prev"] = g + h.weight_decay * p
    smallest, largest = h.step_sizes
    s["step_size"] = np.full(p.shape, min(max(h.lr, smallest), largest))
    return p - sign(s["prev"]) * s["step_size"]
