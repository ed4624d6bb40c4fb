"""Bytes of parameters, gradients and state, computed from shapes and dtypes alone.

The same rules by which an optimizer allocates; a test holds them to real allocations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...language.blocks import state_shape
from ...language.blockwise import BLOCKWISE
from ...language.codecs import stored_dtype
from ...language.dtypes import COMPUTE_DTYPE, numpy_dtype
from ...language.rule import Rule

Shape = tuple[int, ...]
Shapes = Mapping[Shape, int]
"""The number of tensors of each shape."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of all parameters, of one gradient for each, and of the state."""

    params: int
    grads: int
    state: int

    @property
    def total(self) -> int:
        return self.params + self.grads + self.state


def footprint(rule: Rule, shapes: Shapes, param_dtype: str, grad_dtype: str) -> Footprint:
    """Compute the bytes that an optimizer of this rule variant holds and is given."""
    count = parameter_count(shapes)
    compute = COMPUTE_DTYPE[param_dtype]
    state = sum(
        number * math.prod(kept) * numpy_dtype(stored_dtype(stored.get(name, compute))).itemsize
        for shape, number in shapes.items()
        for stored in [rule.for_shape(shape).storage]
        for name, kept in state_shapes(rule, shape).items()
    )
    state += sum(
        number
        * BLOCKWISE[variant.storage[name]].count(math.prod(shape))
        * numpy_dtype(compute).itemsize
        for shape, number in shapes.items()
        for variant in [rule.for_shape(shape)]
        for name in variant.scales.values()
    )
    return Footprint(
        params=count * numpy_dtype(param_dtype).itemsize,
        grads=count * numpy_dtype(grad_dtype).itemsize,
        state=state,
    )


def state_shapes(rule: Rule, shape: Shape) -> dict[str, Shape]:
    """Return the shape of each state of a parameter of this shape."""
    variant = rule.for_shape(shape)
    shapes = {n: state_shape(shape, variant.per.get(n), variant.rank) for n in variant.state}
    coded = {n: BLOCKWISE[c].shape(shape) for n, c in variant.storage.items() if c in BLOCKWISE}
    return shapes | coded


def parameter_count(shapes: Shapes) -> int:
    """Return the number of elements."""
    return sum(number * math.prod(shape) for shape, number in shapes.items())


def filled(params: int, block: Sequence[Shape]) -> Shapes:
    """Split ``params`` parameters into tensors of the shapes of a block, again and again.

    The rest is a matrix of as many columns as the last shape has, and a vector.
    """
    whole, left = divmod(params, parameter_count(Counter(block)))
    shapes = Counter({shape: number * whole for shape, number in Counter(block).items()})
    columns = block[-1][-1]
    for shape in ((left // columns, columns), (left % columns,)):
        shapes[shape] += 1
    return {shape: number for shape, number in shapes.items() if number and math.prod(shape)}
