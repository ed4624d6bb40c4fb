"""Launches in host memory that run a rule's own text on NumPy arrays: how they load and store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.blockwise import BLOCKWISE, scales_of
from ...language.dtypes import numpy_dtype
from ...language.rounding import key_of, rounded_bits, streams
from ...language.rule import Rule
from ..launching.random_bits import Piece, random_bits
from ..tensor import AdoptedTensor
from .block_state import BlockState
from .launch import HostLaunch

Array = NDArray[Any]


class TextLaunch(HostLaunch):
    """Loads what is stored to the compute dtype, ``dtype``, and stores it from there.

    ``scalars`` are the names of a row's numbers, ``row_of_tensor`` is the row of each tensor, or a
    negative number for those that do not step; ``storage`` is the parameters' dtype.
    """

    row_of_tensor: Sequence[int]

    def __init__(self, rule: Rule, scalars: tuple[str, ...], param_dtype: str) -> None:
        super().__init__(param_dtype)
        self.rule, self.scalars = rule, (*scalars, "grad_coefficient")
        self.dtype, self.storage = np.dtype(self.rows_dtype), numpy_dtype(param_dtype)
        self.streams = streams(rule, param_dtype)

    def state_of(self, tensor: AdoptedTensor, name: str) -> Any:
        """Return a state as a vector: an array, or a `BlockState`."""
        scales = scales_of(name)
        if scales not in self.rule.scales:
            return tensor.flat_state(name)
        codec = BLOCKWISE[self.rule.storage[name]]
        codes, own = tensor.flat_state(name), tensor.flat_state(scales)
        return BlockState(codec, codes, own, tensor.size)

    def take_keys(self, rows: Array) -> None:
        """Take the keys of this step's random bits, if any are needed."""
        self._keys = list(map(key_of, rows)) if self.streams else []

    def loaded(self, stored: Any) -> Array:
        """Return an array or a `BlockState` in the compute dtype."""
        if isinstance(stored, BlockState):
            return stored.load()
        array: Array = stored
        return array if array.dtype == self.dtype else array.astype(self.dtype)

    def rounded(
        self, value: Any, array: str, like: Any, elements: Sequence[tuple[int, int, int]]
    ) -> Any:
        """Return the new value of an array as it is stored: as it is if storing rounds to nearest.
        ``like`` is its memory, ``elements`` are those there: of which tensor, from which one on,
        and how many."""
        if array not in self.streams:
            return value
        pieces = [
            Piece(self.tensors[i].position, first, count, self._keys[self.row_of_tensor[i]])
            for i, first, count in elements
        ]
        bits = np.broadcast_to(value, like.shape).astype(self.dtype).view(np.int32)
        random = random_bits(pieces, self.streams[array]).reshape(like.shape)
        stored = rounded_bits(bits.astype(np.int64), random, like.dtype.name)
        return stored.astype(np.uint16).view(like.dtype)
