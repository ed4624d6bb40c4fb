"""The averages of the parameters of a torch optimizer: given out, and put in the parameters' places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ....interrupts import held
from ....pages import see

REMEDY = "make it with average='ema' or average='mean'"


def averaged(optimizer: Any) -> list[list[torch.Tensor]]:
    """Return copies of the averages of each group's parameters; of a parameter that has none, of
    itself, in the dtype that averages have."""
    found = iter([_wide(average.detach()) for average in _averages(optimizer)])
    return [[next(found) for _ in group["params"]] for group in optimizer.param_groups]


@contextlib.contextmanager
def averages(optimizer: Any, swapped: list[bool]) -> Iterator[None]:
    """Swap the averages in, and back. ``swapped`` is not empty meanwhile."""
    check_own(swapped)
    params = [param for group in optimizer.param_groups for param in group["params"]]
    pairs = list(zip(params, _averages(optimizer), strict=True))
    pairs = [(param, average) for param, average in pairs if param is not average]
    own = [param.detach().clone() for param, _ in pairs]
    try:
        # an interrupt that came meanwhile takes effect as this block ends: all is put back then, too
        with held(), torch.no_grad():
            swapped.append(True)
            for param, average in pairs:
                param.copy_(average)
        yield
    finally:
        with held(), torch.no_grad():
            for (param, _), value in zip(pairs, own, strict=True):
                param.copy_(value)
            swapped.clear()


def check_own(swapped: list[bool]) -> None:
    """Raise RuntimeError while averages are in the places of the parameters."""
    if swapped:
        raise RuntimeError(
            "the averages are in the places of the parameters: leave `with opt.averages():` first"
            f"{see('howto/averages.md')}"
        )


def _averages(optimizer: Any) -> list[torch.Tensor]:
    """Return the average of each parameter; the parameter itself until a step counts, or where its
    group keeps none. Raises ValueError if no group does."""
    groups = optimizer.param_groups
    if not any(group["average"] for group in groups):
        raise ValueError(f"this optimizer keeps no averages; {REMEDY}{see('howto/averages.md')}")
    found = []
    for param in (param for group in groups for param in group["params"]):
        entry = optimizer.state.get(param, {})
        found.append(entry["average"] if float(entry.get("averaged", 0)) > 0 else param)
    return found


def _wide(value: torch.Tensor) -> torch.Tensor:
    half = value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value.clone()
