"""The formulas of rules that go by sums over all parameters.

``s["common"]`` is the state that all tensors share. Before the tensors of a step comes the function
of `BEFORE` of the same name, which makes of the last step's sums what this step goes by.
"""

from __future__ import annotations

from types import SimpleNamespace

import mpmath

from .terms import State, Vector, average, root


def before_prodigy(h: SimpleNamespace, common: State) -> None:
    d = common["d"] or h.d0
    d_hat = h.d_coef * common["r"] / common["norm"] if common["norm"] else d
    at_start = d == h.d0  # where any growth is allowed
    common["d_max"] = max(common["d_max"], d, d_hat)
    common["d"] = common["d_max"]
    if h.growth_rate:
        grown = h.growth_rate * (common["d_max"] if at_start else d)
        common["d"] = min(common["d_max"], grown)
    common["r"] *= mpmath.sqrt(h.betas[1])
    common["norm"] = mpmath.mpf(0)


def prodigy(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    (beta1, beta2), common = h.betas, s["common"]
    beta3, d = mpmath.sqrt(beta2), common["d"]
    gamma = h.lr
    if h.use_bias_correction:
        gamma = gamma * mpmath.sqrt(1 - beta2**t) / (1 - beta1**t)
    if t == 1:
        s["p0"] = p
    m = average(s, "exp_avg", beta1, d * g)
    v = average(s, "exp_avg_sq", beta2, d**2 * g**2)
    s["numerator"] = gamma * d**2 / h.d0 * (g * (s["p0"] - p)).sum()
    s["grad_sum"] = beta3 * s["grad_sum"] + (1 if h.safeguard_warmup else gamma) * d**2 / h.d0 * g
    s["denominator"] = abs(s["grad_sum"]).sum()
    common["r"] += s["numerator"]
    common["norm"] += s["denominator"]
    return p - gamma * d * (m / (root(v) + d * h.eps) + h.weight_decay * p)


def before_dadapt_adam(h: SimpleNamespace, common: State) -> None:
    d = common["d"] or h.d0
    d_hat = common["r"] / common["norm"] if common["norm"] else d
    common["d"] = max(d, min(d_hat, d * h.growth_rate) if h.growth_rate else d_hat)
    common["r"] *= mpmath.sqrt(h.betas[1])
    common["norm"] = mpmath.mpf(0)


def dadapt_adam(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    (beta1, beta2), common = h.betas, s["common"]
    rest, step = 1 - mpmath.sqrt(beta2), common["d"] * h.lr
    if h.use_bias_correction:
        step = step * mpmath.sqrt(1 - beta2**t) / (1 - beta1**t)
    decay = 0
    if h.decoupled_weight_decay:
        decay = step * h.weight_decay * p
    else:
        g = g + h.weight_decay * p
    if t > 1:  # before, there is no sum
        s["numerator"] = rest * step * (g * s["grad_sum"] / (root(s["exp_avg_sq"]) + h.eps)).sum()
    m = average(s, "exp_avg", beta1, step * g)
    v = average(s, "exp_avg_sq", beta2, g**2)
    s["denominator"] = rest * abs(average(s, "grad_sum", mpmath.sqrt(beta2), step * g)).sum()
    common["r"] += s["numerator"]
    common["norm"] += s["denominator"]
    return p - m / (root(v) + h.eps) - decay


BEFORE = {"prodigy": before_prodigy, "dadapt_adam": before_dadapt_adam}
