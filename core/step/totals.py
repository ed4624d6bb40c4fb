"""Sums over all parameters, and the carried numbers that all parameters of a rule share.

Such a rule (`Rule.shared`) estimates its step size from sums over everything that it updates. A
launch sums per tensor, in the order of `samestep.language.summation`, and keeps these sums as
state. After the step those of the tensors that stepped are added in float64, by halves, in the
order of the parameters, and the scalars of the next step go by the total. So no launch waits for
another one, and the bits depend neither on the backend nor on which tensors share a launch.

A number that is shared is one for all parameters of the rule, in all groups, with a gradient or
without: where groups would compute different ones, it is that of the first parameter that stepped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..interrupts import held
from ..language.composition import inside
from ..language.summation import fold_by_halves
from ..parameters.clock import Clock
from ..protocol import Backend, Dtypes, Tensor


class Totals:
    """The sums over all parameters of each rule that shares numbers.

    Parameters that join others, of a new group or one without state so far, get what these share.
    """

    def __init__(
        self, backend: Backend, tensors: Sequence[Tensor], clocks: Sequence[Clock]
    ) -> None:
        self._backend, self._tensors, self._clocks = backend, tensors, clocks
        self._members: dict[str, list[int]] = {}  # positions, by the rule without its parts
        for i, clock in enumerate(clocks):
            if clock.rule.shared:
                self._members.setdefault(inside(clock.rule).name, []).append(i)
        for members in self._members.values():
            oldest = max((clocks[i] for i in members), key=lambda clock: clock.step)
            self._hand_over(members, {name: oldest.carry[name] for name in oldest.rule.shared})

    @property
    def rules(self) -> list[str]:
        """The names of the rules that share numbers."""
        return list(self._members)

    def after_step(self, dtypes: Dtypes) -> Callable[[], None]:
        """Begin to read the sums of tensors whose gradient has a dtype, after their launches.
        Returns the function to call once the step has counted and carries are those after it."""
        found = []
        for members in self._members.values():
            stepped = [i for i in members if dtypes[i] is not None]
            if stepped:
                shared = self._clocks[stepped[0]].rule.shared
                sums = {
                    name: self._backend.numbers([self._tensors[i].state[state] for i in stepped])
                    for name, state in shared.items()
                    if state is not None
                }
                found.append((members, stepped[0], sums))

        def share() -> None:
            for members, first, sums in found:
                clock = self._clocks[first]
                now = {name: clock.carry[name] for name in clock.rule.shared}
                with held(), np.errstate(over="ignore", invalid="ignore"):
                    for name, numbers in sums.items():
                        now[name] += float(fold_by_halves(numbers()))
                self._hand_over(members, now)

        return share

    def _hand_over(self, members: Sequence[int], shared: dict[str, float]) -> None:
        for clock in dict.fromkeys(self._clocks[i] for i in members):
            clock.carry = {**clock.carry, **shared}
