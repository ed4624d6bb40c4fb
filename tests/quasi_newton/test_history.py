"""The direction from the products of pairs is that of the two loops over the pairs themselves."""

from __future__ import annotations

import numpy as np
import pytest
from samestep.quasi_newton.history import Pairs, curves_up


def two_loops(pairs, grad):
    """Nocedal & Wright, Algorithm 7.4, as it is written there."""
    q, alphas = grad.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    r = (s @ y) / (y @ y) * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r += s * (alpha - y @ r / (s @ y))
    return -r


@pytest.mark.parametrize(("size", "taken"), [(1, 1), (3, 2), (3, 3), (3, 8), (10, 25)])
def test_the_direction_is_that_of_the_two_loops(size, taken):
    rng = np.random.default_rng(taken)
    curvature = np.diag(np.geomspace(1, 100, 30))
    pairs, slots = Pairs(size), [(np.zeros(30), np.zeros(30))] * size
    everything = []
    for _ in range(taken):
        s = rng.standard_normal(30)
        y = curvature @ s
        everything.append((s, y))
        slots[pairs.take_slot()] = (s, y)
        pairs.learn([s @ y for s, _ in slots], [other @ y for _, other in slots])
    grad = rng.standard_normal(30)
    products = [s @ grad for s, _ in slots], [y @ grad for _, y in slots]
    of_grad, of_s, of_y = pairs.coefficients(*products)
    direction = of_grad * grad
    for (s, y), a, b in zip(slots, of_s, of_y, strict=True):
        direction = direction + a * s + b * y
    expected = two_loops(everything[-size:], grad)
    np.testing.assert_allclose(direction, expected, rtol=1e-10, atol=1e-12)
    control = two_loops(everything[-size:][::-1], grad)
    assert size == 1 or not np.allclose(direction, control)


def test_without_pairs_it_is_minus_the_gradient():
    assert Pairs(2).coefficients([0.0] * 2, [0.0] * 2) == (-1.0, [0.0] * 2, [0.0] * 2)


def test_a_pair_is_kept_where_the_slope_has_risen():
    assert curves_up(-1.0, -0.9)
    assert not curves_up(-1.0, -1.0)
    assert not curves_up(-1.0, -1.5)


def test_pairs_whose_curvature_rounding_has_lost_are_all_forgotten():
    pairs = Pairs(3)
    for _ in range(2):
        pairs.take_slot()
        pairs.learn([1.0] * 3, [1.0] * 3)
    assert pairs.order == [0, 1]
    pairs.take_slot()
    pairs.learn([0.0] * 3, [1.0] * 3)
    assert pairs.order == []
