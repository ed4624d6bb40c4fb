"""Launches of rules that sum nothing: small tensors are put together to blocks, large ones are cut
into blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...language.vocabulary import NumpyVocabulary
from ..host.arrays import ARRAYS
from ..host.block_state import BlockState
from ..host.text_launch import Array
from ..memory import address, addresses
from ..tensor import AdoptedTensor
from ..torch_tensors.view import as_numpy
from .launch import NumpyLaunch

# bytes in the compute dtype: temporaries stay in the cache, and from 256 KB on NumPy adds two
# products in the memory of one of them
BLOCK = 352 << 10
SMALL = 64 << 10  # bytes; fewer take less time copied to a block and back than on their own

WHOLE = 256  # elements; a block has some whole ones of every codec


class ElementwiseLaunch(NumpyLaunch):
    """The text, run on a block of elements at a time, of whichever tensors."""

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Decide what runs together."""
        super().set_rows(row_of_tensor)
        self.xp = NumpyVocabulary(self.dtype, self.storage)
        small: list[int] = []
        self.alone: list[int] = []
        for i, row in enumerate(row_of_tensor):
            size = self.memory[i][0].size
            if row >= 0 and size:
                (small if size * self.dtype.itemsize < SMALL else self.alone).append(i)
        self.together = [self._block(members) for members in self._members(small)]

    def _members(self, small: Sequence[int]) -> list[list[int]]:
        """Return these tensors as lists of about a block of elements each."""
        ends = np.cumsum([self.memory[i][0].size for i in small], dtype=np.int64)
        blocks = ends * self.dtype.itemsize // BLOCK
        groups = itertools.groupby(zip(small, blocks, strict=True), lambda each: each[1])
        return [[i for i, _ in group] for _, group in groups]

    def _block(self, members: list[int]) -> _Together:
        is_real = not any(self.tensors[i].complex for i in members)
        return _Together(members, self.memory, self.row_of_tensor, is_real)

    def update(self, grads: list[Any]) -> None:
        """Update the tensors that have a row, by one gradient for each."""
        for i in self.alone:
            self._update_alone(i, grads[i], self.named_rows[self.row_of_tensor[i]])
        for block in self.together:
            row = block.row
            s = self.named(block.scalars(self.rows)) if row is None else self.named_rows[row]
            self._update_together(block, grads, s)

    def _update_alone(self, i: int, given: Any, s: SimpleNamespace) -> None:
        """Run the text on one block of a tensor after the other, where it lies."""
        is_plain = type(given) is np.ndarray and not self.tensors[i].complex
        grad = given.reshape(-1) if is_plain else ARRAYS.reals(as_numpy(given))
        memory, size = self.memory[i], len(grad)
        blocks = -(-size * self.dtype.itemsize // BLOCK)
        length = -(-size // (blocks * WHOLE)) * WHOLE
        for start in range(0, size, length):
            arrays, part = memory, grad
            if length < size:
                where = slice(start, start + length)
                arrays, part = [array[where] for array in memory], grad[where]
            param, *states = arrays
            new = self.run_text(self.xp, s, param, part, states)
            named = zip(("param", *self.rule.state), arrays, new, strict=True)
            for name, array, value in named:
                if value is not None:
                    array[...] = self.rounded(value, name, array, [(i, start, array.size)])

    def _update_together(self, block: _Together, grads: list[Any], s: SimpleNamespace) -> None:
        """Run the text once on small tensors as one vector, and write the results back."""
        param, *states = block.vectors()
        new = self.run_text(self.xp, s, param, block.gathered(grads), states)
        named = zip(("param", *self.rule.state), block.pieces, block.joined, new, strict=True)
        for name, pieces, joined, value in named:
            if value is None:
                continue
            if name in self.streams:
                like = np.empty(block.size, pieces[0].dtype)
                starts = itertools.repeat(0)
                elements = [*zip(block.members, starts, block.lengths, strict=False)]
                value = self.rounded(value, name, like, elements)
            if joined is not None:
                joined[...] = value
                continue
            if not np.ndim(value):
                value = np.full(block.size, value)
            for piece, where in zip(pieces, block.where, strict=True):
                piece[...] = value[where]


def _joined(pieces: Sequence[Any]) -> Array:
    """Return the elements of some vectors as one."""
    if isinstance(pieces[0], BlockState):
        return np.concatenate([piece.load() for piece in pieces])
    return np.concatenate(pieces)


class _Together:
    """A block of small tensors: their memory, array by array, and where each is in the block.

    ``joined`` has an array over all pieces where they lie side by side, else None; ``row`` is the
    row of scalars of all, None where they have several.
    """

    def __init__(
        self,
        members: list[int],
        memory: list[list[Array]],
        row_of_tensor: Sequence[int],
        is_real: bool,
    ) -> None:
        self.members, self.is_real = members, is_real
        self.pieces = list(zip(*(memory[i] for i in members), strict=True))
        self.joined = list(map(side_by_side, self.pieces))
        self.lengths = [piece.size for piece in self.pieces[0]]
        ends = list(itertools.accumulate(self.lengths))
        self.where = [slice(end - n, end) for n, end in zip(self.lengths, ends, strict=True)]
        self.size = ends[-1]
        self.rows = [row_of_tensor[i] for i in members]
        self.row = self.rows[0] if len({*self.rows}) == 1 else None

    def vectors(self) -> list[Array]:
        """Return parameters, and each of their states, as one vector: where they lie, or a copy."""
        return [
            _joined(pieces) if joined is None else joined
            for pieces, joined in zip(self.pieces, self.joined, strict=True)
        ]

    def gathered(self, grads: list[Any]) -> Array:
        """Return the gradients of all as one vector."""
        given = [grads[i] for i in self.members]
        if self.is_real and {*map(type, given)} == {np.ndarray}:
            return np.concatenate(given, axis=None)  # in half the time of a view of each
        return np.concatenate([ARRAYS.reals(as_numpy(grad)) for grad in given])

    def scalars(self, rows: Array) -> Array:
        """Return the scalars of tensors with several rows, each as a vector of the block."""
        return rows[self.rows].T.repeat(self.lengths, axis=1)


def lay_side_by_side(tensors: Sequence[AdoptedTensor]) -> None:
    """Put the states of tensors that share blocks into one array for each name, in which a block's
    are one vector."""
    alike: dict[tuple[str, np.dtype[Any]], list[AdoptedTensor]] = {}
    for tensor in tensors:
        if 0 < tensor.size * np.dtype(tensor.compute).itemsize < SMALL:
            for name, array in tensor.state.items():
                if type(array) is np.ndarray:
                    alike.setdefault((name, array.dtype), []).append(tensor)
    for (name, _), members in alike.items():
        arrays = [tensor.state[name] for tensor in members]
        ends = np.cumsum([array.size for array in arrays])
        pieces = np.split(np.concatenate(arrays, axis=None), ends[:-1])
        for tensor, array, piece in zip(members, arrays, pieces, strict=True):
            tensor.state[name] = piece.reshape(array.shape)


def side_by_side(pieces: Sequence[Any]) -> Any:
    """Return one vector over these, where each begins in the same array's memory as the one before
    ends; else None."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if isinstance(first, BlockState):
        return None
    whole = first.base
    if not isinstance(whole, np.ndarray) or any(piece.base is not whole for piece in pieces):
        return None
    starts = addresses(list(pieces)) - address(whole)
    ends = starts + [piece.nbytes for piece in pieces]
    if (starts[1:] != ends[:-1]).any() or not whole.flags.c_contiguous:
        return None
    return whole.reshape(-1).view(np.uint8)[starts[0] : ends[-1]].view(first.dtype)
