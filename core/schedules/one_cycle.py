"""One cycle: up to a high learning rate and down to a very small one, the momentum the other way.

Smith and Topin, Super-Convergence, arXiv:1708.07120; torch's OneCycleLR, which is the accepted
form: its phases end at the steps ``pct_start * total_steps - 1``, with ``three_phase`` also
``2 * pct_start * total_steps - 2``, and ``total_steps - 1``.

Deviations from torch: ``total_steps`` has to be given (not epochs and steps per epoch); from
``total_steps - 1`` on the last value holds (torch goes beyond it for one more step and then
raises); lengths with which torch divides by 0 or leaves out a phase are refused, or, with
``pct_start * total_steps == 1`` and two phases, begin at the top.

``anneal_strategy="cos"`` uses the C library's ``sin``: the same bits on machines with the same one.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from .arguments import Count, Finite, Flag, Fraction, Positive, check_choice
from .interpolation import SHAPES, between
from .schedule import Schedule, kind

Strategy = Annotated[str, partial(check_choice, choices=("cos", "linear"))]


class Cycle(Schedule):
    """A schedule of the phases that ``total_steps``, ``pct_start`` and ``three_phase`` give."""

    total_steps: int
    pct_start: float
    anneal_strategy: str
    three_phase: bool

    @property
    def values(self) -> tuple[float, float, float]:
        """Return the values at the start, at the top and at the end."""
        raise NotImplementedError

    def _ends(self) -> tuple[float, ...]:
        first, last = self.pct_start * self.total_steps - 1, float(self.total_steps - 1)
        return (first, 2 * first, last) if self.three_phase else (first, last)

    def _check_together(self) -> None:
        rising = self.pct_start * self.total_steps
        if self.three_phase and not (rising > 1 and self.pct_start <= 0.5):
            raise ValueError(
                f"{self.kind}: three phases need pct_start * total_steps > 1 and pct_start at most "
                f"0.5, not pct_start={self.pct_start:g} and total_steps={self.total_steps}"
            )

    def _at(self, step: int) -> float:
        step = min(step, self.total_steps - 1)
        (first, top, last), start = self.values, 0.0
        values = (first, top, first, last) if self.three_phase else (first, top, last)
        for i, end in enumerate(self._ends()):
            if step <= end:
                if end == start:
                    return values[i + 1]
                weights = SHAPES[self.anneal_strategy](step - start, end - start)
                return between(values[i], values[i + 1], weights)
            start = end
        raise AssertionError("the last phase ends at the last step")


@kind
class one_cycle(Cycle):
    """From ``max_value / div_factor`` up to ``max_value`` in the first ``pct_start`` of
    ``total_steps``, then down to ``max_value / div_factor / final_div_factor``; then that.

    ``three_phase`` goes down to the first value as quickly as up, and to the last one from there.
    torch's OneCycleLR, its learning rate. Raises ValueError if three phases do not fit.
    """

    max_value: Finite
    total_steps: Count
    pct_start: Fraction = 0.3
    anneal_strategy: Strategy = "cos"
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    three_phase: Flag = False

    @property
    def values(self) -> tuple[float, float, float]:
        initial = self.max_value / self.div_factor
        return initial, self.max_value, initial / self.final_div_factor


@kind
class one_cycle_momentum(Cycle):
    """From ``max_momentum`` down to ``base_momentum`` while `one_cycle` goes up, and back up; then
    that.

    torch's OneCycleLR, its momentum, or the first of betas: ``betas=(one_cycle_momentum(1000),
    0.999)``. Raises ValueError if three phases do not fit.
    """

    total_steps: Count
    pct_start: Fraction = 0.3
    anneal_strategy: Strategy = "cos"
    base_momentum: Finite = 0.85
    max_momentum: Finite = 0.95
    three_phase: Flag = False

    @property
    def values(self) -> tuple[float, float, float]:
        return self.max_momentum, self.base_momentum, self.max_momentum
