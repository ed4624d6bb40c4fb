"""How wrong a format's parameters are, against the same steps in 50-digit arithmetic."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from samestep.golden.cases import cases
from samestep.tools.truth.problem import Problem, pose
from stored_formats import HYPER, Format

CASE = "adamw.bfloat16"  # its parameters and gradients are numbers of every format


@functools.cache
def problem(steps: tuple[int, ...], shape: tuple[int, int]) -> Problem:
    """Return the parameter, gradients and exact trajectory; half a minute for 1,000 steps."""
    (case,) = [case for case in cases() if case.name == CASE]
    return pose(dataclasses.replace(case, hyper=HYPER), [*steps], shape)


def errors(form: Format, steps: tuple[int, ...], shape: tuple[int, int]) -> dict[int, float]:
    """Return after each of ``steps`` the median over the elements of the parameter's error, as a
    fraction of how far the exact parameter is from its start."""
    posed = problem(steps, shape)
    start = posed.start.astype(np.float64)
    param = form.stored(posed.start)
    optimizer = form.optimizer(param)
    found = {}
    for step in range(1, max(steps) + 1):
        optimizer.step(form.stored(posed.gradient(step)))
        if step in steps:
            off = np.abs(param.astype(np.float64) - posed.exact[step])
            found[step] = float(np.median(off / np.abs(posed.exact[step] - start)))
    return found
