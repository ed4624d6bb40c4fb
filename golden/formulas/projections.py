"""The formulas of rules that project a gradient by random signs; and the signs, from the paper of
their generator."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np

from .since_adam import decayed
from .terms import State, Vector, average, norm, root


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """Return four random words of 32 bits: Philox4x32-10 of Salmon et al., Parallel Random Numbers:
    As Easy as 1, 2, 3, SC'11."""
    words, (first, second) = list(counter), key
    for _ in range(10):
        high0, low0 = divmod(words[0] * 0xD2511F53, 2**32)
        high1, low1 = divmod(words[2] * 0xCD9E8D57, 2**32)
        words = [high1 ^ words[1] ^ first, low1, high0 ^ words[3] ^ second, low0]
        first, second = (first + 0x9E3779B9) % 2**32, (second + 0xBB67AE85) % 2**32
    return words


def random_sign(index: int, seed: int, renewal: int) -> int:
    """Return the sign of a row or column: minus where the highest of its 16 bits is set."""
    words = philox((index // 8, 0, 0, 2**32 - 1), (seed, renewal))
    return -1 if words[index % 8 // 2] >> (31 if index % 2 else 15) & 1 else 1


def apollo_mini(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    projected = h.projected and p.ndim > 1
    r = g
    if projected:
        renewal = int(mpmath.floor((t - 1) / h.update_proj_gap))
        signs = [random_sign(j, int(h.projection_seed), renewal) for j in range(g[0].size)]
        r = g.reshape(len(g), -1).dot(np.array(signs))
    m, v = average(s, "exp_avg", beta1, r), average(s, "exp_avg_sq", beta2, r**2)
    adapted = m / (root(v) + h.eps)
    step_size = h.lr * mpmath.sqrt(1 - beta2**t) / (1 - beta1**t)
    if not projected:
        return decayed(h, p) - step_size * adapted
    tiny = mpmath.mpf("1e-8")
    update = g * (norm(adapted) / (norm(r) + tiny))
    if t > 1:
        growth = norm(update) / (s["update_norm"] + tiny)
        update = update / (max(growth, h.norm_growth) / h.norm_growth)
    s["update_norm"] = norm(update)
    return decayed(h, p) - step_size * mpmath.sqrt(h.scale) * update
