"""A state that is stored in blocks, as launches take the vectors of others."""

from __future__ import annotations

import math

import numpy as np
import torch

from ...language.blockwise import INFINITE, SMALLEST_NORMAL, Blockwise
from .exact_sqrt import exact_sqrt

Tensor = torch.Tensor


class BlockState:
    """Elements of a vector of ``codes`` and its ``scales``, which are of ``total`` elements, from
    ``first`` on, seen with a ``shape``: `to` loads them and `copy_` stores new ones, as with a
    tensor.

    A slice of rows, behind the axis of a batch of one, may begin and end within a block. A block is
    stored with its last element, until when its first ones are ``waiting``; so all rows are stored
    in their order.
    """

    def __init__(
        self,
        codec: Blockwise,
        codes: Tensor,
        scales: Tensor,
        total: int,
        shape: tuple[int, ...] | None = None,
        first: int = 0,
        waiting: list[Tensor] | None = None,
    ) -> None:
        self.codec, self.codes, self.scales, self.first = codec, codes, scales, first
        self.device, self.dtype = codes.device, codes.dtype
        self.total, self.shape = total, (total,) if shape is None else shape
        self._waiting: list[Tensor] = [] if waiting is None else waiting

    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def __getitem__(self, where: slice | tuple[slice, slice]) -> BlockState:
        along, axis = (where[-1], len(where) - 1) if isinstance(where, tuple) else (where, 0)
        start, stop, _ = along.indices(self.shape[axis])
        rest = self.shape[axis + 1 :]
        first = self.first + start * math.prod(rest)
        shape = (*self.shape[:axis], stop - start, *rest)
        return BlockState(
            self.codec, self.codes, self.scales, self.total, shape, first, self._waiting
        )

    def reshape(self, shape: tuple[int, ...]) -> BlockState:
        """Return the same memory, seen with another shape."""
        return BlockState(
            self.codec, self.codes, self.scales, self.total, shape, self.first, self._waiting
        )

    def to(self, dtype: torch.dtype) -> Tensor:
        """Return the elements, a new tensor."""
        size, end = self.codec.size, self.first + self.numel()
        start = self.first // size * size
        stop = min(self.codec.count(end) * size, self.total)
        codes = self.codes[self.codec.bytes_of(start, stop)]
        if self.codec.bits == 4:
            codes = torch.stack([codes >> 4, codes & 15], dim=1).view(-1)[: stop - start]
            sign = 8 if self.codec.signed else 0
            codes = (codes.view(torch.int8) ^ sign) - sign
        codes = _in_blocks(codes, self.codec.size)
        if self.codec.most is None:
            parts = self._map()[codes.int()].to(dtype)
        else:
            roots = codes.to(dtype) * float(np.float32(1) / np.float32(self.codec.most))
            parts = roots * roots.abs()
        values = parts * self.scales[start // size : self.codec.count(stop), None]
        return values.view(-1)[self.first - start : end - start].view(self.shape)

    def copy_(self, values: Tensor) -> None:
        """Store new elements, of those blocks that end among them."""
        whole = values.reshape(-1)
        if self.first == 0:
            self._waiting.clear()  # of a step that failed
        joined = torch.cat([*self._waiting, whole]) if self._waiting else whole
        end, size = self.first + self.numel(), self.codec.size
        start, stop = end - len(joined), end if end == self.total else end // size * size
        self._waiting[:] = [joined[stop - start :].clone()] if stop < end else []
        if start < stop:
            blocks = slice(start // size, self.codec.count(stop))
            codes = self.codes[self.codec.bytes_of(start, stop)]
            self._store(joined[: stop - start], codes, self.scales[blocks])

    def _store(self, values: Tensor, codes_there: Tensor, scales_there: Tensor) -> None:
        """Store whole blocks; in what order is said in ``core/language/blockwise.py``."""
        blocks = _in_blocks(values, self.codec.size)
        bits = (blocks + 0.0).view(torch.int32)
        if self.codec.mask == 0x7FFFFFFF:
            bits &= self.codec.mask
        else:
            bits.masked_fill_(bits < 0, INFINITE)
        top = bits.amax(dim=1)
        good = (top >= SMALLEST_NORMAL) & (top < INFINITE)
        scales = torch.where(good, top, 0).view(torch.float32)
        one = torch.ones_like(scales)
        inverse = torch.div(one, torch.where(good, scales, one))
        parts = torch.where(good[:, None], blocks * inverse[:, None], 0.0)
        if self.codec.most is None:
            codes = self._nearest(parts)
        else:
            roots = (exact_sqrt(parts.abs()) * self.codec.most).round_()
            if not self.codec.signed:  # nothing above 0 becomes 0
                roots = torch.maximum(roots, (good[:, None] & (blocks > 0)).to(roots.dtype))
            codes = torch.where(parts >= 0, roots, -roots)
        scales_there.copy_(torch.where(top < INFINITE, scales, torch.nan))
        codes = codes.view(-1)[: len(values)]
        codes_there.copy_(codes if self.codec.bits == 8 else _packed(codes))

    def _map(self) -> Tensor:
        """Return the codec's map on the device of the codes."""
        return torch.as_tensor(self.codec.map, device=self.device)

    def _nearest(self, parts: Tensor) -> Tensor:
        """Return the numbers of the map's values that are nearest to parts of the scale."""
        values = self._map()
        below = (torch.searchsorted(values, parts, right=True, out_int32=True) - 1).clamp_(min=0)
        above = (below + 1).clamp_(max=len(values) - 1)
        low = values[below]
        return torch.where(parts - low >= (values[above] - low) * 0.5, above, below)


def _in_blocks(vector: Tensor, size: int) -> Tensor:
    """Return a vector as rows of that size, the last one filled up with zeros."""
    missing = -len(vector) % size
    if missing:
        vector = torch.cat([vector, vector.new_zeros(missing)])
    return vector.view(-1, size)


def _packed(codes: Tensor) -> Tensor:
    """Return codes of 4 bits, two in a byte, the first one in its upper half."""
    pairs = _in_blocks(codes.to(torch.int32) & 15, 2)
    return (pairs[:, 0] << 4) | pairs[:, 1]
