"""The state of a parameter, before its first step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..rule import Rule


def new_state(
    tensor: Any, rule: Rule, hyper: dict[str, Any]
) -> dict[str, tuple[tuple[int, ...], np.dtype[Any], float]]:
    """Shape, dtype and initial value of each state array of a parameter.

    Raises TypeError for a complex parameter of a rule that keeps state per row or column.
    """
    found = {}
    real = np.dtype(tensor.compute)
    for name in rule.state:
        per = rule.per.get(name)
        if per in ("row", "column") and tensor.complex:
            raise TypeError(f"{tensor.name} is complex; {rule.name} needs real parameters")
        full = tensor.complex and per is None
        dtype = np.result_type(real, np.complex64) if full else real
        shape = {"row": tensor.shape[:1], "column": tensor.shape[1:], "tensor": ()}.get(
            per or "", tensor.shape
        )
        start = rule.initial.get(name, 0.0)
        found[name] = (shape, dtype, hyper[start] if isinstance(start, str) else start)
    return found
