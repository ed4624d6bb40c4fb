"""The averages of an optimizer's parameters: given out, and put in the parameters' places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..interrupts import held
from ..pages import see
from ..parameters.trees import unflatten
from ..step.accumulation import RULE as SUMS
from ..step.run import Run


def averaged(run: Run) -> Any:
    """Return the averages; see `samestep.Optimizer.averaged`."""
    averages = _averages(run)
    copies = []
    for tensor, average in zip(run.groups.tensors, averages, strict=True):
        copy = run.backend.new_state(tensor, SUMS, {})["grad_sum"]  # shaped like the parameter
        run.backend.copy_into(copy, average)
        copies.append(copy)
    groups = run.groups
    specs, division = groups.specs, groups.division
    if division is not None:  # groups made of one structure
        own = copies.copy()
        for i, place in enumerate(division.order(specs)):
            copies[place] = own[i]
        specs = division.structures(specs)
    leaves = iter(copies)
    trees = [unflatten(spec, leaves) for spec in specs]
    return trees[0] if groups.single and len(trees) == 1 else trees


@contextlib.contextmanager
def averages(run: Run) -> Iterator[None]:
    """Swap the averages in, and back; see `samestep.Optimizer.averages`."""
    tensors, own = [], []
    try:
        # an interrupt that came meanwhile takes effect as this block ends: all is put back then, too
        with run.alone, held():
            averages = _averages(run)
            tensors = list(run.groups.tensors)
            own = [run.backend.to_numpy(tensor.array) for tensor in tensors]
            run.swapped = True
            _write(run, tensors, averages)
        yield
    finally:
        if own:
            with held():
                _write(run, tensors, own)
                run.swapped = False


def _averages(run: Run) -> list[Any]:
    """Return the average of each parameter; the parameter itself until a step counts, or where its
    group keeps none. Raises ValueError if no group does."""
    if not any("average" in rule.around for rule in run.groups.rules):
        raise ValueError(
            "this optimizer keeps no averages; make it with average='ema' or average='mean'"
            f"{see('howto/averages.md')}"
        )
    run.check_own()
    run.settle()
    run.follow()
    return [
        tensor.state["average"] if clock.carry.get("averaged") else tensor.array
        for tensor, clock in zip(run.groups.tensors, run.groups.clocks, strict=True)
    ]


def _write(run: Run, tensors: list[Any], values: list[Any]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        if value is not tensor.array:
            run.backend.copy_into(tensor.array, value)
    run.backend.change_marker(tensors)()
