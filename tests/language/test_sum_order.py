"""Sums over few elements keep only the lanes they need; the bits are those of all lanes."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from lane_sums import along_row, in_all_lanes, over_tensor
from samestep.golden.compare import assert_same_bits, first_difference
from samestep.language.summation import CHUNK, LANES, ROW_CHUNK, ROW_LANES, STRIP_ROWS
from variants import values


def scalars(xp, step, carry, h):
    return {}, carry


SUM = ss.Rule(
    "sum", scalars, lambda xp, s, param, grad, total: (param, xp.sum(grad)), {},
    per=dict(total="tensor"),
)  # fmt: skip
ROW_SUMS = ss.Rule(
    "row_sums", scalars,
    lambda xp, s, param, grad, rows, total: (param, xp.sum(grad, per="row"), xp.sum(grad)), {},
    per=dict(rows="row", total="tensor"),
)  # fmt: skip
SIZES = [
    *range(1, 70), 127, 128, 129, 255, 256, 257, 1000, 1023, 1024, 1025, 2047, LANES, 2049, 5000,
    CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5,
]  # fmt: skip
WIDTHS = [1, 2, 3, 4, 5, 17, 127, 128, 129, 255, ROW_LANES, 257, 513, 1000, ROW_CHUNK, 1025, 3500]


@pytest.mark.parametrize("special", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lanes_that_stay_empty_need_not_be_kept(dtype, special, backend, tmp_path):
    """Few elements have the bits that all lanes would give, negative zeros and NaN included."""
    rng = np.random.default_rng(0)
    grads = [values(rng, size, dtype, special) for size in SIZES]
    grads += [np.array([-0.0], dtype), np.array([-0.0] * 3, dtype)]
    params = [np.zeros_like(grad) for grad in grads]
    optimizer = ss.Optimizer(SUM, params, backend=backend)
    optimizer.step(grads)
    for grad, state in zip(grads, optimizer.state, strict=True):
        assert_same_bits(state["total"], over_tensor(grad), f"{grad.size} elements")
        printed = COptimizer(SUM, np.zeros_like(grad), tmp_path)
        printed.step(grad)
        assert_same_bits(printed.state["total"], over_tensor(grad), f"{grad.size} elements in C")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lanes_that_stay_empty_need_not_be_kept_along_rows(dtype, backend, tmp_path):
    rng = np.random.default_rng(0)
    grads = [
        values(rng, (rows, width), dtype, 0.01)
        for width in WIDTHS
        for rows in (1, STRIP_ROWS - 1, STRIP_ROWS + 6, 1100)
        if rows * width < 1 << 18
    ]
    params = [np.zeros_like(grad) for grad in grads]
    optimizer = ss.Optimizer(ROW_SUMS, params, backend=backend)
    optimizer.step(grads)
    for grad, state in zip(grads, optimizer.state, strict=True):
        rows = np.array([along_row(row) for row in grad])
        printed = COptimizer(ROW_SUMS, np.zeros_like(grad), tmp_path)
        printed.step(grad)
        for found in (state, printed.state):
            assert_same_bits(found["rows"], rows, f"{grad.shape}")
            assert_same_bits(found["total"], along_row(rows), f"{grad.shape}")


def test_control_another_number_of_lanes_gives_other_bits():
    vector = np.random.default_rng(0).standard_normal(5000)
    assert first_difference(in_all_lanes(vector, 1024), over_tensor(vector)) is not None
