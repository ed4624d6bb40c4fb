"""Random bits for elements of several parameters at once, and arrays that are rounded by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...language.rounding import SHARED, WORD, halves, philox

Integers = NDArray[np.int64]


class Piece(NamedTuple):
    """Some elements of a parameter: its position among all of the optimizer's, the index of the
    first one, how many they are, and the key of the parameter's step."""

    position: int
    first: int
    elements: int
    key: tuple[int, int]


def random_bits(
    pieces: Sequence[Piece],
    stream: int,
    place: Callable[[Integers], Any] = lambda integers: integers,
    stack: Callable[[list[Any], int], Any] = np.stack,
) -> Any:
    """Return 16 random bits for each element of these pieces, one after the other, as int64, for
    the array whose number is ``stream``. ``place`` puts integers where they are computed with, and
    ``stack`` is that framework's."""
    position, first, count = np.array([piece[:3] for piece in pieces], np.int64).T
    keys = np.array([piece.key for piece in pieces], np.int64)
    calls = (first + count + SHARED - 1) // SHARED - first // SHARED
    of, before = np.repeat(np.arange(len(pieces)), calls), np.cumsum(calls) - calls
    call = np.arange(len(of)) + (first // SHARED - before)[of]
    counter = (call & WORD, call >> 32, position[of], np.full_like(call, stream))
    words = philox(list(map(place, counter)), list(map(place, keys[of].T.copy())))
    lanes = stack(halves(words), -1).reshape(-1)
    if len(pieces) == 1:
        skipped = int(first[0]) % SHARED
        return lanes[skipped : skipped + int(count[0])]
    skipped = before * SHARED + first % SHARED - (np.cumsum(count) - count)
    return lanes[place(np.repeat(skipped, count) + np.arange(count.sum()))]
