"""What a format costs: bytes a parameter, and the time of a step beside float32's."""

from __future__ import annotations

import numpy as np
from samestep.tools.bench.contenders import Samestep
from samestep.tools.bench.timing import take_turns
from samestep.tools.bench.work import normal
from stored_formats import BACKEND, FORMATS, REFERENCE, Format

COUNTED = 1 << 16


def bytes_per_parameter(form: Format) -> float:
    """Return the bytes of a parameter and its state; the gradient comes on top."""
    if form.bytes is not None:
        return form.bytes
    param = form.stored(np.ones(COUNTED, np.float32))
    (state,) = form.optimizer(param).state
    return (param.nbytes + sum(array.nbytes for array in state.values())) / COUNTED


def times(form: Format, size: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds a step on one tensor, of the format and of float32 in turns."""
    params, grads = (normal(((size,),), seed) for seed in (0, 1))
    contenders = {}
    for each in (FORMATS[REFERENCE], form):
        arrays, sets = ([each.stored(array) for array in arrays] for arrays in (params, grads))
        contenders[each.name] = Samestep(BACKEND, arrays, [sets], hyper=each.keywords(0))
    return take_turns(contenders, 1, rounds, lambda: None)
