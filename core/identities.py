"""The identities of many objects at once, to see that a list holds what it held."""

from __future__ import annotations

import ctypes
import sys
from array import array as vector
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
