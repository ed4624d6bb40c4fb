"""Marks what ``torch.compile`` leaves to the interpreter."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])
REASON = "it writes to the memory of tensors, which no graph sees; do it outside of what is traced"


def not_compiled(function: Function) -> Function:
    """Return the function as compiled code calls it between two graphs; in a single graph
    (``fullgraph=True``, ``torch.export``) it is an error, with a reason."""
    disable: Any = torch.compiler.disable
    takes_reason = "reason" in inspect.signature(disable).parameters  # PyTorch 2.6 has none
    return cast(Function, disable(function, **({"reason": REASON} if takes_reason else {})))
