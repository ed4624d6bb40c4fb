"""Plain Python values as JSON and back, with nothing lost: tuples stay tuples, a float keeps all
its bits, and arrays are set aside.

An object with one name that begins with ``$`` stands for what JSON does not have:
``{"$tuple": [...]}``, ``{"$float": "inf"}``, ``{"$tensor": dtype}`` for an array,
``{"$schedule": {...}}`` for an object that has ``to_json()``, and ``{"$same": place}`` for the
same object once more: a schedule that several groups share is one schedule again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.dtypes import name_of

# how a value is reached: empty for the whole, else the way to what it is in, and its key there
Way = tuple[()] | tuple["Way", int | str]
MAX_DEPTH = 200  # of what is read; schedules within each other come to 70
NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Encoder:
    """Puts one tree of values in JSON's terms; ``arrays`` has its arrays under their places, the
    keys that lead there with slashes between."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._place_of: dict[int, str] = {}  # of a schedule, by its identity

    def encode(self, value: Any, way: Way = ()) -> Any:
        """``value`` as JSON has it. Raises TypeError for what cannot be stored, with its place."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$float": str(float(value))}
        if isinstance(value, (list, tuple)):
            items = [self.encode(item, (way, i)) for i, item in enumerate(value)]
            return {"$tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, Mapping):
            return self._encode_mapping(value, way)
        place = _place(way)
        if isinstance(value, np.ndarray):
            if place in self.arrays:
                raise TypeError(f"two arrays would be called {place}")
            self.arrays[place] = value
            return {"$tensor": name_of(value.dtype)}
        if callable(getattr(value, "to_json", None)):
            first = self._place_of.setdefault(id(value), place)
            if first != place:
                return {"$same": first}
            return {"$schedule": self.encode(value.to_json(), way)}
        if callable(value):
            raise TypeError(
                f"{place} is the function {value!r}, which cannot be saved; "
                "samestep.schedules has functions of the step that can"
            )
        raise TypeError(f"{place} is a {type(value).__name__}, which cannot be saved: {value!r}")

    def _encode_mapping(self, value: Mapping[Any, Any], way: Way) -> dict[str, Any]:
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(
                    f"{_place(way)}: a key must be a string without $ in front, not {key!r}"
                )
        return {key: self.encode(item, (way, key)) for key, item in value.items()}


class Decoder:
    """Takes back what `Encoder` has written. ``tensor(place, dtype)`` makes an array."""

    def __init__(self, tensor: Callable[[str, str], Any]) -> None:
        self._tensor = tensor
        self._schedules: dict[str, Any] = {}

    def decode(self, value: Any, way: Way = (), depth: int = 0) -> Any:
        """The value as it was. Raises ValueError for what `Encoder` does not write."""
        if not isinstance(value, (dict, list)):
            return value
        if depth == MAX_DEPTH:
            raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
        if isinstance(value, list):
            return [self.decode(item, (way, i), depth + 1) for i, item in enumerate(value)]
        tags = [key for key in value if key.startswith("$")]
        if not tags:
            return {k: self.decode(v, (way, k), depth + 1) for k, v in value.items()}
        place = _place(way)
        if len(value) != 1:
            raise ValueError(f"{place}: {tags[0]!r} must be alone")
        ((tag, content),) = value.items()
        match tag, content:
            case "$tuple", list():
                return tuple(self.decode(content, way, depth + 1))
            case "$float", str() if content in NONFINITE:
                return NONFINITE[content]
            case "$tensor", str():
                return self._tensor(place, content)
            case "$same", str() if content in self._schedules:
                return self._schedules[content]
            case "$schedule", dict():
                from ..schedules import from_json

                self._schedules[place] = from_json(self.decode(content, way, depth + 1))
                return self._schedules[place]
        raise ValueError(f"{place}: {tag!r} with {content!r:.40} means nothing here")


def _place(way: Way) -> str:
    """Return the keys of a way with slashes between: made only where it is needed, since a long key
    may have many entries below it."""
    keys = []
    while way:
        way, key = way
        keys.append(str(key))
    return "/".join(reversed(keys))
