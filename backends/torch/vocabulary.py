"""``xp`` on tensors: every operation correctly rounded, as PyTorch's are not all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ...program import reachable
from ...rule import Rule
from ...trace import trace_update
from ...vocabulary import Vocabulary


class TorchVocabulary(Vocabulary):
    """``xp`` on tensors of one compute dtype, on one device."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device

    def sqrt(self, x: Any) -> Any:
        return exact_sqrt(self.typed(x))

    def abs(self, x: Any) -> Any:
        return torch.abs(self.typed(x))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, bool):  # of two numbers, as in maximum(x, 0)
            return self.typed(a if condition else b)
        return torch.where(condition, self.typed(a), self.typed(b))

    def typed(self, x: Any) -> Any:
        """A number as a tensor of the compute dtype: PyTorch would take its default dtype."""
        if isinstance(x, torch.Tensor):
            return x
        return torch.full((), x, dtype=self.dtype, device=self.device)


class ExactDivision(TorchFunctionMode):
    """While it is entered, numbers are divided, and divided by, as tensors are. PyTorch computes
    ``3 / x`` as ``3 * reciprocal(x)`` and on a GPU ``x / 3`` as ``x * (1 / 3)``."""

    def __init__(self, typed: Callable[[Any], torch.Tensor]) -> None:
        super().__init__()
        self.typed = typed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.__rtruediv__, torch.Tensor.__rdiv__):
            return torch.div(self.typed(args[1]), args[0])
        if func is torch.Tensor.__truediv__:
            return torch.div(args[0], self.typed(args[1]))
        return func(*args, **(kwargs or {}))


def divides_numbers(rule: Rule) -> bool:
    """Whether the text has a number in a division."""
    nodes = reachable(trace_update(rule)[0].values())
    return any(n.op == "/" and any(a.op == "constant" for a in n.args) for n in nodes)


def exact_sqrt(x: torch.Tensor) -> torch.Tensor:
    """The correctly rounded square root. PyTorch's own is not, on the host: 0.6 % of the float32
    results differ in the last bit."""
    if x.device.type != "cpu":
        return torch.sqrt(x)
    result = torch.empty_like(x)
    with np.errstate(invalid="ignore"):
        np.sqrt(x.numpy(), out=result.numpy())
    return result
