"""Measures all gradients together before a step: their norm, and whether all are finite.

Measured by a launch of its own that reads the gradients once, with rules that leave the parameters
as they are. Each tensor's sum has the fixed order of `samestep.language.summation`; the tensors'
sums are then added in float64, by halves, in the order of the parameters. So the norm, and a step
clipped by it, has the same bits everywhere. A host reads the sums and decides; a device decides for
itself, and tells later.
"""

from __future__ import annotations

import math
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


def _measuring(name: str, update: Callable[..., Any], sums: str, what: str) -> Rule:
    per = {sums: "tensor"}
    return Rule(f"measure_{name}", scalars, update, defaults={}, per=per, reference=what)


NORM = _measuring("norm", norm_update, "sum_of_squares", "The gradients' sums of squares.")
FINITE = _measuring("finite", finite_update, "difference", "Whether the gradients are finite.")


def scale_down(coefficient: float) -> float:
    """Return the power of two by which gradients times ``coefficient`` are measured again where a
    sum of squares is infinite in float32: small enough for sums of 2**63 squares, and large enough
    that the product with ``coefficient`` is a normal number."""
    exponent = max(-96, -125 - math.frexp(coefficient)[1])
    return 2.0 ** min(exponent, 0)


class Measurement:
    """Measures the gradients of these tensors: their ``norm``, or only whether they are finite.

    The norm is finite if all gradients are: where a sum of squares is not, the gradients are read
    once more, scaled down by a power of two. (In float64, if they are below 1e180.)
    """

    def __init__(self, backend: Backend, tensors: Sequence[Tensor], norm: bool) -> None:
        self.norm, self._backend = norm, backend
        rule = NORM if norm else FINITE
        (name,) = rule.state
        dtypes = dict.fromkeys(COMPUTE_DTYPE[t.dtype] for t in tensors)
        self._sums = {dtype: backend.zeros(len(tensors), dtype) for dtype in dtypes}
        measured = []
        for i, tensor in enumerate(tensors):
            vector = self._sums[COMPUTE_DTYPE[tensor.dtype]]
            measured.append(tensor.with_state({name: vector[i : i + 1].reshape(())}))
        self._judge = backend.judge(norm, list(self._sums.values()))
        self._alike = [rule] * len(tensors), [None] * len(tensors)
        self._launches = Launches(backend, measured)
        self._coefficient, self._scale = 1.0, scale_down(1.0)

    def choose(self, gradients: Gradients, dtypes: Dtypes, coefficient: float) -> None:
        """Make ready to measure gradients, those that have a dtype, times ``coefficient``. Raises
        ValueError for one that is too large."""
        self._launches.choose(dtypes, lambda _: self._alike)
        self._set_rows(coefficient)
        for bucket in self._launches:
            bucket.ready(gradients)

    def _set_rows(self, coefficient: float) -> None:
        if coefficient != self._coefficient:
            self._coefficient, self._scale = coefficient, scale_down(coefficient)
        for bucket in self._launches:
            bucket.set_rows([(coefficient,)])

    def run(self, gradients: Gradients, limit: float | None) -> Verdict:
        """Measure the gradients; their norm is to be at most ``limit``."""
        for vector in self._sums.values():
            self._backend.copy_into(vector, 0)
        for bucket in self._launches:
            bucket.run(gradients)
        again = self._judge.again(limit, self._scale) if self.norm else None
        if again is not None:
            for bucket in self._launches:
                bucket.shrink_gradients(again.coefficient, gradients)
                bucket.run(gradients, again.control)
        return self._judge.decide(limit, self._scale)

    def prepare(self, coefficient: float, limit: float | None) -> None:
        """Make what was recorded of `run` go by these numbers when it is replayed."""
        self._set_rows(coefficient)
        for bucket in self._launches:
            bucket.prepare()
        self._judge.prepare(limit, self._scale)
