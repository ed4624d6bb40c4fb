"""Sums over a batch of tensors of one shape, in the fixed order of
``core/language/summation.py``."""

from __future__ import annotations

import torch

from ...language.summation import CHUNK, LANES, ROW_CHUNK, ROW_LANES, STRIP_ROWS, lanes_for
from .work import Work

Tensor = torch.Tensor


def fold(lanes: Tensor) -> Tensor:
    """Return the sum of the last axis, whose length is a power of two, by halves."""
    width = lanes.shape[-1]
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width:]
    return lanes[..., 0]


def add_neighbours(lines: Tensor) -> Tensor:
    """Return the sum of axis 1, of any length, in pairs of neighbours, pairs of pairs, and so
    on."""
    while (count := lines.shape[1]) > 1:
        pairs = lines[:, : count - 1 : 2] + lines[:, 1::2]
        lines = torch.cat([pairs, lines[:, -1:]], dim=1) if count % 2 else pairs
    return lines[:, 0]


def sum_lanes(x: Tensor, lanes: int) -> Tensor:
    """Return the sum along the last axis, in up to that many lanes."""
    n = x.shape[-1]
    width = lanes_for(n, lanes)
    sums = x.new_zeros((*x.shape[:-1], width))
    for start in range(0, n, width):
        part = x[..., start : start + width]
        sums[..., : part.shape[-1]] += part
    return fold(sums)


def chunk_sums(x: Tensor, chunk: int, lanes: int) -> Tensor:
    """Return the sum of each chunk of the last axis: (..., n) to (..., number of chunks)."""
    whole = x.shape[-1] // chunk * chunk
    parts = []
    if whole:
        parts.append(sum_lanes(x[..., :whole].reshape(*x.shape[:-1], -1, chunk), lanes))
    if x.shape[-1] > whole:
        parts.append(sum_lanes(x[..., None, whole:], lanes))
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def total(values: Tensor) -> Tensor:
    """Return the sums of vectors, (batch, n) to (batch,), in the order of a sum over a tensor."""
    sums = chunk_sums(values, CHUNK, LANES)
    return sums[:, 0] if sums.shape[1] == 1 else total(sums)


def sum_rows(x: Tensor) -> Tensor:
    """Return the sums along rows: (batch, rows, columns) to (batch, rows)."""
    return add_neighbours(chunk_sums(x, ROW_CHUNK, ROW_LANES).transpose(1, 2))


def total_of_rows(x: Tensor) -> Tensor:
    """Return the sum over each tensor, (batch, 1, 1), of a value per row, (batch, rows, 1)."""
    return sum_rows(x.transpose(1, 2))[:, :, None]


class Gathered:
    """A sum over a batch, or the largest of values that are not negative, block by block: `add`
    takes consecutive blocks of lines, `result` ends it."""

    def __init__(self, op: str, per: str, work: Work) -> None:
        self.op, self.per, self.matrix = op, per, work.matrix
        self.batch = work.shape[0]
        self.rows, self.columns = work.rows_and_columns
        self.parts: list[Tensor] = []
        self.strips: Tensor | None = None

    def add(self, x: Tensor, start: int) -> None:
        """Add the lines from ``start`` on: (batch, lines) or (batch, lines, columns)."""
        if self.op == "largest":
            self.parts.append(x.amax(dim=2 if self.per == "row" else 1))
        elif self.per == "column":
            self._add_to_strips(x, start)
        elif self.matrix:
            self.parts.append(sum_rows(x))
        else:
            self.parts.append(chunk_sums(x, CHUNK, LANES))

    def _add_to_strips(self, x: Tensor, start: int) -> None:
        """Add a block, which is some strips or a fraction of one."""
        if self.strips is None:
            strips = -(-self.rows // STRIP_ROWS)
            self.strips = x.new_zeros((self.batch, strips, self.columns))
        first = start // STRIP_ROWS
        for offset in range(min(x.shape[1], STRIP_ROWS)):
            lines = x[:, offset::STRIP_ROWS]  # of each strip one
            self.strips[:, first : first + lines.shape[1]] += lines

    def result(self) -> Tensor:
        """Return the sum: (batch, rows, 1) per row, (batch, 1, columns) per column, (batch, 1) per
        tensor."""
        if (self.op, self.per) == ("largest", "column"):
            return torch.stack(self.parts).amax(dim=0)[:, None, :]
        if self.per == "column":
            assert self.strips is not None
            return add_neighbours(self.strips)[:, None, :]
        sums = torch.cat(self.parts, dim=1) if len(self.parts) > 1 else self.parts[0]
        return sums[:, :, None] if self.matrix else total(sums)[:, None]
