"""Rounding of what is stored in 16 bits: to nearest even, or up or down by chance, right on
average.

Stochastic rounding takes 16 random bits for each element of each array that is stored in bfloat16
or float16. They come from Philox4x32-10, a function of a key and a counter (Salmon et al., Parallel
Random Numbers: As Easy as 1, 2, 3, SC'11). The key is the seed and the parameter's step; the
counter is an eighth of the element's index in its parameter (low word, high word), the parameter's
position in the optimizer and the array's: 0 for the parameter, 1, 2, ... for the states of its
size. So no bit depends on order, threads, batches or devices, and a run that is resumed goes on.
One call gives four words of 32 bits, for eight neighbours: the low half of a word is that of an
even element.

The functions are of operators that NumPy's and PyTorch's arrays of int64 share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .around import last_copies
from .names import meant

ROUNDINGS = ("nearest", "stochastic")
ROUNDED = ("bfloat16", "float16")  # storage dtypes that stochastic rounding is for
# the key in a row of scalars, behind those of the rule: its words by halves, which float32 holds
KEY = ("seed_low", "seed_high", "step_low", "step_high")
SHARED = 8  # neighbours that one call serves
WORD = 0xFFFFFFFF
SEEDS = 1 << 32

Array = Any  # of int64, NumPy's or PyTorch's


def checked_rounding(value: Any, where: str = "") -> str:
    """Return the name of a rounding. Raises TypeError or ValueError, beginning with ``where``."""
    expected = f"expected one of {', '.join(ROUNDINGS)}"
    if not isinstance(value, str):
        raise TypeError(f"{where}rounding is {value!r}; {expected}")
    if value not in ROUNDINGS:
        raise ValueError(f"{where}rounding is {value!r}; {expected}{meant(value, ROUNDINGS)}")
    return value


def checked_seed(value: Any, where: str = "") -> int:
    """Return a seed. Raises TypeError or ValueError, beginning with ``where``."""
    try:
        seed = int(value)
    except (TypeError, ValueError, OverflowError):
        seed = -1
    if isinstance(value, (bool, str)) or (seed < 0 and not isinstance(value, (int, float))):
        raise TypeError(f"{where}seed is {value!r}; expected a whole number")
    if seed != value or not 0 <= seed < SEEDS:
        raise ValueError(f"{where}seed is {value!r}; expected a whole number from 0 to 2**32 - 1")
    return seed


def streams(rule: Any, param_dtype: str) -> dict[str, int]:
    """Return the number of each array of a rule's that is rounded stochastically, as random bits
    are counted by it, where parameters are stored in ``param_dtype``."""
    if not rule.stochastic:
        return {}
    passed = {*rule.per, *last_copies(rule.around)}  # a step writes one copy, or none
    full = ["param", *(name for name in rule.state if name not in passed)]
    stored = {**rule.storage, "param": param_dtype}
    return {name: k for k, name in enumerate(full) if stored.get(name) in ROUNDED}


def key_scalars(seed: float, step: int) -> tuple[float, ...]:
    """Return the key of a step, counted from 1, as scalars of a row, in the order of `KEY`."""
    words = int(seed), step & WORD
    return tuple(float(half) for word in words for half in (word & 0xFFFF, word >> 16))


def key_of(row: Sequence[float]) -> tuple[int, int]:
    """Return the key's two words out of a row of scalars whose last is the gradient's
    coefficient."""
    low, high, step_low, step_high = (int(row[k]) for k in range(-5, -1))
    return low | high << 16, step_low | step_high << 16


def philox(counter: Sequence[Array], key: Sequence[Array]) -> tuple[Array, Array, Array, Array]:
    """Return the four random words of each counter, of four words, under a key of two words."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57  # may wrap: the bits are those without a sign
        a, b, c, d = ((q >> 32) & WORD) ^ b ^ k0, q & WORD, ((p >> 32) & WORD) ^ d ^ k1, p & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return a, b, c, d


def halves(words: Sequence[Array]) -> list[Array]:
    """Return the 16 random bits of each of the eight neighbours that these words are for."""
    return [half for word in words for half in (word & 0xFFFF, word >> 16)]


def rounded_bits(bits: Array, random: Array, dtype: str) -> Array:
    """Return the bits of numbers as a dtype of `ROUNDED` stores them; ``bits`` are theirs as
    float32, ``random`` has 16 random bits for each.

    A number between two neighbours becomes the upper one with the chance of its distance from the
    lower one. It is exact but for float16 below 2**-17, where the chance is a multiple of 2**-16,
    rounded down: the mean is off by less than 2**-40, and what is smaller than that becomes 0.
    There is no neighbour above the largest number: what lies between it and the next power of two
    becomes the largest number. NaN stays NaN.
    """
    magnitude, sign = bits & 0x7FFFFFFF, (bits >> 16) & 0x8000
    if dtype == "bfloat16":
        rounded = at_most((magnitude + random) >> 16, 0x7F7F)
        infinite, overflow, nan = 0x7F80, 0x7F800000, 0x7FC0
    else:
        exponent = magnitude >> 23
        # below the least normal number the last place is 2**-24: in units of 2**-40, rounded down
        fixed = (((magnitude & 0x7FFFFF) | 0x800000) << 2) >> at_most(abs(112 - exponent), 63)
        small = (fixed + random) >> 16
        normal = at_most((magnitude - 0x38000000 + (random >> 3)) >> 13, 0x7BFF)
        rounded = where(exponent < 113, small, normal)
        infinite, overflow, nan = 0x7C00, 0x47800000, 0x7E00
    rounded = where(magnitude >= overflow, infinite, rounded)
    return where(magnitude > 0x7F800000, nan, rounded) | sign


def where(condition: Array, a: Any, b: Array) -> Array:
    """Return ``a`` where a condition holds, else ``b``."""
    return b + (a - b) * condition


def at_most(x: Array, limit: int) -> Array:
    """Return the smaller of ``x`` and ``limit``."""
    return where(x > limit, limit, x)
