"""Figures of one work of the benchmark by every contender: time, and memory in use and moved."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from statistics import median
from typing import Any

from .contenders import BARE_LOOP, BYTES_PER_PARAMETER, NUMPY, REFERENCE, WHOLE_ARRAYS
from .peak import StepMemory, peak_memory, resident_peak
from .room import available_memory, groups_that_fit
from .timing import Arrays, Contender, Maker, Seconds, ratio, ratios, take_turns
from .work import Work, normal

FRESH_SETS = 3  # a step never sees the arrays of the step before, nor of the one before that
CERTAINLY_ENOUGH = 8 * 4  # bytes a parameter: its arrays, copies of gradients, temporaries
COUNTED = ((1 << 16,),)  # shapes of what is updated to count the bytes that a step moves
COMPARED_WITH = (REFERENCE, BARE_LOOP)


class WorkTable:
    """The contenders on one work.

    Where not all of them fit into memory at once they take turns in several groups, each with the
    reference and the bare loop in it, so that ratios to these are still taken within one turn.
    ``planned`` is called for each contender that has to be tried out to know what it needs.
    """

    def __init__(
        self, work: Work, makers: Mapping[str, Maker], planned: Callable[[], None]
    ) -> None:
        self.work, self.makers = work, makers
        # how gradients come, and how many sets of arrays that takes
        self.ways = {"same": 1, "fresh": FRESH_SETS} if work.many_small else {"same": 1}
        self.groups = self._groups(planned)
        self.turns = len(self.groups) * len(self.ways)  # rounds that a repetition takes

    def _groups(self, planned: Callable[[], None]) -> list[list[str]]:
        available = available_memory()
        most = CERTAINLY_ENOUGH * self.work.parameters * len(self.makers)
        if available is None or most <= available:
            return [list(self.makers)]
        params, sets = self._arrays()
        needs = {}
        for name, make in self.makers.items():
            planned()
            needs[name] = resident_peak(partial(made, make, params, sets, steps=2)) or 0
        return groups_that_fit(needs, COMPARED_WITH, available_memory() or available)

    def _arrays(self) -> tuple[Arrays, list[Arrays]]:
        """Return parameters and sets of gradients."""
        params, *sets = (normal(self.work.shapes, k) for k in range(1 + max(self.ways.values())))
        return params, sets

    def measure(self, repeats: int, advance: Callable[[str], None]) -> list[dict[str, Any]]:
        """Return all figures: a result for each way in which gradients come."""
        params, sets = self._arrays()
        figures: dict[str, dict[str, Any]] = {way: {} for way in self.ways}
        speed_up = {}
        for group in self.groups:
            contenders = {name: self.makers[name](params, sets) for name in group}
            timed = {}
            for way, count in self.ways.items():
                told = partial(advance, f"{self.work.title}, {way}")
                timed[way] = take_turns(contenders, count, repeats, told)
            memory = {name: peak_memory(contenders[name].step) for name in group}
            del contenders
            for way, seconds in timed.items():
                for name in group:
                    found = self._figures(name, seconds, memory[name])
                    figures[way].setdefault(name, found)
                if {WHOLE_ARRAYS, NUMPY} <= set(group):
                    speed_up[way] = ratio(seconds, WHOLE_ARRAYS, NUMPY)
        return [
            {
                "name": self.work.name,
                "title": self.work.title,
                "tensors": len(self.work.shapes),
                "parameters": self.work.parameters,
                "gradients": way,
                "groups": self.groups,
                "contenders": [figures[way][name] for name in self.makers],
                "blocks_speed_up": speed_up.get(way),
            }
            for way in self.ways
        ]

    def _figures(self, name: str, seconds: Seconds, memory: StepMemory) -> dict[str, Any]:
        typical = median(seconds[name])
        return {
            "name": name,
            "seconds": typical,
            "all_seconds": seconds[name],
            "times_reference": ratios(seconds, name, REFERENCE),
            "fraction_of_bare_loop": ratio(seconds, BARE_LOOP, name),
            "bytes_per_second": BYTES_PER_PARAMETER * self.work.parameters / typical,
            "extra_memory": asdict(memory),
            "bytes_moved_per_parameter": bytes_moved(self.makers[name]),
        }


def made(make: Maker, params: Arrays, sets: list[Arrays], steps: int = 0) -> Contender:
    """Return a new contender that has the first set of gradients and has taken some steps."""
    contender = make(params, sets)
    contender.give(0)
    for _ in range(steps):  # state may come with the first one
        contender.step()
    return contender


@functools.cache
def bytes_moved(make: Maker) -> float | None:
    """Return the bytes per parameter that a step on one tensor moves, or None if not known."""
    params, grads = (normal(COUNTED, seed) for seed in (0, 1))
    count = made(make, params, [grads]).count_bytes()
    return None if count is None else count / params[0].size
