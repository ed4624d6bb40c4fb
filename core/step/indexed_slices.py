"""Gradients of some rows: what they are, and which rules can do with them.

A step by such a gradient runs the rule's own text on the rows that are named, and leaves all others
as they are. That is the step of a dense gradient, zero elsewhere, if the rule does nothing where
the gradient is zero; for other rules it is another algorithm, called lazy, and has to be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..interrupts import held


@dataclass(frozen=True, eq=False)
class IndexedSlices:
    """A gradient that is zero but for some rows: the name and the arguments are TensorFlow's.

    Parameters
    ----------
    values : array, (k, ...)
        What ``param[indices]`` has the shape of; of the dtypes that a dense gradient may have.
    indices : array of integers, (k,)
        Positions along the parameter's first axis, in any order, from 0. Values of a row that is
        named several times are added up.
    """

    values: Any
    indices: Any


def coalesced(slices: IndexedSlices) -> IndexedSlices:
    """Copies in which rows ascend and each is named once. Values of one row are added in pairs of
    neighbours, in the order they came, then pairs of pairs, and so on; in their own dtype."""
    count = len(slices.indices)
    order = np.argsort(slices.indices * count + np.arange(count))  # faster than a stable sort
    indices, values = slices.indices[order], slices.values[order]
    with held(), np.errstate(over="ignore", invalid="ignore"):
        while (again := indices[1:] == indices[:-1]).any():
            first = np.flatnonzero(np.append(True, ~again))
            counts = np.diff(np.append(first, len(indices)))
            odd = (np.arange(len(indices)) - np.repeat(first, counts)) % 2 == 1
            values[np.flatnonzero(odd) - 1] += values[odd]
            indices, values = indices[~odd], values[~odd]
    return IndexedSlices(values, indices)
