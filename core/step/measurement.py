"""Measures all gradients together before a step: their norm, and whether all are finite.

Measured by a launch of its own that reads the gradients once, with rules that leave the parameters
as they are. Each tensor's sum has the fixed order of `samestep.language.summation`; the tensors'
sums are then added in float64, by halves, in the order of the parameters. So the norm, and a step
clipped by it, has the same bits everywhere. A host reads the sums and decides; a device decides for
itself, and tells later.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..protocol import Backend, Dtypes, Gradients, Tensor, Verdict
from .launches import Launches


def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Return no scalars: every row has the gradient's coefficient besides."""
    return {}, carry


def norm_update(xp: Any, s: Any, param: Any, grad: Any, sum_of_squares: Any) -> Any:
    """Compute the sum of squares of each tensor's gradient."""
    return param, xp.sum(grad * grad)


def finite_update(xp: Any, s: Any, param: Any, grad: Any, difference: Any) -> Any:
    """Compute zero, or NaN if any element of a tensor's gradient is infinite or NaN."""
    return param, xp.sum(grad - grad)


def both_update(
    xp: Any, s: Any, param: Any, grad: Any, sum_of_squares: Any, difference: Any
) -> Any:
    """Compute both while reading the gradient once."""
    return param, xp.sum(grad * grad), xp.sum(grad - grad)


@functools.cache
def measuring(norm: bool, finite: bool) -> Rule:
    """Return the rule that measures the norm, or whether all is finite, or both."""
    update: Callable[..., Any] = norm_update
    if finite:
        update = both_update if norm else finite_update
    names = ["norm"] * norm + ["finite"] * finite
    states = ["sum_of_squares"] * norm + ["difference"] * finite
    return Rule(
        "measure_" + "_".join(names),
        scalars,
        update,
        defaults={},
        per=dict.fromkeys(states, "tensor"),
        reference="The gradients' sum of squares and whether all are finite, for a whole step.",
    )


class Measurement:
    """Measures the gradients of these tensors; ``norm`` and ``finite`` say what."""

    def __init__(
        self, backend: Backend, tensors: Sequence[Tensor], norm: bool, finite: bool
    ) -> None:
        self.key, self._backend = (norm, finite), backend
        rule = measuring(norm, finite)
        dtypes = dict.fromkeys(COMPUTE_DTYPE[t.dtype] for t in tensors)
        self._sums = {
            name: {dtype: backend.zeros(len(tensors), dtype) for dtype in dtypes}
            for name in rule.state
        }
        measured = []
        for i, tensor in enumerate(tensors):
            of_tensor = {
                name: vectors[COMPUTE_DTYPE[tensor.dtype]][i : i + 1].reshape(())
                for name, vectors in self._sums.items()
            }
            measured.append(tensor.with_state(of_tensor))
        self._judge = backend.judge({n: list(v.values()) for n, v in self._sums.items()})
        self._alike = [rule] * len(tensors), [None] * len(tensors)
        self._launches = Launches(backend, measured)

    def run(
        self, gradients: Gradients, dtypes: Dtypes, coefficient: float, limit: float | None
    ) -> Verdict:
        """Measure the gradients times ``coefficient``; their norm is to be at most ``limit``."""
        self._launches.choose(dtypes, lambda _: self._alike)
        for vectors in self._sums.values():
            for vector in vectors.values():
                self._backend.copy_into(vector, 0)
        for bucket in self._launches:
            bucket.set_rows([(coefficient,)])
            bucket.ready(gradients)
        for bucket in self._launches:
            bucket.run(gradients)
        return self._judge.decide(limit)

    def prepare(self, coefficient: float, limit: float | None) -> None:
        """Make what was recorded of `run` go by these numbers when it is replayed."""
        for bucket in self._launches:
            bucket.set_rows([(coefficient,)])
            bucket.prepare()
        self._judge.prepare(limit)
