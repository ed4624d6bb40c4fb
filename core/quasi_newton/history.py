"""The pairs of an L-BFGS history, by their products: what a direction's coefficients follow from.

The two loops of L-BFGS (Nocedal 1980; Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithm
7.4) only ever combine the gradient and the pairs ``s`` (change of the parameters) and ``y`` (change
of the gradient). So they can run on the coefficients of the combination, if the products of these
vectors are known (Byrd, Nocedal & Schnabel 1994; Chen, Wang & Zhou 2014): one pass over all pairs
computes the products with the gradient, another one forms the direction. The arithmetic here is on
Python's floats, in a fixed order.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

SMALLEST_CURVATURE = sys.float_info.epsilon  # as a part of the slope at the start


def curves_up(slope_at_start: float, slope: float) -> bool:
    """Say whether a line search that went from one slope to another has seen positive curvature
    that is more than rounding, as L-BFGS-B asks: only then ``s.y > 0`` and the pair is kept."""
    return slope - slope_at_start > -SMALLEST_CURVATURE * slope_at_start


class Pairs:
    """The products of up to ``size`` pairs, each with a slot of the vectors' memory.

    ``order`` has the slots from the oldest pair to the newest. Of slots ``i`` and ``j``,
    ``s_dot_y[i][j]`` counts where ``i`` is not newer, ``y_dot_y[i][j]`` always.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.order: list[int] = []
        self.s_dot_y = [[0.0] * size for _ in range(size)]
        self.y_dot_y = [[0.0] * size for _ in range(size)]

    def take_slot(self) -> int:
        """Return the slot of a new pair: that of the oldest one if all are taken."""
        slot = self.order.pop(0) if len(self.order) == self.size else len(self.order)
        self.order.append(slot)
        return slot

    def learn(self, s_dot_new_y: Sequence[float], y_dot_new_y: Sequence[float]) -> None:
        """Take the products of all slots with the newest ``y``; forget all pairs if its curvature
        is not positive after all."""
        newest = self.order[-1]
        for slot in self.order:
            self.s_dot_y[slot][newest] = s_dot_new_y[slot]
            self.y_dot_y[slot][newest] = self.y_dot_y[newest][slot] = y_dot_new_y[slot]
        if not (s_dot_new_y[newest] > 0 and math.isfinite(y_dot_new_y[newest])):
            self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self.order = []

    def coefficients(
        self, s_dot_grad: Sequence[float], y_dot_grad: Sequence[float]
    ) -> tuple[float, list[float], list[float]]:
        """Return the coefficients of the gradient, of every ``s`` and of every ``y`` in the
        direction, which is minus the approximate inverse Hessian times the gradient.

        The first approximation is ``s.y / y.y`` of the newest pair, times the identity.
        """
        of_s, of_y = [0.0] * self.size, [0.0] * self.size
        if not self.order:
            return -1.0, of_s, of_y
        newest = self.order[-1]
        scale = self.s_dot_y[newest][newest] / self.y_dot_y[newest][newest]
        alpha: dict[int, float] = {}
        for slot in reversed(self.order):  # q = grad - sum of alpha * y
            product = s_dot_grad[slot]
            for newer, weight in alpha.items():
                product -= weight * self.s_dot_y[slot][newer]
            alpha[slot] = product / self.s_dot_y[slot][slot]
        for place, slot in enumerate(self.order):  # r = scale * q + sum of (alpha - beta) * s
            product = y_dot_grad[slot]
            for other in self.order:
                product -= alpha[other] * self.y_dot_y[slot][other]
            product *= scale
            for older in self.order[:place]:
                product -= of_s[older] * self.s_dot_y[older][slot]
            of_s[slot] = product / self.s_dot_y[slot][slot] - alpha[slot]
            of_y[slot] = scale * alpha[slot]
        return -scale, of_s, of_y
