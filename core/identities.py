"""The identities of many objects at once, to see that a list holds what it held."""

from __future__ import annotations

import ctypes
import sys
from array import array as vector
from collections.abc import Callable
from typing import Any


def _identities(objects: list[Any]) -> bytes:
    """Return the objects' ids as one string of 8-byte integers."""
    return vector("q", map(id, objects)).tobytes()


def _identities_in_struct(objects: list[Any]) -> bytes:
    """Return a copy of a list's own vector of pointers: for 1,000 objects 1.6 µs instead of 31 to
    50, in a tight loop."""
    if not objects:
        return b""
    items = ctypes.c_void_p.from_address(id(objects) + object.__basicsize__ + 8).value or 0
    return ctypes.string_at(items, 8 * len(objects))


_PROBE = [object(), None, "x"]
LIST_IS_READABLE = (
    sys.implementation.name == "cpython"
    and list.__basicsize__ == object.__basicsize__ + 24  # ob_size, ob_item, allocated
    and _identities_in_struct(_PROBE) == _identities(_PROBE)
)
identities = _identities_in_struct if LIST_IS_READABLE else _identities


def watched(objects: list[Any]) -> Callable[[], bool]:
    """Return a function that says whether this list, which must stay alive, holds what it holds
    now: 0.1 µs where `identities` of it take 0.5."""
    if not LIST_IS_READABLE:
        seen = identities(objects)
        return lambda: identities(objects) == seen
    start = id(objects) + object.__basicsize__
    pointer = ctypes.c_void_p.from_address(start + 8).value or 0
    # its length and where its vector is; the vector is read only while it is there
    head = (ctypes.c_char * 16).from_address(start)
    items = (ctypes.c_char * (8 * len(objects))).from_address(pointer)
    seen_head, seen_items = head.raw, items.raw
    return lambda: head.raw == seen_head and items.raw == seen_items
