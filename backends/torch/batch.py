"""One batch: some tensors, or a slice of them, with the memory that passes and folds run on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ...language.dtypes import name_of
from ...language.passes import Program
from ...language.rounding import rounded_bits
from ..launching.random_bits import Piece, random_bits
from .operations import Operations
from .sums import Gathered
from .work import Views, Work

Tensor = torch.Tensor
# computes the k-th of some `Operations` on one block, given what they take but the constants:
# changes arrays in place, and returns the rest of the results
Evaluate = Callable[[int, Sequence[Tensor]], Sequence[Tensor]]


class Batch:
    """The memory of ``work``. ``memory`` has vectors over all tensors for ``param`` and each state,
    ``sizes`` the numbers of elements that the rule asks for. ``streams`` are the arrays that are
    rounded by random bits, with their numbers; ``positions`` those of the tensors among all
    parameters of the optimizer."""

    def __init__(
        self,
        program: Program,
        dtype: torch.dtype,
        work: Work,
        memory: Mapping[str, Sequence[Tensor]],
        sizes: Sequence[Tensor],
        streams: Mapping[str, int],
        positions: Sequence[int],
    ) -> None:
        self.dtype, self.work, self.sizes = dtype, work, sizes
        self.positions = positions
        self.converts = any(vectors[0].dtype != dtype for vectors in memory.values())
        per = program.rule.per
        views = {
            name: Views(work, v, per.get(name, "element"), dtype) for name, v in memory.items()
        }
        full = [name for name in program.elements if name != "grad"]
        self.views, self.streams = [views[name] for name in full], [*map(streams.get, full)]
        self.small_views = [views[name] for name in program.small]
        cuts = [slice(start, stop) for start, stop in itertools.pairwise(work.cuts)]
        self.blocks: list[slice | None] = [*cuts] if len(cuts) > 1 else [None]
        self._own = self._arrays() if work.direct else None

    def _arrays(self) -> tuple[list[list[Tensor]], list[Tensor]]:
        """Return param and the states of its shape, block by block; and the smaller states."""
        whole = [view.gather() for view in self.views]
        blocks = [[block(array, where) for array in whole] for where in self.blocks]
        return blocks, [view.gather() for view in self.small_views]

    def update(
        self,
        launches: Sequence[Operations],
        evaluate: Evaluate,
        scalars: Sequence[Tensor],
        grads: Sequence[Any],
        keys: Sequence[tuple[int, int]],
        signs: Mapping[int, Tensor],
    ) -> None:
        """Run the passes on all blocks, one after the other, and the folds between them. ``keys``
        are those of random bits, by tensor; ``signs`` the random signs, by their nodes' ids."""
        grad = self.work.gather(self.work.views(grads))
        blocks, small = self._own or self._arrays()
        parts: list[tuple[slice | None, list[Tensor]]] = [
            (where, [*arrays, block(grad, where)])
            for where, arrays in zip(self.blocks, blocks, strict=True)
        ]
        known = {**signs}  # and reductions and crossings
        for k, each in enumerate(launches):
            views = self.views if each.in_pass else self.small_views
            sums = {id(node): Gathered(node.op, node.per, self.work) for node in each.sums}
            for where, arrays in parts if each.in_pass else [(None, small)]:
                received = [block(known[id(n)], where, n.per) for n in each.received]
                typed = [a.to(self.dtype) for a in arrays] if self.converts else arrays
                found = evaluate(k, (*scalars, *self.sizes, *received, *typed))
                for i in each.written:
                    value = typed[i]
                    if each.in_pass and self.streams[i] is not None:
                        value = self._rounded(i, where, value, arrays[i].dtype, keys)
                    self._store(views[i], arrays[i], value)
                for gathered, summand in zip(sums.values(), found, strict=False):
                    gathered.add(summand, where.start if where else 0)
                known |= zip(map(id, each.crossings), found, strict=False)
            known |= {key: gathered.result() for key, gathered in sums.items()}

    def _rounded(
        self,
        i: int,
        where: slice | None,
        value: Tensor,
        dtype: torch.dtype,
        keys: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Return the new value of the i-th array in a block, rounded to ``dtype`` by random
        bits."""
        line, stream = math.prod(self.work.shape[2:]), self.streams[i]
        assert stream is not None
        pieces = []
        for piece in self.work.pieces:
            first, count = piece.start, piece.stop - piece.start
            if where is not None:
                first, count = first + where.start * line, (where.stop - where.start) * line
            pieces.append(Piece(self.positions[piece.tensor], first, count, keys[piece.tensor]))
        random = random_bits(
            pieces, stream, lambda n: torch.from_numpy(n).to(value.device), torch.stack
        )
        bits = value.contiguous().view(torch.int32).to(torch.int64)
        rounded: Tensor = rounded_bits(bits, random.view(value.shape), name_of(dtype))
        return rounded.to(torch.int16).view(dtype)

    def _store(self, view: Views, array: Tensor, value: Tensor) -> None:
        """Put a new value to where ``array`` came from."""
        if self._own is None:
            view.scatter(value)
        elif value is not array:
            array.copy_(value)


def block(array: Tensor, where: slice | None, per: str = "element") -> Tensor:
    """Return the lines of an array that belong to a block; all of it if it has no axis of rows."""
    return array if where is None or per in ("column", "tensor") else array[:, where]
