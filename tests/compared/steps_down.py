"""How many steps a rule takes down a function of a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import samestep as ss
from minimized import Function
from variants import fitting


def fewest_steps(
    rule: ss.Rule,
    hyper: Mapping[str, Any],
    function: Function,
    share: float,
    rates: Sequence[float],
    steps: int,
) -> tuple[int, float] | None:
    """Return after how many steps the function's value stays at no more than ``share`` of the first
    one, to the last of the ``steps``, with the learning rate that takes fewest; and this rate. None
    if it does with no rate.

    A rule that evaluates an average is judged by it.
    """
    taken = {lr: _steps(rule, {**hyper, "lr": lr}, function, share, steps) for lr in rates}
    best = min(taken, key=lambda lr: taken[lr])
    return (taken[best], best) if taken[best] <= steps else None


def _steps(
    rule: ss.Rule, hyper: Mapping[str, Any], function: Function, share: float, steps: int
) -> int:
    """Return the first step from which on the value stays down; the one behind the last if none
    is."""
    x, first = fitting(rule, np.array(function.start)), 1
    optimizer = ss.Optimizer(rule, [x], backend="numpy", **hyper)
    with np.errstate(all="ignore"):  # a learning rate may be too large
        for step in range(1, steps + 1):
            optimizer.step([function.of(x.ravel())[1].reshape(x.shape)])
            if rule.average_share is not None:
                optimizer.eval()
            if not function.of(x.ravel())[0] <= share * function.first:  # or it is NaN
                first = step + 1
            if rule.average_share is not None:
                optimizer.train()
    return first
