"""The averages of the parameters of a torch optimizer: given out, and put in the parameters'
places."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from ....interrupts import held
from ....step.swapped import Pairs, check_kept, check_own, swapped
from .eager import not_compiled


def averaged(optimizer: Any) -> list[list[torch.Tensor]]:
    """Return copies of the averages of each group's parameters; of a parameter that has none, of
    itself, in the dtype that averages have."""
    with held(), optimizer._alone, torch.no_grad():
        found = iter([_wide(average.detach()) for average in _averages(optimizer)])
    return [[next(found) for _ in group["params"]] for group in optimizer.param_groups]


def averages(optimizer: Any) -> AbstractContextManager[None]:
    """Swap the averages in, and back; see `samestep.torch.Optimizer.averages`."""

    def pairs() -> Pairs:
        check_own(optimizer._swapped)
        params = [param for group in optimizer.param_groups for param in group["params"]]
        with held(), torch.no_grad():
            found = zip(params, _averages(optimizer), strict=True)
        return [(param, average) for param, average in found if param is not average]

    def copy(param: torch.Tensor) -> torch.Tensor:
        return param.detach().clone()

    def write(values: Pairs) -> None:
        with torch.no_grad():
            for param, value in values:
                param.copy_(value)

    def note(swapped_in: bool) -> None:
        optimizer._swapped = swapped_in

    return swapped(optimizer._alone, pairs, copy, write, note)


@not_compiled  # with a context manager compiled code goes into its frames
def _averages(optimizer: Any) -> list[torch.Tensor]:
    """Return the average of each parameter; the parameter itself until a step counts, or where its
    group keeps none. Raises ValueError if no group does."""
    check_kept(any(group["average"] for group in optimizer.param_groups))
    params, found = optimizer._look_again(), optimizer._all_parts().averages()
    return [found.get(param, param) for param in params]


def _wide(value: torch.Tensor) -> torch.Tensor:
    half = value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value.clone()
