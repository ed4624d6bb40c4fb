"""Gradients summed over micro-batches, in the compute dtype, before one step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..language.rule import Rule
from ..protocol import Backend
from .launches import Buckets, Target


def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Whether this is the first micro-batch of a window."""
    return dict(first=h.first), carry


def update(xp: Any, s: Any, param: Any, grad: Any, grad_sum: Any) -> Any:
    """The first gradient replaces the sum of the last window, whatever that was."""
    return param, xp.where(s.first > 0, grad, grad_sum + grad)


RULE = Rule(
    "accumulate",
    scalars,
    update,
    defaults=dict(first=1.0),
    reference="The sum of gradients over micro-batches; the first of them replaces what was there.",
)


class Accumulation:
    """The sums of gradients since the last step.

    ``count`` micro-batches have been added; ``filled`` says which parameters had a gradient in
    any of them, ``sums`` has their arrays (of the compute dtype, shaped like the parameters).
    """

    def __init__(self, backend: Backend, tensors: Sequence[Any]) -> None:
        self.count, self.filled = 0, [False] * len(tensors)
        seen = []
        for tensor in tensors:
            seen.append(view := copy.copy(tensor))
            view.state, view.staged = backend.new_state(tensor, RULE, {}), False
        self.sums = [view.state["grad_sum"] for view in seen]
        self._rules, self._alike = [RULE] * len(tensors), [None] * len(tensors)
        self._keys: Sequence[Any] = self._alike
        self._buckets = Buckets(backend, seen)
        self._check = backend.gradients(tensors)
        self._target: Target | None = None

    def add(self, target: Target, grads: list[Any]) -> None:
        """Add the gradients of one micro-batch, or take them as they are if they are the first."""
        present = [kind is not None for kind in target.kinds]
        before = {filled for filled, now in zip(self.filled, present, strict=True) if now}
        alike = len(before) <= 1  # or the first gradient for some, and not for others
        keys: Sequence[Any] = self._alike if alike else self.filled
        if keys is not self._keys:
            self._buckets.forget()
        self._keys = keys
        self._buckets.point_at(target, lambda kinds: (self._rules, keys))
        for bucket in self._buckets:
            rows = before if alike else bucket.keys
            bucket.rows = bucket.as_rows([(0.0 if filled else 1.0, 1.0) for filled in rows])
            bucket.run(grads)
        self.count += 1
        self.filled = [a or b for a, b in zip(self.filled, present, strict=True)]

    def take(self) -> tuple[list[Any], Target]:
        """The sums as the gradients of a step, None where there was none; starts a new window."""
        sums = [a if filled else None for a, filled in zip(self.sums, self.filled, strict=True)]
        if self._target is None or [k is not None for k in self._target.kinds] != self.filled:
            accepted = self._check.accept(sums)
            self._target = Target(accepted.kinds, accepted.addresses)
        self.count, self.filled = 0, [False] * len(self.sums)
        return sums, self._target
