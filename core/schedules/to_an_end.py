"""From one value to another over a given number of steps: linear, polynomial, cosine."""

from __future__ import annotations

from .arguments import Count, Finite, Nonnegative
from .interpolation import between, cos
from .interpolation import linear as straight
from .schedule import Schedule, kind


@kind
class linear(Schedule):
    """From ``base * start_factor`` to ``base * end_factor`` in ``total_iters`` steps; then that.

    torch's LinearLR, whose factors may only be up to 1. Additions and multiplications only.
    """

    base: Finite
    start_factor: Nonnegative = 1 / 3
    end_factor: Nonnegative = 1.0
    total_iters: Count = 5

    def _at(self, step: int) -> float:
        weights = straight(min(step, self.total_iters), self.total_iters)
        return between(self.base * self.start_factor, self.base * self.end_factor, weights)


@kind
class polynomial(Schedule):
    """``base * (1 - step / total_iters) ** power``; 0 from ``total_iters`` on.

    torch's PolynomialLR. Uses the C library's ``pow``: the same bits on machines with the same
    one.
    """

    base: Finite
    total_iters: Count = 5
    power: Nonnegative = 1.0

    def _at(self, step: int) -> float:
        left = self.total_iters - min(step, self.total_iters)
        remaining: float = (left / self.total_iters) ** self.power
        return self.base * remaining


@kind
class cosine(Schedule):
    """Half a period of the cosine from ``base`` to ``eta_min`` in ``T_max`` steps; then that.

    Loshchilov and Hutter, SGDR, arXiv:1608.03983, equation 5, without the restarts. torch's
    CosineAnnealingLR until ``T_max``; beyond, torch's goes up again. ``eta_min`` may be the larger
    one. Uses the C library's ``sin``: the same bits on machines with the same one.
    """

    base: Finite
    T_max: Count
    eta_min: Finite = 0.0

    def _at(self, step: int) -> float:
        return between(self.base, self.eta_min, cos(min(step, self.T_max), self.T_max))


@kind
class cosine_restarts(Schedule):
    """Half periods of the cosine from ``base`` towards ``eta_min``, one after the other, the first
    of ``T_0`` steps and each ``T_mult`` times as long as the one before. It has no end.

    Loshchilov and Hutter, SGDR, arXiv:1608.03983, equation 5; torch's CosineAnnealingWarmRestarts.
    At a restart the value is ``base``; ``eta_min`` itself is never reached. Uses the C library's
    ``sin``: the same bits on machines with the same one.
    """

    base: Finite
    T_0: Count
    T_mult: Count = 1
    eta_min: Finite = 0.0

    def _at(self, step: int) -> float:
        period = self.T_0
        if self.T_mult == 1:
            step %= period
        while step >= period:  # at most 53 times
            step -= period
            period *= self.T_mult
        return between(self.base, self.eta_min, cos(step, period))
