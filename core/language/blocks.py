"""The blocks that a matrix is cut into where it has square states (`samestep.language.kronecker`):
their memory and the time of their decompositions grow with the square and the cube of a side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BLOCK = 1024  # rows or columns of a block at most, as in the reference implementation of Shampoo
PAIRS = frozenset({"row_pair", "column_pair"})  # what a square state has a number for
SIDES = frozenset({"longer_rank", "shorter_rank"})  # of which side, the parameter's shape says
THIN = frozenset({"row_rank", "column_rank"}) | SIDES  # what a thin state has a number for
WHOLE = PAIRS | THIN  # the states that only functions of whole matrices read and write


@dataclass(frozen=True)
class Blocks:
    """A matrix of ``down`` times ``across`` blocks, each of ``height`` rows and ``width`` columns.
    All are of one shape: the last ones may have some zeros more than the matrix has rows or
    columns."""

    rows: int
    columns: int
    down: int
    across: int
    height: int
    width: int

    @property
    def count(self) -> int:
        """The number of blocks."""
        return self.down * self.across

    @property
    def exact(self) -> bool:
        """True if the matrix is its only block."""
        return self.count == 1

    def stack(self, per: str) -> tuple[int, int, int]:
        """Return the shape of a stack of what the blocks have a number for, one matrix per
        block."""
        rows = self.width if per == "column_pair" else self.height
        columns = self.height if per == "row_pair" else self.width
        return self.count, rows, columns

    def read(self, matrix: Any, stack: Any) -> None:
        """Copy a matrix (rows, columns) to the stack of its blocks."""
        stack[...] = 0
        self._each(lambda k, block, inside: stack[k].__setitem__(inside, matrix[block]))

    def write(self, stack: Any, matrix: Any) -> None:
        """Copy the stack of blocks back to the matrix."""
        self._each(lambda k, block, inside: matrix.__setitem__(block, stack[k][inside]))

    def _each(self, act: Callable[[int, Any, Any], None]) -> None:
        """Call ``act(number, place in the matrix, place in the block)`` for each block."""
        for k in range(self.count):
            i, j = divmod(k, self.across)
            top, left = i * self.height, j * self.width
            height = min(self.height, self.rows - top)
            width = min(self.width, self.columns - left)
            block = slice(top, top + height), slice(left, left + width)
            act(k, block, (slice(height), slice(width)))


def blocks_of(shape: tuple[int, ...]) -> Blocks:
    """Return the blocks of a parameter of this shape, seen as a matrix: its first axis against all
    others."""
    rows, columns = (shape or (1,))[0], math.prod(shape[1:])
    down, across = (max(-(-side // BLOCK), 1) for side in (rows, columns))
    return Blocks(rows, columns, down, across, -(-rows // down), -(-columns // across))


def thin_shape(shape: tuple[int, ...], per: str, rank: int) -> tuple[int, int]:
    """Return the shape of a thin state: no more than ``rank`` numbers for each row or column, nor
    than the parameter of this shape, seen as a matrix, has rows or columns."""
    rows, columns = sides = blocks_of(shape).rows, blocks_of(shape).columns
    most = min(rank, *sides)
    if per in SIDES:
        return (max if per == "longer_rank" else min)(sides), most
    return rows if per == "row_rank" else columns, most


def state_shape(shape: tuple[int, ...], per: str | None, rank: int) -> tuple[int, ...]:
    """Return the shape of a state of a parameter of this shape, of which there is one number
    ``per`` what; None means per element. ``rank`` is that of its rule."""
    if per in THIN:
        return thin_shape(shape, per, rank)
    if per in PAIRS:
        stack = blocks_of(shape).stack(per)
        return stack[1:] if stack[0] == 1 else stack
    return {"row": shape[:1], "column": shape[1:], "tensor": ()}.get(per or "", shape)
