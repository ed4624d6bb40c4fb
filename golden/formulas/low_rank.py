"""The formulas of rules that keep states of a low rank, such as Dion. Their parameters are
matrices."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np

from .square_states import eigenvectors
from .terms import State, Vector, average, norm, root

SMALL = mpmath.mpf(
    "1e-20"
)  # no column of the cases' products is that short beside those before it, but 0


def dion(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    rows, columns = len(g), g.size // len(g)
    rank = int(min(h.rank, rows, columns))
    q = random_numbers(int(h.basis_seed), columns, rank) if t == 1 else s["basis"]
    m = s["momentum"] + g
    x = m.reshape(rows, columns)
    left = orthonormal(x.dot(q))
    right = x.T.dot(left)
    lengths = [norm(column) for column in right.T]
    units = [c / (n + h.eps) if n else old for c, n, old in zip(right.T, lengths, q.T, strict=True)]
    q = s["basis"] = np.array(units, object).T
    s["momentum"] = m - (1 - h.mu) * left.dot(right.T).reshape(p.shape)
    step = mpmath.sqrt(mpmath.mpf(rows) / columns) * left.dot(q.T)
    return p * (1 - h.lr * h.weight_decay) - h.lr * step.reshape(p.shape)


def galore(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    beta1, beta2 = h.betas
    x = g.reshape(len(g), g.size // len(g))
    tall = x if len(x) >= len(x.T) else x.T
    s["age"] += 1
    if t == 1 or s["age"] >= h.update_proj_gap:
        s["age"] = mpmath.mpf(0)
        # singular vectors of a matrix are eigenvectors of its product with itself
        s["basis"] = eigenvectors(tall.T.dot(tall))[:, : int(h.rank)]
    if t == 1:
        s["exp_avg"] = s["exp_avg_sq"] = 0 * tall.dot(s["basis"])
    low = tall.dot(s["basis"])
    m = average(s, "exp_avg", beta1, low)
    v = average(s, "exp_avg_sq", beta2, low**2)
    back = (m / (root(v) + h.eps)).dot(s["basis"].T)
    step = h.scale * mpmath.sqrt(1 - beta2**t) / (1 - beta1**t) * (back if tall is x else back.T)
    return p * (1 - h.lr * h.weight_decay) - h.lr * step.reshape(p.shape)


def orthonormal(columns: Vector) -> Vector:
    """Return the columns after the Gram-Schmidt process; zeros for those that nothing is left
    of."""
    found: list[Vector] = []
    for column in columns.T:
        rest = column
        for v in found * 2:  # twice, so that no rounding is left
            rest = rest - v * v.dot(rest)
        long = norm(rest) > SMALL * norm(column)
        found.append(rest / norm(rest) if long else 0 * rest)
    return np.array(found, object).T


def random_numbers(seed: int, rows: int, columns: int) -> Vector:
    """Return numbers between -1 and 1 of the upper 24 bits of the words of Philox4x32-10, row by
    row."""
    words = [word for call in range(-(-rows * columns // 4)) for word in philox(call, seed)]
    numbers = [mpmath.mpf(2 * (word >> 8) + 1 - 2**24) / 2**24 for word in words[: rows * columns]]
    return np.array(numbers, object).reshape(rows, columns)


def philox(call: int, seed: int) -> list[int]:
    """Return the four words of Philox4x32-10 for the counter (call, 0, 0, 0) and the key (seed, 0):
    Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC'11."""
    counter, key = [call, 0, 0, 0], [seed, 0]
    for _ in range(10):
        first, second = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (second >> 32) ^ counter[1] ^ key[0], second % 2**32,
            (first >> 32) ^ counter[3] ^ key[1], first % 2**32,
        ]  # fmt: skip
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter
