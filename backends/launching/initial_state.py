"""The state of a parameter, before its first step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...language import parameter_checks
from ...language.blocks import state_shape
from ...language.blockwise import BLOCKWISE, scales_of
from ...language.dtypes import numpy_dtype
from ...language.rule import Rule


def initial_state(
    tensor: Any, rule: Rule, hyper: dict[str, Any]
) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any], float]]:
    """Yield name, shape, dtype and initial value (of each real) of a parameter's state arrays,
    those of scales among them.

    Raises TypeError for a complex parameter of a rule that keeps state per row or column, and what
    `check_parameter` raises.
    """
    real = np.dtype(tensor.compute)
    check_parameter(tensor, rule)
    for name in rule.state:
        per = rule.per.get(name)
        if per in ("row", "column") and tensor.complex:
            raise TypeError(f"{tensor.name} is complex; {rule.name} needs real parameters")
        full = tensor.complex and per is None
        dtype = np.result_type(real, np.complex64) if full else real
        shape = state_shape(tensor.shape, per, rule.rank)
        start = rule.initial.get(name, 0.0)
        value = hyper[start] if isinstance(start, str) else start
        codec = rule.storage.get(name)
        if codec in BLOCKWISE:
            blocks = BLOCKWISE[codec]
            code, scale = blocks.of_number(value)
            yield name, blocks.shape(shape), np.dtype(blocks.dtype), code
            yield scales_of(name), (blocks.count(math.prod(shape)),), real, scale
            continue
        if codec is not None:  # rounded to the compute dtype first, as printed source does it
            dtype, value = numpy_dtype(codec), float(real.type(value))
        yield name, shape, dtype, value


def check_parameter(tensor: Any, rule: Rule) -> None:
    """Raise TypeError or ValueError for a parameter that ``rule`` is not for: whose states its
    codecs do not store, that its parts are not for, or that is no matrix where it calls functions
    of whole ones."""
    parameter_checks.check_parameter(tensor.name, tensor.dtype, tensor.complex, tensor.shape, rule)
