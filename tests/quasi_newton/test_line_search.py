"""Line searches on functions of one number, as they are used along a direction."""

from __future__ import annotations

import itertools
import math

import pytest
from samestep.quasi_newton.line_search import (
    CURVATURE,
    DECREASE,
    Point,
    backtracking,
    fixed_step,
    strong_wolfe,
)

# the loss and its slope: a bowl; a narrow one far away; one where the loss is not defined; waves;
# one that falls for long
CURVES = {
    "bowl": (lambda t: (t - 1) ** 2, lambda t: 2 * (t - 1)),
    "narrow": (lambda t: 1e4 * (t - 1e-3) ** 2, lambda t: 2e4 * (t - 1e-3)),
    "walled": (
        lambda t: -math.log(1 - t) - 3 * t if t < 1 else math.nan,
        lambda t: 1 / (1 - t) - 3 if t < 1 else math.nan,
    ),
    "waves": (
        lambda t: math.sin(-5 * t) - t + 0.1 * t * t, lambda t: -5 * math.cos(5 * t) - 1 + 0.2 * t
    ),
    "far": (lambda t: (t / 1e5 - 1) ** 2, lambda t: 2e-5 * (t / 1e5 - 1)),
    "steep": (lambda t: math.exp(-9 * t) + t, lambda t: 1 - 9 * math.exp(-9 * t)),
}  # fmt: skip


def searched(search, curve, first, limit=20):
    """What a search returns, the start, and the points that it asked for."""
    loss, slope = CURVES[curve]
    asked = []

    def phi(t):
        asked.append(Point(t, loss(t) if not math.isnan(loss(t)) else math.inf, slope(t)))
        return asked[-1]

    start = Point(0.0, loss(0.0), slope(0.0))
    assert start.slope < 0
    return search(phi, start, first, limit), start, asked


@pytest.mark.parametrize("first", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("curve", CURVES)
def test_strong_wolfe_holds_where_it_ends(curve, first):
    found, start, asked = searched(strong_wolfe, curve, first)
    assert found is asked[-1]
    assert found.loss <= start.loss + DECREASE * found.t * start.slope
    assert abs(found.slope) <= CURVATURE * abs(start.slope)
    assert len(asked) <= 15


@pytest.mark.parametrize("first", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("curve", CURVES)
def test_backtracking_decreases_enough_and_never_goes_farther(curve, first):
    found, start, asked = searched(backtracking, curve, first)
    assert found is asked[-1]
    assert found.loss <= start.loss + DECREASE * found.t * start.slope
    lengths = [point.t for point in asked]
    assert lengths[0] == first
    assert all(a / 10 <= b <= a / 2 for a, b in itertools.pairwise(lengths))


def test_a_fixed_step_is_taken_unless_the_loss_is_not_finite():
    assert searched(fixed_step, "narrow", 1.0)[0].t == 1.0
    assert searched(fixed_step, "walled", 2.0)[0] is None


@pytest.mark.parametrize("search", [strong_wolfe, backtracking])
def test_a_search_that_fails_says_so_after_its_limit(search):
    def phi(t):
        return Point(t, 1 + t, -1.0)  # the slope is wrong: the loss rises

    asked = []
    start = Point(0.0, 1.0, -1.0)
    assert search(lambda t: asked.append(t) or phi(t), start, 1.0, 7) is None
    assert len(asked) == 7


@pytest.mark.parametrize("search", [strong_wolfe, backtracking])
def test_losses_that_differ_by_rounding_are_told_apart_by_their_slopes(search):
    start = Point(0.0, 1.0, -1e-12)
    here = Point(1.0, 1.0 + 2e-16, 5e-13)
    assert search(lambda t: here, start, 1.0, 20) is here
    too_steep = Point(1.0, 1.0 + 2e-16, 1e-12)
    assert search(lambda t: too_steep._replace(t=t), start, 1.0, 5) is None  # the control
