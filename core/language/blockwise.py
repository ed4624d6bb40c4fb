"""Codecs of blocks: 8 or 4 bits an element, and a float32 scale for each block of elements.

Blocks are neighbours in C's order, the last one may be short. A block's scale and codes follow from
its own elements, so that no bit depends on threads, chunks or other blocks. What is here in NumPy
is what printed source and PyTorch compute, too.

A code is the rounded root of an element's part of the scale, with its sign: ``most * sqrt(|x| /
scale)``. So small elements get more of the codes than large ones, and what loads and stores is one
root, a division a block, and multiplications, which become SIMD code. The largest magnitude of a
block is its scale, and exact. A block whose largest magnitude is below the smallest normal float32
is stored as zeros. A block with a NaN, an infinity or, where the codec has no sign, a negative
element has the scale NaN, and is NaN when it is loaded: nothing is silently wrong. Where the codec
has no sign, an element above 0 has a code of at least 1: a mean of squares that became 0 beside a
mean of gradients that did not would make a step of that mean divided by ``eps``.

A codec may have a map instead (`dynamic_map.py`): a code is the number of the map's value that is
nearest to an element's part of the scale, of two that are equally near the upper one. That takes a
search, which becomes no SIMD code.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interrupts import held
from .dynamic_map import dynamic_map

SMALLEST_NORMAL, INFINITE = 0x00800000, 0x7F800000  # bits of float32


@dataclass(frozen=True)
class Blockwise:
    """A codec of blocks of ``size`` elements. Codes have the ``dtype``, or are two in a byte; they
    are roots and go up to ``most``, or, where that is None, numbers of a map's values."""

    name: str
    size: int
    dtype: str
    signed: bool
    most: int | None = None
    bits: int = 8

    @property
    def mask(self) -> int:
        """The bits of a float32 by which a block's largest element is found: without the sign, if
        negative elements are stored."""
        return 0x7FFFFFFF if self.signed else 0xFFFFFFFF

    @functools.cached_property
    def map(self) -> NDArray[Any]:
        """The parts of the scale that the codes stand for, float32, where they are no roots."""
        return dynamic_map(self.signed)

    @property
    def code(self) -> Any:
        """Return what codes are read by: the largest root, or the map."""
        return self.map if self.most is None else self.most

    @property
    def zero(self) -> int:
        """The code of 0."""
        return 0 if self.most is not None else int(np.searchsorted(self.map, 0))

    def count(self, elements: int) -> int:
        """Return the number of blocks of so many elements."""
        return -(-elements // self.size)

    @property
    def per_byte(self) -> int:
        """The number of codes in a byte."""
        return 8 // self.bits

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the codes of a parameter of this shape: the same, or a vector of
        bytes that have two codes each."""
        return shape if self.per_byte == 1 else (-(-math.prod(shape) // self.per_byte),)

    def bytes_of(self, start: int, stop: int) -> slice:
        """Return where in a vector of codes those of elements from ``start`` on and before ``stop``
        are; a block begins at ``start``."""
        return slice(start // self.per_byte, -(-stop // self.per_byte))

    def load(self, codes: NDArray[Any], scales: NDArray[Any], count: int) -> NDArray[Any]:
        """Return so many elements, float32, of a vector of codes that begins with a block."""
        values: NDArray[Any] = load_blocks(
            codes, scales, self.size, self.code, self.mask, self.bits
        )
        return values[:count]

    def store(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return codes and scales of a vector of float32 elements."""
        with held(), np.errstate(all="ignore"):
            codes, scales = store_blocks(
                values, self.size, self.code, self.mask, self.bits, self.dtype
            )
        return codes, scales

    def of_number(self, value: float) -> tuple[float, float]:
        """Return a number of the array of codes, and the scale, of a block whose elements all have
        this value."""
        codes, scales = self.store(np.full(self.per_byte, value, np.float32))
        return codes[0].item(), scales[0].item()


# exported Python files contain the text of these functions


def load_blocks(codes: Any, scales: Any, size: int, code: Any, mask: int, bits: int) -> Any:
    """The elements, float32, of a vector of codes in blocks of that size; ``code`` is the largest
    root or a map. Of an odd number of codes of 4 bits there is an element more."""
    if bits == 4:
        codes = np.stack([codes >> np.uint8(4), codes & np.uint8(15)], axis=1).reshape(-1)
        sign = np.int8(8 if mask == 0x7FFFFFFF else 0)
        codes = (codes.view(np.int8) ^ sign) - sign
    blocks = in_blocks(codes, size)
    if np.ndim(code):
        parts = code[blocks]
    else:
        roots = blocks.astype(np.float32) * (np.float32(1) / np.float32(code))
        parts = roots * np.abs(roots)
    return (parts * scales[:, None]).reshape(-1)[: codes.size]


def store_blocks(values: Any, size: int, code: Any, mask: int, bits: int, dtype: str) -> Any:
    """Codes and scales of a vector of float32 elements in blocks of that size. Two codes of 4 bits
    are a byte, the first one its upper half; where there is none for the other half, that is 0."""
    blocks = in_blocks(values, size)
    # -0 becomes +0; other negative numbers, where their sign is kept, are above all others
    magnitudes = (blocks + np.float32(0)).view(np.uint32) & np.uint32(mask)
    top = magnitudes.max(axis=1, initial=0)
    good = (top >= 0x00800000) & (top < 0x7F800000)  # normal and finite
    scales = np.where(good, top, np.uint32(0)).view(np.float32)
    inverse = np.float32(1) / np.where(good, scales, np.float32(1))
    parts = np.where(good[:, None], blocks * inverse[:, None], np.float32(0))
    if np.ndim(code):  # of a map: the last value that is not above the part, or the next one
        below = np.maximum(np.searchsorted(code, parts, side="right") - 1, 0)
        above = np.minimum(below + 1, len(code) - 1)
        nearer = parts - code[below] >= (code[above] - code[below]) * np.float32(0.5)
        codes = np.where(nearer, above, below)
    else:
        roots = np.rint(np.float32(code) * np.sqrt(np.abs(parts)))
        if mask == 0xFFFFFFFF:  # no sign: nothing above 0 becomes 0
            roots = np.maximum(roots, good[:, None] & (blocks > 0))
        codes = np.where(parts >= 0, roots, -roots).astype(np.int32)
    scales = np.where(top < 0x7F800000, scales, np.float32(np.nan))
    codes = codes.reshape(-1)[: values.size]
    if bits == 4:
        pairs = in_blocks(codes & 15, 2)
        codes = pairs[:, 0] << 4 | pairs[:, 1]
    return codes.astype(dtype), scales


def in_blocks(values: Any, size: int) -> Any:
    """A vector as rows of that size, the last one filled up with zeros."""
    padded = np.zeros(-(-values.size // size) * size, values.dtype)
    padded[: values.size] = values
    return padded.reshape(-1, size)


BLOCKWISE = {
    each.name: each
    for each in (
        Blockwise("int8", 128, "int8", True, 127),
        Blockwise("uint8", 128, "uint8", False, 255),
        Blockwise("int4", 128, "uint8", True, 7, bits=4),
        Blockwise("uint4", 128, "uint8", False, 15, bits=4),
        Blockwise("dynamic8", 256, "uint8", True),
        Blockwise("udynamic8", 256, "uint8", False),
    )
}


def scales_of(state: str) -> str:
    """Return the name of the array that has the scales of a state."""
    return f"{state}_scale"
