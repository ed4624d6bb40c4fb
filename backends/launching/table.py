"""The launch table: one line per chunk or tile, for all tensors of a launch at once.

Printed kernels are called on ranges of it. It is built once; after that only the columns that
changed are written: addresses of fresh gradients, rows of scalars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.summation import CHUNK, tile_rows
from ...printing.layout import Layout

Integers = NDArray[np.int64]


class LaunchTable:
    """The arrays ``table`` and ``tensors`` of a launch, as `Layout` describes them.

    Parameters
    ----------
    shapes
        Rows and columns per tensor; of a flat program, number of elements and 1.
    addresses
        Array name to one address per tensor, for all arrays but the gradient.
    itemsizes
        Array name to bytes per element.
    positions
        Those of the tensors among all parameters of the optimizer, which random bits are counted
        by.
    rows
        Position of a tensor to the indices of those of its rows that are meant, each a chunk: its
        size is theirs, and its gradient has them one after the other.
    """

    def __init__(
        self,
        layout: Layout,
        shapes: Sequence[tuple[int, int]],
        addresses: dict[str, Sequence[int]],
        itemsizes: dict[str, int],
        positions: Sequence[int],
        rows: Mapping[int, Integers] | None = None,
    ) -> None:
        self.layout, self.itemsizes = layout, itemsizes
        size, columns = np.array(shapes, np.int64).reshape(-1, 2).T
        unit, across = np.full_like(size, CHUNK), np.ones_like(size)
        if layout.matrix:
            unit = np.array([tile_rows(width) for width in columns.tolist()], np.int64)
            across = -(-columns // layout.tile_columns)
        chunks = np.where(size * columns > 0, -(-size // unit) * across, 0)
        for i, indices in (rows or {}).items():
            chunks[i] = len(indices)
        of = self.tensor_of_chunk = np.repeat(np.arange(len(shapes), dtype=np.int32), chunks)
        first = np.cumsum(chunks) - chunks
        index = np.arange(len(of)) - first[of]
        self.one_chunk_each = bool((chunks == 1).all()) and not rows
        across = np.maximum(across, 1)  # of empty tensors, which have no chunks
        first_row = index // across[of] * unit[of]
        first_column = index % across[of] * layout.tile_columns
        self.offset = first_row * columns[of] + first_column  # in elements
        length = np.minimum(size[of] - first_row, unit[of])
        place = self.offset.copy() if rows else self.offset  # of all arrays but the gradient
        for i, indices in (rows or {}).items():
            where, each = slice(first[i], first[i] + chunks[i]), size[i] // max(chunks[i], 1)
            length[where] = each
            self.offset[where], place[where] = index[where] * each, indices * each
        self.table = np.zeros((len(of), layout.table_columns), np.int64)
        self.table[:, 1] = length
        for name, column in layout.array.items():
            if name != "grad":
                starts = np.array(addresses[name], np.int64)
                places = place // layout.block[name] if name in layout.block else place
                self._write_addresses(column, starts, itemsizes[name], places)
        if layout.rounds:
            self.table[:, layout.position] = np.array(positions, np.int64)[of]
            if not layout.matrix:  # rows of a sparse slice are counted as those of its gradient
                self.table[:, layout.first_element] = self.offset
        lines = len(shapes) if layout.reducing else 0
        self.tensors = np.zeros((lines, layout.tensors_columns), np.int64)
        self.workspace_size = 0
        if layout.reducing:
            self.table[:, layout.tensor] = of
            if layout.matrix:
                self.table[:, layout.first_row] = first_row
                self.table[:, layout.first_column] = first_column
            else:
                self.table[:, layout.index] = index
            self._fill_tensors(size, columns, unit if layout.matrix else chunks, addresses)

    def _write_addresses(
        self, column: int, addresses: Integers, itemsize: int, offset: Integers
    ) -> None:
        if self.one_chunk_each:
            self.table[:, column] = addresses
        else:
            self.table[:, column] = addresses[self.tensor_of_chunk] + offset * itemsize

    def _fill_tensors(
        self, size: Integers, columns: Integers, chunks: Integers, addresses: dict[str, Any]
    ) -> None:
        self.tensors[:, 1:4] = np.stack([size, columns, chunks], axis=1)
        for name, column in self.layout.small.items():
            self.tensors[:, column] = addresses[name]
        known = {"size": size, "columns": columns, "1": np.ones_like(size)}
        for name, of, unit in self.layout.numbers:
            known[name] = -(-known[of] // unit)
        for node in self.layout.slots:
            factors = self.layout.slot_size(node).split(" * ")
            needed = np.prod([known[factor] for factor in factors], axis=0)
            starts = self.workspace_size + np.cumsum(needed) - needed
            self.tensors[:, self.layout.slot[id(node)]] = starts
            self.workspace_size += int(needed.sum())

    def set_gradients(self, addresses: Integers) -> None:
        column, itemsize = self.layout.array["grad"], self.itemsizes["grad"]
        self._write_addresses(column, addresses, itemsize, self.offset)

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        rows = np.array(row_of_tensor, np.int64)
        self.table[:, 0] = rows[self.tensor_of_chunk]
        if self.layout.reducing:
            # nothing is summed of an empty tensor, whose mean would be 0 / 0
            empty = self.tensors[:, 1] * self.tensors[:, 2] == 0
            self.tensors[:, 0] = np.where(empty, -1, rows)

    @property
    def elements(self) -> int:
        """The number of elements of all tensors."""
        return int(self.elements_of_chunk.sum())

    @property
    def elements_of_chunk(self) -> Integers:
        """The number of elements of each chunk or tile."""
        length, layout = self.table[:, 1], self.layout
        if not layout.matrix:
            return length
        columns = self.tensors[self.tensor_of_chunk, 2] - self.table[:, layout.first_column]
        return np.asarray(length * np.minimum(columns, layout.tile_columns))

    def ranges(self, threads: int, at_least: int, at_most: int) -> list[int]:
        """Return line numbers that split the table into ranges for this many threads.

        Each range is one thread's share of what is left, so the first are large, for little
        overhead, and the last small, so that all threads end at about the same time; but none has
        less than ``at_least`` elements, if there are as many, or much more than ``at_most``: a
        thread that is held up leaves the rest to others.
        """
        before = np.concatenate([[0], np.cumsum(self.elements_of_chunk)])
        total, done, goals = int(before[-1]), 0, []
        while total - done >= 2 * at_least:
            done += min(max((total - done) // threads, at_least), at_most)
            goals.append(done)
        cuts = np.searchsorted(before, goals)
        return sorted({0, len(self.table), *cuts.tolist()})
