"""One work of the benchmark, by every contender: time, and memory in use and moved."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from .contenders import (
    BARE_LOOP,
    BYTES_PER_PARAMETER,
    NUMPY,
    REFERENCE,
    WHOLE_ARRAYS,
    Arrays,
    Contender,
    Maker,
)
from .peak import StepMemory, peak_memory, resident_peak
from .room import available_memory, groups_that_fit
from .timing import Seconds, ratio, take_turns
from .work import Shape, Work

FRESH_SETS = 3  # a step never sees the arrays of the step before, nor of the one before that
CERTAINLY_ENOUGH = 8 * 4  # bytes a parameter: its arrays, copies of gradients, temporaries
COUNTED = Work("counted", "a tensor in which bytes moved are counted", ((1 << 16,),))
COMPARED_WITH = (REFERENCE, BARE_LOOP)

Advance = Callable[[str], None]


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

    @property
    def turns(self) -> int:
        """How many rounds a repetition takes."""
        return len(self.groups) * len(self.ways)

    def _groups(self, planned: Callable[[], None]) -> list[list[str]]:
        available = available_memory()
        most = CERTAINLY_ENOUGH * self.work.parameters * len(self.makers)
        if available is None or most <= available:
            return [list(self.makers)]
        params, sets = self._arrays()
        needs = {}
        for name, make in self.makers.items():
            planned()
            needs[name] = resident_peak(partial(_first_steps, make, params, sets)) or 0
        left = available_memory() or available
        return groups_that_fit(needs, COMPARED_WITH, left)

    def _arrays(self) -> tuple[Arrays, list[Arrays]]:
        """Parameters and sets of gradients."""
        params = normal(self.work.shapes, seed=0)
        return params, [
            normal(self.work.shapes, seed=1 + k) for k in range(max(self.ways.values()))
        ]

    def measure(self, repeats: int, advance: Advance) -> list[dict[str, Any]]:
        """All figures: a result for each way in which gradients come."""
        params, sets = self._arrays()
        figures: dict[str, dict[str, Any]] = {way: {} for way in self.ways}
        speed_up = {}
        for group in self.groups:
            contenders = {name: self.makers[name](params, sets) for name in group}
            timed = {
                way: take_turns(
                    contenders, count, repeats, partial(advance, f"{self.work.title}, {way}")
                )
                for way, count in self.ways.items()
            }
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
            "times_reference": ratio(seconds, name, REFERENCE),
            "fraction_of_bare_loop": ratio(seconds, BARE_LOOP, name),
            "bytes_per_second": BYTES_PER_PARAMETER * self.work.parameters / typical,
            "extra_memory": asdict(memory),
            "bytes_moved_per_parameter": bytes_moved(self.makers[name]),
        }


def normal(shapes: tuple[Shape, ...], seed: int) -> Arrays:
    """Random float32 arrays of these shapes."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def _first_steps(make: Maker, params: Arrays, sets: list[Arrays]) -> Contender:
    contender = make(params, sets)
    contender.give(0)
    for _ in range(2):  # state may come with the first step
        contender.step()
    return contender


@functools.cache
def bytes_moved(make: Maker) -> float | None:
    """Per parameter, by counting a step on one tensor; None where that cannot be done."""
    params, grads = (normal(COUNTED.shapes, seed) for seed in (0, 1))
    contender = make(params, [grads])
    contender.give(0)
    count = contender.count_bytes()
    return None if count is None else count / COUNTED.parameters
