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
    points = [fitting(rule, np.array(function.start)) for _ in rates]
    groups = [{"params": [x], "lr": lr} for x, lr in zip(points, rates, strict=True)]
    optimizer = ss.Optimizer(rule, groups, backend="numpy", **hyper)
    taken = [0] * len(rates)
    with np.errstate(all="ignore"):  # a learning rate may be too large
        for step in range(1, steps + 1):
            optimizer.step([[function.of(x.ravel())[1].reshape(x.shape)] for x in points])
            if rule.average_share is not None:
                optimizer.eval()
            for i, x in enumerate(points):
                if not function.of(x.ravel())[0] <= share * function.first:  # or it is NaN
                    taken[i] = step + 1
            if rule.average_share is not None:
                optimizer.train()
    fewest = min(taken)
    return (fewest, rates[taken.index(fewest)]) if fewest <= steps else None
