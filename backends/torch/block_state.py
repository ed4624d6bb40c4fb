"""A state that is stored in blocks, as launches take the vectors of others."""

from __future__ import annotations

import numpy as np
import torch

from ...language.blockwise import INFINITE, SMALLEST_NORMAL, Blockwise
from .exact_sqrt import exact_sqrt

Tensor = torch.Tensor


class BlockState:
    """The elements of a vector of ``codes`` and its ``scales``, seen with a ``shape``: `to` loads them
    and `copy_` stores new ones, as with a tensor. A slice, along the last axis, begins with a block."""

    def __init__(
        self, codec: Blockwise, codes: Tensor, scales: Tensor, shape: tuple[int, ...] = (-1,)
    ) -> None:
        self.codec, self.codes, self.scales, self.shape = codec, codes, scales, shape
        self.device, self.dtype, self.numel = codes.device, codes.dtype, codes.numel

    def __getitem__(self, where: slice | tuple[slice, slice]) -> BlockState:
        along, axes = (where[-1], len(where)) if isinstance(where, tuple) else (where, 1)
        size, stop = self.codec.size, min(along.stop, self.numel())
        blocks = slice(along.start // size, self.codec.count(stop))
        shape = (1,) * (axes - 1) + (-1,)
        return BlockState(self.codec, self.codes[along], self.scales[blocks], shape)

    def reshape(self, shape: tuple[int, ...]) -> BlockState:
        """Return the same memory, seen with another shape."""
        return BlockState(self.codec, self.codes, self.scales, shape)

    def to(self, dtype: torch.dtype) -> Tensor:
        """Return the elements, a new tensor."""
        codes = self._by_block(self.codes)
        if self.codec.most is None:
            parts = self._map()[codes.int()].to(dtype)
        else:
            roots = codes.to(dtype) * float(np.float32(1) / np.float32(self.codec.most))
            parts = roots * roots.abs()
        values = parts * self.scales[:, None]
        return values.view(-1)[: self.numel()].view(self.shape)

    def copy_(self, values: Tensor) -> None:
        """Store new elements; in what order is said in ``core/language/blockwise.py``."""
        blocks = self._by_block(values.reshape(-1))
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
        self.codes.copy_(codes.view(-1)[: self.numel()])

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

    def _by_block(self, vector: Tensor) -> Tensor:
        """Return a vector as blocks, the last one filled up with zeros."""
        missing = self.codec.count(self.numel()) * self.codec.size - self.numel()
        if missing:
            vector = torch.cat([vector, vector.new_zeros(missing)])
        return vector.view(-1, self.codec.size)
