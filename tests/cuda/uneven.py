"""Runs the same random steps on any backend, on tensors that lie anywhere in memory."""

from __future__ import annotations

import numpy as np
import samestep as ss
from printed_backend import lying_at
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from variants import values

# shape, and how far behind alignment parameter (with its state) and gradient lie, in elements:
# groups of neighbours need a head of single elements, or, where the gradient lies otherwise, there
# are none
VECTORS = [
    ((1001,), 0, 0),
    ((2500,), 1, 1),
    ((517,), 3, 3),
    ((300,), 1, 2),
    ((2,), 1, 1),
    ((), 0, 0),
]
MATRICES = [((67, 3), 0, 0), ((3, 300), 1, 1), ((2, 5, 3), 1, 0), ((0, 4), 0, 0), ((1, 1), 0, 0)]


def run(rule, backend, tensors, dtype, steps, **hyper):
    """Parameters and states after some steps of the same random gradients."""
    rng = np.random.default_rng(7)
    make = lambda shape: values(rng, shape, numpy_dtype(dtype), 0.03)  # noqa: E731
    params = [lying_at(make(shape), offset) for shape, offset, _ in tensors]
    optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
    for _ in range(steps):
        optimizer.step([lying_at(make(shape), offset) for shape, _, offset in tensors])
    return params, optimizer.state


def assert_same(ours, reference):
    for i, (param, expected) in enumerate(zip(ours[0], reference[0], strict=True)):
        assert first_difference(param, expected) is None, f"parameter {i}"
    for i, (state, expected) in enumerate(zip(ours[1], reference[1], strict=True)):
        for name, array in state.items():
            assert first_difference(array, expected[name]) is None, f"{name} {i}"
