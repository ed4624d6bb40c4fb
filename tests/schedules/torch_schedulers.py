"""torch.optim.lr_scheduler as the subject of comparisons: what it gives at each step.

torch multiplies its way from step to step. Allowed at each step: 1e-12 of torch's value, and 1e-15
of the largest value for what torch subtracts from one and cancels where a schedule comes close to
0.
"""

from __future__ import annotations

import importlib
import math
import os

import numpy as np
import pytest

STEPS = 700  # beyond the end of all that have one
DRAWS = 6


def require_torch():
    """torch; where it is missing the test is skipped, or fails if it was asked for."""
    if os.environ.get("SAMESTEP_TEST_TORCH") == "1":
        return importlib.import_module("torch")  # missing is a failure
    return pytest.importorskip("torch")


def torch_values(torch, make, *, lr: float, steps: int = STEPS) -> dict[str, list[float]]:
    """Learning rate and momentum at each step, as SGD under the scheduler would use them."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    found: dict[str, list[float]] = {"lr": [], "momentum": []}
    for step in range(steps):
        if step:
            optimizer.step()
            scheduler.step()
        for name, values in found.items():
            values.append(optimizer.param_groups[0][name])
    return found


def assert_agrees(schedule, theirs: list[float]) -> None:
    largest = max(map(abs, theirs))
    for step, value in enumerate(theirs):
        allowed = 1e-12 * abs(value) + 1e-15 * largest
        assert abs(schedule(step) - value) <= allowed, (schedule, step, value)


class Draw:
    """Random arguments."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def length(self) -> int:
        return int(self.rng.choice([1, 2, int(self.rng.integers(3, 600))], p=[0.1, 0.1, 0.8]))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def size(self, low: float, high: float) -> float:
        return math.exp(self.between(math.log(low), math.log(high)))

    def milestones(self) -> list[int]:
        return sorted(map(int, self.rng.integers(0, 600, 5))) + [600] * 2
