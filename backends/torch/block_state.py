"""A state that is stored in blocks, as launches take the vectors of others."""

from __future__ import annotations

import math

import numpy as np
import torch

from ...language.blockwise import INFINITE, SMALLEST_NORMAL, Blockwise
from .exact_sqrt import exact_sqrt

Tensor = torch.Tensor


class BlockState:
    """The elements of a vector of ``codes`` and its ``scales``, seen with a ``shape``: `to` loads them
    and `copy_` stores new ones, as with a tensor. A slice, along the last axis, begins with a block."""

    def __init__(
        self, codec: Blockwise, codes: Tensor, scales: Tensor, shape: tuple[int, ...]
    ) -> None:
        self.codec, self.codes, self.scales, self.shape = codec, codes, scales, shape
        self.device, self.dtype = codes.device, codes.dtype

    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def __getitem__(self, where: slice | tuple[slice, slice]) -> BlockState:
        along, axes = (where[-1], len(where)) if isinstance(where, tuple) else (where, 1)
        codec, start, stop = self.codec, along.start, min(along.stop, self.numel())
        codes = self.codes[codec.bytes_of(start) : codec.bytes_of(stop)]
        scales = self.scales[start // codec.size : codec.count(stop)]
        return BlockState(codec, codes, scales, (1,) * (axes - 1) + (stop - start,))

    def reshape(self, shape: tuple[int, ...]) -> BlockState:
        """Return the same memory, seen with another shape."""
        return BlockState(self.codec, self.codes, self.scales, shape)

    def to(self, dtype: torch.dtype) -> Tensor:
        """Return the elements, a new tensor."""
        codes = self.codes
        if self.codec.bits == 4:
            codes = torch.stack([codes >> 4, codes & 15], dim=1).view(-1)[: self.numel()]
            sign = 8 if self.codec.signed else 0
            codes = (codes.view(torch.int8) ^ sign) - sign
        codes = _in_blocks(codes, self.codec.size)
        if self.codec.most is None:
            parts = self._map()[codes.int()].to(dtype)
        else:
            roots = codes.to(dtype) * float(np.float32(1) / np.float32(self.codec.most))
            parts = roots * roots.abs()
        values = parts * self.scales[:, None]
        return values.view(-1)[: self.numel()].view(self.shape)

    def copy_(self, values: Tensor) -> None:
        """Store new elements; in what order is said in ``core/language/blockwise.py``."""
        blocks = _in_blocks(values.reshape(-1), self.codec.size)
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
        self.scales.copy_(torch.where(top < INFINITE, scales, torch.nan))
        codes = codes.view(-1)[: self.numel()]
        self.codes.copy_(codes if self.codec.bits == 8 else _packed(codes))

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
    missing = -vector.numel() % size
    if missing:
        vector = torch.cat([vector, vector.new_zeros(missing)])
    return vector.view(-1, size)


def _packed(codes: Tensor) -> Tensor:
    """Return codes of 4 bits, two in a byte, the first one in its upper half."""
    pairs = _in_blocks(codes.to(torch.int32) & 15, 2)
    return (pairs[:, 0] << 4) | pairs[:, 1]
