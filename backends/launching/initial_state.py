"""The state of a parameter, before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...language.rule import Rule


def initial_state(
    tensor: Any, rule: Rule, hyper: dict[str, Any]
) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any], float]]:
    """Yield name, shape, dtype and initial value (of each real) of a parameter's state arrays.

    Raises TypeError for a complex parameter of a rule that keeps state per row or column.
    """
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
        yield name, shape, dtype, hyper[start] if isinstance(start, str) else start
