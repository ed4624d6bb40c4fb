"""The averages of an optimizer's parameters: given out, and put in the parameters' places."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..parameters.trees import unflatten
from ..protocol import Tensor
from ..step.accumulation import RULE as SUMS
from ..step.averages import averages_of
from ..step.run import Run
from ..step.swapped import Pairs, check_kept, swapped


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


def averages(run: Run) -> AbstractContextManager[None]:
    """Swap the averages in, and back; see `samestep.Optimizer.averages`."""

    def pairs() -> Pairs:
        found = zip(run.groups.tensors, _averages(run), strict=True)
        return [(tensor, average) for tensor, average in found if average is not tensor.array]

    def copy(tensor: Tensor) -> Any:
        return run.backend.to_numpy(tensor.array)

    def write(values: Pairs) -> None:
        for tensor, value in values:
            run.backend.copy_into(tensor.array, value)
        run.backend.change_marker([tensor for tensor, _ in values])()

    def note(swapped_in: bool) -> None:
        run.swapped = swapped_in

    def follow(own: Pairs) -> None:
        run.follow()
        now = {tensor.name: tensor for tensor in run.groups.tensors}
        moved = [(now[old.name], value) for old, value in own if now[old.name] is not old]
        if moved:
            write(moved)

    return swapped(run.alone, pairs, copy, write, note, follow)


def _averages(run: Run) -> list[Any]:
    """Return the average of each parameter; the parameter itself until a step counts, or where its
    group keeps none. Raises ValueError if no group does."""
    check_kept(any("average" in rule.around for rule in run.groups.rules))
    run.check_own()
    run.settle()
    run.follow()
    tensors, clocks = run.groups.tensors, run.groups.clocks
    return [
        tensor.array if average is None else average
        for tensor, average in zip(tensors, averages_of(run.backend, tensors, clocks), strict=True)
    ]
