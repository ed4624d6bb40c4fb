"""What the tests of rules with square or thin states share: matrices of several shapes, and steps
on them."""

from __future__ import annotations

import numpy as np
from helpers import off, on

SHAPES = [(6, 11), (3, 4, 5), (5, 1), (6, 11), (0, 4)]


def normal(seed, shapes=SHAPES, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def stepped(make, usual, backend, shapes=SHAPES, dtype=np.float64, steps=6, **options):
    """Return parameters of these shapes after some steps; ``options`` go before the ``usual``
    ones."""
    params = on(backend, normal(1, shapes, dtype))
    optimizer = make(params, backend=backend, **{**usual, **options})
    for k in range(steps):
        optimizer.step(on(backend, normal(10 + k, shapes, dtype)))
    return off(backend, params)
