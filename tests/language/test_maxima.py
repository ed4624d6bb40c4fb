"""Largest absolute values of rows and columns: NumPy's, on every backend and in printed C."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from helpers import off, on
from samestep.golden.compare import assert_same_bits, first_difference
from variants import values


def scalars(xp, step, carry, h):
    return {}, carry


def update(xp, s, param, grad, rows, columns, sums):
    """Maxima beside a sum, as they share the memory of lanes on a GPU; and one of another value."""
    largest = xp.max_abs(grad, per="row")
    return param + largest, largest, xp.max_abs(grad, per="column"), xp.sum(grad, per="row")


LARGEST = ss.Rule(
    "largest", scalars, update, {}, per=dict(rows="row", columns="column", sums="row")
)
# one strip and chunk, several of each, a chunk and a column, one row, one column
SHAPES = [(3, 5), (130, 1_025), (70, 3_500), (1, 2_100), (1_100, 1), (5, 3, 2)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_largest_absolute_value_is_that_of_numpy(dtype, any_backend, tmp_path):
    rng = np.random.default_rng(0)
    grads = [values(rng, shape, dtype, 1e-4) for shape in SHAPES]
    grads += [np.full((2, 3), -0.0, dtype), np.array([[np.nan, 1], [-np.inf, -2]], dtype)]
    params = on(any_backend, [np.zeros_like(grad) for grad in grads])
    optimizer = ss.Optimizer(LARGEST, params, backend=any_backend)
    optimizer.step(on(any_backend, grads))
    compute = np.float64 if dtype == "float64" else np.float32
    for grad, found in zip(grads, off(any_backend, list(optimizer.state)), strict=True):
        matrix = grad.astype(compute).reshape(len(grad), -1)
        printed = COptimizer(LARGEST, np.zeros_like(grad), tmp_path)
        printed.step(grad)
        for state in (found, printed.state):
            assert_same_bits(state["rows"], np.abs(matrix).max(axis=1), f"{grad.shape}")
            columns = np.abs(matrix).max(axis=0).reshape(grad.shape[1:])
            assert_same_bits(state["columns"], columns, f"{grad.shape}")


def test_control_a_maximum_without_absolute_values_is_noticed():
    grad = values(np.random.default_rng(0), (130, 1_025), "float32", 1e-4)
    assert first_difference(grad.max(axis=1), np.abs(grad).max(axis=1)) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda xp, grad: xp.max_abs(grad, per="tensor"), 'per must be "row" or "column"'),
        (
            lambda xp, grad: xp.max_abs(xp.sum(grad, per="row"), per="column"),
            "no largest per column of a value that exists per row",
        ),
    ],
)
def test_what_has_no_maximum_is_refused(text, message):
    rule = ss.Rule("refused", scalars, lambda xp, s, param, grad: param + text(xp, grad), {})
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule, np.ones((2, 2)))
