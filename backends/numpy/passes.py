"""Launches of rules that sum: the text runs on every block up to the first sum that is not known
yet, and starts again once it is. So a reduction is a pass boundary here too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...language.passes import program
from ...language.random_signs import random_signs
from ...language.rule import Rule
from ...language.summation import (
    CHUNK,
    LANES,
    STRIP_ROWS,
    add_neighbours,
    add_to_lanes,
    fold_by_halves,
    lanes_for,
    sum_rows,
    total,
)
from ...language.tracer import REDUCTIONS
from ...language.vocabulary import NumpyVocabulary
from ..gradients import CheckedGradients
from ..host.arrays import ARRAYS
from ..host.text_launch import Array
from ..tensor import AdoptedTensor
from ..torch_tensors.view import as_numpy
from .launch import NumpyLaunch

BLOCK = 32_768  # elements; divides CHUNK and is a multiple of LANES


class _SumPendingError(Exception):
    """Raised in the middle of the rule's text: a sum needs all blocks first."""


class _Passes(NumpyVocabulary):
    """``xp`` for one tensor of a rule that reduces: knows the sums of earlier passes in the order
    the text asks for them, and gathers the next one."""

    def __init__(
        self, rows: int, columns: int, matrix: bool, memory: Array, storage: np.dtype[Any]
    ) -> None:
        super().__init__(memory.dtype, storage)
        self.rows, self.columns, self.matrix, self.memory = rows, columns, matrix, memory
        self.known: list[tuple[str, Array]] = []
        self.pending: _Gathered | None = None
        self.asked = 0
        self.where_now = slice(0, 0)

    def begin_block(self, where: slice) -> None:
        self.asked, self.where_now = 0, where

    def size(self, x: Any, per: str = "tensor") -> Any:
        of_rows = per == "tensor" and self.matrix and x.shape[1] == 1  # a number per row
        counts = {"row": self.columns, "column": self.rows, "tensor": self.rows * self.columns}
        return self.dtype.type(self.rows if of_rows else counts[per])

    def random_signs(self, x: Any, seed: Any, renewal: Any, per: str) -> Any:
        if per == "column":
            return super().random_signs(x, seed, renewal, per)
        signs = random_signs(self.where_now.start, len(x), seed, renewal)
        return signs.astype(self.dtype)[:, None]

    def sum(self, x: Any, per: str = "tensor") -> Any:
        return self._reduced("sum", x, per)

    def max_abs(self, x: Any, per: str) -> Any:
        return self._reduced("largest", np.abs(x), per)

    def _reduced(self, op: str, x: Any, per: str) -> Any:
        self.asked += 1
        if self.asked <= len(self.known):
            known_per, value = self.known[self.asked - 1]
            return value[self.where_now, None] if known_per == "row" else value
        if self.pending is None:
            self.pending = _Gathered(self, op, per)
        self.pending.add(x)
        raise _SumPendingError

    def end_pass(self) -> None:
        assert self.pending is not None
        self.known.append((self.pending.per, self.pending.result()))
        self.pending = None


def parts_of_sums(rows: int, columns: int, matrix: bool, per: str) -> tuple[int, int]:
    """Return the shape of what a sum is gathered in: strips and columns, rows, or chunks and
    lanes."""
    if per == "column":
        return max(-(-rows // STRIP_ROWS), 1), columns
    return (rows, 1) if matrix else (max(-(-rows // CHUNK), 1), lanes_for(rows, LANES))


class _Gathered:
    """One sum in the making, in the fixed order of ``core/language/summation.py``; or the largest
    of values that are not negative, in any order."""

    def __init__(self, passes: _Passes, op: str, per: str) -> None:
        self.passes, self.op, self.per = passes, op, per
        shape = parts_of_sums(passes.rows, passes.columns, passes.matrix, per)
        self.parts = passes.memory[: math.prod(shape)].reshape(shape)
        self.parts[...] = 0

    def add(self, x: Array) -> None:
        where = self.passes.where_now
        if self.op == "largest" and self.per == "row":
            self.parts[where, 0] = x.max(axis=1)
        elif self.op == "largest":
            np.maximum(self.parts[0], x.max(axis=0), out=self.parts[0])
        elif self.per == "column":
            first = where.start // STRIP_ROWS
            for offset in range(min(len(x), STRIP_ROWS)):
                lines = x[offset::STRIP_ROWS]  # of each strip one
                self.parts[first : first + len(lines)] += lines
        elif self.passes.matrix:
            self.parts[where, 0] = sum_rows(x)
        else:
            add_to_lanes(self.parts[where.start // CHUNK], x)

    def result(self) -> Any:
        if (self.op, self.per) == ("largest", "column"):
            return self.parts[:1].copy()
        if self.per == "column":
            return np.array(add_neighbours(self.parts)[None, :])  # a copy of what may be memory
        if self.per == "row":
            return self.parts[:, 0].copy()
        if self.passes.matrix:
            return sum_rows(self.parts.T)[0]
        some = (self.parts[k : k + STRIP_ROWS] for k in range(0, len(self.parts), STRIP_ROWS))
        return total(np.concatenate([fold_by_halves(chunks.T).copy() for chunks in some]))


class ReducingLaunch(NumpyLaunch):
    """The text, run on one tensor after the other, block by block and as often as sums ask for."""

    def __init__(self, rule: Rule, scalars: tuple[str, ...], param_dtype: str) -> None:
        super().__init__(rule, scalars, param_dtype)
        traced = program(rule)
        self.matrix = traced.text_matrix
        self.sums_per = {node.per for node in traced.asked if node.op in REDUCTIONS}

    def bind(self, tensors: Sequence[AdoptedTensor], positions: Sequence[int]) -> None:
        """Look up the memory of parameters and state."""
        super().bind(tensors, positions)
        # rows and columns; of a rule that does not ask for them, elements and 1
        self.seen_as = [t.rows_and_columns if self.matrix else (t.flat.size, 1) for t in tensors]
        parts = (
            math.prod(parts_of_sums(rows, columns, self.matrix, per))
            for rows, columns in self.seen_as
            for per in self.sums_per
        )
        self.most_parts = max(parts, default=0)

    def ready(self, rows: Array, gradients: CheckedGradients) -> None:
        """Allocate what grows with a tensor: the parts of its sums."""
        self.parts = np.empty(self.most_parts, self.dtype)

    def update(self, grads: list[Any]) -> None:
        """Update the tensors that have a row, by one gradient for each."""
        for i, (row, grad) in enumerate(zip(self.row_of_tensor, grads, strict=True)):
            if row >= 0 and self.memory[i][0].size:
                self._run_passes(i, ARRAYS.reals(as_numpy(grad)), self.named_rows[row])
        del self.parts  # nothing is kept between steps

    def _run_passes(self, i: int, grad: Array, s: SimpleNamespace) -> None:
        """Run the text on all blocks until no sum is pending; only that last pass stores."""
        param, *states = self.memory[i]
        rows, columns = self.seen_as[i]
        xp = _Passes(rows, columns, self.matrix, self.parts, self.storage)
        shape = (rows, columns) if self.matrix else (rows,)
        param, grad = param.reshape(shape), grad.reshape(shape)
        states = [
            _seen_as(state, self.rule.per.get(name), shape)
            for name, state in zip(self.rule.state, states, strict=True)
        ]
        # state smaller than the parameter is read by many blocks: it changes after the last one
        targets = [s if s.shape == shape else s.copy() for s in states]
        height = BLOCK
        if xp.matrix:  # whole rows, a half, quarter, ... of a strip or several strips
            height = max(BLOCK // xp.columns, 1)
            in_strip = 1 << height.bit_length() - 1
            height = in_strip if height < STRIP_ROWS else height // STRIP_ROWS * STRIP_ROWS
        done = False
        while not done:
            done = True
            for start in range(0, xp.rows, height):
                where = slice(start, min(start + height, xp.rows))
                xp.begin_block(where)
                parts = [_part(state, where, xp.rows) for state in states]
                try:
                    new = self.run_text(xp, s, param[where], grad[where], parts)
                except _SumPendingError:
                    done = False
                    continue
                named = zip(("param", *self.rule.state), (param, *targets), new, strict=True)
                for name, target, value in named:
                    if value is not None:
                        stored = _part(target, where, xp.rows)
                        elements = [(i, where.start * columns, stored.size)]
                        stored[...] = self.rounded(value, name, stored, elements)
            if not done:
                xp.end_pass()
        for state, target in zip(states, targets, strict=True):
            if target is not state:
                state[...] = target


def _seen_as(state: Any, per: str | None, shape: tuple[int, ...]) -> Any:
    if per == "row":
        return state.reshape(shape[0], 1)
    return state.reshape({"column": (1, -1), "tensor": (1,)}.get(per or "", shape))


def _part(state: Any, where: slice, rows: int) -> Any:
    """The lines of an array that belong to a block; all of it if it has no axis of rows."""
    return state[where] if len(state) == rows else state
