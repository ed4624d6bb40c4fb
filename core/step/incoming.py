"""The gradients that come with a step."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

from ..protocol import Backend
from .launches import Target


class Incoming:
    """Checks gradients and says where they are; quick for the arrays of the last step."""

    def __init__(self, backend: Backend, tensors: Sequence[Any]) -> None:
        self._check = backend.gradients(tensors)
        self._target: Target | None = None
        self._takes_part: Sequence[bool] = ()
        self.moved = False  # whether parameters were found in other memory than before

    def take(self, leaves: list[Any], takes_part: Sequence[bool]) -> tuple[list[Any], Target]:
        """The gradients as the launches get them, copies where they had to be made.

        ``takes_part``: the parameters that are not frozen; the gradients of others are checked
        too, and then left alone. Raises TypeError or ValueError naming the parameter.
        """
        known = self._target if takes_part is self._takes_part else None
        if known is not None and self._check.same(leaves):
            return leaves, known
        accepted = self._check.accept(leaves)
        self.moved = self.moved or accepted.moved
        kinds = accepted.kinds
        if not all(takes_part):
            kinds = [kind if part else None for kind, part in zip(kinds, takes_part, strict=True)]
        self._target = Target(kinds, accepted.addresses, accepted.rows)
        self._takes_part = takes_part
        arrays: list[Any] = accepted.arrays
        if all(map(is_, arrays, leaves)):  # a copy has to be made anew each step
            self._check.remember(leaves)
        return arrays, self._target
