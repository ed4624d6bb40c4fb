"""The rule's own text, run on NumPy arrays: what launches of all rules have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...language.results import as_tuple
from ...language.rule import Rule
from ...language.vocabulary import NumpyVocabulary
from ..gradients import CheckedGradients
from ..host.text_launch import Array, TextLaunch
from ..tensor import AdoptedTensor

LARGER = 1 << 23  # bytes; a multiple of what all temporaries of a block have


@cache  # once a process: the thresholds stay
def keep_freed_memory() -> None:
    """Have glibc keep the memory of temporaries for the next ones.

    It hands freed memory back to the system from 128 KB on, and so from block to block: page
    faults then take up to nine times as long as the arithmetic. Once a larger block was freed, its
    thresholds are above that (mallopt(3), M_MMAP_THRESHOLD).
    """
    np.empty(LARGER, np.uint8)


class NumpyLaunch(TextLaunch):
    """Runs the text of a rule; subclasses say on which arrays at once.

    ``memory`` has the parameter and the states of each tensor, as vectors; ``row_of_tensor`` its
    row of scalars, or a negative number; ``rows`` the scalars of this step, ``named_rows`` the same
    numbers as the text takes them.
    """

    def __init__(self, rule: Rule, scalars: tuple[str, ...], param_dtype: str) -> None:
        super().__init__(rule, scalars, param_dtype)
        self.named_rows: list[SimpleNamespace] = []
        keep_freed_memory()

    def bind(self, tensors: Sequence[AdoptedTensor], positions: Sequence[int]) -> None:
        """Look up the memory of parameters and state."""
        super().bind(tensors, positions)
        self.memory = [
            [t.flat, *(self.state_of(t, name) for name in self.rule.state)] for t in tensors
        ]

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Take note of which row of scalars each tensor has."""
        self.row_of_tensor = row_of_tensor
        count = max(row_of_tensor) + 1
        if count != len(self.named_rows):
            # arrays without axes that see the rows of each step: NumPy multiplies by one in 0.25
            # µs, by a number of its own in 0.41
            self.rows = np.empty((count, len(self.scalars)), self.dtype)
            self.named_rows = [
                self.named([row[k, ...] for k in range(len(row))]) for row in self.rows
            ]

    def run(self, rows: Array, gradients: CheckedGradients, control: None) -> None:
        """Update the tensors that have a row."""
        self.rows[...] = rows
        coefficients = rows[:, -1].tolist()
        self.scaled = coefficients.count(1.0) < len(coefficients)
        self.take_keys(rows)
        with np.errstate(all="ignore"):
            self.update([gradients.arrays[position] for position in self.positions])

    def update(self, grads: list[Any]) -> None:
        """Update the tensors that have a row, by one gradient for each."""
        raise NotImplementedError

    def named(self, scalars: Iterable[Array]) -> SimpleNamespace:
        """Return scalars, in the order of a row, as the text takes them."""
        return SimpleNamespace(**dict(zip(self.scalars, scalars, strict=True)))

    def run_text(
        self,
        xp: NumpyVocabulary,
        s: SimpleNamespace,
        param: Array,
        grad: Array,
        states: list[Any],
    ) -> Sequence[Any]:
        """Return the new values of the parameter and of each state; None for what stays as it is.

        One array's old value may be another's new one: that is copied, since the old one will be
        written over.
        """
        grad = self.loaded(grad)
        if self.scaled:
            grad = s.grad_coefficient * grad
        before = [self.loaded(stored) for stored in (param, *states)]
        param, *states = before
        results = as_tuple(self.rule.update(xp, s, param, grad, *states))
        ids = {*map(id, before)}
        if ids.isdisjoint(map(id, results)):  # as most often
            return results
        return [
            None if new is old else new.copy() if id(new) in ids else new
            for new, old in zip(results, before, strict=True)
        ]
