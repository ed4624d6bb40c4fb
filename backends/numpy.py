"""The reference: runs the rule's own text with NumPy, block by block.

Blocks are small enough for temporaries to stay in the cache, so this is faster than whole arrays
and its memory does not grow with the model. Small tensors of a rule that sums nothing are put
together to blocks. A reduction is a pass boundary here too: the text runs on every block up to the
first sum that is not known yet, and starts again once it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.passes import program
from ..language.rule import Rule
from ..language.summation import (
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
from ..language.vocabulary import NumpyVocabulary
from ..protocol import Availability
from .gradients import CheckedGradients
from .host.arrays import ARRAYS
from .host.backend import HostBackend
from .host.launch import HostLaunch
from .tensor import AdoptedTensor
from .torch_tensors.view import as_numpy

BLOCK = 32_768  # elements; divides CHUNK and is a multiple of LANES
SMALL = BLOCK // 2  # elements; tensors with fewer share blocks
Array = NDArray[Any]


def availability() -> Availability:
    """Say whether the backend can run here, and what to install if not."""
    return Availability("numpy", True, f"the reference; NumPy {np.__version__}")


def keep_freed_memory() -> None:
    """Have glibc keep the memory of temporaries for the next ones.

    It hands freed memory back to the system from 128 KB on, and so from block to block: page
    faults then take up to nine times as long as the arithmetic. Once a larger block was freed, its
    thresholds are above that (mallopt(3), M_MMAP_THRESHOLD).
    """
    np.empty(8 * BLOCK)


class _SumPendingError(Exception):
    """Raised in the middle of the rule's text: a sum needs all blocks first."""


class _Passes(NumpyVocabulary):
    """``xp`` for one tensor of a rule that reduces: knows the sums of earlier passes in the order
    the text asks for them, and gathers the next one."""

    def __init__(self, rows: int, columns: int, matrix: bool, memory: Array) -> None:
        super().__init__(memory.dtype)
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

    def sum(self, x: Any, per: str = "tensor") -> Any:
        self.asked += 1
        if self.asked <= len(self.known):
            known_per, value = self.known[self.asked - 1]
            return value[self.where_now, None] if known_per == "row" else value
        if self.pending is None:
            self.pending = _Gathered(self, per)
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
    """One sum in the making, in the fixed order of ``core/language/summation.py``."""

    def __init__(self, passes: _Passes, per: str) -> None:
        self.passes, self.per = passes, per
        shape = parts_of_sums(passes.rows, passes.columns, passes.matrix, per)
        self.parts = passes.memory[: math.prod(shape)].reshape(shape)
        self.parts[...] = 0

    def add(self, x: Array) -> None:
        where = self.passes.where_now
        if self.per == "column":
            first = where.start // STRIP_ROWS
            for offset in range(min(len(x), STRIP_ROWS)):
                lines = x[offset::STRIP_ROWS]  # of each strip one
                self.parts[first : first + len(lines)] += lines
        elif self.passes.matrix:
            self.parts[where, 0] = sum_rows(x)
        else:
            add_to_lanes(self.parts[where.start // CHUNK], x)

    def result(self) -> Any:
        if self.per == "column":
            return np.array(add_neighbours(self.parts)[None, :])  # a copy of what may be memory
        if self.per == "row":
            return self.parts[:, 0].copy()
        if self.passes.matrix:
            return sum_rows(self.parts.T)[0]
        some = (self.parts[k : k + STRIP_ROWS] for k in range(0, len(self.parts), STRIP_ROWS))
        return total(np.concatenate([fold_by_halves(chunks.T).copy() for chunks in some]))


class NumpyLaunch(HostLaunch):
    """The rule's own text, run on one tensor after the other, or on small ones together."""

    def __init__(self, rule: Rule, scalars: tuple[str, ...], param_dtype: str) -> None:
        super().__init__(param_dtype)
        self.rule, self.scalars = rule, (*scalars, "grad_coefficient")
        self.dtype = np.dtype(self.rows_dtype)
        traced = program(rule)
        self.matrix, self.elementwise = traced.text_matrix, not (traced.asked or traced.small)
        self.sums_per = {node.per for node in traced.asked if node.op == "sum"}
        keep_freed_memory()

    def bind(self, tensors: Sequence[AdoptedTensor], positions: Sequence[int]) -> None:
        """Look up the memory of parameters and state."""
        super().bind(tensors, positions)
        self.memory = [[t.flat, *map(t.flat_state, self.rule.state)] for t in tensors]
        # rows and columns; of a rule that does not ask for them, elements and 1
        self.seen_as = [t.rows_and_columns if self.matrix else (t.flat.size, 1) for t in tensors]
        parts = (
            math.prod(parts_of_sums(rows, columns, self.matrix, per))
            for rows, columns in self.seen_as
            for per in self.sums_per
        )
        self.most_parts = max(parts, default=0)

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Decide what runs together; each tensor has a row of scalars, or a negative number."""
        self.row_of_tensor = row_of_tensor
        small: list[int] = []
        self.alone: list[int] = []
        for i, row in enumerate(row_of_tensor):
            size = self.memory[i][0].size
            if row >= 0 and size:
                (small if self.elementwise and size < SMALL else self.alone).append(i)
        self.together = [
            _Together(block, self.memory, row_of_tensor) for block in self._blocks(small)
        ]

    def _blocks(self, small: Sequence[int]) -> list[list[int]]:
        """Return these tensors as lists of about a block of elements each."""
        ends = np.cumsum([self.memory[i][0].size for i in small], dtype=np.int64)
        groups = itertools.groupby(zip(small, ends, strict=True), lambda each: each[1] // BLOCK)
        return [[i for i, _ in group] for _, group in groups]

    def ready(self, rows: Array, gradients: CheckedGradients) -> None:
        """Allocate what grows with a tensor: the parts of its sums."""
        self.parts = np.empty(self.most_parts, self.dtype)

    def run(self, rows: Array, gradients: CheckedGradients, control: None) -> None:
        """Update the tensors that have a row."""
        self.scaled = bool((rows[:, -1] != 1).any())  # by the gradient's coefficient
        grads = [gradients.arrays[position] for position in self.positions]
        with np.errstate(all="ignore"):
            for i in self.alone:
                s = self._named(rows[self.row_of_tensor[i]])
                self._run_passes(i, ARRAYS.reals(as_numpy(grads[i])), s)
            for block in self.together:
                self._run_together(block, grads, self._named(block.scalars(rows)))
        del self.parts  # nothing is kept between steps

    def _named(self, scalars: Array) -> SimpleNamespace:
        return SimpleNamespace(**dict(zip(self.scalars, scalars, strict=True)))

    def _run_together(self, block: _Together, grads: list[Any], s: SimpleNamespace) -> None:
        """Run the text once on copies of small tensors, and write the results back."""
        param, *states = map(np.concatenate, block.pieces)
        grad = np.concatenate([ARRAYS.reals(as_numpy(grads[i])) for i in block.members])
        states = list(map(self._compute, states))
        inputs = [self._compute(param), self._compute_scaled(grad, s), *states]
        results = self.rule.update(NumpyVocabulary(self.dtype), s, *inputs)
        results = results if isinstance(results, tuple) else (results,)
        unchanged = (inputs[0], *inputs[2:])
        for pieces, value, old in zip(block.pieces, results, unchanged, strict=True):
            if value is not old:
                new = value if np.ndim(value) else np.full_like(old, value)
                for piece, where in zip(pieces, block.where, strict=True):
                    piece[...] = new[where]

    def _run_passes(self, i: int, grad: Array, s: SimpleNamespace) -> None:
        """Run the text on all blocks until no sum is pending; only that last pass stores."""
        param, *states = self.memory[i]
        rows, columns = self.seen_as[i]
        xp = _Passes(rows, columns, self.matrix, self.parts)
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
                inputs = [
                    self._compute(param[where]),
                    self._compute_scaled(grad[where], s),
                    *(self._compute(_part(state, where, xp.rows)) for state in states),
                ]
                try:
                    results = self.rule.update(xp, s, *inputs)
                except _SumPendingError:
                    done = False
                    continue
                self._store(results, [param, *targets], inputs, where, xp.rows)
            if not done:
                xp.end_pass()
        for state, target in zip(states, targets, strict=True):
            if target is not state:
                state[...] = target

    def _compute(self, stored: Array) -> Array:
        return stored if stored.dtype == self.dtype else stored.astype(self.dtype)

    def _compute_scaled(self, grad: Array, s: SimpleNamespace) -> Any:
        grad = self._compute(grad)
        return s.grad_coefficient * grad if self.scaled else grad

    def _store(
        self, results: Any, targets: list[Array], inputs: list[Array], where: slice, rows: int
    ) -> None:
        results = results if isinstance(results, tuple) else (results,)
        unchanged = (inputs[0], *inputs[2:])
        # one array's old value may be another's new one, and the old one is overwritten below
        ids = {*map(id, unchanged)}
        results = [
            value.copy() if id(value) in ids and value is not own else value
            for value, own in zip(results, unchanged, strict=True)
        ]
        for target, value, old in zip(targets, results, unchanged, strict=True):
            if value is not old:
                _part(target, where, rows)[...] = value


class _Together:
    """A block of small tensors: their memory, array by array, and where each is in the block."""

    def __init__(
        self, members: list[int], memory: list[list[Array]], row_of_tensor: Sequence[int]
    ) -> None:
        self.members = members
        self.pieces = list(zip(*(memory[i] for i in members), strict=True))
        self.lengths = [piece.size for piece in self.pieces[0]]
        ends = itertools.accumulate(self.lengths)
        self.where = [slice(end - n, end) for n, end in zip(self.lengths, ends, strict=True)]
        self.rows = [row_of_tensor[i] for i in members]

    def scalars(self, rows: Array) -> Array:
        """Return the scalars of all; where their rows differ, each as a vector of the block."""
        if len({*self.rows}) == 1:
            of_all: Array = rows[self.rows[0]]
            return of_all
        return rows[self.rows].T.repeat(self.lengths, axis=1)


def _seen_as(state: Array, per: str | None, shape: tuple[int, ...]) -> Array:
    if per == "row":
        return state.reshape(shape[0], 1)
    return state.reshape({"column": (1, -1), "tensor": (1,)}.get(per or "", shape))


def _part(state: Array, where: slice, rows: int) -> Array:
    """The lines of an array that belong to a block; all of it if it has no axis of rows."""
    return state[where] if len(state) == rows else state


class NumpyBackend(HostBackend):
    """NumPy arrays, updated by NumPy."""

    name = "numpy"

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> NumpyLaunch:
        return NumpyLaunch(rule, scalars, param_dtype)


def get_backend() -> NumpyBackend:
    """Return the backend."""
    return NumpyBackend()
