"""The work of one run of a rule: a slice of many tensors, or blocks of one.

All arrays are seen with an axis for the batch in front. Of a rule that does not reduce, a batch is
one vector, put together from pieces of any tensors. Of a rule that does, it is some tensors of one
shape; a tensor that is larger than a slice is alone in its batch and covered block by block.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ...language.summation import CHUNK, STRIP_ROWS
from .block_state import BlockState

SLICE = 2 * CHUNK  # elements of a slice, so what bounds the memory of buffers and copies
DIRECT = 1 << 15  # elements that are worth a run of their own, uncopied, if nothing is summed
DEVICE_SLICE, DEVICE_DIRECT = 1 << 24, 1 << 20  # on a device, where each operation is a launch
Tensor = torch.Tensor


@dataclass(frozen=True)
class Piece:
    """Elements ``start`` to ``stop`` of the tensor at position ``tensor``."""

    tensor: int
    start: int
    stop: int
    whole: bool = True

    def of(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return the piece of its tensor's vector."""
        vector = vectors[self.tensor]
        return vector if self.whole else vector[self.start : self.stop]


@dataclass(frozen=True)
class Work:
    """Some pieces, seen together with this shape, and the block boundaries along axis 1."""

    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    matrix: bool
    cuts: tuple[int, ...]

    @property
    def direct(self) -> bool:
        """True if it runs over a tensor's own memory, not over copies."""
        return len(self.pieces) == 1

    @property
    def rows_and_columns(self) -> tuple[int, int]:
        """The size of each tensor as a matrix; (elements, 1) if it is not seen as one."""
        _, rows, *rest = self.shape
        return rows, rest[0] if rest else 1

    def shape_of(self, per: str) -> tuple[int, ...]:
        """Return the shape in which an array is seen that exists per element, row, column or
        tensor."""
        batch, rows, *columns = self.shape
        kept = {"row": (rows, 1), "column": (1, *columns), "tensor": (1,) * len(self.shape[1:])}
        return self.shape if per == "element" else (batch, *kept[per])

    @property
    def block(self) -> int:
        """The number of elements of the largest block."""
        batch, _, *columns = self.shape
        lines = max(stop - start for start, stop in itertools.pairwise(self.cuts))
        return math.prod((batch, lines, *columns))

    def summed(self, kind: str, per: str) -> int:
        """Return how many numbers a sum ``per`` row, column or tensor adds up, of a value that
        exists per ``kind``: per row or element."""
        rows, columns = self.rows_and_columns
        counts = {"row": columns, "column": rows, "tensor": rows * columns}
        return rows if (kind, per) == ("row", "tensor") else counts[per]

    def views(self, vectors: Sequence[Tensor], per: str = "element") -> list[Tensor]:
        """Return the pieces' memory; of arrays smaller than the parameter, all of it."""
        if per != "element":
            return [vectors[piece.tensor] for piece in self.pieces]
        return [piece.of(vectors) for piece in self.pieces]

    def gather(self, views: list[Tensor], per: str = "element") -> Tensor:
        """Return the views as one array: the memory itself if it is direct."""
        if len(views) == 1:
            return views[0].reshape(self.shape_of(per))
        return torch.cat(list(map(loaded, views))).reshape(self.shape_of(per))


class Views:
    """The memory of one of the arrays, which exists ``per`` element, row, column or tensor. On the
    host, where nothing is converted, NumPy copies to it: it takes a quarter of the time that
    PyTorch takes for each piece."""

    def __init__(self, work: Work, vectors: Sequence[Tensor], per: str, dtype: torch.dtype) -> None:
        self.work, self.per = work, per
        self.tensors = work.views(vectors, per)
        plain = not work.direct and all(
            t.device.type == "cpu" and t.dtype == dtype for t in self.tensors
        )
        self.arrays = [tensor.numpy() for tensor in self.tensors] if plain else None

    def gather(self) -> Tensor:
        """Return it as one array: the memory itself if it is direct."""
        return self.work.gather(self.tensors, self.per)

    def scatter(self, values: Tensor) -> None:
        """Copy new values back to where a gathered array came from, rounding to the storage
        dtype."""
        vector = values.broadcast_to(self.work.shape_of(self.per)).reshape(-1)
        if self.arrays is None:
            parts = torch.split_with_sizes(vector, [view.numel() for view in self.tensors])
            if isinstance(self.tensors[0], BlockState):
                for state, part in zip(self.tensors, parts, strict=True):
                    state.copy_(part)
            else:
                torch._foreach_copy_(self.tensors, parts)
            return
        start, values_on_host = 0, vector.numpy()
        for array in self.arrays:
            stop = start + array.size
            array[...] = values_on_host[start:stop]
            start = stop


def loaded(view: Tensor | BlockState) -> Tensor:
    """Return a view's elements as a tensor."""
    return view.to(torch.float32) if isinstance(view, BlockState) else view


def slice_on(device: torch.device) -> tuple[int, int]:
    """Return how many elements are a slice, and are worth a run of their own, on a device."""
    return (SLICE, DIRECT) if device.type == "cpu" else (DEVICE_SLICE, DEVICE_DIRECT)


def flat_work(
    sizes: Sequence[int],
    members: Sequence[int],
    gathered: bool,
    longest: int,
    limits: tuple[int, int],
) -> Iterator[Work]:
    """Yield the work of a rule that does not reduce: each of the ``members`` in pieces of its own,
    at most ``longest``, or small tensors ``gathered`` to slices. ``limits``: see `slice_on`."""
    most, direct = limits
    small: list[Piece] = []
    filled = 0
    for i in members:
        if not gathered or sizes[i] >= direct:
            for start in range(0, sizes[i], longest):
                stop = min(start + longest, sizes[i])
                yield _vector([Piece(i, start, stop, stop - start == sizes[i])])
            continue
        if filled + sizes[i] > most:
            yield _vector(small)
            small, filled = [], 0
        if sizes[i]:
            small.append(Piece(i, 0, sizes[i]))
            filled += sizes[i]
    if small:
        yield _vector(small)


def _vector(pieces: list[Piece]) -> Work:
    size = sum(piece.stop - piece.start for piece in pieces)
    return Work(tuple(pieces), (1, size), False, (0, size))


def batched_work(
    shapes: Sequence[tuple[int, ...]],
    members: Sequence[int],
    matrix: bool,
    gathered: bool,
    most: int,
) -> Iterator[Work]:
    """Yield the work of a rule that reduces: tensors of one shape together, as many as fill a slice
    of ``most`` elements. ``shapes`` are (rows, columns), or (elements,) of tensors that are not
    seen as matrices."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for i in members:
        alike.setdefault(shapes[i], []).append(i)
    for shape, indices in alike.items():
        size = math.prod(shape)
        if not size:
            continue
        together = max(most // size, 1) if gathered else 1
        cuts = _cuts(shape, most) if together == 1 else (0, shape[0])
        for k in range(0, len(indices), together):
            batch = indices[k : k + together]
            pieces = tuple(Piece(i, 0, size) for i in batch)
            yield Work(pieces, (len(batch), *shape), matrix, cuts)


def _cuts(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Return the block boundaries: whole chunks of a vector; of a matrix whole rows, some strips or
    a fraction of one."""
    height = most
    if len(shape) == 2:
        height = max(most // shape[1], 1)
        fraction: int = 1 << height.bit_length() - 1
        height = fraction if height < STRIP_ROWS else height // STRIP_ROWS * STRIP_ROWS
    return (*range(0, shape[0], height), shape[0])
