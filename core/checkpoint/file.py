"""A safetensors file that ends in a checksum: read piece by piece and without trust.

The last tensor, ``checksum``, is the SHA-256 of all bytes before it, those of the header
included; ``docs/checkpoints.md`` specifies the format.

The header is written and read here and not by the safetensors package, which takes a file whole
and copies it, or maps it into memory (the process dies if the file is cut short meanwhile), and
which keeps the last of two tensors with the same name. It reads these files as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.dtypes import name_of, numpy_dtype
from .error import CheckpointError

Array = NDArray[Any]
KEY = "samestep"  # of the header's metadata
CHECKSUM = "checksum"
CHECKSUM_SIZE = 32
LENGTH_SIZE = 8  # the header's length, little-endian, stands first
HEADER_LIMIT = 100_000_000  # bytes; that of the safetensors package
PIECE = 1 << 20  # bytes that are hashed or copied at a time
MESSAGE_LIMIT = 1000  # characters
MAX_DIMENSIONS = 64  # of a NumPy array
CODE_OF_DTYPE = {
    "float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16",
    "int16": "I16", "int8": "I8", "uint8": "U8",  # the latter of the checksum, too
}  # fmt: skip
DTYPE_OF_CODE = {code: dtype for dtype, code in CODE_OF_DTYPE.items()}
# what contents that nobody has checked can make Python raise
UNUSABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class Stored:
    """The place of an array in the file: its dtype's name, its shape and where it begins."""

    dtype: str
    shape: tuple[int, ...]
    start: int


# ---- writing


def file_pieces(metadata: str, arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The file's contents, piece by piece; the same input gives the same bytes.

    ``arrays`` are float64, float32, bfloat16, float16, int16, int8 or uint8, of any strides.

    Raises
    ------
    TypeError
        For an array of another dtype.
    ValueError
        If there are so many arrays that no reader would accept the header.
    """
    # the widest first: with a header of whole words each array begins at a multiple of its size
    ordered = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))
    header = _header(metadata, {**ordered, CHECKSUM: np.empty(CHECKSUM_SIZE, np.uint8)})
    if len(header) > HEADER_LIMIT:
        raise ValueError(
            f"{len(arrays)} arrays need a header of {len(header)} bytes; "
            f"safetensors files may have {HEADER_LIMIT}"
        )
    contents = chain.from_iterable(_pieces(np.ascontiguousarray(a)) for a in ordered.values())
    return _sealed(chain([len(header).to_bytes(LENGTH_SIZE, "little"), header], contents))


def _header(metadata: str, arrays: Mapping[str, Array]) -> bytes:
    fields: dict[str, Any] = {"__metadata__": {KEY: metadata}}
    start = 0
    for name, array in arrays.items():
        dtype = name_of(array.dtype)
        if dtype not in CODE_OF_DTYPE:
            raise TypeError(
                f"{name} has dtype {array.dtype}; a file holds {', '.join(CODE_OF_DTYPE)}"
            )
        fields[name] = _entry(dtype, array.shape, start)
        start += array.nbytes
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    return text + b" " * (-len(text) % 8)


def _entry(dtype: str, shape: tuple[int, ...], start: int) -> dict[str, Any]:
    """Return a tensor's entry in the header; ``start`` counts from the header's end."""
    end = start + math.prod(shape) * numpy_dtype(dtype).itemsize
    return {"dtype": CODE_OF_DTYPE[dtype], "shape": list(shape), "data_offsets": [start, end]}


def _sealed(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the pieces, and then their checksum."""
    checksum = hashlib.sha256()
    for piece in pieces:
        checksum.update(piece)
        yield piece
    yield checksum.digest()


def _pieces(array: Array) -> Iterator[memoryview]:
    """The bytes of a contiguous array."""
    flat = array.reshape(-1).view(np.ndarray).view(np.uint8)
    for start in range(0, flat.size, PIECE):
        yield flat[start : start + PIECE].data


# ---- reading


class CheckpointFile:
    """A file that is what was written, or `CheckpointError`. Use it in a ``with`` block.

    Opening it takes memory for the header, never more than the file's size, and for one piece;
    nothing is parsed before the checksum has been found right.

    Attributes
    ----------
    metadata : str
    tensors : dict
        Name to `Stored`.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait
            raise self.error("is not a regular file")
        self._file = open(path, "rb")  # noqa: SIM115 - until __exit__
        try:
            self._status = self._stamp()
            header = self._read_header()
            self._check_checksum()
            self.metadata, self.tensors = self._parse(header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> CheckpointFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def error(self, reason: str) -> CheckpointError:
        """The error to raise for a ``reason`` that goes on after the file's name."""
        if len(reason) > MESSAGE_LIMIT:  # it may quote the file at length
            reason = f"{reason[:MESSAGE_LIMIT]}…"
        return CheckpointError(f"{self.path}: {reason}")

    @contextlib.contextmanager
    def doubts(self, about: str = "") -> Iterator[None]:
        """Turn what goes wrong in this block into a `CheckpointError`: the file is at fault, or
        does not fit."""
        try:
            yield
        except CheckpointError:
            raise
        except UNUSABLE as error:
            reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
            raise self.error(about + reason) from error

    def read_into(self, name: str, array: Array) -> None:
        """Fill an array of the dtype and shape that is stored, of any strides."""
        stored = self.tensors[name]
        target = array if array.flags.c_contiguous else np.empty(array.shape, array.dtype)
        self._file.seek(stored.start)
        for piece in _pieces(target):
            if self._file.readinto(piece) != len(piece):
                raise self.error(f"was cut short while {name} was read")
        if target is not array:
            array[...] = target

    def read(self, name: str) -> Array:
        """A new array."""
        stored = self.tensors[name]
        array: Array = np.empty(stored.shape, numpy_dtype(stored.dtype))
        self.read_into(name, array)
        return array

    def check_unchanged(self) -> None:
        """Raise `CheckpointError` if the file has been written to since it was opened."""
        if self._stamp() != self._status:
            raise self.error("was written to while it was read")

    def _stamp(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())  # not ctime: another file under its name is no harm
        return status.st_size, status.st_mtime_ns

    def _read_header(self) -> bytes:
        size = self._status[0]
        length = int.from_bytes(self._file.read(LENGTH_SIZE), "little")
        room = min(size - LENGTH_SIZE - CHECKSUM_SIZE, HEADER_LIMIT)
        if length > room:
            raise self.error(
                f"is no checkpoint or has been cut short: of its {size} bytes, {length} should "
                f"be the header (at most {max(room, 0)} can be)"
            )
        header = self._file.read(length)
        if not header.startswith(b"{") or f'"{KEY}"'.encode() not in header:
            raise self.error("is no checkpoint of samestep: its header is not that of one")
        return header

    def _check_checksum(self) -> None:
        checksum = hashlib.sha256()
        left = self._status[0] - CHECKSUM_SIZE
        buffer = memoryview(bytearray(min(PIECE, left)))
        self._file.seek(0)
        while left:
            count = self._file.readinto(buffer[: min(PIECE, left)])
            if not count:
                raise self.error("was cut short while it was read")
            checksum.update(buffer[:count])
            left -= count
        if self._file.read(CHECKSUM_SIZE) != checksum.digest():
            raise self.error("is damaged: its checksum is not that of its contents")

    def _parse(self, header: bytes) -> tuple[str, dict[str, Stored]]:
        with self.doubts("its header is not valid: "):
            fields = parse_json(header.decode())
            metadata = fields.pop("__metadata__")[KEY]
            if not isinstance(metadata, str):
                raise ValueError(f"the metadata's {KEY!r} is not a string")
            tensors, data, end = {}, LENGTH_SIZE + len(header), 0
            for name, entry in sorted(fields.items(), key=lambda item: item[1]["data_offsets"]):
                tensors[name] = Stored(*_dtype_and_shape(name, entry, end), data + end)
                end = entry["data_offsets"][1]
            last = self._status[0] - CHECKSUM_SIZE
            is_last = tensors.pop(CHECKSUM) == Stored("uint8", (CHECKSUM_SIZE,), last)
            if not is_last or data + end != last + CHECKSUM_SIZE:
                raise ValueError("the tensors do not fill the file up to its checksum")
        return metadata, tensors


def parse_json(text: str) -> Any:
    """JSON as it stands in a checkpoint. Raises ValueError where it is not valid or a name is
    there twice, RecursionError where it is nested too deeply."""
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {twice!r} is there twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _dtype_and_shape(name: str, entry: Any, start: int) -> tuple[str, tuple[int, ...]]:
    """Return what an entry of the header says, once that is all that `_entry` would write."""
    code, shape = entry["dtype"], entry["shape"]
    if not isinstance(code, str) or code not in DTYPE_OF_CODE:
        raise ValueError(f"{name!r} has dtype {code!r}; expected {', '.join(DTYPE_OF_CODE)}")
    sizes = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**63 for n in shape)
    if not sizes or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{name!r} has no valid shape")
    expected = _entry(DTYPE_OF_CODE[code], tuple(shape), start)
    # False and 0.0 are equal to 0, and no offsets of safetensors
    if entry != expected or any(type(n) is not int for n in entry["data_offsets"]):
        raise ValueError(f"{name!r} is {entry}; expected {expected}")
    return DTYPE_OF_CODE[code], tuple(shape)
