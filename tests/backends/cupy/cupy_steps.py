"""What the tests of steps on a CUDA device share: the same optimizer on NumPy and there."""

from __future__ import annotations

import numpy as np
import samestep as ss
from helpers import on, random_like

SHAPES = [(300, 7), (5,), (), (70_001,)]


def start():
    rng = np.random.default_rng(0)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]


def pair(rule, **hyper):
    """The same optimizer on NumPy and on the device."""
    return [
        ss.Optimizer(rule, on(name, start()), backend=name, **hyper) for name in ("numpy", "cupy")
    ]


def grads(seed):
    return [np.asarray(g) for g in random_like(start(), seed)]


class Counts:
    """How often something of CuPy is called."""

    def __init__(self, monkeypatch, owner, name):
        self.count = 0
        original = getattr(owner, name)

        def counted(*args, **kwargs):
            self.count += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)
