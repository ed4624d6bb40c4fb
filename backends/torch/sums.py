"""Sums over a batch of tensors of one shape, in the fixed order of ``core/language/summation.py``."""

from __future__ import annotations

import torch

from ...language.summation import CHUNK, LANES, ROW_LANES, STRIP_ROWS, lanes_for
from .work import Work

Tensor = torch.Tensor


def fold(lanes: Tensor) -> Tensor:
    """Return the sum of the last axis, whose length is a power of two, by halves."""
    width = lanes.shape[-1]
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width:]
    return lanes[..., 0]


def fold_strips(strips: Tensor) -> Tensor:
    """Return the sum of axis 1, of any length, by halves: line ``i`` adds line ``i + ceil(w / 2)``."""
    while (width := strips.shape[1]) > 1:
        half = (width + 1) // 2
        upper = strips[:, : width - half] + strips[:, half:]
        strips = torch.cat([upper, strips[:, width - half : half]], dim=1)
    return strips[:, 0]


def sum_lanes(x: Tensor, lanes: int) -> Tensor:
    """Return the sum along the last axis, in up to that many lanes."""
    n = x.shape[-1]
    width = lanes_for(n, lanes)
    sums = x.new_zeros((*x.shape[:-1], width))
    for start in range(0, n, width):
        part = x[..., start : start + width]
        sums[..., : part.shape[-1]] += part
    return fold(sums)


def chunk_sums(x: Tensor) -> Tensor:
    """Return the sum of each chunk: (batch, n) to (batch, number of chunks)."""
    batch, n = x.shape
    whole = n // CHUNK * CHUNK
    parts = []
    if whole:
        parts.append(sum_lanes(x[:, :whole].reshape(batch, -1, CHUNK), LANES))
    if n > whole:
        parts.append(sum_lanes(x[:, None, whole:], LANES))
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def total(values: Tensor) -> Tensor:
    """Return the sums of vectors, (batch, n) to (batch,), in the order of a sum over a tensor."""
    sums = chunk_sums(values)
    return sums[:, 0] if sums.shape[1] == 1 else total(sums)


def total_of_rows(x: Tensor) -> Tensor:
    """Return the sum over each tensor, (batch, 1, 1), of a value per row, (batch, rows, 1)."""
    return total(x[:, :, 0])[:, None, None]


class Gathered:
    """A sum over a batch, block by block: `add` takes consecutive blocks of lines, `result` ends
    it."""

    def __init__(self, per: str, work: Work) -> None:
        self.per, self.matrix = per, work.matrix
        self.batch = work.shape[0]
        self.rows, self.columns = work.rows_and_columns
        self.parts: list[Tensor] = []
        self.strips: Tensor | None = None

    def add(self, x: Tensor, start: int) -> None:
        """Add the lines from ``start`` on: (batch, lines) or (batch, lines, columns)."""
        if self.per == "column":
            self._add_to_strips(x, start)
        elif self.matrix:
            self.parts.append(sum_lanes(x, ROW_LANES))
        else:
            self.parts.append(chunk_sums(x))

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
        """Return the sum: (batch, rows, 1) per row, (batch, 1, columns) per column; per tensor
        (batch, 1), or (batch, 1, 1) of matrices."""
        if self.per == "column":
            assert self.strips is not None
            return fold_strips(self.strips)[:, None, :]
        sums = torch.cat(self.parts, dim=1) if len(self.parts) > 1 else self.parts[0]
        if self.per == "row":
            return sums[:, :, None]
        return total(sums).reshape((-1, 1, 1) if self.matrix else (-1, 1))
