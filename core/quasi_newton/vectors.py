"""The vectors of an L-BFGS run, in float64 where the backend computes, and the passes over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..language.rule import Rule
from ..protocol import Backend, Tensor
from ..step.launches import Bucket
from .texts import ADD, BLOCK, CHANGE, DOTS, MOVE, SCALE, SLOPE

ALIGNED = 4  # elements; a device moves two of them at once where all vectors lie alike


class Pass:
    """A launch over vectors, bound once to where they lie; ``grads`` has what the text takes as the
    gradient of each tensor, ``sums`` the vector that its sums are in."""

    def __init__(
        self, backend: Backend, rule: Rule, tensors: list[Tensor], grad: Any, sums: Any = None
    ) -> None:
        self._backend, self._grads, self._sums = backend, [grad] * len(tensors), sums
        self._bucket = Bucket(backend, rule, "float64", "float64", dict(enumerate(tensors)))
        self._checker = backend.gradient_checker(tensors)
        self._rows: list[int] = []
        self.use(range(len(tensors)))

    def use(self, positions: Sequence[int]) -> None:
        """Run over these tensors from now on, and leave the others out."""
        rows = [0 if i in positions else -1 for i in range(len(self._grads))]
        if rows != self._rows:
            self._bucket.set_keys([None], rows)
            self._rows = rows

    def run(self, scalars: Sequence[float] = ()) -> list[float]:
        """Run it, and return its sums: all of the first one, one for each tensor, then the next."""
        gradients = self._checker.accept(self._grads)
        try:
            self._bucket.set_rows([(*scalars, 1.0)])
            self._bucket.ready(gradients)
            self._bucket.run(gradients)
        finally:
            gradients.release()
        if self._sums is None:
            return []
        found: list[float] = self._backend.to_numpy(self._sums).tolist()
        return found


class Vectors:
    """The vectors, each with as many float64 as the parameters have reals.

    ``x`` and ``grad`` are of the last evaluation, ``x_start`` and ``grad_start`` of where the line
    search started, ``direction`` is where to; ``grad_best`` is of the lowest point seen, if
    that is not the last one. ``s`` and ``y`` have a slot for each pair of the history.
    """

    def __init__(self, backend: Backend, size: int, history: int) -> None:
        self._backend, self.size, self.history = backend, size, history
        new = [backend.zeros(size, "float64") for _ in range(6)]
        self.x, self.x_start, self.grad, self.grad_start, self.grad_best, self.direction = new
        self.s, self.y = self._slots(), self._slots()
        self._move = self._pass(MOVE, [(self.x, self.x_start)], self.direction)
        self._slope = self._pass(SLOPE, [(self.direction,)], self.grad)
        self._change = self._pass(CHANGE, [(self.x_start, self.grad_start, self.grad)], self.x)
        pairs = list(zip(self.s, self.y, strict=True))
        self._dots_with = {
            name: self._pass(DOTS, pairs, getattr(self, name)) for name in ("grad", "grad_start")
        }
        self._scale = self._pass(SCALE, [(self.direction,)], self.grad)
        self._add = [self._pass_over_block(first) for first in range(0, history, BLOCK)]

    def _slots(self) -> list[Any]:
        """Return a vector for each pair, side by side."""
        apart = -(-self.size // ALIGNED) * ALIGNED
        memory = self._backend.zeros(apart * self.history, "float64")
        return [memory[k * apart : k * apart + self.size] for k in range(self.history)]

    def _pass(self, rule: Rule, vectors: Sequence[Sequence[Any]], grad: Any) -> Pass:
        """Make a pass over these vectors, for each tensor the parameter and the states, with a
        place for each of its sums."""
        count = len(vectors)
        sums = self._backend.zeros(count * len(rule.per), "float64") if rule.per else None
        tensors = []
        for i, (param, *states) in enumerate(vectors):
            places = [j * count + i for j in range(len(rule.per))]
            results = [] if sums is None else [sums[at : at + 1].reshape(()) for at in places]
            tensor = self._backend.adopt("an L-BFGS vector", param)
            tensor.state = dict(zip(rule.state, [*states, *results], strict=True))
            tensors.append(tensor)
        return Pass(self._backend, rule, tensors, grad, sums)

    def _pass_over_block(self, first: int) -> Pass:
        """Make the pass that adds pairs from this one on; in the places of those that there are not
        it takes the first ``y``, with coefficients that are 0."""
        missing = [self.y[first]] * (first + BLOCK - self.history)
        s, y = (of[first : first + BLOCK] + missing for of in (self.s, self.y))
        return self._pass(ADD, [(self.direction, *s[1:], *y)], s[0])

    def copy(self, target: Any, source: Any) -> None:
        """Copy one vector into another."""
        self._backend.copy_into(target, source)

    def largest_derivative(self) -> float:
        """Return the largest magnitude in the gradient; NaN if any element is."""
        return max(-float(self.grad.min()), float(self.grad.max()))

    def move(self, t: float) -> None:
        """Set ``x`` to the point ``t`` along the direction."""
        self._move.run((t,))

    def slope(self) -> float:
        """Return the product of the direction and the gradient."""
        return self._slope.run()[0]

    def keep_changes(self, slot: int) -> None:
        """Turn ``x_start`` and ``grad_start`` into ``s`` and ``y``, the changes since the start,
        and copy them to a slot of the history."""
        self._change.run()
        self.copy(self.s[slot], self.x_start)
        self.copy(self.y[slot], self.grad_start)

    def dots(self, name: str, slots: Sequence[int]) -> tuple[list[float], list[float]]:
        """Return the products of ``s`` and of ``y`` of these slots with the vector ``grad`` or
        ``grad_start``; those of other slots mean nothing."""
        self._dots_with[name].use(slots)
        found = self._dots_with[name].run()
        return found[: self.history], found[self.history :]

    def combine(self, of_grad: float, of_s: Sequence[float], of_y: Sequence[float]) -> float:
        """Form the direction with these coefficients, and return its slope."""
        self._scale.run((of_grad,))
        for i, adding in enumerate(self._add):
            block = slice(i * BLOCK, (i + 1) * BLOCK)
            coefficients = [list(of[block]) for of in (of_s, of_y)]
            if any(coefficients[0]):
                missing = [0.0] * (BLOCK - len(coefficients[0]))
                adding.run([*coefficients[0], *missing, *coefficients[1], *missing])
        return self.slope()
