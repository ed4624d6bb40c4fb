"""Gradients summed over micro-batches, in the compute dtype, before one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..language.rule import Rule
from ..protocol import Backend, Dtypes, Gradients, Tensor
from .launches import Launches


def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Say whether this is the first micro-batch of a window."""
    return dict(first=h.first), carry


def update(xp: Any, s: Any, param: Any, grad: Any, grad_sum: Any) -> Any:
    """Add the gradient; the first one replaces the sum of the last window, whatever that was."""
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

    def __init__(self, backend: Backend, tensors: Sequence[Tensor]) -> None:
        self._backend, self._tensors = backend, tensors
        self.count, self.filled = 0, [False] * len(tensors)
        summed = [tensor.with_state(backend.new_state(tensor, RULE, {})) for tensor in tensors]
        self.sums = [tensor.state["grad_sum"] for tensor in summed]
        self._rules, self._alike = [RULE] * len(tensors), [None] * len(tensors)
        self._keys: Sequence[Any] = self._alike
        self._launches = Launches(backend, summed)
        self._checker = backend.gradient_checker(tensors)

    def choose(self, gradients: Gradients, dtypes: Dtypes) -> None:
        """Make ready to add gradients, of which those count that have a dtype. Whatever can raise,
        raises here: no sum is changed."""
        present = [dtype is not None for dtype in dtypes]
        before = {filled for filled, now in zip(self.filled, present, strict=True) if now}
        alike = len(before) <= 1  # or the first gradient for some, and not for others
        keys: Sequence[Any] = self._alike if alike else self.filled
        if keys is not self._keys:
            self._launches.forget()
        self._keys = keys
        self._launches.choose(dtypes, lambda _: (self._rules, keys))
        for bucket in self._launches:
            rows = before if alike else bucket.keys
            bucket.set_rows([(0.0 if filled else 1.0, 1.0) for filled in rows])
            bucket.ready(gradients)
        self._filled_then = [a or b for a, b in zip(self.filled, present, strict=True)]

    def sums_then(self) -> Gradients:
        """Return the sums as the gradients of a step, with what was chosen to be added."""
        return self._accept(self._filled_then)

    def sums_now(self) -> Gradients:
        """Return the sums as the gradients of a step."""
        return self._accept(self.filled)

    def add(self, gradients: Gradients) -> None:
        """Add the gradients of one micro-batch, those that were chosen for; the first ones
        replace what was there."""
        for bucket in self._launches:
            bucket.run(gradients)
        self.count += 1
        self.filled = self._filled_then

    def kept(self) -> Callable[[], None]:
        """Copy the sums. Returns the function that puts them back, as if nothing had been added
        since."""
        count, filled = self.count, self.filled
        copies = []
        for tensor, array, there in zip(self._tensors, self.sums, filled, strict=True):
            if there:
                copy = self._backend.new_state(tensor, RULE, {})["grad_sum"]
                self._backend.copy_into(copy, array)
                copies.append((array, copy))

        def put_back() -> None:
            for array, copy in copies:
                self._backend.copy_into(array, copy)
            self.count, self.filled = count, filled

        return put_back

    def restart(self) -> None:
        """Start a new window."""
        self.count, self.filled = 0, [False] * len(self.sums)

    def _accept(self, filled: Sequence[bool]) -> Gradients:
        present = zip(self.sums, filled, strict=True)
        return self._checker.accept([array if there else None for array, there in present])
