"""Storage of a state in fewer bits than it is computed in: a codec loads and stores its elements.

The codecs of 16 bits are storage dtypes: a load is exact, a store rounds once, to nearest even.
What arrays, tensors and printed source have for parameters of that dtype loads and stores states,
too. Those of 8 and 4 bits have a scale for each block of elements (`blockwise.py`). A rule does not
see it: its text computes with what was loaded, and what it returns is rounded only where it is
stored. State that is smaller than the parameter stays in the compute dtype.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .blockwise import BLOCKWISE
from .dtypes import named, numpy_dtype
from .names import meant

CODECS = ("bfloat16", "float16", *BLOCKWISE)
StateDtype = str | Mapping[str, str] | None  # of all states, of states by name, or none


def stored_dtype(codec: str) -> str:
    """Return the name of the dtype of the elements, or codes, that a codec stores."""
    return BLOCKWISE[codec].dtype if codec in BLOCKWISE else codec


def stored_bits(codec: str) -> int:
    """Return how many bits an element takes that a codec stores, without its part of a scale."""
    if codec in BLOCKWISE:
        return BLOCKWISE[codec].bits
    return 8 * numpy_dtype(codec).itemsize


def checked_state_dtype(value: Any, where: str = "") -> StateDtype:
    """Return a ``state_dtype`` as it is kept: the name of a codec, a dict of them by the name of a
    state, or None. Raises TypeError or ValueError, beginning with ``where``."""
    if value is None:
        return None
    given = value if isinstance(value, Mapping) else {"": value}
    by_state = {state: named(codec) for state, codec in given.items()}
    for state, codec in by_state.items():
        what = f"{where}state_dtype[{state!r}]" if state else f"{where}state_dtype"
        expected = f"expected one of {', '.join(CODECS)}"
        if not isinstance(codec, str):
            more = "" if state else ", a dict of them by the names of states, or None"
            raise TypeError(f"{what} is {codec!r}; {expected}{more}")
        if codec not in CODECS:
            raise ValueError(
                f"{what} is {codec!r}; {expected}, or leave it out for states of the compute dtype"
                f"{meant(codec, CODECS)}"
            )
    return (by_state or None) if isinstance(value, Mapping) else str(by_state[""])


def without_sign(codec: str) -> str | None:
    """Return the codec of as many bits that is for what is never negative beside this one, which
    has a sign, or None for another codec."""
    return f"u{codec}" if codec in BLOCKWISE and BLOCKWISE[codec].signed else None


def named_codecs(states: Iterable[str], state_dtype: StateDtype) -> dict[str, str]:
    """Return the codec that is asked for of each of these ``states`` that has one, by name."""
    if isinstance(state_dtype, Mapping):
        return {name: state_dtype[name] for name in states if name in state_dtype}
    return {} if state_dtype is None else dict.fromkeys(states, state_dtype)
