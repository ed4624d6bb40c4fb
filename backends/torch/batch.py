"""One batch: some tensors, or a slice of them, with the memory that the text's passes run on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .sums import Gathered
from .work import Views, Work

Tensor = torch.Tensor
# computes pass k of the text on a block of some shape, given what the text takes but constants
Evaluate = Callable[[int, Sequence[Tensor], torch.Size], Sequence[Tensor]]


@dataclass(frozen=True)
class Form:
    """What a rule's passes take and give: whether the storage dtype ``converts`` to the compute
    ``dtype``; ``pers``, per what each of ``(param, *state)`` exists, or None; per what each pass but
    the last ``sums``; what the last one leaves, see `Text`."""

    dtype: torch.dtype
    converts: bool
    pers: tuple[str | None, ...]
    sums: tuple[str, ...]
    written: tuple[int, ...]
    smaller: tuple[int, ...]


class Batch:
    """``memory`` are vectors over all tensors, for each of ``(param, *state)``; ``sizes`` the
    numbers of elements that the text asks for."""

    def __init__(
        self, form: Form, work: Work, memory: Sequence[Sequence[Tensor]], sizes: Sequence[Tensor]
    ) -> None:
        self.form, self.work, self.sizes = form, work, sizes
        views = zip(memory, form.pers, strict=True)
        self.views = [Views(work, vectors, per, form.dtype) for vectors, per in views]
        cuts = [slice(start, stop) for start, stop in itertools.pairwise(work.cuts)]
        self.blocks: list[slice | None] = [*cuts] if len(cuts) > 1 else [None]
        self._direct_parts = self._parts() if work.direct else None

    def _parts(self) -> list[list[Tensor]]:
        """Of each block ``(param, *state)``."""
        arrays = [view.gather() for view in self.views]
        return [
            [part(a, where, per) for a, per in zip(arrays, self.form.pers, strict=True)]
            for where in self.blocks
        ]

    def update(self, evaluate: Evaluate, scalars: Sequence[Tensor], grads: Sequence[Any]) -> None:
        """Run each pass of the text on all blocks; the last one stores."""
        grad = self.work.gather(self.work.views(grads, None), None)
        blocks = list(zip(self.blocks, self._direct_parts or self._parts(), strict=True))
        sums: list[Tensor] = []
        for known, per in enumerate(self.form.sums):
            gathered = Gathered(per, self.work)
            for where, parts in blocks:
                gradient = part(grad, where, None)
                given = self._given(scalars, sums, where, gradient, self._typed(parts))
                (summand,) = evaluate(known, given, gradient.shape)
                gathered.add(summand, where.start if where else 0)
            sums.append(gathered.result())
        late: dict[int, Tensor] = {}
        for where, parts in blocks:
            gradient, arrays = part(grad, where, None), self._typed(parts)
            given = self._given(scalars, sums, where, gradient, arrays)
            found = evaluate(len(sums), given, gradient.shape)
            for k in self.form.written:
                self._store(k, parts[k], arrays[k])
            for k, value in zip(self.form.smaller, found, strict=True):
                if self.form.pers[k] == "row":
                    self._store(k, parts[k], value)
                else:
                    late[k] = value  # every block reads the old one, and has the same new one
        for k, value in late.items():
            self._store(k, blocks[0][1][k], value)

    def _typed(self, arrays: list[Tensor]) -> list[Tensor]:
        return [array.to(self.form.dtype) for array in arrays] if self.form.converts else arrays

    def _given(
        self,
        scalars: Sequence[Tensor],
        sums: Sequence[Tensor],
        where: slice | None,
        gradient: Tensor,
        arrays: Sequence[Tensor],
    ) -> Sequence[Tensor]:
        """What the text takes, but constants."""
        of_block = [
            part(value[:, :, None], where, per) if per == "row" else value
            for value, per in zip(sums, self.form.sums, strict=False)
        ]
        grad = gradient.to(self.form.dtype)
        return (*scalars, *self.sizes, *of_block, arrays[0], grad, *arrays[1:])

    def _store(self, k: int, target: Tensor, value: Tensor) -> None:
        if self._direct_parts is None:
            self.views[k].scatter(value)
        elif value is not target:
            target.copy_(value)


def part(array: Tensor, where: slice | None, per: str | None) -> Tensor:
    """The lines of an array that belong to a block; all of it if it has no axis of rows."""
    return array if where is None or per in ("column", "tensor") else array[:, where]
