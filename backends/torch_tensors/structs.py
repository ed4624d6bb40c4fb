"""The layout of PyTorch's own structs, as far as a step has to look at tensors.

A call of ``data_ptr`` takes 60 ns a tensor while a step streams through the caches, a look at
everything that PyTorch tells takes half a microsecond; compiled code that reads the structs takes
20 ns. Their layout is no public interface, so it is found out at run time, by looking in some
probes for values that PyTorch tells and for words that tell all kinds of tensors apart. Where
these are not found, PyTorch's own functions serve.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...identities import LIST_IS_READABLE
from ...interrupts import held
from .view import loaded

OBJECT, TENSOR, STORAGE = 8, 20, 6  # words of each struct that are looked at for an address
REST = 4  # words of the tensor from its number of elements before the first to its end
AXES = 5  # tensors with more keep their shapes elsewhere


@dataclass(frozen=True)
class Structs:
    """Offsets in bytes: of the tensor in its Python object; of the storage and of the number of
    elements before the first one in the tensor; of the address in the storage. ``kind``: offsets of
    words in the tensor, and masks, that are equal for tensors of the same shape, strides, dtype,
    device, layout and laziness only."""

    tensor: int
    storage: int
    first: int
    address: int
    kind: tuple[tuple[int, int], ...]


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _words(tensor: Any, size: int) -> list[int]:
    return [_word(tensor._cdata + 8 * k) for k in range(size)]


def _where(addresses: Sequence[int], values: Sequence[int], words: int) -> int:
    """Return the offset at which each of these structs has its value. Raises LookupError."""
    for offset in range(0, 8 * words, 8):
        if all(_word(a + offset) == v for a, v in zip(addresses, values, strict=True)):
            return offset
    raise LookupError("no word has the value")


def structs() -> Structs | None:
    """Return the layout of the structs; None if it is not found."""
    if type(loaded().zeros(0)) is not loaded().Tensor:  # in a mode where tensors are something else
        return None
    return _found()


@functools.cache
def _found() -> Structs | None:
    if sys.implementation.name != "cpython" or not LIST_IS_READABLE:
        return None
    torch = loaded()
    try:
        with held(), torch.inference_mode(False):
            places = _places(torch)
            return Structs(*places, _kind(torch, places[2] // 8 + REST))
    except (AttributeError, RuntimeError, LookupError):  # others, or in a mode of the caller's
        return None


def _places(torch: Any) -> tuple[int, int, int, int]:
    """Return the offsets of the tensor, the storage, the elements before the first, the address."""
    zeros = functools.partial(torch.zeros, device="cpu")
    probes = [
        zeros(5000)[1234:],
        zeros(90, 50, dtype=torch.float64)[77:, :20],
        torch.nn.Parameter(zeros(7)[2:]),
        zeros(40, dtype=torch.bfloat16)[31:35],
    ]
    storages = [probe.untyped_storage() for probe in probes]
    tensors, cells = [p._cdata for p in probes], [s._cdata for s in storages]
    return (
        _where([id(probe) for probe in probes], tensors, OBJECT),
        _where(tensors, cells, TENSOR),
        _where(tensors, [probe.storage_offset() for probe in probes], TENSOR),
        _where(cells, [storage.data_ptr() for storage in storages], STORAGE),
    )


def _kind(torch: Any, size: int) -> tuple[tuple[int, int], ...]:
    """Return offsets and masks of the words that do not differ among tensors of one kind, whose
    structs have ``size`` words. Raises LookupError if they do not tell all kinds apart."""
    zeros = functools.partial(torch.zeros, dtype=torch.float32, device="cpu")
    leaf = zeros(3, 4).requires_grad_()
    leaf.grad = zeros(3, 4)
    alike = [
        zeros(3, 4),
        zeros(5, 4)[2:],
        torch.nn.Parameter(zeros(3, 4)),
        torch.from_numpy(zeros(3, 4).numpy()),
        leaf,
        leaf.grad,
    ]
    rows = [_words(tensor, size) for tensor in alike]
    names = ("float64", "float16", "bfloat16", "int32", "int64", "complex64", "complex128")
    others = [_words(zeros(3, 4, dtype=getattr(torch, name)), size) for name in names]
    # of the word with the dtype that only: the flags beside it have unused bits, never set
    dtype = [
        (k, 0xFFFF << shift)
        for k in range(size)
        for shift in range(0, 64, 16)
        if len({row[k] >> shift & 0xFFFF for row in rows}) == 1
        and len({row[k] >> shift & 0xFFFF for row in (rows[0], *others)}) == 1 + len(names)
    ]
    if len(dtype) != 1:
        raise LookupError("several words may be the dtype, or none")
    equal = [k for k in range(size) if len({row[k] for row in rows}) == 1]
    kind = [(k, (1 << 64) - 1) for k in equal if k != dtype[0][0]] + dtype

    def told(tensor: Any) -> tuple[int, ...]:
        words = _words(tensor, size)
        return tuple(words[k] & mask for k, mask in kind)

    cell = zeros(1).expand((2,) * AXES)
    inside = told(cell) == told(cell.expand(cell.shape))  # shapes, not where they are
    apart = all(told(a) != told(b) for a, b in itertools.combinations(_all_kinds(zeros), 2))
    if not (apart and inside):
        raise LookupError("the words do not tell all kinds apart")
    return tuple((8 * k, mask) for k, mask in kind)


def _all_kinds(zeros: Any) -> list[Any]:
    """Return tensors of which no two are of one kind."""
    pair = zeros(3, 4, dtype=loaded().complex64)
    cell, twos = zeros(1), (2,) * AXES
    other = [[2 + (i == k) for i in range(AXES)] for k in range(AXES)]  # along one axis
    return [
        zeros(3, 4),
        zeros(4, 3),
        zeros(4, 3).T,
        zeros(3, 8)[:, ::2],
        zeros(1, 4).expand(3, 4),
        zeros(12),
        zeros(()),
        loaded()._neg_view(zeros(3, 4)),
        zeros(3, 4, device="meta"),
        zeros(3, 4).to_sparse(),
        pair,
        pair.conj(),
        *(cell.expand(shape) for shape in (twos, *other, (2, *twos))),
        *(zeros(40).as_strided(twos, strides) for strides in (twos, *other)),
    ]
