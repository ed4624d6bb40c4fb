"""Products of matrices in host memory: of a matrix with its transpose only half is computed."""

from __future__ import annotations

import numpy as np
import pytest
from samestep.backends.host.products import BAND, product
from samestep.golden.compare import assert_same_bits

SHAPES = [(2 * BAND, 30), (2 * BAND, 5 * BAND), (3 * BAND + 17, 40), (9 * BAND, 20), (BAND, 7)]


def stack(shape, dtype, transposed=False, count=3):
    x = np.random.default_rng(0).standard_normal((count, *shape)).astype(dtype)
    return np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) if transposed else x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_with_the_transpose_is_numpy_s(shape, transposed, dtype):
    x = stack(shape, dtype, transposed)
    found = np.full((len(x), shape[0], shape[0]), np.nan, dtype)
    product(x, x.swapaxes(1, 2), found)
    expected = x.astype(np.float64) @ x.astype(np.float64).swapaxes(1, 2)
    bound = 8 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_the_bits_of_a_matrix_do_not_depend_on_its_stack():
    x = stack(SHAPES[2], np.float32)
    whole, alone = (np.empty((3, len(x[0]), len(x[0])), np.float32) for _ in range(2))
    product(x, x.swapaxes(1, 2), whole)
    for k in (2, 0, 1):
        product(x[k : k + 1], x[k : k + 1].swapaxes(1, 2), alone[k : k + 1])
    assert_same_bits(alone, whole)


@pytest.mark.parametrize("other", ["another matrix", "itself"])
def test_control_any_other_product_is_numpy_s(other):
    """A square matrix times itself, or times the transpose of another one, is not symmetric."""
    x = stack((4 * BAND, 4 * BAND), np.float32)
    b = x if other == "itself" else x[::-1].copy().swapaxes(1, 2)
    found, expected = np.empty_like(x), np.empty_like(x)
    product(x, b, found)
    assert_same_bits(found, np.matmul(x, b, out=expected))
