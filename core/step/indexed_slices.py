"""Gradients of some rows: what they are, and which rules can do with them.

A step by such a gradient runs the rule's own text on the rows that are named, and leaves all others
as they are. That is the step of a dense gradient, zero elsewhere, if the rule does nothing where
the gradient is zero; for other rules it is another algorithm, called lazy, and has to be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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


def is_of_rows(grad: Any) -> bool:
    """Return true for a gradient of some rows, a framework's sparse tensor included."""
    return isinstance(grad, IndexedSlices) or bool(getattr(grad, "is_sparse", False))
